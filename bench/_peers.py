"""The peers that drift is measured beside, each in its own environment: ``make bench-peers``.

A peer is a file of pinned versions, ``bench/peers/NAME.txt``; its environment is
``.venv-peers/NAME``. It counts once a stamp with the pins lies in it, which is written last; one
that failed is removed and its reason kept, so that a benchmark can name it.
"""

from __future__ import annotations

import fcntl
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

from bootstrap import SetupError, ensure_uv, run, say, uv_on_path  # noqa: E402

PINS = ROOT / "bench" / "peers"
HOME = ROOT / ".venv-peers"
MODULES = {
    "alibi-detect": "alibi_detect.cd",
    "nannyml": "nannyml",
    "evidently": "evidently",
    "frouros": "frouros.detectors.data_drift",
}
LIMIT_S = 1800.0


def find_peer(name: str) -> Path | None:
    """Return the interpreter of a peer that is set up with today's pins, or None."""
    stamp = HOME / name / "ready"
    same = stamp.is_file() and stamp.read_text(encoding="utf-8") == _read_pins(name)
    return HOME / name / "bin" / "python" if same else None


def explain_absence(name: str) -> str:
    """Return why a peer is not there, in one sentence."""
    told = HOME / f"{name}.reason"
    if told.is_file():
        return f"{name} could not be installed: {told.read_text(encoding='utf-8')}"
    return f"{name} is not installed; 'make bench-peers' does that"


def set_up_peer(name: str) -> Path | None:
    """Return the interpreter of a peer, made where there is none; None if it cannot be made."""
    HOME.mkdir(exist_ok=True)
    with (HOME / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two benchmarks may ask at once
        return find_peer(name) or _try_to_make(name)


def _try_to_make(name: str) -> Path | None:
    place, told = HOME / name, HOME / f"{name}.reason"
    say(f"{name} into {place.relative_to(ROOT)} ...")
    try:
        _make(place, name)
    except BaseException as error:
        shutil.rmtree(place, ignore_errors=True)
        if not isinstance(error, SetupError | OSError):
            raise
        told.write_text(str(error).strip().splitlines()[-1], encoding="utf-8")
        say(explain_absence(name))
        return None
    told.unlink(missing_ok=True)
    return find_peer(name)


def _make(place: Path, name: str) -> None:
    shutil.rmtree(place, ignore_errors=True)  # half of one, of a set-up that was killed
    uv, python = ensure_uv(uv_on_path()), place / "bin" / "python"
    run([uv, "venv", "--quiet", "--python", sys.executable, str(place)], LIMIT_S)
    pins = ["--requirements", str(PINS / f"{name}.txt")]
    run([uv, "pip", "install", "--quiet", "--python", str(python), *pins], LIMIT_S)
    run([str(python), "-W", "ignore", "-c", f"import {MODULES[name]}"], LIMIT_S)
    (place / "ready").write_text(_read_pins(name), encoding="utf-8")


def _read_pins(name: str) -> str:
    return (PINS / f"{name}.txt").read_text(encoding="utf-8")


def main() -> int:
    """Set up every peer; one that cannot be had is named and skipped."""
    missing = [name for name in MODULES if set_up_peer(name) is None]
    say(f"peers: {len(MODULES) - len(missing)} of {len(MODULES)} are ready")
    return 0


if __name__ == "__main__":
    sys.exit(main())
