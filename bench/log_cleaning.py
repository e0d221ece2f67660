"""What cleaning the prediction log costs those who ask meanwhile: p99, write-ahead log, memory.

A server whose SQLite log holds millions of rows past their age is asked without a pause on a few
connections, first before it cleans, then while it does; each percentile is the median of those of
slices of three seconds. Before that a process loads the rows as a table to judge.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from driftbook.api.log import rows
from driftbook.api.log.ids import first_id_at
from driftbook.data import prediction_log, synthetic
from driftbook.model import training
from driftbook.settings import Settings
from driftbook.store import files, registry, registry_models
from serving import PREDICT, ROW, load, process, wait_for

BOUND, WAL_BOUND_MB = 1.5, 128.0
DAY_MS = 86_400_000
SLICE_S = 3.0
LOADING = """
import sys, time
from pathlib import Path
from driftbook.data.prediction_log import read_logged_predictions
from driftbook.settings import Settings
settings = Settings.load(sys.argv[1])
import pandas
def peak():
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024
before = peak()
started = time.process_time()
frame = read_logged_predictions(settings, Path(sys.argv[2]))
after = peak()
bytes_ = int(frame.memory_usage(deep=True).sum())
print(len(frame), time.process_time() - started, after - before, bytes_ / 1e6)
"""


def fill_log(file: Path, count: int, days: float) -> None:
    """Write so many predictions of that age into a new log."""
    engine = prediction_log.connect_prediction_log(f"sqlite:///{file}")
    rows.create_log_tables(engine)
    engine.dispose()
    start_ms = time.time_ns() // 1_000_000 - round(days * DAY_MS)
    names = [f"f{number}" for number in range(len(ROW))]
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA synchronous=OFF")
        made = (
            (
                first_id_at(start_ms + number), (start_ms + number) * 1000, "bench", "m0",
                json.dumps(dict(zip(names, [*ROW[:-1], number / count], strict=True))), 0.25,
            )
            for number in range(count)
        )  # fmt: skip
        insert = (
            "INSERT INTO predictions (id, time_us, model_name, model_version, features, "
            "probability) VALUES (?, ?, ?, ?, ?, ?)"
        )
        connection.executemany(insert, made)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


class WalWatch:
    """Notes how large the write-ahead log of a file ever was, from a thread of its own."""

    def __init__(self, file: Path) -> None:
        self._wal = file.with_name(f"{file.name}-wal")
        self.largest_mb = 0.0
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while True:
            size = self._wal.stat().st_size / 1e6 if self._wal.exists() else 0.0
            self.largest_mb = max(self.largest_mb, size)
            time.sleep(0.2)


def count_old(file: Path) -> int:
    """Return how many predictions are older than a day."""
    cutoff = first_id_at(time.time_ns() // 1_000_000 - DAY_MS)
    with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as connection:
        found = connection.execute("SELECT count(*) FROM predictions WHERE id < ?", (cutoff,))
        return int(found.fetchone()[0])


def ask_in_slices(url: str, options: argparse.Namespace) -> list[list[float]]:
    """Return what each answer took, slice by slice: what else disturbs the machine is in few."""
    count = max(1, round(options.seconds / SLICE_S))
    return [load(url, PREDICT, SLICE_S, options.connections).seconds for _ in range(count)]


def percentile_ms(taken: list[float], share: float) -> float:
    """Return the milliseconds within which that share was answered."""
    return 1000 * sorted(taken)[int(len(taken) * share)]


def measure_cleaning(url: str, file: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Return the percentiles before the server cleans and while it does, and the largest files."""
    wal, asked = WalWatch(file), f"{url}/predict"
    load(asked, PREDICT, 2.0, options.connections)  # warms up
    before = ask_in_slices(asked, options)
    wal_before, wal.largest_mb = wal.largest_mb, 0.0
    first = left = count_old(file)
    while left == first:
        time.sleep(0.2)
        left = count_old(file)
    meanwhile: list[list[float]] = []
    started = time.monotonic()
    while left and time.monotonic() - started < options.longest:
        meanwhile += ask_in_slices(asked, options)
        left = count_old(file)
    p50, p99 = (
        [
            statistics.median(percentile_ms(taken, share) for taken in slices)
            for slices in (before, meanwhile)
        ]
        for share in (0.5, 0.99)
    )
    return {
        "rows": first,
        "left": left,
        "rows_a_second": (first - left) / (time.monotonic() - started),
        "p50_ms": p50,
        "p99_ms": p99,
        "ratio": p99[1] / p99[0],
        "wal_mb": [wal_before, wal.largest_mb],
    }


