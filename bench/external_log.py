"""A log of scores of ten million rows: judging it beside reading the same columns with pyarrow.

The log holds a time, the score of a model served elsewhere, the label, and eight features. Half of
it is the reference, half the window. Each turn starts both in a process of its own, one after the
other, so that neither finds the other's memory: reading alone, and the whole way from the file to
the decision. ``--rows`` sets the size.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from _measuring import Goal, Spent, compare_turns, find_median, report_bench, take_turns

BOUND = 5.0
HERE = str(Path(__file__).parent)
MEASURE = """
import json, sys
sys.path.insert(0, {here!r})
from _measuring import find_peak_mib, measure_call
{work}
print(json.dumps([*measure_call(work), find_peak_mib()]))
"""
READ = """
import pyarrow.parquet as pq
def work(): pq.read_table(sys.argv[1])
"""
JUDGE = """
from driftbook import Settings, assess, train
from driftbook.data.windows import load_dataset, split_at_window
settings = Settings.parse({"data": {"source": sys.argv[1], "target": "label",
    "timestamp": "time", "prediction": "score", "window": int(sys.argv[2]), "reference": 1},
    "model": {"estimator": "external"}})
def work():
    data = load_dataset(settings)
    model = train(data.rows(data.windows[0]), settings)
    split = split_at_window(data, settings, None, data.windows[0].stop)
    assess(model, split.current, settings, split.history)
"""


def write_log(path: Path, rows: int) -> None:
    """Write a log without drift."""
    rng = np.random.default_rng(0)
    features = {f"x{k}": rng.normal(size=rows) for k in range(8)}
    score = 1 / (1 + np.exp(-0.8 * features["x0"] + 0.5 * features["x1"]))
    times = pd.date_range("2024-01-01", periods=rows, freq="s")
    label = (rng.random(rows) < score).astype(np.int64)
    table = pd.DataFrame({"time": times, "score": score, "label": label, **features})
    table.to_parquet(path, index=False)


def measure(work: str, *words: str) -> tuple[Spent, float]:
    """Return the seconds and the peak MiB of a fresh process that does ``work``."""
    program = MEASURE.format(work=work, here=HERE)
    done = subprocess.run(
        [sys.executable, "-c", program, *words], capture_output=True, text=True, check=True
    )
    cpu, wall, peak = json.loads(done.stdout.splitlines()[-1])
    return Spent(cpu, wall), peak


def main() -> int:
    """Return 0 when judging takes at most five times as long as reading, 1 otherwise."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    options, _ = parser.parse_known_args()  # `make bench` gives all benchmarks the same words
    with tempfile.TemporaryDirectory(prefix="driftbook-bench-") as folder:
        path = Path(folder) / "log.parquet"
        write_log(path, options.rows)
        programs = {
            "reading": (READ, str(path)),
            "judging": (JUDGE, str(path), str(options.rows // 2)),
        }
        peaks: dict[str, list[float]] = {name: [] for name in programs}

        def start(name: str) -> Spent:
            spent, peak = measure(*programs[name])
            peaks[name].append(peak)
            return spent

        # The first turn warms the disk's cache.
        turns = take_turns({name: partial(start, name) for name in programs}, options.repeats)
    reading, judging = turns["reading"], turns["judging"]
    found = [
        {
            "work": name,
            **find_median(taken)._asdict(),
            "peak_mib": statistics.median(peaks[name]),
            "cpu_over_reading": compare_turns(taken, reading),
        }
        for name, taken in turns.items()
    ]
    wall = statistics.median(j.wall_s / r.wall_s for j, r in zip(judging, reading, strict=True))
    goal = Goal("judging over reading, wall seconds", wall, BOUND, at_least=False)
    title = f"a log of {options.rows:,} rows; medians of {options.repeats}"
    return report_bench("external_log", __doc__, {title: found}, [goal])


if __name__ == "__main__":
    sys.exit(main())
