"""Statistics of two profiles against SciPy, loops and hand-computed values."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from driftbook.data.columns import Kind
from driftbook.drift import column_tests
from driftbook.drift.profile import ColumnProfile, find_bins, profile_values

TIED = st.lists(st.integers(-4, 4).map(float), min_size=2, max_size=40)


def profiles(
    reference: np.ndarray, current: np.ndarray, kind: Kind = "numeric"
) -> tuple[ColumnProfile, ColumnProfile]:
    bins = find_bins(pd.Series(reference), kind)
    return profile_values(pd.Series(reference), bins), profile_values(pd.Series(current), bins)


def filled(ref: ColumnProfile, cur: ColumnProfile) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    kept = (ref.counts + cur.counts) > 0
    return ref.counts[kept], cur.counts[kept], ref.bins.values[kept]


@given(reference=TIED, current=TIED)
def test_ks_is_scipys_with_ties(reference: list[float], current: list[float]) -> None:
    ref, cur = profiles(np.array(reference), np.array(current))
    statistic, pvalue = column_tests.ks_test(ref.counts, cur.counts)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # its own sum may round past 1
        oracle = stats.ks_2samp(reference, current, method="exact")
    assert statistic == pytest.approx(oracle.statistic, abs=1e-12)
    if oracle.pvalue > 0.99:
        assert 0.99 < pvalue <= 1.0
    else:
        assert pvalue == pytest.approx(oracle.pvalue, rel=1e-9)


@pytest.mark.parametrize("rows", [40, 1500])
def test_ks_is_scipys_between_the_edges(rows: int) -> None:
    rng = np.random.default_rng(3)
    reference, current = rng.normal(size=1500), rng.normal(0.1, 1.2, size=rows)
    ref, cur = profiles(reference, current)
    oracle = stats.ks_2samp(reference, current)
    assert column_tests.ks_test(ref.counts, cur.counts) == pytest.approx(
        (oracle.statistic, oracle.pvalue)
    )


@pytest.mark.parametrize("moved", [0.05, 0.2, 0.5])
@pytest.mark.parametrize("rows", [30, 1200, 2000])
def test_ks_of_equal_row_counts_is_scipys_exact_one(rows: int, moved: float) -> None:
    rng = np.random.default_rng(rows)
    reference, current = rng.normal(size=rows), rng.normal(moved, 1.0, rows)
    bins = find_bins(pd.Series(reference), "numeric")
    ref, cur = (profile_values(pd.Series(values), bins) for values in (reference, current))
    oracle = stats.ks_2samp(reference, current, method="exact")
    found = column_tests.ks_test(ref.counts, cur.counts)
    assert found == pytest.approx((oracle.statistic, oracle.pvalue), rel=1e-8)


def test_ks_of_large_windows_uses_the_asymptotic_pvalue() -> None:
    rng = np.random.default_rng(4)
    reference, current = rng.normal(size=3000), rng.normal(0.05, 1.0, size=2500)
    ref, cur = profiles(reference, current)
    oracle = stats.ks_2samp(reference, current, method="asymp")
    assert column_tests.ks_test(ref.counts, cur.counts) == pytest.approx(
        (oracle.statistic, oracle.pvalue)
    )


def test_ks_past_the_edge_limit_is_off_by_less_than_a_cell() -> None:
    rng = np.random.default_rng(5)
    reference, current = rng.normal(size=20_000), rng.normal(0.1, 1.0, size=5000)
    ref, cur = profiles(reference, current)
    exact = stats.ks_2samp(reference, current).statistic
    assert column_tests.ks_test(ref.counts, cur.counts)[0] == pytest.approx(exact, abs=1.0 / 4000)


@given(reference=TIED, current=TIED, slack=st.sampled_from([0.0, 0.5, 1.0, 1.5]))
def test_banded_ks_equals_a_loop_over_all_points(
    reference: list[float], current: list[float], slack: float
) -> None:
    # Every current value occurs in the reference, so that no value lies between two edges.
    reference = reference + current
    ref, cur = profiles(np.array(reference), np.array(current))
    x, y = np.array(reference), np.array(current)
    worst = 0.0
    for point in np.unique(np.concatenate([x, y, x + slack, x - slack])):
        for nudge in (-1e-9, 0.0):
            g = np.mean(y <= point + nudge)
            worst = max(worst, g - np.mean(x <= point + nudge + slack + 1e-9))
            worst = max(worst, np.mean(x <= point + nudge - slack - 1e-9) - g)
    found = column_tests.banded_ks_test(ref, cur, slack)[0]
    assert found <= stats.ks_2samp(reference, current).statistic + 1e-12
    assert found == pytest.approx(worst, abs=1e-12)


def test_banded_ks_forgives_exactly_the_slack() -> None:
    rng = np.random.default_rng(6)
    reference = rng.normal(size=2000)
    for moved, forgiven in ((0.05, True), (-0.05, True), (0.6, False), (-0.6, False)):
        ref, cur = profiles(reference, reference + moved)
        assert (column_tests.banded_ks_test(ref, cur, 0.06)[0] == 0.0) is forgiven


def test_rank_test_on_mid_ranks_is_mann_whitney() -> None:
    rng = np.random.default_rng(7)
    reference = rng.integers(0, 9, size=400).astype(float)
    current = rng.integers(1, 10, size=300).astype(float)
    ref, cur = profiles(reference, current)
    before, after, _ = filled(ref, cur)
    ranks = np.cumsum(before + after) - (before + after - 1) / 2.0
    z, _ = column_tests.rank_test(before, after, ranks)
    oracle = stats.mannwhitneyu(current, reference, method="asymptotic", use_continuity=False)
    assert 2.0 * stats.norm.sf(abs(z)) == pytest.approx(oracle.pvalue, rel=1e-9)


def test_rank_test_has_a_continuity_correction() -> None:
    rng = np.random.default_rng(8)
    reference, current = rng.normal(size=500).round(3), rng.normal(0.15, 1.0, 500).round(3)
    before, after, _ = filled(*profiles(reference, current))
    ranks = np.cumsum(before + after) - (before + after - 1) / 2.0
    pvalue = column_tests.rank_test(before, after, ranks)[1]
    oracle = stats.mannwhitneyu(current, reference, method="asymptotic", use_continuity=True)
    assert pvalue == pytest.approx(oracle.pvalue, rel=0.02)


@pytest.mark.parametrize(("m", "n", "rare"), [(1200, 50, 20), (1200, 400, 12), (300, 900, 30)])
def test_rank_test_of_a_rare_level_is_the_hypergeometric_test(m: int, n: int, rare: int) -> None:
    for cur in range(rare + 1):
        table = np.array([m - rare + cur, rare - cur]), np.array([n - cur, cur])
        found = column_tests.rank_test(*table, np.array([0.0, 1.0]))[1]
        lower = stats.hypergeom.cdf(cur, m + n, rare, n)
        upper = stats.hypergeom.sf(cur - 1, m + n, rare, n)
        exact = min(1.0, 2.0 * min(lower, upper))
        # Never lighter than the exact tail by much; heavier far out, where it costs nothing.
        if 1e-4 < exact < 0.2:
            assert 0.6 * exact < found < 4.0 * exact


def test_rank_test_of_a_skewed_column_agrees_with_permutations() -> None:
    rng = np.random.default_rng(9)
    values = np.where(rng.random(650) < 0.9, 0.0, rng.exponential(size=650))
    ref, cur = profiles(values[:600], values[600:])
    before, after, cells = filled(ref, cur)
    pooled = np.repeat(cells, before + after)
    ranks = stats.rankdata(pooled)
    draws = np.array([ranks[rng.permutation(650)[:50]].sum() for _ in range(20_000)])
    scores = np.cumsum(before + after) - (before + after - 1) / 2.0
    level = np.quantile(draws, 0.99)
    heavy = np.array([50 - 11, *([0] * (len(scores) - 12)), *([1] * 11)])
    assert heavy.sum() == 50 and heavy @ scores >= level
    exact = 2.0 * np.mean(draws >= heavy @ scores)
    assert column_tests.rank_test(before + after - heavy, heavy, scores)[1] == pytest.approx(
        exact, rel=1.0
    )


def test_share_test_of_equal_or_empty_shares_is_one() -> None:
    assert column_tests.share_test(0, 100, 0, 50, 0.0) == 1.0
    assert column_tests.share_test(100, 100, 50, 50, 0.0) == 1.0
    assert column_tests.share_test(1, 0, 1, 50, 0.0) == 1.0
    assert column_tests.share_test(50, 100, 500, 1000, 0.0) == 1.0


def test_material_pvalue_is_one_half_at_the_minimum_and_falls_beyond() -> None:
    assert column_tests.find_material_pvalue(0.05, 0.05, 1200, 100_000) == pytest.approx(0.5)
    error = math.sqrt(1 / 1200 + 1 / 10_000)
    expected = stats.norm.sf((0.2 - 0.05) / error)
    assert column_tests.find_material_pvalue(-0.2, 0.05, 1200, 400) == pytest.approx(expected)


@given(
    table=st.lists(
        st.tuples(st.integers(0, 60), st.integers(0, 60)), min_size=2, max_size=8
    ).filter(lambda rows: sum(a for a, _ in rows) > 0 and sum(b for _, b in rows) > 0)
)
def test_chi_square_is_scipys(table: list[tuple[int, int]]) -> None:
    reference, current = (np.array(side) for side in zip(*table, strict=True))
    statistic, df = column_tests.chi_square_test(reference, current)
    rows = np.array([[a, b] for a, b in table if a + b])
    if len(rows) < 2:
        assert (statistic, df) == (0.0, 0)
        return
    oracle = stats.chi2_contingency(rows, correction=False)
    assert statistic == pytest.approx(oracle.statistic, abs=1e-9)
    assert df == oracle.dof
    assert column_tests.find_table_pvalue(statistic, df, 10, 10, 0.0) == pytest.approx(
        oracle.pvalue
    )


def test_table_pvalue_forgives_the_minimum_effect() -> None:
    # Cohen's w of 0.05 at 10,000 rows a side: found without a minimum, forgiven with it.
    size = 10_000 * 10_000 / 20_000
    assert column_tests.find_table_pvalue(size * 0.05**2 + 3, 3, 10_000, 10_000, 0.0) < 0.01
    assert column_tests.find_table_pvalue(size * 0.05**2 + 3, 3, 10_000, 10_000, 0.05) > 0.3


@given(reference=st.lists(st.integers(0, 50), min_size=3, max_size=30))
def test_pooling_rare_levels_loses_no_row(reference: list[int]) -> None:
    before = np.array([*reference, 0]) + np.array([*([0] * len(reference)), 1])
    after = np.roll(before, 1)
    ref, cur, *_ = column_tests.pool_rare_levels(before, after)
    expected = (before + after) * 0.5
    rare = expected < column_tests.MIN_EXPECTED
    rare[-1] = True
    cells = int((~rare).sum()) + int(expected[rare].sum() >= column_tests.MIN_EXPECTED)
    assert len(ref) == len(cur) == cells
    assert ((ref + cur) * 0.5 >= column_tests.MIN_EXPECTED).all()
    if cells:
        assert (ref.sum(), cur.sum()) == (before.sum(), after.sum())


def test_psi_by_hand() -> None:
    p, q = np.array([0.5, 0.3, 0.2]), np.array([0.4, 0.3, 0.3])
    plain = (0.4 - 0.5) * math.log(0.4 / 0.5) + (0.3 - 0.2) * math.log(0.3 / 0.2)
    assert column_tests.measure_psi(p, q) == pytest.approx(plain, rel=0.01)
    mixed_p, mixed_q = 0.99 * p + 0.01 * q, 0.99 * q + 0.01 * p
    by_hand = sum((b - a) * math.log(b / a) for a, b in zip(mixed_p, mixed_q, strict=True))
    assert column_tests.measure_psi(p, q) == pytest.approx(by_hand / 0.98**2, rel=1e-12)
    assert column_tests.measure_psi(q, p) == pytest.approx(
        column_tests.measure_psi(p, q), rel=1e-12
    )
    assert column_tests.measure_psi(p, p) == 0.0


def test_psi_bins_are_reference_quantiles_with_open_ends() -> None:
    rng = np.random.default_rng(10)
    reference, current = rng.normal(size=1000), rng.normal(0.5, 1.0, size=500)
    p, q = column_tests.find_psi_shares(*profiles(reference, current), bins=10)
    inner = np.quantile(reference, np.arange(1, 10) / 10, method="inverted_cdf")
    by_hand = np.bincount(np.searchsorted(inner, current), minlength=10) / 500
    assert p == pytest.approx(np.full(10, 0.1))
    assert q == pytest.approx(by_hand)


@pytest.mark.parametrize("rows", [100, 1200, 100_000])
@pytest.mark.parametrize("moved", [40.0, -40.0])
def test_psi_wholly_out_of_range_is_large_and_does_not_grow_with_rows(
    rows: int, moved: float
) -> None:
    rng = np.random.default_rng(11)
    shares = column_tests.find_psi_shares(
        *profiles(rng.normal(size=1200), rng.normal(moved, 1.0, rows)), 10
    )
    assert column_tests.measure_psi(*shares) == pytest.approx(6.25, abs=0.01)


def test_psi_of_tied_values_has_one_bin_for_each() -> None:
    reference = np.array([0.0] * 90 + [1.0] * 10)
    p, q = column_tests.find_psi_shares(*profiles(reference, np.array([0.0, 1.0])), 10)
    assert p.tolist() == [0.9, 0.1] and q.tolist() == [0.5, 0.5]


def test_noncentral_interval_inverts_the_distribution() -> None:
    low, high = column_tests.find_noncentral_interval(30.0, 9)
    assert stats.ncx2.sf(30.0, 9, low) == pytest.approx(0.025, rel=1e-6)
    assert stats.ncx2.cdf(30.0, 9, high) == pytest.approx(0.025, rel=1e-6)
    assert column_tests.find_noncentral_interval(9.0, 9)[0] == 0.0
    assert column_tests.find_noncentral_interval(0.0, 9) == (0.0, 0.0)


def test_cauchy_combination_of_equal_pvalues_is_that_pvalue() -> None:
    weights = np.array([0.85, 0.1, 0.05])
    for p in (1e-200, 1e-9, 0.003, 0.4):
        assert column_tests.combine_pvalues(np.full(3, p), weights) == pytest.approx(p, rel=1e-6)
    assert column_tests.combine_pvalues(np.array([1e-4, 1.0, 1.0]), weights) == pytest.approx(
        1.18e-4, rel=0.01
    )
