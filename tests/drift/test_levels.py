"""Levels by their codes against reading every row, whatever holds the column."""

from __future__ import annotations

import decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftbook.data.cells import Kind, to_kind
from driftbook.drift.levels import code_levels, count_levels, to_levels
from driftbook.drift.profile import find_bins, profile_values

WORDS = ["b", "a", "", "a", "ü", "yes", "3.0", "b"]
COLUMNS = {
    "text": pd.Series([*WORDS, None], dtype="str"),
    "no gaps": pd.Series(WORDS, dtype="str"),
    "nullable text": pd.Series([*WORDS, None], dtype="string"),
    "arrow text": pd.Series([*WORDS, None], dtype=pd.ArrowDtype(pa.string())),
    "arrow dictionary": pd.Series(
        pa.array([*WORDS, None]).dictionary_encode().to_pandas(), name="words"
    ),
    "arrow text in chunks": pd.Series(
        pd.arrays.ArrowExtensionArray(pa.chunked_array([pa.array(["b", None]), pa.array(["a"])]))
    ),
    "arrow dictionary kept": pd.Series(
        pd.arrays.ArrowExtensionArray(pa.array([*WORDS, None]).dictionary_encode())
    ),
    "arrow dictionaries, each chunk its own": pd.Series(
        pd.arrays.ArrowExtensionArray(
            pa.chunked_array(
                [
                    pa.array(["b", "a", None]).dictionary_encode(),
                    pa.array(["a"]).dictionary_encode(),
                ]
            )
        )
    ),
    "as many as a byte counts": pd.Series(
        pd.arrays.ArrowExtensionArray(
            pa.DictionaryArray.from_arrays(
                pa.array([*range(128), None], pa.int8()), [f"{k}" for k in range(128)]
            )
        )
    ),
    "objects": pd.Series(["b", 3, 3.0, "3", None, np.nan, pd.NA, b"b", "b", 2.5], dtype=object),
    "decimals": pd.Series([decimal.Decimal("1.50"), decimal.Decimal("1.5"), None], dtype=object),
    "categories": pd.Series(["x", None, "y", "x"], dtype="category"),
    "unused categories": pd.Series(pd.Categorical(["y", "y"], categories=["x", "y", "z"])),
    "categories of numbers": pd.Series([3, None, 1, 3]).astype("category"),
    "categories of whole numbers": pd.Series([3, 1, 3], dtype="category"),
    "numbers": pd.Series([3.0, -0.0, 0.0, np.nan, 0.1, 3.0]),
    "small floats": pd.Series([0.1, 3.0, np.nan], dtype="float32"),
    "whole numbers": pd.Series([7, 7, 2**53 + 1, 2**53]),
    "whole numbers with gaps": pd.Series([7, None, 8, 7], dtype="Int64"),
    "truth": pd.Series([True, False, True]),
    "truth with gaps": pd.Series([True, None, False], dtype="boolean"),
    "nothing": pd.Series([], dtype="str"),
    "only gaps": pd.Series([None, None], dtype=object),
}


def row_by_row(values: pd.Series, kind: Kind) -> pd.Series:
    return to_kind(values, kind).dropna().map(str).astype(object)


@pytest.mark.parametrize("kind", ["categorical", "boolean"])
@pytest.mark.parametrize("name", COLUMNS)
def test_levels_are_those_of_reading_every_row(name: str, kind: Kind) -> None:
    values = COLUMNS[name].set_axis(range(5, 5 + len(COLUMNS[name])))
    expected = row_by_row(values, kind)
    pd.testing.assert_series_equal(to_levels(values, kind), expected)
    assert count_levels(values, kind).to_dict() == expected.value_counts().to_dict()
    codes, names = code_levels(values, kind)
    assert names.is_unique
    assert [names[code] for code in codes if code >= 0] == expected.tolist()
    assert np.array_equal(codes < 0, to_kind(values, kind).isna())


@given(st.lists(st.sampled_from([*"abcdef", None]), min_size=1), st.lists(st.sampled_from("abxy")))
def test_counts_of_text_are_those_of_a_loop(reference: list[str | None], now: list[str]) -> None:
    bins = find_bins(pd.Series(reference, dtype=object), "categorical")
    known = [one for one in reference if one is not None]
    assert list(bins.levels) == sorted(set(known), key=lambda one: (-known.count(one), one))
    found = profile_values(pd.Series([*now, None], dtype=object), bins)
    assert found.counts.tolist()[:-1] == [now.count(level) for level in bins.levels]
    assert found.counts[-1] == sum(one not in bins.levels for one in now)
    assert found.missing == 1


def test_a_dictionary_may_hold_a_value_twice_and_a_missing_one() -> None:
    coded = pa.DictionaryArray.from_arrays(pa.array([0, 1, 2, 3, None, 3]), ["a", None, "a", "b"])
    values = pd.Series(pd.arrays.ArrowExtensionArray(pa.chunked_array([coded])))
    assert count_levels(values, "categorical").to_dict() == {"a": 2, "b": 2}
    assert code_levels(values, "categorical")[0].tolist() == [0, -1, 0, 1, -1, 1]
