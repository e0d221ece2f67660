"""What profiling a window larger than memory costs, beside reading the same columns.

Synthetic Parquet files of eight columns of normal numbers (row groups of a million rows) are
written to a temporary folder and profiled against a stored reference of 200,000 rows. Each
measurement is a process of its own, so that its CPU seconds and its largest resident memory are
its own: ``read`` takes the columns into memory as pyarrow does (``read_table``), ``pass`` only
decodes them batch by batch, which is the least any stream can do, ``load`` opens the source, cuts
its window and draws the sample, and ``profile`` counts all its rows by ``count_window`` on this
machine's threads. Turns are interleaved; ratios are medians of the turns' own. With ``--workers``
the same window is profiled by one and by two worker processes of a Dask cluster on loopback, by
wall time, which says something only where two cores are free.
"""

from __future__ import annotations

import argparse
import importlib
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from _measuring import Goal, find_peak_mib, measure_call, report_bench

COLUMNS = [f"x{k}" for k in range(8)]
GROUP = 1_000_000
SIZES = {"small": (1, 10), "full": (1, 10, 100)}
PARTS = ("read", "pass", "load", "profile")
# Reading a hundred million rows into memory takes 6.4 GB and says nothing new.
MOST_READ = 10
# Goals: CPU seconds beside a read of the same columns, and resident memory.
MOST_TIMES_A_READ, MOST_MIB = 2.0, 1024
RATIOS = ("profile_over_read_cpu", "profile_over_pass_cpu")


