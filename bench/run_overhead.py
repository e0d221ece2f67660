"""What running notebooks costs: ``driftbook run`` against the same cells as one plain script.

Both do the same work on the same data from the same state: a copy of an artifacts folder that
holds the prepared data and no model yet. The script is the code cells of 01 to 04 one after the
other, with the parameters that a run injects, run by plain python with matplotlib's Agg backend.
CPU seconds stand beside: a machine that is busy with other things stretches wall time alone.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from _measuring import (
    Goal,
    Spent,
    compare_turns,
    find_median,
    measure_call,
    report_bench,
    take_turns,
)
from driftbook.data import windows
from driftbook.paths import STEPS
from driftbook.runbook.project import Project, locate_project
from driftbook.store import transaction

BOUND = 1.25
RUN = "driftbook run"


def main() -> int:
    """Return 0 when the ratio of the medians is within the bound, 1 otherwise."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", type=Path, help="settings file (default: runbook.yaml)")
    parser.add_argument("--repeats", type=int, default=5, help="timed runs of each kind")
    options, _ = parser.parse_known_args()  # `make bench` gives all benchmarks the same words
    project = locate_project(options.settings)
    with tempfile.TemporaryDirectory(prefix="driftbook-bench-") as scratch:
        base = Path(scratch) / "base"
        # The prepared data are there before either starts.
        windows.load_dataset(project.settings, base)
        base.mkdir(exist_ok=True)

        def start(measure: Callable[[Project], Spent]) -> Spent:
            place = Path(scratch) / "turn"
            shutil.copytree(base, place)
            taken = measure(Project(project.settings_file, place))
            shutil.rmtree(place)
            return taken

        parts = {"script": partial(start, time_script), RUN: partial(start, time_run)}
        return report(take_turns(parts, options.repeats))  # the first turn warms the disk's cache


def time_run(project: Project) -> Spent:
    """Return the seconds of ``driftbook run`` without rendering, start of Python included."""
    command = [sys.executable, "-m", "driftbook", "run", "--no-render", "--quiet"]
    where = ["--settings", str(project.settings_file), "--artifacts", str(project.artifacts)]
    return timed([*command, *where], project)


def time_script(project: Project) -> Spent:
    """Return the seconds of the same cells as one script, start of Python included."""
    staged = transaction.stage_run(project.settings, project.artifacts)
    parameters = {
        "settings_file": str(project.settings_file),
        "artifacts_dir": str(project.artifacts),
        "window": None,
        "run_id": staged.run_id,
    }
    script = project.artifacts / "plain.py"
    script.write_text(script_of(project.notebooks, parameters), encoding="utf-8")
    return timed([sys.executable, str(script)], project)


def script_of(notebooks: Path, parameters: dict[str, Any]) -> str:
    """Return the code cells of the four notebooks with these parameters, in order."""
    assigned = "\n".join(f"{name} = {value!r}" for name, value in parameters.items())
    cells = []
    for name in STEPS.values():
        for cell in json.loads((notebooks / name).read_text(encoding="utf-8"))["cells"]:
            if cell["cell_type"] == "code":
                cells.append("".join(cell["source"]))
                if "parameters" in cell["metadata"].get("tags", []):
                    cells.append(assigned)
    return "\n\n".join(cells) + "\n"


def timed(command: list[str], project: Project) -> Spent:
    """Return the seconds of a command that must succeed, and of all that it started."""
    return measure_call(
        lambda: subprocess.run(
            command,
            cwd=project.notebooks,
            env={**os.environ, "MPLBACKEND": "Agg"},
            check=True,
            stdout=subprocess.DEVNULL,
        )
    )


def report(turns: dict[str, list[Spent]]) -> int:
    """Print the medians and their ratios; return the exit code."""
    script = turns["script"]
    found = [
        {
            "work": kind,
            **find_median(taken)._asdict(),
            "least_wall_s": min(one.wall_s for one in taken),
            "most_wall_s": max(one.wall_s for one in taken),
            "cpu_over_script": compare_turns(taken, script),
        }
        for kind, taken in turns.items()
    ]
    ratio = find_median(turns[RUN]).wall_s / find_median(script).wall_s
    goal = Goal("driftbook run over the script, wall seconds", ratio, BOUND, at_least=False)
    title = f"notebooks 01 to 04; medians of {len(script)}"
    return report_bench("run_overhead", __doc__, {title: found}, [goal])


if __name__ == "__main__":
    sys.exit(main())
