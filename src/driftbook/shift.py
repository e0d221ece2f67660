"""Statistics of one column: pure functions of a reference profile and a current profile."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from driftbook.profile import ColumnProfile, Counts, Values

TRIM = 0.01
# A cell of a contingency table needs this expected count (Cochran 1954) or is pooled.
MIN_EXPECTED = 5.0
# Windows shorter than this are held to the minimum effect as if they had this many rows: their own
# noise is charged once, by the test against no change at all.
MATERIAL_ROWS = 10_000
# Lee (1999) compares each distribution with 0.99 of the other: bounded, whatever the row counts.
PSI_SKEW = 0.01


@dataclass(frozen=True)
class Summary:
    """Location and spread of a number column: 1% trimmed mean, winsorised sd and kurtosis."""

    mean: float
    sd: float
    kurtosis: float


def cell_values(profile: ColumnProfile) -> Values:
    """Return a value for each numeric cell: the edge itself, the middle between two edges."""
    edges = profile.bins.edges
    values = np.empty(2 * len(edges) + 1)
    values[1::2] = edges
    values[2:-1:2] = (edges[1:] + edges[:-1]) / 2.0
    values[0], values[-1] = edges[0], edges[-1]
    return values


def summary(profile: ColumnProfile) -> Summary:
    """Return the trimmed location and the winsorised spread of a number column with n > 0.

    The sd is the winsorised sd over the share kept, which is within 1% of the sd for normal
    values; where trimming leaves a single value the untrimmed moments are returned.

    Source: Yuen (1974), The two-sample trimmed t for unequal population variances.
    """
    found = _summary(profile, TRIM)
    return found if found.sd > 0.0 else _summary(profile, 0.0)


def _summary(profile: ColumnProfile, trim: float) -> Summary:
    kept = np.flatnonzero(profile.counts)
    values, weights = cell_values(profile)[kept], profile.counts[kept] / profile.n
    cumulative = np.cumsum(weights)
    low, high = np.searchsorted(cumulative, [trim + 1e-12, 1.0 - trim - 1e-12])
    high = min(int(high), len(values) - 1)
    inside = np.diff(np.clip(cumulative, trim, 1.0 - trim), prepend=trim) / (1.0 - 2.0 * trim)
    mean = float(inside @ values)
    winsorised = np.clip(values, values[low], values[high])
    centred = winsorised - float(weights @ winsorised)
    variance = float(weights @ centred**2)
    if variance <= 0.0:
        return Summary(mean, 0.0, 3.0)
    kurtosis = float(weights @ centred**4) / variance**2
    return Summary(mean, math.sqrt(variance) / (1.0 - 2.0 * trim), kurtosis)


def ks(reference: Counts, current: Counts) -> tuple[float, float]:
    """Return the two-sample Kolmogorov-Smirnov statistic and its p-value from cell counts.

    Exact where every reference value is an edge, ties included. The p-value is the one SciPy's
    ``ks_2samp(method="asymp")`` gives, conservative under ties.

    Source: Hodges (1958), The significance probability of the Smirnov two-sample test.

    >>> ks(np.array([2, 2, 0]), np.array([0, 2, 2]))[0]
    0.5
    """
    m, n = int(reference.sum()), int(current.sum())
    statistic = float(np.abs(np.cumsum(reference) / m - np.cumsum(current) / n).max())
    return statistic, float(stats.kstwo.sf(statistic, round(m * n / (m + n))))


def banded_ks(reference: ColumnProfile, current: ColumnProfile, slack: float) -> tuple[float, float]:
    """Return the KS distance left after every value may move by ``slack``, and its p-value.

    The null is that some movement of at most ``slack`` (units of the column) turns the reference
    into the current distribution: F(x - slack) <= G(x) <= F(x + slack) for all x. Between two edges
    current values are placed where they agree best, so the test errs to the safe side.

    Source: the Lévy-type neighbourhood of Huber (1981), Robust Statistics, section 2.3; p-value
    by Stephens (1970) as in :func:`ks`.
    """
    edges = reference.bins.edges
    m, n = reference.n, current.n
    below_ref = np.concatenate([[0], np.cumsum(reference.counts)])
    through = np.cumsum(current.counts)
    at = np.searchsorted(edges, edges + slack, side="right")
    up_at = below_ref[2 * at] / m
    up_open = below_ref[2 * np.searchsorted(edges, edges + slack, side="left")] / m
    higher_cdf = np.maximum(through[1::2] / n - up_at, through[:-1:2] / n - up_open).max()
    down_at = below_ref[2 * np.searchsorted(edges, edges - slack, side="left")] / m
    down_open = below_ref[2 * np.searchsorted(edges, edges - slack, side="right")] / m
    before = np.maximum(down_at - through[:-1:2] / n, down_open - through[1::2] / n).max()
    distance = max(0.0, float(higher_cdf), float(before))
    root = math.sqrt(m * n / (m + n))
    return distance, float(special.kolmogorov((root + 0.12 + 0.11 / root) * distance))


def rank_test(reference: Counts, current: Counts, scores: Values) -> tuple[float, float]:
    """Return z and the two-sided p-value of a linear rank test, given a score for each cell.

    Mean, variance and skewness are those of the permutation distribution given the ties; the tail
    is Pearson's type III, with half the widest step between scores as continuity correction.

    Source: Hájek, Šidák & Sen (1999), Theory of Rank Tests, section 3.3; Mielke & Berry (2007),
    Permutation Methods, section 2.3 (type III approximation).
    """
    pooled = reference + current
    m, n, total = int(reference.sum()), int(current.sum()), int(pooled.sum())
    centred = scores - float(pooled @ scores) / total
    second = float(pooled @ centred**2) / total
    if second <= 0.0 or total < 4:
        return 0.0, 1.0
    sd = math.sqrt(second * m * n / (total - 1))
    third = float(pooled @ centred**3) / total
    skew = n * m * (m - n) / ((total - 1) * (total - 2)) * third / sd**3
    step = float(np.diff(np.sort(scores)).max())
    deviation = float(current @ centred)
    z = deviation / sd
    shrunk = math.copysign(max(0.0, abs(deviation) - step / 2.0), deviation) / sd
    return z, min(1.0, 2.0 * min(_pearson3_upper(shrunk, skew), _pearson3_upper(-shrunk, -skew)))


def _pearson3_upper(z: float, skew: float) -> float:
    if abs(skew) < 1e-4:
        return float(special.ndtr(-z))
    shape = 4.0 / skew**2
    point = shape + math.copysign(math.sqrt(shape), skew) * z
    if skew > 0.0:
        return float(special.gammaincc(shape, max(point, 0.0)))
    return float(special.gammainc(shape, max(point, 0.0)))


def mid_shares(pooled: Counts) -> Values:
    """Return the mid-rank of each non-empty cell over n + 1, values in (0, 1)."""
    ranks: NDArray[np.float64] = np.cumsum(pooled) - (pooled - 1) / 2.0
    return ranks / (int(pooled.sum()) + 1.0)


def psi_shares(reference: ColumnProfile, current: ColumnProfile, bins: int) -> tuple[Values, Values]:
    """Return the shares of both profiles on open-ended reference-quantile bins, or on the levels."""
    ref, cur = reference.counts, current.counts
    if reference.bins.kind == "numeric":
        cumulative = np.cumsum(ref)
        wanted = np.arange(1, bins) * (reference.n / bins)
        cuts = np.unique(np.searchsorted(cumulative, wanted - 1e-9 * reference.n))
        place = np.searchsorted(cuts, np.arange(len(ref)))
        ref = np.bincount(place, weights=ref, minlength=len(cuts) + 1)
        cur = np.bincount(place, weights=cur, minlength=len(cuts) + 1)
    filled = (ref + cur) > 0
    return ref[filled] / reference.n, cur[filled] / current.n


def psi(reference: Values, current: Values) -> float:
    """Return the population stability index of two vectors of shares; 0 for equal, always finite.

    Each side is compared with 99% of the other plus 1% of itself, rescaled so that small changes
    score as in the plain formula sum((q - p) ln(q / p)); a bin that emptied then counts as 100
    times rarer, not infinitely so, and not more with every row added.

    Source: Siddiqi (2006), Credit Risk Scorecards; skew divergence of Lee (1999), Measures of
    distributional similarity, with its alpha = 0.99.

    >>> psi(np.array([0.5, 0.5]), np.array([0.5, 0.5]))
    0.0
    """
    p = (1.0 - PSI_SKEW) * reference + PSI_SKEW * current
    q = (1.0 - PSI_SKEW) * current + PSI_SKEW * reference
    return float(np.sum((q - p) * np.log(q / p))) / (1.0 - 2.0 * PSI_SKEW) ** 2


def noncentral_interval(statistic: float, df: int, level: float = 0.95) -> tuple[float, float]:
    """Return the interval of a chi-square's noncentrality by inverting its distribution.

    Source: Steiger (2004), Beyond the F test, Psychological Methods 9, section on noncentrality.
    """
    tail = (1.0 - level) / 2.0
    low = 0.0 if special.chdtr(df, statistic) <= 1.0 - tail else special.chndtrinc(statistic, df, 1.0 - tail)
    high = 0.0 if special.chdtr(df, statistic) <= tail else special.chndtrinc(statistic, df, tail)
    return float(low), float(high)


def pool_rare(reference: Counts, current: Counts) -> tuple[Counts, Counts, int, int]:
    """Return the table of the frequent levels, and the two counts of all rare levels together.

    A level is frequent when the smaller sample expects five of it; the last cell (levels the
    reference never had) is always among the rare. Rare levels are a cell of the table when five
    of them together are expected; otherwise they join the smallest cell.
    """
    m, n = int(reference.sum()), int(current.sum())
    expected = (reference + current) * (min(m, n) / (m + n))
    frequent = expected >= MIN_EXPECTED
    frequent[-1] = False
    rare_ref, rare_cur = int(reference[~frequent].sum()), int(current[~frequent].sum())
    ref, cur = reference[frequent], current[frequent]
    if float(expected[~frequent].sum()) >= MIN_EXPECTED:
        return np.append(ref, rare_ref), np.append(cur, rare_cur), rare_ref, rare_cur
    if len(ref):
        smallest = int(np.argmin(ref + cur))
        ref[smallest] += rare_ref
        cur[smallest] += rare_cur
    return ref, cur, rare_ref, rare_cur


def chi_square(reference: Counts, current: Counts) -> tuple[float, int]:
    """Return Pearson's chi-square of a 2 x k table and its degrees of freedom; (0, 0) for k < 2.

    Source: Pearson (1900); equal to ``scipy.stats.chi2_contingency(correction=False)``.
    """
    pooled = reference + current
    reference, current, pooled = reference[pooled > 0], current[pooled > 0], pooled[pooled > 0]
    m, n = int(reference.sum()), int(current.sum())
    if len(pooled) < 2 or not m or not n:
        return 0.0, 0
    expected = pooled * (n / (m + n))
    return float(np.sum((current - expected) ** 2 / expected) * (m + n) / m), len(pooled) - 1


def combine(pvalues: Values, weights: Values) -> float:
    """Return one p-value of dependent tests: the weighted Cauchy combination.

    Source: Liu & Xie (2020), Cauchy combination test, JASA 115; accurate for small p-values under
    any dependence. Values near 1 are cut at 0.95, so that one cannot hide the others.
    """
    p = np.clip(pvalues, 1e-290, 0.95)
    total = float(np.sum(weights / np.sum(weights) / np.tan(np.pi * p)))
    return float(0.5 - math.atan(total) / math.pi) if total < 1e6 else 1.0 / (total * math.pi)


def material_pvalue(effect: float, minimum: float, m: int, n: int, spread: float = 1.0) -> float:
    """Return the p-value of "the effect is at most ``minimum``", for an effect in reference sds.

    ``spread``: the current sd over the reference's. One-sided normal, standard error from m and
    max(n, 10,000) rows. Source: interval hypotheses, Wellek (2010), Testing Statistical Hypotheses
    of Equivalence and Noninferiority, chapter 1.
    """
    error = math.sqrt(1.0 / m + spread**2 / max(n, MATERIAL_ROWS))
    return float(special.ndtr(-(abs(effect) - minimum) / error))
