"""What the whole default run costs beside a plain script that does what people write by hand.

``driftbook run`` on the flights, without rendering pages, in an artifacts folder of its own that
holds the prepared data and no model yet, against ``bench/_plain_run.py`` on the same Parquet file
(its docstring says what it does and leaves out: the same fits of the model, KS and PSI, one refit
a window, the same CSV files). Both are commands of their own, one after the other in every turn;
CPU seconds count all processes that they start and say the same on a busy machine. Ratios are
medians of the turns' own.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from driftbook.data import windows
from driftbook.runbook.project import locate_project

WRITTEN = Path("artifacts/bench/default_run.json")
SCRIPT = Path(__file__).with_name("_plain_run.py")
GOAL = 2.5
PACKAGES = ("numpy", "scipy", "pandas", "scikit-learn", "matplotlib", "papermill", "skops")
TURNS = {"small": 3, "full": 7}
PLAIN, RUN = "plain script", "driftbook run"


class Seconds(NamedTuple):
    """What a command and all that it started took."""

    cpu: float
    wall: float


def time_command(command: list[str], env: dict[str, str]) -> Seconds:
    """Return the seconds of a command that must succeed, start of Python included."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, env=env, check=True, stdout=subprocess.DEVNULL)
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return Seconds(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime, wall)


def compare_once(base: Path, window: str, scratch: Path) -> dict[str, Seconds]:
    """Return the seconds of both, the plain script first."""
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    plain, ours = scratch / "plain", scratch / "ours"
    rows = base / "data" / "flights.parquet"
    found = {PLAIN: time_command([sys.executable, str(SCRIPT), str(rows), window, str(plain)], env)}
    shutil.copytree(base, ours)
    command = [sys.executable, "-m", "driftbook", "run", "--no-render", "--quiet"]
    found[RUN] = time_command([*command, "--artifacts", str(ours)], env)
    missing = {one.relative_to(ours) for one in ours.glob("*/*.csv")} - {
        one.relative_to(plain) for one in plain.glob("*/*.csv")
    }
    if missing:
        raise SystemExit(f"the plain script does not write {sorted(map(str, missing))}")
    shutil.rmtree(plain)
    shutil.rmtree(ours)
    return found


def main() -> int:
    """Print the table, write it as JSON; return 1 where the ratio is above the goal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=TURNS, default="full")
    options, _ = parser.parse_known_args()  # `make bench` gives all benchmarks the same words
    settings = locate_project(None).settings
    with tempfile.TemporaryDirectory(prefix="driftbook-bench-") as folder:
        scratch, base = Path(folder), Path(folder) / "base"
        dataset = windows.load_dataset(settings, base)  # fills the cache
        window = windows.split_at_window(dataset, settings, None, 0).window.name
        # The first turn warms the disk's cache.
        turns = [compare_once(base, window, scratch) for _ in range(TURNS[options.size] + 1)][1:]
    ratios = {
        kind: statistics.median(getattr(t[RUN], kind) / getattr(t[PLAIN], kind) for t in turns)
        for kind in Seconds._fields
    }
    print(f"flights, window {window}; medians of {len(turns)}")
    print(f"{'':<16}{'CPU s':>8}{'wall s':>8}")
    parts = {
        name: {
            kind: statistics.median(getattr(turn[name], kind) for turn in turns)
            for kind in Seconds._fields
        }
        for name in (PLAIN, RUN)
    }
    for name, one in parts.items():
        print(f"{name:<16}{one['cpu']:>8.2f}{one['wall']:>8.2f}")
    print(f"{'ratio':<16}{ratios['cpu']:>8.2f}{ratios['wall']:>8.2f}    goal {GOAL} of CPU seconds")
    about = {
        "window": window,
        "repeats": len(turns),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
        "seconds": parts,
        "ratio": ratios,
        "goal": GOAL,
    }
    WRITTEN.parent.mkdir(parents=True, exist_ok=True)
    WRITTEN.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    return 0 if ratios["cpu"] <= GOAL else 1


if __name__ == "__main__":
    raise SystemExit(main())
