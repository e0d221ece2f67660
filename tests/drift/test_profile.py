"""Profiles: what each cell counts, and that chunks add up to the bit."""

from __future__ import annotations

from functools import reduce
from operator import add

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from driftbook.data.columns import Kind
from driftbook.drift.profile import (
    MAX_EDGES,
    ColumnBins,
    find_bins,
    profile_values,
)
from driftbook.errors import DriftbookError
from driftbook.settings import LARGEST_NUMBER

WILD = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True, width=64),
    st.integers(-3, 3).map(float),
)


def numeric(reference: list[float] | np.ndarray) -> ColumnBins:
    return find_bins(pd.Series(reference, dtype=np.float64), "numeric")


def count_by_loop(values: list[float], edges: np.ndarray) -> list[int]:
    counts = [0] * (2 * len(edges) + 1)
    for value in values:
        if value == value:
            below = sum(1 for edge in edges if edge < value)
            at_edge = below < len(edges) and edges[below] == value
            counts[2 * below + (1 if at_edge else 0)] += 1
    return counts


@settings(max_examples=60, deadline=None)
@given(
    reference=st.lists(WILD, min_size=1, max_size=30),
    values=st.lists(WILD, min_size=0, max_size=40),
)
@example(reference=[1e308, -1e308], values=[1.7e308, 0.0])
@example(reference=[1.7e308], values=[-1.7e308])
def test_cells_equal_a_for_loop(reference: list[float], values: list[float]) -> None:
    bins = numeric(reference)
    found = profile_values(pd.Series(values, dtype=np.float64), bins)
    # Beyond any measurement a number stands for none.
    values = [np.copysign(np.inf, v) if abs(v) > LARGEST_NUMBER else v for v in values]
    assert found.counts.tolist() == count_by_loop(values, bins.edges)
    assert found.rows == len(values)
    assert found.missing == sum(1 for value in values if value != value)
    assert found.infinite == sum(1 for value in values if abs(value) == np.inf)


@settings(max_examples=40, deadline=None)
@given(
    values=npst.arrays(np.float64, st.integers(0, 60), elements=WILD),
    cuts=st.lists(st.integers(0, 60), max_size=4),
)
def test_chunks_of_numbers_add_up_to_the_bit(values: np.ndarray, cuts: list[int]) -> None:
    bins = numeric([-1.0, 0.0, 0.5, 2.0])
    chunks = np.split(values, sorted(min(cut, len(values)) for cut in cuts))
    added = reduce(add, (profile_values(pd.Series(chunk), bins) for chunk in reversed(chunks)))
    whole = profile_values(pd.Series(values), bins)
    assert added.counts.dtype == np.int64
    assert added.counts.tobytes() == whole.counts.tobytes()
    parts = ("missing", "invalid", "infinite", "low", "high")
    assert [getattr(added, part) for part in parts] == [getattr(whole, part) for part in parts]


@settings(max_examples=40, deadline=None)
@given(values=st.lists(st.sampled_from(["a", "b", "c", "new", None]), max_size=40))
def test_chunks_of_levels_add_up_in_any_order(values: list[str | None]) -> None:
    bins = find_bins(pd.Series(["a", "b", "c", "a"]), "categorical")
    series = pd.Series(values, dtype=object)
    added = profile_values(series[::2], bins) + profile_values(series[1::2], bins)
    assert added.counts.tobytes() == profile_values(series, bins).counts.tobytes()
    assert added.missing == sum(1 for value in values if value is None)


def test_statistics_of_added_chunks_are_those_of_the_whole() -> None:
    rng = np.random.default_rng(5)
    reference, current = pd.Series(rng.normal(size=900)), pd.Series(rng.normal(size=700))
    bins = find_bins(reference, "numeric")
    whole = profile_values(current, bins)
    added = reduce(add, (profile_values(current[i : i + 97], bins) for i in range(0, 700, 97)))
    assert added.summary == whole.summary
    assert np.array_equal(
        added.quantiles(np.array([0.1, 0.5])), whole.quantiles(np.array([0.1, 0.5]))
    )


def test_rows_of_several_batches_are_counted_as_each_row_alone() -> None:
    rng = np.random.default_rng(4)
    values = rng.normal(size=600_000)
    values[rng.random(len(values)) < 0.3] = 0.25
    values[rng.integers(0, len(values), 90)] = np.repeat(
        [np.nan, np.inf, -np.inf, 2 * LARGEST_NUMBER, -2 * LARGEST_NUMBER, LARGEST_NUMBER], 15
    )
    given_values = values.tobytes()
    bins = find_bins(pd.Series(values[:50_000]), "numeric")
    present = values[~np.isnan(values)]
    present = np.where(np.abs(present) > LARGEST_NUMBER, np.sign(present) * np.inf, present)
    cells = sum(np.searchsorted(bins.edges, present, side) for side in ("left", "right"))
    for held in (values, np.repeat(values[:, None], 2, axis=1)[:, 0]):
        found = profile_values(pd.Series(held, copy=False), bins)
        assert np.array_equal(found.counts, np.bincount(cells, minlength=bins.cells))
        assert found.missing == np.isnan(values).sum() > 0 == found.invalid
        assert found.infinite == np.isinf(present).sum() > 50
        assert found.high == LARGEST_NUMBER
        assert found.low == present[np.isfinite(present)].min()
    assert values.tobytes() == given_values  # the column itself is left as it was


def test_profiles_on_other_bins_do_not_add() -> None:
    one, other = numeric([0.0, 1.0]), numeric([0.0, 1.5])
    with pytest.raises(DriftbookError, match="different bins"):
        _ = profile_values(pd.Series([1.0]), one) + profile_values(pd.Series([1.0]), other)


