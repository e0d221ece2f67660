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
from pathlib import Path

import numpy as np
import pandas as pd

BOUND = 5.0
MEASURE = """
import json, resource, sys, time
start = time.perf_counter()
{work}
used = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps([time.perf_counter() - start, used.ru_utime + used.ru_stime - before,
    used.ru_maxrss / 1024]))
"""
CLOCK = "used = resource.getrusage(resource.RUSAGE_SELF); before = used.ru_utime + used.ru_stime"
READ = f"""
import pyarrow.parquet as pq
start = time.perf_counter(); {CLOCK}
pq.read_table(sys.argv[1])
"""
JUDGE = f"""
from driftbook import Settings, assess, train
from driftbook.data.windows import load_dataset, split_at_window
settings = Settings.parse({{"data": {{"source": sys.argv[1], "target": "label",
    "timestamp": "time", "prediction": "score", "window": int(sys.argv[2]), "reference": 1}},
    "model": {{"estimator": "external"}}}})
start = time.perf_counter(); {CLOCK}
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


def measure(work: str, *words: str) -> list[float]:
    """Return wall seconds, CPU seconds and the peak MiB of a fresh process that does ``work``."""
    program = MEASURE.format(work=work)
    done = subprocess.run(
        [sys.executable, "-c", program, *words], capture_output=True, text=True, check=True
    )
    return list(json.loads(done.stdout.splitlines()[-1]))


def main() -> int:
    """Return 0 when judging takes at most five times as long as reading, 1 otherwise."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    options, _ = parser.parse_known_args()  # `make bench` gives all benchmarks the same words
    with tempfile.TemporaryDirectory(prefix="driftbook-bench-") as folder:
        path = Path(folder) / "log.parquet"
        write_log(path, options.rows)
        turns = [
            (measure(READ, str(path)), measure(JUDGE, str(path), str(options.rows // 2)))
            for _ in range(options.repeats + 1)
        ][1:]  # the first turn warms the disk's cache
    print(f"{'':<10}{'wall s':>8}{'CPU s':>8}{'MiB':>8}   (medians of {options.repeats})")
    names = ("reading", "judging")
    medians = {n: [statistics.median(m) for m in zip(*(t[k] for t in turns), strict=True)]
               for k, n in enumerate(names)}  # fmt: skip
    for name, (wall, cpu, peak) in medians.items():
        print(f"{name:<10}{wall:>8.2f}{cpu:>8.2f}{peak:>8.0f}")
    ratios = [statistics.median(j[k] / r[k] for r, j in turns) for k in range(2)]
    print(f"judging over reading: {ratios[0]:.1f} of wall, {ratios[1]:.1f} of CPU; bound {BOUND}")
    return int(ratios[0] > BOUND)


if __name__ == "__main__":
    sys.exit(main())