def measure_loading(settings: Path, artifacts: Path) -> dict[str, Any]:
    """Return what it takes to load every logged row as a table."""
    command = [sys.executable, "-c", LOADING, str(settings), str(artifacts)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    count, seconds, peak, table = map(float, done.stdout.split())
    return {"rows": int(count), "cpu_seconds": seconds, "peak_mb": peak, "table_mb": table}


def main() -> int:
    """Return 0 where the bounds hold, 1 otherwise."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=("small", "full"), default="full")
    parser.add_argument("--rows", type=int)
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--longest", type=float, default=90.0, help="seconds of cleaning measured")
    options, _ = parser.parse_known_args()
    count = options.rows or (3_000_000 if options.size == "full" else 300_000)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory(prefix="driftbook-bench-") as scratch:
        folder = Path(scratch)
        file, artifacts = folder / "predictions.sqlite", folder / "artifacts"
        settings = Settings.parse(
            {
                "data": {"source": "predictions", "target": "target", "timestamp": "at"},
                "model": {"name": "bench"},
                "log": {
                    "url": f"sqlite:///{file}", "max_age_days": 1.0,
                    "clean_every_s": 2.0 + options.seconds + 5.0,
                },
            }
        )  # fmt: skip
        (folder / "settings.yaml").write_text(settings.to_yaml(), encoding="utf-8")
        learnt = Settings.parse({"data": {"source": "synthetic:none"}, "model": {"name": "bench"}})
        model = training.train(synthetic.make_scenario("none", rows=3000), learnt)
        registry_models.save_model(artifacts / "models", model)
        registry.set_first_champion(artifacts / "models", model.version)
        fill_log(file, count, days=10.0)
        loaded = measure_loading(folder / "settings.yaml", artifacts)
        command = [sys.executable, "-m", "driftbook", "serve", "--port", "0"]
        command += ["--settings", str(folder / "settings.yaml"), "--artifacts", str(artifacts)]
        with process(command) as server:
            url = str(json.loads(server.stdout.readline())["url"]) if server.stdout else ""
            wait_for(f"{url}/ready")
            cleaned = measure_cleaning(url, file, options)
    report(cleaned, loaded)
    write = Path("artifacts", "bench", "log_cleaning.json")
    files.write_whole(write, files.format_json({"cleaning": cleaned, "loading": loaded}))
    return 0 if cleaned["ratio"] <= BOUND and cleaned["wal_mb"][1] <= WAL_BOUND_MB else 1


def report(cleaned: dict[str, Any], loaded: dict[str, Any]) -> None:
    """Print the figures."""
    for number, name in enumerate(("before", "while cleaning")):
        p50, p99 = cleaned["p50_ms"][number], cleaned["p99_ms"][number]
        wal = cleaned["wal_mb"][number]
        print(f"{name:<16} p50 {p50:7.2f} ms   p99 {p99:7.2f} ms   write-ahead log {wal:7.1f} MB")
    print(f"{'p99 ratio':<16} {cleaned['ratio']:.2f}   bound {BOUND}")
    print(f"{'deleted':<16} {cleaned['rows_a_second']:,.0f} rows/s, {cleaned['left']:,} left")
    print(
        f"{'loading':<16} {loaded['rows']:,} rows in {loaded['cpu_seconds']:.1f} CPU s, "
        f"{loaded['peak_mb']:,.0f} MB more at the peak, a table of {loaded['table_mb']:,.0f} MB"
    )


if __name__ == "__main__":
    sys.exit(main())
