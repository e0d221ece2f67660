"""Ranks against SciPy's, ties and infinities included."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from driftbook.data.ranks import rank_values

NUMBERS = st.one_of(st.integers(-3, 3).map(float), st.floats(allow_nan=False))


@given(st.lists(NUMBERS, max_size=60))
def test_ranks_are_those_of_scipy(values: list[float]) -> None:
    column = np.array(values, dtype=np.float64)
    np.testing.assert_array_equal(rank_values(column), stats.rankdata(column))


@pytest.mark.parametrize("distinct", [1, 30, 100_000])
def test_ranks_of_many_rows_are_those_of_scipy(distinct: int) -> None:
    column = np.random.default_rng(0).integers(0, distinct, 20_000) / 7.0
    np.testing.assert_array_equal(rank_values(column), stats.rankdata(column))
