"""What the weekly loop costs: the default run, the same with boosted trees, and the backtest.

Each turn runs, one after the other and each in a process of its own, ``driftbook run`` without
rendering from a copy of the prepared data with no model yet, by a linear model and by
``hist_gradient_boosting``, and replays all policies on flights by week, linear. Of the replay's CPU
seconds those inside fits are counted apart: ``fits`` are whole fits (preparation, estimator and
calibration of a model and of a trial's block, and an estimate's own logistic fits), ``solvers``
only the numerical part of the estimators.
Libraries choose their threads here as on anybody's machine. CPU seconds say the same on a busy
machine; ratios are medians of the turns' own.
"""

from __future__ import annotations

import argparse
import functools
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
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sklearn.linear_model import LogisticRegression

from driftbook.backtest.replay import replay_policies
from driftbook.data import windows
from driftbook.decision import recipes
from driftbook.model import logistic
from driftbook.model.fitting import TrainingRows
from driftbook.model.tasks import BinaryTask
from driftbook.settings import Settings

WRITTEN = Path("artifacts/bench/loop.json")
LINEAR, TREES = "default run, linear", "default run, trees"
BACKTEST, FITS, SOLVERS = "backtest by week", "its fits", "their solvers"
RUNS = {LINEAR: "linear", TREES: "hist_gradient_boosting"}
BOUNDS = {"trees over linear": 4.0, "backtest over its fits": 2.0}
WEEKLY = Settings.parse({"data": {"window": "week"}})
PACKAGES = ("numpy", "scipy", "pandas", "scikit-learn", "threadpoolctl")
OWN_FITS = ("fit_logistic", "fit_crossfitted", "fit_sigmoid")
REPLAY = "--replay"  # what a turn's own process is asked for


class CpuClock:
    """The CPU seconds inside functions of some owners; those that call each other count once."""

    def __init__(self) -> None:
        self.seconds, self.calls, self._inside = 0.0, 0, False

    def watch(self, owner: Any, name: str) -> None:
        """Replace the function by one that does the same and is counted."""
        plain: Callable[..., Any] = getattr(owner, name)

        @functools.wraps(plain)
        def counted(*args: Any, **named: Any) -> Any:
            if self._inside:
                return plain(*args, **named)
            self._inside, started = True, time.process_time()
            try:
                return plain(*args, **named)
            finally:
                self._inside = False
                self.seconds += time.process_time() - started
                self.calls += 1

        setattr(owner, name, counted)


def replay_weeks(folder: Path) -> dict[str, dict[str, float]]:
    """Return what the replay of all policies takes, and what of it its fits do."""
    fits, solvers = CpuClock(), CpuClock()
    solvers.watch(LogisticRegression, "fit")
    for name in OWN_FITS:
        solvers.watch(logistic, name)
        fits.watch(logistic, name)
    fits.watch(TrainingRows, "fitted")
    fits.watch(recipes, "fit_block")
    fits.watch(BinaryTask, "fit_calibration")
    dataset = windows.load_dataset(WEEKLY, folder)
    cpu, wall = time.process_time(), time.perf_counter()
    replay_policies(dataset, WEEKLY)
    whole = {"cpu_s": time.process_time() - cpu, "wall_s": time.perf_counter() - wall}
    parts = {FITS: fits, SOLVERS: solvers}
    counted = {name: {"cpu_s": one.seconds, "calls": one.calls} for name, one in parts.items()}
    return {BACKTEST: whole, **counted}


def time_run(estimator: str, folder: Path) -> dict[str, float]:
    """Return what ``driftbook run`` without pages takes, with all that it starts."""
    settings = folder / "bench.yaml"
    settings.write_text(f"model: {{estimator: {estimator}}}\n", encoding="utf-8")
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [sys.executable, "-m", "driftbook", "run", "--no-render", "--quiet"]
    subprocess.run(
        [*command, "--settings", str(settings), "--artifacts", str(folder)],
        env=free_threads(),
        check=True,
        stdout=subprocess.DEVNULL,
    )
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return {"cpu_s": cpu, "wall_s": wall}


def free_threads() -> dict[str, str]:
    """Return the environment without a limit on threads: what holds them is part of the work."""
    return {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}


def take_turn(base: Path, scratch: Path) -> dict[str, dict[str, float]]:
    """Return by part what it took, each from the prepared data alone."""
    found = {}
    for name, estimator in RUNS.items():
        place = scratch / estimator
        shutil.copytree(base, place)
        found[name] = time_run(estimator, place)
        shutil.rmtree(place)
    told = subprocess.run(
        [sys.executable, __file__, REPLAY, str(base)],
        env=free_threads(),
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return {**found, **json.loads(told.stdout)}


def find_ratios(turn: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Return the ratios of CPU seconds that have a bound, and the one to the solvers alone."""
    cpu = {name: one["cpu_s"] for name, one in turn.items()}
    return {
        "trees over linear": cpu[TREES] / cpu[LINEAR],
        "backtest over its fits": cpu[BACKTEST] / cpu[FITS],
        "backtest over their solvers": cpu[BACKTEST] / cpu[SOLVERS],
    }


def report(turns: list[dict[str, dict[str, float]]]) -> int:
    """Print the medians, write them as JSON, and return 0 where the ratios are within bounds."""
    parts = {
        name: {key: statistics.median(turn[name][key] for turn in turns) for key in turns[0][name]}
        for name in turns[0]
    }
    told = [find_ratios(turn) for turn in turns]
    ratios = {name: statistics.median(one[name] for one in told) for name in told[0]}
    print(f"flights; medians of {len(turns)} turn(s)")
    print(f"{'':<30}{'CPU s':>9}{'wall s':>9}{'calls':>8}")
    for name, one in parts.items():
        wall = f"{one['wall_s']:9.1f}" if "wall_s" in one else " " * 9
        calls = f"{one['calls']:8.0f}" if "calls" in one else ""
        print(f"{name:<30}{one['cpu_s']:9.1f}{wall}{calls}")
    for name, value in ratios.items():
        bound = f"   bound {BOUNDS[name]:g}" if name in BOUNDS else ""
        print(f"{name:<30}{value:9.2f}{bound}")
    WRITTEN.parent.mkdir(parents=True, exist_ok=True)
    about = {
        "turns": len(turns),
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
        "parts": parts,
        "ratios": ratios,
        "bounds": BOUNDS,
    }
    WRITTEN.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    return int(any(ratios[name] > bound for name, bound in BOUNDS.items()))


def main() -> int:
    """Return 0 when the ratios of the medians are within their bounds, 1 otherwise."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=["small", "full"], default="full")
    parser.add_argument("--repeats", type=int, help="turns (default: 1 of small, 5 of full)")
    parser.add_argument(REPLAY, type=Path, help=argparse.SUPPRESS)
    options, _ = parser.parse_known_args()  # `make bench` gives all benchmarks the same words
    if options.replay is not None:
        print(json.dumps(replay_weeks(options.replay)))
        return 0
    repeats = options.repeats or (1 if options.size == "small" else 5)
    with tempfile.TemporaryDirectory(prefix="driftbook-bench-") as scratch:
        base = Path(scratch) / "base"
        base.mkdir()
        windows.load_dataset(WEEKLY, base)
        return report([take_turn(base, Path(scratch)) for _ in range(repeats)])


if __name__ == "__main__":
    raise SystemExit(main())
