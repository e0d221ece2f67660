"""Runs the benchmarks of ``make bench``, prints what each says, and fails where one of them does.

What they share lies beside this file; the page of all results is written at the end.

Those that count decisions run side by side, one a core; those that time work run alone.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from _page import main as write_page

HERE = Path(__file__).resolve().parent
# Rates and errors of fixed seeds, whoever else keeps the machine busy.
COUNTING = HERE / "decision"


def find_benchmarks(part: str | None) -> list[Path]:
    """Return the files of a part: a folder's, one file's by name, or all."""
    files = sorted(path for path in HERE.rglob("*.py") if not path.name.startswith("_"))
    if part:
        files = [path for path in files if part in (path.stem, path.parent.name)]
    return files


def run_one(file: Path, words: list[str]) -> tuple[Path, int, str, float]:
    """Return a benchmark's file, exit code, what it printed, and its wall seconds."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, str(file), *words],
        env={
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "PYTHONUNBUFFERED": "1",
            "PYTHONPATH": str(HERE),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return file, done.returncode, done.stdout, time.monotonic() - began


def run_all(files: list[Path], words: list[str]) -> Iterator[tuple[Path, int, str, float]]:
    """Yield the results as they come."""
    counting = [file for file in files if file.parent == COUNTING]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for done in as_completed([pool.submit(run_one, file, words) for file in counting]):
            yield done.result()
    for file in files:
        if file not in counting:
            yield run_one(file, words)


def main() -> int:
    """Return 1 where a benchmark misses its aim or ends in an error."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", help="a folder of benchmarks, or the name of one")
    options, words = parser.parse_known_args()
    files = find_benchmarks(options.part)
    if not files:
        names = ", ".join(path.stem for path in find_benchmarks(None))
        print(f"no benchmark {options.part!r}; there are decision, {names}", file=sys.stderr)
        return 2
    missed, began = [], time.monotonic()
    for file, code, said, seconds in run_all(files, words):
        print(f"== {file.relative_to(HERE.parent)} ({seconds:.0f} s)\n{said}", flush=True)
        if code:
            missed.append(file.stem)
    spent = time.monotonic() - began
    cpu = sum(os.times()[2:4])
    print(f"{len(files)} benchmarks in {spent:.0f} s, {cpu:.0f} CPU seconds")
    write_page()
    if missed:
        print(f"an aim is missed, or an error, in {', '.join(missed)}")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
