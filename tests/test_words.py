"""Numbers, intervals and tables as readers see them."""

from __future__ import annotations

import ast
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from jinja2 import UndefinedError

from driftbook import words


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0"),
        (12482, "12,482"),
        (np.int64(-1200), "−1,200"),
        (3.0, "3"),
        (0.123456, "0.123"),
        (-0.0123456, "−0.0123"),
        (9.999, "10.0"),
        (1234.56, "1,235"),
        (0.0000123, "1.2e−05"),
        (math.inf, "∞"),
        (math.nan, "–"),
        (None, "–"),
        (True, "yes"),
        (np.bool_(False), "no"),
        ("a|b\nc", "a\\|b c"),
        ("2 * 3 < 7, _x_", "2 \\* 3 \\< 7, \\_x\\_"),
    ],
)
def test_number(value: object, shown: str) -> None:
    assert words.format_number(value) == shown


def test_interval_never_breaks_inside_and_is_left_out_when_unknown() -> None:
    assert words.format_interval(0.5, 0.4, 0.6) == "0.500 [0.400,\u00a00.600]"
    assert words.format_interval(0.5, math.nan, 0.6) == "0.500"
    assert words.format_interval(math.nan, 0.1, 0.2) == "–"


def test_interval_of_what_is_not_known_shows_no_interval() -> None:
    assert words.format_interval(None, None, None) == "–"


def test_table_aligns_picks_and_escapes() -> None:
    frame = pd.DataFrame({"name": ["a|b", "c"], "pvalue": [1e-9, 0.04], "left_out": [1, 2]})
    assert words.format_table(
        frame, {"name": "Name", "pvalue": "p", "absent": "x"}
    ).splitlines() == [
        "| Name | p |",
        "| :---- | -------: |",
        "| a\\|b | < 0.001 |",
        "| c | 0.040 |",
    ]


def test_columns_that_hold_markdown_are_left_alone() -> None:
    frame = pd.DataFrame({"a": ["**yes**"], "b": ["*"]})
    assert words.format_table(frame, markup=["a"]).splitlines()[-1] == "| **yes** | \\* |"


def test_code_cannot_be_broken_out_of() -> None:
    assert words.format_code("a`b|c") == "`a'b¦c`"


def test_table_without_rows_says_so() -> None:
    assert words.format_table(pd.DataFrame({"a": []}), empty="No finding.") == "No finding."


def test_join_interval_joins_the_columns() -> None:
    frame = pd.DataFrame({"m": ["a"], "value": [0.5], "ci_low": [0.25], "ci_high": [0.75]})
    joined = words.join_interval(frame)
    assert list(joined.columns) == ["m", "value"]
    assert joined["value"].item() == "0.500 [0.250,\u00a00.750]"


def test_percent_and_p_value() -> None:
    assert words.format_percent(0.12345) == "12.3%"
    assert words.format_percent(math.nan) == "–"
    assert words.format_p_value(0.0009) == "< 0.001"
    assert words.format_p_value(math.nan) == "–"


def test_labels_stand_for_keys_and_their_text_is_left_alone() -> None:
    frame = pd.DataFrame({"verdict": ["worse", "unknown_key"]})
    shown = words.format_table(frame, markup=["verdict"], labels={"worse": "**worse**"})
    assert shown.splitlines()[2:] == ["| **worse** |", "| unknown_key |"]


def test_a_paragraph_of_several_lines_keeps_its_no_break_spaces() -> None:
    assert words.join_lines("a\n  b\u00a0c \n") == "a b\u00a0c"


def test_metrics_have_names_for_people() -> None:
    assert words.name_metric("brier") == "Brier loss"
    assert words.name_metric("some_metric") == "some metric"


def test_a_template_that_lacks_a_value_is_an_error() -> None:
    assert words.render_words("too_few.md.j2", rows=9, min_rows=30) == (
        "insufficient_data: 9 rows, fewer than min_rows = 30"
    )
    with pytest.raises(UndefinedError, match="min_rows"):
        words.render_words("too_few.md.j2", rows=9)


def test_words_and_templates_need_no_room() -> None:
    tree = ast.parse(Path(words.__file__).read_text(encoding="utf-8"))
    named = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert not [name for name in named if name and name.startswith("driftbook")]
