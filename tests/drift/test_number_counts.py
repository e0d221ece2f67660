"""Numbers on edges: buckets give the integers of a search by bisection, whatever the numbers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from driftbook.drift import number_counts
from driftbook.drift.number_counts import count_numbers
from driftbook.drift.profile import find_bins
from driftbook.settings import LARGEST_NUMBER

ROWS = 100_000  # more than a batch, and enough for buckets


def check_counts(values: np.ndarray, edges: np.ndarray) -> None:
    """Check a column against NumPy's own bisection, value by value."""
    known = values[~np.isnan(values)]
    beyond = np.abs(known) > LARGEST_NUMBER
    known = np.where(beyond, np.copysign(np.inf, known), known)
    cells = np.searchsorted(edges, known, "left") + np.searchsorted(edges, known, "right")
    found = count_numbers(values, edges)
    assert found.counts.dtype == np.int64
    assert found.counts.tolist() == np.bincount(cells, minlength=2 * len(edges) + 1).tolist()
    assert found.infinite == beyond.sum()
    assert found.low == known.min(initial=np.inf, where=~beyond)
    assert found.high == known.max(initial=-np.inf, where=~beyond)


COLUMNS: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "normal": lambda rng: rng.normal(size=ROWS),
    "skewed": lambda rng: rng.lognormal(0.0, 3.0, ROWS),
    "skewed to the left": lambda rng: -rng.lognormal(0.0, 3.0, ROWS),
    "heavy tails": lambda rng: rng.standard_cauchy(ROWS),
    "whole numbers": lambda rng: rng.integers(-12, 12, ROWS).astype(np.float64),
    "half zeros": lambda rng: np.where(rng.random(ROWS) < 0.5, 0.0, rng.normal(size=ROWS)),
    "two clusters": lambda rng: rng.normal(size=ROWS) + 1e6 * rng.integers(0, 2, ROWS),
    "constant": lambda rng: np.full(ROWS, 3.0),
    "tiny": lambda rng: rng.normal(size=ROWS) * 1e-310,
    "huge": lambda rng: rng.normal(size=ROWS) * LARGEST_NUMBER,
    "missing": lambda rng: np.where(rng.random(ROWS) < 0.2, np.nan, rng.normal(size=ROWS)),
    "nothing": lambda rng: np.full(ROWS, np.nan),
    "infinite": lambda rng: np.where(rng.random(ROWS) < 0.1, -np.inf, rng.normal(size=ROWS)),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_columns_of_every_shape(name: str) -> None:
    rng = np.random.default_rng(0)
    reference, values = COLUMNS[name](rng), COLUMNS[name](rng)
    check_counts(values, find_bins(pd.Series(reference), "numeric").edges)


@pytest.mark.parametrize("name", ["normal", "skewed", "heavy tails", "whole numbers", "half zeros"])
def test_ordinary_columns_are_counted_without_a_sort(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    edges = find_bins(pd.Series(COLUMNS[name](rng)), "numeric").edges
    sorted_rows = 0
    whole = number_counts._count_sorted

    def noted(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
        nonlocal sorted_rows
        sorted_rows += len(values)
        return whole(values, edges)

    monkeypatch.setattr(number_counts, "_count_sorted", noted)
    check_counts(COLUMNS[name](rng), edges)
    assert sorted_rows < ROWS / 5


NUMBERS = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([0.0, -0.0, 5e-324, -5e-324, LARGEST_NUMBER, -LARGEST_NUMBER, 1.7e308]),
    st.integers(-5, 5).map(float),
)


@settings(max_examples=60, deadline=None)
@given(values=st.lists(NUMBERS, min_size=1, max_size=40), edges=st.lists(NUMBERS, max_size=40))
@example(values=[-0.0, 0.0], edges=[-1.0, 0.0, 1e-300, 1.0])
@example(values=[1e308, -1e308], edges=[-1.7e308, -1e308, 1e308, 1.7e308])
@example(values=[5e-324, 0.0], edges=[0.0, 5e-324, 1e-323, 1.5e-323])
def test_any_numbers_on_any_edges(values: list[float], edges: list[float]) -> None:
    finite = np.unique([edge for edge in edges if np.isfinite(edge)])
    check_counts(np.resize(np.array(values), ROWS), finite)


def test_minus_zero_is_zero_among_the_smallest_of_numbers() -> None:
    edges = np.arange(-200, 201) * 5e-324
    check_counts(np.resize([-0.0, 0.0, -5e-324, 5e-324], ROWS), edges)
