"""Drift of a window against a stored reference, beside the peers: columns alone, tests and all.

Each contestant works in its own interpreter (``make bench-peers``), on the same arrays, which it
reads from files and puts into the form that it takes: 1,000,000 rows of eight floats, and of 40
columns of which ten are text, handed over as dictionary codes. The reference's own side is made
before the first turn wherever a contestant can keep one. What is timed is the detection: no import,
no reading. Contestants take turns on the same cores, with one thread for each, and one that has
used half a minute of CPU time sits out the rest; where its first turn,
which warms it up, has used that, it is its only one. A peer that is not there is named.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from _measuring import Goal, Spent, compare_turns, find_median, report_bench, take_turns
from _peers import MODULES, explain_absence, find_peer

WORKER = Path(__file__).parent / "peers" / "_worker.py"
OURS, STRINGS, JUDGED = "driftbook", "driftbook, text as strings", "alibi-detect"
LIMIT_S = 30.0
ROWS = 1_000_000
# Columns of floats and of text, and how many times ours alibi-detect's CPU seconds are meant to be.
SHAPES = ((8, 0, 20.0), (30, 10, 10.0))
LEVELS = 30


class Contestant:
    """A worker whose arrays are read and whose reference is made; its first turn warmed it."""

    def __init__(self, name: str, python: Path, folder: Path) -> None:
        self.name = name
        # A file, as a pipe that nobody reads would stop a library that warns much.
        self._said = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        self._process = subprocess.Popen(
            [str(python), "-W", "ignore", str(WORKER), name, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"},
        )
        self.about = self._read()
        self.last: dict[str, Any] = {}
        self.first = self.detect()

    def detect(self) -> Spent:
        """Return what one detection took.

        Raises:
            RuntimeError: the worker ended; with the last thing that it said.
        """
        assert self._process.stdin is not None  # noqa: S101  (it is a pipe)
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        self.last = self._read()
        return Spent(self.last["cpu_s"], self.last["wall_s"])

    def _read(self) -> dict[str, Any]:
        answer = self._process.stdout.readline() if self._process.stdout else ""
        if answer:
            return dict(json.loads(answer))
        code = self._process.wait()
        self._said.seek(0)
        said = self._said.read().strip().splitlines()
        raise RuntimeError(said[-1] if said else f"exit code {code}")

    def close(self) -> None:
        """End the worker."""
        self._process.kill()
        self._process.communicate()
        self._said.close()


def write_rows(folder: Path, rows: int, floats: int, texts: int) -> None:
    """Write both sides: normal columns, the second of them moved, and codes of 30 levels."""
    rng = np.random.default_rng(0)
    for side, moved in (("reference", 0.0), ("current", 0.02)):
        values = np.empty((rows, floats), order="F")
        for k in range(floats):
            values[:, k] = rng.normal(moved if k == 1 else 0.0, size=rows)
        np.save(folder / f"{side}.npy", values)
        if texts:
            # Of 33 codes three are below zero: a value in eleven is missing.
            codes = np.maximum(rng.integers(-3, LEVELS, (rows, texts), np.int8), -1)
            np.save(folder / f"{side}_codes.npy", np.asfortranarray(codes))


@contextlib.contextmanager
def start_contestants(
    folder: Path, texts: int, skipped: Sequence[str], missing: list[str]
) -> Iterator[list[Contestant]]:
    """Yield those who are there and ready; why the others are not is added to ``missing``."""
    pythons: dict[str, Path | None] = {OURS: Path(sys.executable)}
    pythons |= {STRINGS: Path(sys.executable)} if texts else {}
    pythons |= {name: find_peer(name) for name in MODULES if name not in skipped}
    missing += [f"{name} was left out by --skip" for name in skipped]
    ready: list[Contestant] = []
    try:
        for name, python in pythons.items():
            if python is None:
                missing.append(explain_absence(name))
                continue
            try:
                ready.append(Contestant(name, python, folder))
            except RuntimeError as error:
                missing.append(f"{name} did not start: {error}")
        yield ready
    finally:
        for one in ready:
            one.close()


def measure_shape(
    options: argparse.Namespace, floats: int, texts: int, missing: list[str]
) -> list[dict[str, Any]]:
    """Return a row a contestant: medians, how many times ours they are, and memory."""
    with tempfile.TemporaryDirectory(prefix="driftbook-bench-") as place:
        write_rows(Path(place), options.rows, floats, texts)
        with start_contestants(Path(place), texts, options.skip, missing) as ready:
            quick = {one.name: one.detect for one in ready if one.first.cpu_s < LIMIT_S}
            turns = {one.name: [one.first] for one in ready}
            turns |= take_turns(quick, options.repeats, LIMIT_S, warm=False)
    found = []
    for one in ready:
        if one.last["columns"] != floats + texts:
            missing.append(f"{one.name} judged {one.last['columns']} of {floats + texts} columns")
        found.append(
            {
                "contestant": f"{one.name} {one.about['version']}",
                **find_median(turns[one.name])._asdict(),
                "times_ours": compare_turns(turns[one.name], turns[OURS]),
                "held_mib": one.about["ready_mib"],
                "peak_mib": one.last["peak_mib"],
                "turns": len(turns[one.name]),
            }
        )
    return found


def main() -> int:
    """Return 1 when a window is not as many times faster than alibi-detect as it is meant to be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--skip", nargs="*", default=[], choices=list(MODULES))
    options, _ = parser.parse_known_args()  # `make bench` gives all benchmarks the same words
    tables, goals, missing = {}, [], list[str]()
    for floats, texts, bound in SHAPES:
        text = f", {texts} of them text" if texts else ""
        title = f"{options.rows:,} rows x {floats + texts} columns{text}"
        tables[title] = measure_shape(options, floats, texts, missing)
        times = [row["times_ours"] for row in tables[title] if row["contestant"].startswith(JUDGED)]
        if options.rows >= ROWS:  # of fewer rows what a column costs whatever its rows is most
            goals.append(Goal(f"{title}: {JUDGED} over ours", times[0] if times else None, bound))
    return report_bench("drift_peers", __doc__, tables, goals, list(dict.fromkeys(missing)))


if __name__ == "__main__":
    raise SystemExit(main())
