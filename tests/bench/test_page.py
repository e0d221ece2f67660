"""The page of results, from an example of what benchmarks write."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import pytest
from bs4 import BeautifulSoup

import _measuring
import _page

SIZES = (1_000_000, 10_000_000, 100_000_000)
SCALE = [
    {"work": work, "rows": rows, "cpu_s": speed * rows / 1e6, "peak_mib": 300.0}
    for work, speed in (("reading", 0.1), ("judging", 0.2))
    for rows in SIZES
]


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    for module, name, value in (
        (_measuring, "FOLDER", tmp_path),
        (_page, "FOLDER", tmp_path),
        (_page, "PAGE", tmp_path / "index.html"),
    ):
        monkeypatch.setattr(module, name, value)
    goals = [_measuring.Goal("x & y", 12.5, 20.0), _measuring.Goal("z", None, 2.0)]
    _measuring.report_bench("area/flat", "A <flat> one.", {"of words": [{"a": "b", "c": None}]})
    _measuring.report_bench("scale", "Growth.\n\nHow.", {"sizes": SCALE}, goals, ["frouros: none"])
    (tmp_path / "other.json").write_text(json.dumps([1, 2]), encoding="utf-8")
    assert _page.main() == 0
    return BeautifulSoup((tmp_path / "index.html").read_text(encoding="utf-8"), "html.parser")


def test_results_are_tables_with_goals_and_notes(page: Any) -> None:
    assert [one["id"] for one in page.find_all("section")] == ["scale", "area-flat"]
    scale, flat = page.find_all("section")
    assert flat.h2.text == "A <flat> one."
    assert [cell.text for cell in flat.tbody.tr.find_all(["th", "td"])] == ["b", "–"]
    assert [goal["class"] for goal in scale.ul.find_all("li")] == [["missed"], ["not", "measured"]]
    assert "x & y: 12.5, at least 20 wanted" in scale.ul.text
    assert len(scale.tbody.find_all("tr")) == len(SCALE)
    assert "frouros: none" in scale.text and scale.details.p.text == "How."


def test_growth_is_drawn_and_what_grows_as_the_rows_do_has_slope_one(page: Any) -> None:
    scale, flat = page.find_all("section")
    assert not flat.find_all("svg")
    assert [one.text for one in scale.find_all("figcaption")] == [
        "CPU seconds over rows, both axes in powers of ten",
        "MiB at most over rows, both axes in powers of ten",
    ]
    assert [one.text for one in scale.figure.find_all("li")] == ["reading", "judging"]
    seconds, memory = (
        [[float(v) for v in p.split(",")] for p in one.polyline["points"].split()]
        for one in scale.find_all("svg")
    )
    assert [y for _, y in memory] == [memory[0][1]] * len(SIZES)
    # From 0.1 s to 10 s of an axis from 0.1 to 100: two of three parts of its height.
    height = _page.HEIGHT - _page.BOTTOM - _page.MARGIN
    steps = [a[1] - b[1] for a, b in itertools.pairwise(seconds)]
    assert steps == pytest.approx([height / 3] * 2, abs=0.1)
    assert seconds[0] == [_page.LEFT, _page.HEIGHT - _page.BOTTOM]
    assert math.isclose(seconds[-1][0], _page.WIDTH - _page.MARGIN)


def test_the_page_fetches_nothing(page: Any) -> None:
    assert not page.find_all(["script", "link", "img"]) and "url(" not in page.style.text
    assert "prefers-color-scheme: dark" in page.style.text


def test_without_results_there_is_no_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_page, "FOLDER", tmp_path / "none")
    monkeypatch.setattr(_page, "PAGE", tmp_path / "index.html")
    assert _page.main() == 1 and not (tmp_path / "index.html").exists()
