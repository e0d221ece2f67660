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
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from driftbook.data import windows
from driftbook.paths import STEPS
from driftbook.runbook.project import Project, locate_project
from driftbook.store import transaction

BOUND = 1.25


class Seconds(NamedTuple):
    """What a command took."""

    wall: float
    cpu: float


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
        seconds: dict[str, list[Seconds]] = {"script": [], "driftbook run": []}
        for turn in range(options.repeats + 1):
            for kind, measure in (("script", time_script), ("driftbook run", time_run)):
                place = Path(scratch) / f"{kind}-{turn}".replace(" ", "-")
                shutil.copytree(base, place)
                taken = measure(Project(project.settings_file, place))
                if turn:  # the first turn warms the disk's cache
                    seconds[kind].append(taken)
                shutil.rmtree(place)
    return report(seconds)


def time_run(project: Project) -> Seconds:
    """Return the seconds of ``driftbook run`` without rendering, start of Python included."""
    command = [sys.executable, "-m", "driftbook", "run", "--no-render", "--quiet"]
    where = ["--settings", str(project.settings_file), "--artifacts", str(project.artifacts)]
    return timed([*command, *where], project)


def time_script(project: Project) -> Seconds:
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


def timed(command: list[str], project: Project) -> Seconds:
    """Return the seconds of a command that must succeed, and of all that it started."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        command,
        cwd=project.notebooks,
        env={**os.environ, "MPLBACKEND": "Agg"},
        check=True,
        stdout=subprocess.DEVNULL,
    )
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return Seconds(wall, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)


def report(seconds: dict[str, list[Seconds]]) -> int:
    """Print the medians and their ratios; return the exit code."""
    medians = {}
    for kind, taken in seconds.items():
        medians[kind] = Seconds(*(statistics.median(one) for one in zip(*taken, strict=True)))
        shown = " ".join(f"{one.wall:.2f}" for one in sorted(taken))
        print(f"{kind:<16} median {medians[kind].wall:6.2f} s   of {shown}")
        print(f"{'':<16} median {medians[kind].cpu:6.2f} CPU s")
    wall, cpu = (a / b for a, b in zip(medians["driftbook run"], medians["script"], strict=True))
    print(f"{'ratio':<16} {wall:13.2f}     bound {BOUND}; of CPU seconds {cpu:.2f}")
    return 0 if wall <= BOUND else 1


if __name__ == "__main__":
    sys.exit(main())