def write_rows(folder: Path, millions: int) -> None:
    """Write so many million rows, ten million a file, and a reference of 200,000."""
    rng = np.random.default_rng(millions)
    for number in range(-(-millions // 10)):
        left = min(10, millions - 10 * number)
        schema = pa.schema([*((name, pa.float64()) for name in COLUMNS), ("target", pa.int8())])
        with pq.ParquetWriter(folder / f"{number:04d}.parquet", schema) as writer:
            for _ in range(left):
                values = [rng.normal(0.0, 1.0, GROUP) for _ in COLUMNS]
                label = (values[0] + rng.normal(size=GROUP) > 0).astype(np.int8)
                table = pa.table([*values, label], schema=schema)
                writer.write_table(table, row_group_size=GROUP)


def read_whole(folder: Path) -> int:
    """Return the rows of the columns, all in memory at once."""
    return int(pq.read_table(folder, columns=COLUMNS).num_rows)


def pass_through(folder: Path) -> int:
    """Return the rows of the columns, decoded batch by batch and let go."""
    rows = 0
    for path in sorted(folder.glob("*.parquet")):
        with pq.ParquetFile(path) as opened:
            for batch in opened.iter_batches(131_072, columns=COLUMNS):
                rows += batch.num_rows
    return rows


def open_window(folder: Path, engine: str) -> tuple[Any, Any]:
    """Return a model of the first rows and the source as one streamed window."""
    from driftbook import Settings, train
    from driftbook.data.windows import load_dataset

    data = {"source": str(folder), "window": 10**12, "memory_rows": 200_000, "engine": engine}
    settings = Settings.parse({"data": data})
    dataset = load_dataset(settings)
    return train(dataset.frame, settings), dataset


def measure_here(part: str, folder: Path, engine: str) -> dict[str, float]:
    """Return CPU and wall seconds of one part, done in this process, and its resident memory."""
    work: Any = {"read": read_whole, "pass": pass_through}.get(part)
    if part == "profile":
        from driftbook.drift.reference import find_reference
        from driftbook.drift.window_counts import count_window

        model, dataset = open_window(folder, engine)
        assert find_reference(model).profiles  # noqa: S101  the stored side of the comparison

        def work(_: Path) -> int:
            found = count_window(model, dataset, dataset.windows[0])
            return 0 if found is None else found.rows

    elif part == "load":
        from driftbook import Settings
        from driftbook.data.windows import load_dataset

        data = {"source": str(folder), "window": 10**12, "memory_rows": 200_000}
        settings = Settings.parse({"data": data})

        def work(_: Path) -> int:
            return load_dataset(settings).all_rows

    rows: list[int] = []
    spent = measure_call(lambda: rows.append(work(folder)))
    return {"rows": rows[0], **spent._asdict(), "peak_mib": find_peak_mib()}


def measure(part: str, folder: Path, engine: str = "local") -> dict[str, float]:
    """Return the same of a process of its own."""
    words = [sys.executable, __file__, "--measure", part, "--folder", str(folder)]
    done = subprocess.run(
        [*words, "--engine", engine], check=True, capture_output=True, text=True, timeout=3600
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure_size(folder: Path, millions: int, repeats: int) -> dict[str, Any]:
    """Return medians by part of one size, and its ratios to a read."""
    parts = [part for part in PARTS if part != "read" or millions <= MOST_READ]
    turns = [{part: measure(part, folder) for part in parts} for _ in range(repeats)]
    found: dict[str, Any] = {
        part: {key: statistics.median(turn[part][key] for turn in turns) for key in turns[0][part]}
        for part in parts
    }
    for beside in ("read", "pass"):
        if beside in parts:
            ratios = [turn["profile"]["cpu_s"] / turn[beside]["cpu_s"] for turn in turns]
            found[f"profile_over_{beside}_cpu"] = statistics.median(ratios)
    return found


def measure_workers(folder: Path, scratch: Path) -> dict[str, float]:
    """Return the wall seconds of a profile by one and by two workers of a cluster on loopback."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
    start_cluster = importlib.import_module("dask_cluster").start_cluster

    found = {}
    for count in (1, 2):
        place = scratch / f"cluster-{count}"
        place.mkdir()
        with start_cluster(place, count) as cluster:
            measure("profile", folder, cluster.address)  # workers have imported what they need
            turns = [measure("profile", folder, cluster.address)["wall_s"] for _ in range(3)]
        found[f"{count} worker(s)"] = statistics.median(turns)
    return found


def list_parts(sizes: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a row a part and size."""
    return [
        {
            "part": part,
            "rows": int(found[part]["rows"]),
            "cpu_s": found[part]["cpu_s"],
            "wall_s": found[part]["wall_s"],
            "peak_mib": found[part]["peak_mib"],
            "rows_per_cpu_s": int(found[part]["rows"] / found[part]["cpu_s"]),
        }
        for part in PARTS
        for found in sizes.values()
        if part in found
    ]


def main() -> int:
    """Return 1 where a goal is missed, else 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=sorted(SIZES), default="small")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--workers", action="store_true")
    parser.add_argument("--measure", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--engine", default="local", help=argparse.SUPPRESS)
    options, _ = parser.parse_known_args()
    if options.measure:
        print(json.dumps(measure_here(options.measure, options.folder, options.engine)))
        return 0
    sizes: dict[str, dict[str, Any]] = {}
    workers: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="driftbook-scale-") as scratch:
        for millions in SIZES[options.size]:
            folder = Path(scratch) / f"{millions}m"
            folder.mkdir()
            write_rows(folder, millions)
            sizes[f"{millions}M"] = measure_size(folder, millions, options.repeats)
            if options.workers and millions == MOST_READ:
                workers = measure_workers(folder, Path(scratch))
            shutil.rmtree(folder)
    tables = {f"{len(COLUMNS)} columns; medians of {options.repeats}": list_parts(sizes)}
    ratios = [
        {"rows": size, **{name: found.get(name) for name in RATIOS}}
        for size, found in sizes.items()
    ]
    tables["CPU seconds of a profile over others'"] = ratios
    if workers:
        by = [{"by": name, "wall_s": seconds} for name, seconds in workers.items()]
        tables[f"{MOST_READ}M rows on a cluster"] = by
    most = max(found["profile"]["peak_mib"] for found in sizes.values())
    times = sizes["10M"]["profile_over_read_cpu"]
    goals = [
        Goal("10M rows over reading them, CPU seconds", times, MOST_TIMES_A_READ, at_least=False),
        Goal("MiB at most, whatever the rows", most, MOST_MIB, at_least=False),
    ]
    return report_bench("scale", __doc__, tables, goals)


if __name__ == "__main__":
    raise SystemExit(main())