def test_every_distinct_value_is_an_edge_up_to_the_limit() -> None:
    values = np.linspace(0.0, 1.0, MAX_EDGES)
    edges = numeric(values).edges
    assert set(values) <= set(edges)
    many = np.random.default_rng(0).normal(size=40_000)
    assert len(numeric(many).edges) < MAX_EDGES + 700
    share = np.diff(np.searchsorted(np.sort(many), numeric(many).edges)).max() / len(many)
    assert share < 2.0 / MAX_EDGES


def test_out_of_range_values_keep_their_magnitude() -> None:
    reference = np.random.default_rng(1).normal(size=1200)
    bins = numeric(reference)
    far = profile_values(pd.Series(np.full(50, 1e6)), bins)
    assert far.summary.mean == pytest.approx(1e6, rel=0.2)
    assert profile_values(pd.Series(reference + 3.0), bins).summary.mean == pytest.approx(
        3.0, abs=0.1
    )


@pytest.mark.parametrize(
    ("values", "missing", "invalid"),
    [
        (pd.Series(["1.5", "x", None], dtype=object), 2, 1),
        (pd.Series([1.0, "y", 2.0], dtype=object), 1, 1),
        (pd.Series([1, 2, None], dtype="Int64"), 1, 0),
        (pd.Series(["a", "b"]), 2, 2),
        (pd.Series([], dtype=object), 0, 0),
    ],
)
def test_text_in_a_number_column_is_missing_and_invalid(
    values: pd.Series, missing: int, invalid: int
) -> None:
    found = profile_values(values, numeric([1.0, 2.0]))
    assert (found.missing, found.invalid) == (missing, invalid)


@pytest.mark.parametrize(
    "values",
    [
        pd.Series([True, False, True]),
        pd.Series([1, 0, 1]),
        pd.Series([1.0, 0.0, 1.0]),
        pd.Series(["true", "False", "TRUE"]),
        pd.Series([True, False, True], dtype="boolean"),
        pd.Series([True, False, True], dtype=object),
        pd.Series([True, False, True]).astype("category"),
    ],
)
def test_booleans_are_two_levels_in_every_spelling(values: pd.Series) -> None:
    bins = find_bins(pd.Series([True, False]), "boolean")
    assert profile_values(values, bins).counts.tolist() == [1, 2, 0]


def test_levels_are_ordered_by_count_then_name_and_others_share_a_bucket() -> None:
    reference = pd.Series(["b", "a", "c", "b", None, "a"]).astype("category")
    bins = find_bins(reference, "categorical")
    assert bins.levels == ("a", "b", "c")
    assert profile_values(pd.Series(["z", "a", "y", None]), bins).counts.tolist() == [1, 0, 0, 2]


@pytest.mark.parametrize("kind", ["numeric", "categorical", "boolean"])
def test_empty_and_all_missing_columns_have_a_profile(kind: Kind) -> None:
    nothing = pd.Series([None, None], dtype=object)
    bins = find_bins(nothing, kind)
    found = profile_values(nothing, bins)
    assert (found.n, found.rows, found.missing_share) == (0, 2, 1.0)
    assert profile_values(nothing[:0], bins).missing_share == 0.0


def test_summary_is_the_trimmed_mean_and_winsorised_sd() -> None:
    values = np.random.default_rng(2).standard_t(3, size=1000)
    ordered = np.sort(values)
    found = profile_values(pd.Series(values), numeric(values)).summary
    winsorised = np.clip(values, ordered[10], ordered[989])
    assert found.mean == pytest.approx(ordered[10:990].mean(), rel=1e-9)
    assert found.sd == pytest.approx(winsorised.std() / 0.98, rel=1e-9)


def test_summary_of_a_constant_has_no_spread() -> None:
    found = profile_values(pd.Series(np.full(9, 0.1)), numeric([0.1])).summary
    assert found.mean == pytest.approx(0.1) and found.sd == 0.0


def test_a_rare_value_is_not_trimmed_into_a_constant() -> None:
    values = np.concatenate([np.zeros(999), [1.0]])
    assert profile_values(pd.Series(values), numeric(values)).summary.sd > 0.0


@pytest.mark.parametrize("share", [0.02, 0.3, 0.98])
def test_a_small_move_off_two_values_keeps_its_size(share: float) -> None:
    flags = pd.Series((np.random.default_rng(11).random(1200) < share).astype(float))
    bins = find_bins(flags, "numeric")
    before, after = profile_values(flags, bins), profile_values(flags + 0.05 * flags.std(), bins)
    moved = (after.summary.mean - before.summary.mean) / flags.std()
    assert moved == pytest.approx(0.05, abs=0.006)
    assert (after.summary.sd / before.summary.sd) == pytest.approx(1.0, abs=0.02)


def test_tails_are_the_plain_sd_over_the_winsorised_one_up_to_two() -> None:
    rng = np.random.default_rng(12)
    for values, expected in (
        (rng.normal(size=5000), 1.0),
        (rng.standard_cauchy(5000), 2.0),
        (np.full(50, 3.0), 1.0),
    ):
        column = pd.Series(values)
        assert profile_values(column, find_bins(column, "numeric")).tails == pytest.approx(
            expected, rel=0.02
        )
    skewed = pd.Series(rng.exponential(size=2000))
    found = profile_values(skewed, find_bins(skewed, "numeric"))
    assert found.tails * found.summary.sd == pytest.approx(skewed.std(ddof=0), rel=0.001)
