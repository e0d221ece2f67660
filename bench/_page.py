"""The page of the benchmarks' results: ``artifacts/bench/**/*.json`` to ``index.html`` there.

One file without scripts or anything fetched. A table whose rows name several numbers of ``rows``
for one of its first column is drawn as well: seconds and memory over rows, both axes in powers of
ten, so that what grows as the rows do is a line of slope one.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

from _measuring import FOLDER, format_cell

TEMPLATE = Path(__file__).with_name("page.html.j2")
PAGE = FOLDER / "index.html"
# What a reader who considers the project asks first; what is not named follows by name.
ORDER = ("drift_peers", "scale", "drift", "default_run", "loop", "run_overhead", "serving")
DRAWN = {"cpu_s": "CPU seconds", "peak_mib": "MiB at most"}
WIDTH, HEIGHT, LEFT, BOTTOM, MARGIN = 340, 230, 52, 34, 20
HEADS = {
    "cpu_s": "CPU s",
    "wall_s": "wall s",
    "times_ours": "× Driftbook's CPU s",
    "times_as_fast": "× as fast",
    "held_mib": "MiB held",
    "peak_mib": "MiB at most",
    "p50_ms": "p50 ms",
    "p99_ms": "p99 ms",
    "server_cpu_ms": "server's CPU ms",
    "per_second": "a second",
}
Row = Mapping[str, Any]


def read_results(folder: Path) -> list[dict[str, Any]]:
    """Return what benchmarks left, in the order of the page; a file of another form is left out."""
    found = {}
    for path in sorted(folder.rglob("*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(content, dict) and {"name", "about", "tables", "machine"} <= content.keys():
            found[content["name"]] = {"method": "", "goals": [], "notes": [], **content}
    ranked = [name for name in ORDER if name in found]
    return [found[name] for name in [*ranked, *(name for name in found if name not in ranked)]]


def find_curves(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return a drawing for each measured column of a table that has several numbers of rows."""
    if not rows or "rows" not in rows[0]:
        return []
    label = next(iter(rows[0]))
    drawings = []
    for column, unit in DRAWN.items():
        lines: dict[str, list[tuple[float, float]]] = {}
        for row in rows:
            if row.get(column) and row.get("rows"):
                name = "" if label == "rows" else str(row[label])
                lines.setdefault(name, []).append((float(row["rows"]), float(row[column])))
        lines = {name: sorted(points) for name, points in lines.items() if len(points) > 1}
        if lines:
            drawings.append({"unit": unit, **draw_lines(lines)})
    return drawings


def draw_lines(lines: Mapping[str, Sequence[tuple[float, float]]]) -> dict[str, Any]:
    """Return the pixels of lines on axes in powers of ten, and of the ticks of both axes."""
    x_ticks, y_ticks = (_find_ticks([p[k] for one in lines.values() for p in one]) for k in (0, 1))

    def place(value: float, ticks: Sequence[float], start: float, end: float) -> float:
        low, high = math.log10(ticks[0]), math.log10(ticks[-1])
        return round(start + (math.log10(value) - low) / (high - low) * (end - start), 1)

    def to_x(value: float) -> float:
        return place(value, x_ticks, LEFT, WIDTH - MARGIN)

    def to_y(value: float) -> float:
        return place(value, y_ticks, HEIGHT - BOTTOM, MARGIN)

    return {
        "x_ticks": [(to_x(one), _shorten(one)) for one in x_ticks],
        "y_ticks": [(to_y(one), _shorten(one)) for one in y_ticks],
        "lines": [
            (name, [(to_x(x), to_y(y), f"{format_cell(y)} at {x:,.0f} rows") for x, y in points])
            for name, points in lines.items()
        ],
    }


def _find_ticks(values: Sequence[float]) -> list[float]:
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return [10.0**power for power in range(low, max(high, low + 1) + 1)]


def _shorten(value: float) -> str:
    """Return a power of ten as it stands at an axis.

    >>> [_shorten(one) for one in (0.01, 1.0, 1e5, 1e7)]
    ['0.01', '1', '100k', '10M']
    """
    for size, sign in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{sign}"
    return f"{value:g}"


def render_page(results: Sequence[Mapping[str, Any]]) -> str:
    """Return the page of these results as HTML."""
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["cell"] = format_cell
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(
        results=results,
        find_curves=find_curves,
        heads=HEADS,
        size={"width": WIDTH, "height": HEIGHT, "left": LEFT, "bottom": BOTTOM, "margin": MARGIN},
    )


def main() -> int:
    """Write the page, or say that there is nothing to show."""
    results = read_results(FOLDER)
    if not results:
        print(f"{FOLDER} holds no results yet; 'make bench' makes them")
        return 1
    PAGE.write_text(render_page(results), encoding="utf-8")
    print(f"\nresults as a page: {PAGE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
