"""The tail of Kolmogorov's distance against SciPy's sum over all rows, and against that sum."""

import numpy as np
import pytest
from scipy import stats

from driftbook.drift.ks_tail import MANY_ROWS, find_ks_tail


@pytest.mark.parametrize("rows", [MANY_ROWS, 31_000, 150_000])
@pytest.mark.parametrize("square", [0.3, 1.0, 2.199, 2.2, 3.0, 8.0, 20.0, 60.0, 150.0, 345.0])
def test_the_tail_of_many_rows_is_that_of_scipy(rows: int, square: float) -> None:
    distance = float(np.sqrt(square / rows))
    assert find_ks_tail(rows, distance) == pytest.approx(stats.kstwo.sf(distance, rows), rel=1e-8)


@pytest.mark.parametrize("square", [2.2, 10.0, 100.0, 345.0])
def test_the_tail_of_millions_is_the_sum_of_its_terms(square: float) -> None:
    # Birnbaum and Tingey's sum in long double, each term by Stirling's series of its factorials.
    rows, n = 2_000_000, np.longdouble(2_000_000)
    distance = np.longdouble(np.sqrt(square / rows))
    below = np.arange(1000, int(rows * (1.0 - float(distance))) - 1000).astype(np.longdouble)
    above, least = n - below, below / n + distance
    log = below * np.log(n * least / below) + above * np.log(n * (1.0 - least) / above)
    log += (1 / n - 1 / below - 1 / above) / 12
    terms = np.exp(log) * distance / least * np.sqrt(n / (2 * np.pi * below * above))
    assert find_ks_tail(rows, float(distance)) == pytest.approx(float(2 * terms.sum()), rel=1e-9)


def test_the_tail_ends_at_one_and_at_nothing() -> None:
    assert find_ks_tail(1_000_000, 0.0) == 1.0
    assert find_ks_tail(1_000_000, 0.02) == 0.0 == stats.kstwo.sf(0.02, 1_000_000)
    assert find_ks_tail(50, 0.2) == stats.kstwo.sf(0.2, 50)
