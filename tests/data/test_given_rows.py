"""Rows as callers give them: names are text, an index names each row once, odd cells are told."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pandas as pd
import pytest

from driftbook.data.given_rows import accept_rows
from driftbook.errors import UsageError


def test_sound_rows_are_as_they_were() -> None:
    rows = pd.DataFrame({"a": [1.0, np.nan], "b": ["x", None], "c": pd.Categorical(["u", "v"])})
    pd.testing.assert_frame_equal(accept_rows(rows, "the window"), rows)


def test_names_are_text_and_two_of_one_name_are_refused() -> None:
    rows = pd.DataFrame([[1, 2, 3]], columns=[0, 1.5, ("a", "b")])
    assert list(accept_rows(rows, "the window").columns) == ["0", "1.5", "('a', 'b')"]
    with pytest.raises(UsageError, match=r"the window.*'0'"):
        accept_rows(pd.DataFrame([[1, 2]], columns=[0, "0"]), "the window")


def test_an_index_names_each_row_once_or_is_counted_anew() -> None:
    rows = pd.DataFrame({"a": [1, 2, 3]}, index=[5, 7, 7])
    assert list(accept_rows(rows, "the window").index) == [0, 1, 2]
    assert list(accept_rows(rows.iloc[:2], "the window").index) == [5, 7]
    assert list(rows.index) == [5, 7, 7]  # the caller's own rows are left alone


def test_text_that_is_no_unicode_has_question_marks() -> None:
    rows = pd.DataFrame({"a": pd.Series(["fine", "b\ud800d", None], dtype=object)})
    mended = accept_rows(rows, "the window")["a"]
    assert mended.tolist()[:2] == ["fine", "b?d"]
    assert mended.isna().tolist() == [False, False, True]
    levels = pd.Index(["fine", "b\ud800d"], dtype=object)
    grouped = pd.DataFrame({"a": pd.Categorical.from_codes([0, 1], levels)})
    assert accept_rows(grouped, "the window")["a"].tolist() == ["fine", "b?d"]


@pytest.mark.parametrize("cell", [[1, 2], {"k": 1}, {1}, np.arange(2)])
def test_what_has_no_hash_is_text_in_a_window_and_itself_in_training(cell: Any) -> None:
    rows = pd.DataFrame({"a": pd.Series([cell, "x", dt.date(2024, 1, 1)], dtype=object)})
    told = accept_rows(rows, "the window", lists_as_text=True)["a"].tolist()
    assert told == [str(cell), "x", dt.date(2024, 1, 1)]
    assert accept_rows(rows, "the reference")["a"].iloc[0] is cell
