"""What all benchmarks share: how they measure, what they say of the machine, what they leave.

Standard library alone, so that a process whose memory is measured holds nothing for its sake. A
busy machine stretches wall time; CPU seconds stand beside it, contestants take turns, and ratios
are medians of the turns' own.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

FOLDER = Path("artifacts/bench")
PACKAGES = ("numpy", "scipy", "pandas", "pyarrow", "scikit-learn")
_STARTED = time.perf_counter()
Row = Mapping[str, Any]


class Spent(NamedTuple):
    """Seconds that a piece of work took, those of processes it started and waited for included."""

    cpu_s: float
    wall_s: float


@dataclass(frozen=True)
class Goal:
    """A number that a benchmark holds itself to; ``value`` is None where it could not be had."""

    what: str
    value: float | None
    bound: float
    at_least: bool = True

    @property
    def met(self) -> bool | None:
        """Return whether the bound is kept; None where there is no value, False for NaN."""
        if self.value is None:
            return None
        return self.value >= self.bound if self.at_least else self.value <= self.bound


def measure_call(work: Callable[[], Any]) -> Spent:
    """Return what one call took."""
    cpu, wall = _find_cpu_s(), time.perf_counter()
    work()
    return Spent(_find_cpu_s() - cpu, time.perf_counter() - wall)


def take_turns(
    parts: Mapping[str, Callable[[], Spent]],
    repeats: int,
    limit_s: float = math.inf,
    warm: bool = True,
) -> dict[str, list[Spent]]:
    """Return by part what each of its turns took; the parts go one after the other, in rounds.

    ``warm``: a first round is run that does not count. A part whose turns have used ``limit_s`` CPU
    seconds sits out the rest.
    """
    found: dict[str, list[Spent]] = {name: [] for name in parts}
    for work in parts.values() if warm else ():
        work()
    for _ in range(repeats):
        for name, work in parts.items():
            if sum(one.cpu_s for one in found[name]) < limit_s:
                found[name].append(work())
    return found


def find_median(turns: Sequence[Spent]) -> Spent:
    """Return the median CPU and the median wall seconds."""
    return Spent(*(statistics.median(one) for one in zip(*turns, strict=True)))


def compare_turns(these: Sequence[Spent], those: Sequence[Spent]) -> float:
    """Return how many times the CPU seconds of ``those`` the same turns of ``these`` took."""
    return statistics.median(a.cpu_s / b.cpu_s for a, b in zip(these, those, strict=False))


def find_peak_mib() -> float:
    """Return the most memory that this process has held, in MiB.

    Linux hands the maximum of the parent down to a child (``ru_maxrss``); ``VmHWM`` is its own.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        return int(status.read_text().partition("VmHWM:")[2].split()[0]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1024**2 if sys.platform == "darwin" else peak / 1024


def forget_peak() -> None:
    """Let the peak start anew from what is held now; only Linux can."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def find_process_cpu_s(pid: int) -> float | None:
    """Return the CPU seconds of another process so far; None where only the system knows them."""
    stat = Path(f"/proc/{pid}/stat")
    if not stat.is_file():
        return None
    # The name, in brackets, may hold spaces; user and system time are fields 14 and 15.
    fields = stat.read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def describe_machine() -> dict[str, Any]:
    """Return processor, cores, memory in GiB, how busy it is, and the versions that matter."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3
    return {
        "processor": _find_processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(memory),
        "load": round(os.getloadavg()[0], 1),
        "system": platform.system(),
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := find_version(name))},
    }


def find_version(package: str) -> str | None:
    """Return the version of an installed package, None where there is none."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def report_bench(
    name: str,
    about: str | None,
    tables: Mapping[str, Sequence[Row]],
    goals: Sequence[Goal] = (),
    notes: Sequence[str] = (),
) -> int:
    """Print tables, goals, notes and machine, write them, and return 1 when a goal is missed."""
    for title, rows in tables.items():
        print(f"\n{title}\n{format_table(rows)}")
    print()
    for goal in goals:
        word = {True: "met", False: "missed", None: "not measured"}[goal.met]
        side = "at least" if goal.at_least else "at most"
        print(f"{goal.what}: {format_cell(goal.value)}, {side} {goal.bound:g} wanted: {word}")
    for note in notes:
        print(note)
    write_result(name, about, tables, goals, notes)
    return int(any(goal.met is False for goal in goals))


def write_result(
    name: str,
    about: str | None,
    tables: Mapping[str, Any],
    goals: Sequence[Goal] = (),
    notes: Sequence[str] = (),
) -> None:
    """Print what machine this is, and write ``artifacts/bench/NAME.json`` for the page.

    ``about``: the benchmark's docstring, a title and how it is measured. ``tables``: by title rows,
    each a mapping, or a data frame; ``cpu_s`` and ``peak_mib`` are drawn over ``rows`` where one of
    the first column has several.
    """
    machine, took = describe_machine(), Spent(_find_cpu_s(), time.perf_counter() - _STARTED)
    packages = " ".join(f"{package} {one}" for package, one in machine["packages"].items())
    print(
        f"{machine['cores']} cores ({machine['processor']}), load {machine['load']}, "
        f"Python {machine['python']}, {packages}; all of it: {took.cpu_s:.1f} CPU s, "
        f"{took.wall_s:.1f} s"
    )
    summary, _, method = (about or "").partition("\n\n")
    content = {
        "name": name,
        "about": " ".join(summary.split()),
        "method": " ".join(method.split()),
        "machine": machine,
        "took": took._asdict(),
        "tables": {title: _list_rows(rows) for title, rows in tables.items()},
        "goals": [{**asdict(goal), "met": goal.met} for goal in goals],
        "notes": list(notes),
    }
    path = FOLDER / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1, default=float) + "\n", encoding="utf-8")


def _list_rows(rows: Any) -> list[dict[str, Any]]:
    """Return rows as plain mappings; of a data frame, which has a method for it."""
    found = rows.to_dict("records") if hasattr(rows, "to_dict") else rows
    return [dict(row) for row in found]


def format_table(rows: Sequence[Row]) -> str:
    """Return rows as lines of text, a column a key of the first row, numbers to the right."""
    if not rows:
        return "(no rows)"
    head = list(rows[0])
    cells = [head, *([format_cell(row.get(key)) for key in head] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    number = [not isinstance(rows[0][key], str) for key in head]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, number, strict=True)
        ).rstrip()
        for line in cells
    )


def format_cell(value: Any) -> str:
    """Return a value as people read it: three figures of a fraction, thousands apart.

    >>> [format_cell(one) for one in (0.012345, 12.3456, 1234567, None)]
    ['0.0123', '12.3', '1,234,567', '–']
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, str):
        return value
    number = float(value)
    return f"{number:,.0f}" if abs(number) >= 100 else f"{number:.3g}"


def _find_cpu_s() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def _find_processor() -> str:
    listed = Path("/proc/cpuinfo")
    text = listed.read_text(encoding="utf-8") if listed.is_file() else ""
    named = text.partition("model name")[2].partition(":")[2].partition("\n")[0].strip()
    return named or platform.processor() or platform.machine()
