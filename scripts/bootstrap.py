"""Set-up of ``.venv`` from ``requirements.lock``; standard library only, one line a step.

``python scripts/bootstrap.py core`` installs what a run needs, any other word the extra of that
name on top; ``core`` and ``quarto`` also settle which program renders the pages.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
LOCK = ROOT / "requirements.lock"
OLDEST_PYTHON = (3, 11)
OLDEST_UV = (0, 5)
RELEASES = "https://github.com/quarto-dev/quarto-cli/releases/tag/v"
PROBE_S = 8
QUARTO_S = 300


class SetupError(Exception):
    """One sentence for the reader of a failed set-up."""


def say(text: str) -> None:
    """Print one line of progress."""
    print(f"set-up: {text}", flush=True)


def run(command: list[str], timeout_s: float | None = None) -> str:
    """Return the output of a command that succeeds within the time given.

    Raises:
        SetupError: it failed or took too long; its whole process group is ended then.
    """
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        # A group of its own: a build that hangs leaves children that would outlive it.
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=output, stderr=output, start_new_session=True
        )
        try:
            code = process.wait(timeout_s)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if isinstance(error, subprocess.TimeoutExpired):
                raise SetupError(f"{command[0]} took more than {timeout_s:.0f} s") from error
            raise
        output.seek(0)
        text = output.read()
    if code:
        tail = "\n".join(text.strip().splitlines()[-25:])
        raise SetupError(f"{Path(command[0]).name} {command[1]} failed:\n{tail}")
    return text


def version_of(text: str) -> tuple[int, ...]:
    """Return the first dotted number of a text as integers; ``()`` if there is none."""
    found = re.search(r"(\d+)\.(\d+)", text)
    return tuple(map(int, found.groups())) if found else ()


def locked(package: str) -> str:
    """Return the lines of one package in the lock, hashes included.

    Raises:
        SetupError: the lock does not hold that package.
    """
    found = re.search(
        rf"^{re.escape(package)}==.*?(?=^\S|\Z)", LOCK.read_text(encoding="utf-8"), re.M | re.S
    )
    if not found:
        raise SetupError(f"{LOCK.name} does not hold {package}; run 'make lock'")
    return found.group()


def uv_on_path() -> str | None:
    """Return the path of a uv that is new enough, or None."""
    found = shutil.which("uv")
    if found and version_of(run([found, "--version"])) >= OLDEST_UV:
        return found
    return None


def ensure_environment(uv: str | None) -> None:
    """Create ``.venv`` unless a working one is there."""
    if PYTHON.exists():
        try:
            if version_of(run([str(PYTHON), "--version"])) >= OLDEST_PYTHON:
                return
        except (SetupError, OSError):
            say(".venv does not work any more; making a new one")
        shutil.rmtree(VENV)
    if uv:
        run([uv, "venv", "--quiet", "--python", sys.executable, str(VENV)])
    else:
        try:
            run([sys.executable, "-m", "venv", str(VENV)])
        except SetupError as error:
            raise SetupError(
                f"{sys.executable} cannot make an environment with pip (on Debian and Ubuntu: "
                f"apt install python3-venv), and uv is not installed\n{error}"
            ) from error
    say(f".venv with Python {sys.version.split()[0]}")


def ensure_uv(uv: str | None) -> str:
    """Return the path of uv, installed into ``.venv`` by pip at the locked version if need be."""
    own = VENV / "bin" / "uv"
    if uv or own.exists():
        return uv or str(own)
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as wanted:
        wanted.write(locked("uv"))
        wanted.flush()
        pip = [str(PYTHON), "-m", "pip", "install", "--quiet", "--no-deps"]
        run([*pip, "--require-hashes", "-r", wanted.name])
    say("uv, installed into .venv")
    return str(own)


def install(uv: str, extra: str) -> None:
    """Install the package with what it needs, or what an extra needs on top.

    Versions and hashes come from the lock. An extra leaves the package itself alone: installing
    that again would take it away for a moment, under the feet of a run or a server.
    """
    started = time.monotonic()
    core = ["--compile-bytecode", "--editable", "."]
    wanted = core if extra == "core" else ["--requirements", "pyproject.toml", "--extra", extra]
    say(f"packages of '{extra}' from {LOCK.name} ...")
    run(
        [uv, "pip", "install", "--quiet", "--python", str(PYTHON), *wanted]
        + ["--constraint", str(LOCK), "--build-constraint", str(LOCK)]
    )
    say(f"packages of '{extra}' are ready ({time.monotonic() - started:.0f} s)")


def settle_renderer(uv: str) -> None:
    """Say which program renders the pages; try to install Quarto where it is missing."""
    search = os.pathsep.join([str(VENV / "bin"), os.environ.get("PATH", "")])
    quarto = shutil.which("quarto", path=search)
    if quarto:
        say(f"pages are rendered by Quarto {run([quarto, '--version'], 60).strip()}")
        return
    pin = locked("quarto-cli")
    version = pin.split("==")[1].split()[0]
    try:
        with urllib.request.urlopen(RELEASES + version, timeout=PROBE_S):
            pass
        run(
            [uv, "pip", "install", "--quiet", "--python", str(PYTHON), "--no-deps", "quarto-cli"]
            + ["--constraint", str(LOCK), "--build-constraint", str(LOCK)],
            QUARTO_S,
        )
        run([str(VENV / "bin" / "quarto"), "--version"], 60)
    except (SetupError, OSError) as error:
        reached = isinstance(error, SetupError)
        reason = "can't be installed" if reached else "has a release page that can't be reached"
        say(
            f"Quarto {version} {reason}; pages are rendered without it "
            "('make sync-quarto' tries again)"
        )
    else:
        say(f"pages are rendered by Quarto {version}")


def main(extra: str) -> int:
    """Return the exit code of setting up one extra."""
    if sys.version_info < OLDEST_PYTHON:
        print(f"Driftbook needs Python 3.11 or newer; {sys.executable} is {sys.version.split()[0]}")
        return 2
    try:
        found = uv_on_path()
        ensure_environment(found)
        uv = ensure_uv(found)
        if extra != "quarto":
            install(uv, extra)
        if extra in ("core", "quarto"):
            settle_renderer(uv)
    except SetupError as error:
        print(f"set-up: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "core"))
