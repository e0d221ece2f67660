"""Statistics of one column: pure functions of the counts of two profiles."""

from __future__ import annotations

import functools
import math

import numpy as np
from scipy import special, stats

from driftbook.data.arrays import Floats, Ints
from driftbook.drift.ks_tail import find_ks_tail
from driftbook.drift.profile import ColumnProfile

# A cell of a contingency table needs this expected count (Cochran 1954) or is pooled.
MIN_EXPECTED = 5.0
# Windows shorter than this are held to the minimum effect as if they had this many rows: their own
# noise is charged once, by the test against no change at all.
MATERIAL_ROWS = 10_000
# Lee (1999) compares each distribution with 0.99 of the other: bounded, whatever the row counts.
PSI_SKEW = 0.01
# Up to this many rows a side the exact p-value of KS is cheap.
_EXACT_ROWS = 2000


def ks_test(reference: Ints, current: Ints) -> tuple[float, float]:
    """Return the two-sample Kolmogorov-Smirnov statistic and its p-value from cell counts.

    The statistic is exact where every reference value is an edge, ties included. The p-value is
    SciPy's, or equal to it: exact up to 2000 rows a side (unless it is near 1), asymptotic above;
    conservative under ties.

    Source: Hodges (1958), The significance probability of the Smirnov two-sample test; for equal
    row counts the closed form of Gnedenko & Korolyuk (1951), Dokl. Akad. Nauk SSSR 80.

    >>> ks_test(np.array([2, 2, 0]), np.array([0, 2, 2]))[0]
    0.5
    """
    m, n = int(reference.sum()), int(current.sum())
    statistic = float(np.abs(np.cumsum(reference) / m - np.cumsum(current) / n).max())
    size = m * n / (m + n)
    if m == n <= _EXACT_ROWS and statistic > 0.0:
        return statistic, _ks_of_equals(n, round(statistic * n))
    # Far below any doubt SciPy's exact sum can round past 1, and warns.
    if max(m, n) <= _EXACT_ROWS and statistic * math.sqrt(size) > 0.4:
        cells = np.arange(len(reference))
        samples = np.repeat(cells, reference), np.repeat(cells, current)
        return statistic, float(stats.ks_2samp(*samples, method="exact").pvalue)
    return statistic, find_ks_tail(round(size), statistic)


def _ks_of_equals(n: int, steps: int) -> float:
    """Return the chance of a distance of at least ``steps`` / n between two samples of n rows."""
    turns = np.arange(1, n // steps + 1)
    ways = special.gammaln(n - turns * steps + 1.0) + special.gammaln(n + turns * steps + 1.0)
    terms = np.exp(2.0 * special.gammaln(n + 1.0) - ways)
    return min(1.0, 2.0 * float(terms[::2].sum() - terms[1::2].sum()))


def banded_ks_test(
    reference: ColumnProfile, current: ColumnProfile, slack: float
) -> tuple[float, float]:
    """Return the KS distance left after every value may move by ``slack``, and its p-value.

    The null is that some movement of at most ``slack`` (units of the column) turns the reference
    into the current distribution: F(x - slack) <= G(x) <= F(x + slack) for all x. Between two edges
    current values are placed where they agree best, so the test errs to the safe side.

    Source: the neighbourhood of Lévy, as in Huber (1981), Robust Statistics, section 2.3; p-value
    by Stephens (1970), JRSS B 32, small-sample form of Kolmogorov's limit.
    """
    m, n = reference.n, current.n
    up_open, up_at, down_at, down_open = _band(reference, slack)
    through = current.cumulative / n
    at, open_below = through[1::2], through[:-1:2]
    gaps = at - up_at, open_below - up_open, down_at - open_below, down_open - at
    distance = max(0.0, *(float(gap.max()) for gap in gaps))
    root = math.sqrt(m * n / (m + n))
    return distance, float(special.kolmogorov((root + 0.12 + 0.11 / root) * distance))


@functools.lru_cache(maxsize=512)
def _band(reference: ColumnProfile, slack: float) -> list[Floats]:
    """Return the bounds of the band at each edge and just beside it; kept, as windows share them.

    They are the reference's shares below and up to edge + slack, then below and up to edge - slack.
    """
    edges = reference.bins.edges
    below = np.concatenate([[0], reference.cumulative]) / reference.n
    bounds = []
    for moved in (edges + slack, edges - slack):
        bounds.append(below[2 * np.searchsorted(edges, moved, side="left")])
        bounds.append(below[2 * np.searchsorted(edges, moved, side="right")])
    return bounds


def rank_test(reference: Ints, current: Ints, scores: Floats) -> tuple[float, float]:
    """Return z and the two-sided p-value of a linear rank test, given a score for each cell.

    Cells are in the order of their values, each with a row on either side. Mean, variance and
    skewness are those of the permutation distribution given the ties; the tail is Pearson's type
    III, with half the widest step between neighbouring scores as continuity correction.

    Source: Hájek, Šidák & Sen (1999), Theory of Rank Tests, section 3.3; Mielke & Berry (2007),
    Permutation Methods, section 2.3 (type III approximation).

    >>> rank_test(np.array([5, 5]), np.array([5, 5]), np.array([0.0, 1.0]))
    (0.0, 1.0)
    """
    pooled = reference + current
    m, n, total = int(reference.sum()), int(current.sum()), int(pooled.sum())
    centred = scores - float(pooled @ scores) / total
    squares = centred * centred
    second = float(pooled @ squares) / total
    if second <= 0.0 or total < 4:
        return 0.0, 1.0
    sd = math.sqrt(second * m * n / (total - 1))
    third = float(pooled @ (squares * centred)) / total
    skew = n * m * (m - n) / ((total - 1) * (total - 2)) * third / sd**3
    step = float(np.abs(np.diff(scores)).max())
    deviation = float(current @ centred)
    nearer = math.copysign(max(0.0, abs(deviation) - step / 2.0), deviation) / sd
    tail = min(_pearson3_upper(nearer, skew), _pearson3_upper(-nearer, -skew))
    return deviation / sd, min(1.0, 2.0 * tail)


def find_mid_ranks(pooled: Ints) -> Floats:
    """Return the mid-rank of each non-empty cell over n + 1, values in (0, 1)."""
    ranks = np.cumsum(pooled) - (pooled - 1) / 2.0
    return np.asarray(ranks / (int(pooled.sum()) + 1.0))


def share_test(ref: int, m: int, cur: int, n: int, minimum: float) -> float:
    """Return the p-value of equal shares ref / m and cur / n, against a minimum effect.

    The effect is the difference of the shares over the sd of one row. Source: the hypergeometric
    distribution as in :func:`rank_test`; interval null as in :func:`find_material_pvalue`.
    """
    if not m or not n or ref + cur in (0, m + n):
        return 1.0
    table = np.array([m - ref, ref]), np.array([n - cur, cur])
    pvalue = rank_test(*table, np.array([0.0, 1.0]))[1]
    pooled = (ref + cur) / (m + n)
    effect = (cur / n - ref / m) / math.sqrt(pooled * (1.0 - pooled))
    return max(pvalue, find_material_pvalue(effect, minimum, m, n))


def find_material_pvalue(
    effect: float, minimum: float, m: int, n: int, spread: float = 1.0, least: int = MATERIAL_ROWS
) -> float:
    """Return the p-value of "the effect is at most ``minimum``", for an effect in reference sds.

    ``spread``: the current sd over the reference's. One-sided normal, standard error from m and
    max(n, ``least``) rows. Source: interval hypotheses, Wellek (2010), Testing Statistical
    Hypotheses of Equivalence and Noninferiority, chapter 1.
    """
    error = math.sqrt(1.0 / m + spread**2 / max(n, least))
    return float(special.ndtr(-(abs(effect) - minimum) / error))


def find_psi_shares(
    reference: ColumnProfile, current: ColumnProfile, bins: int
) -> tuple[Floats, Floats]:
    """Return both profiles' shares on open-ended reference-quantile bins, or on the levels.

    A value that fills several quantiles makes one bin of them; bins empty on both sides are left
    out. Shapes (b,) and (b,).
    """
    ref, cur = reference.counts, current.counts
    if reference.bins.kind == "numeric":
        wanted = np.arange(1, bins) * (reference.n / bins) - 1e-9 * reference.n
        cuts = np.unique(np.searchsorted(reference.cumulative, wanted))
        starts = np.concatenate([[0], cuts[cuts < len(ref) - 1] + 1])
        ref, cur = np.add.reduceat(ref, starts), np.add.reduceat(cur, starts)
    filled = (ref + cur) > 0
    return ref[filled] / reference.n, cur[filled] / current.n


def measure_psi(reference: Floats, current: Floats) -> float:
    """Return the population stability index of two vectors of shares; 0 for equal, always finite.

    Each side is compared with 99% of the other plus 1% of itself, rescaled so that small changes
    score as in the plain formula sum((q - p) ln(q / p)); a bin that emptied then counts as 100
    times rarer, not infinitely so, and not more with every row added.

    Source: Siddiqi (2006), Credit Risk Scorecards; skew divergence of Lee (1999), Measures of
    distributional similarity, with its alpha = 0.99.

    >>> measure_psi(np.array([0.5, 0.5]), np.array([0.5, 0.5]))
    0.0
    """
    return float(np.sum(_psi_terms(reference, current)))


def _psi_terms(reference: Floats, current: Floats) -> Floats:
    p = (1.0 - PSI_SKEW) * reference + PSI_SKEW * current
    q = (1.0 - PSI_SKEW) * current + PSI_SKEW * reference
    return np.asarray((q - p) * np.log(q / p) / (1.0 - 2.0 * PSI_SKEW) ** 2)


def find_psi_interval(
    reference: Floats, current: Floats, m: int, n: int
) -> tuple[float, float, float]:
    """Return PSI's expectation without drift, and the 95% interval of the part beyond chance.

    ``reference``, ``current``: shares of m and n rows. The expectation is about
    (bins - 1)(1/m + 1/n); bins that expect few current rows add more than that, summed exactly.
    The interval is that of the noncentrality of Pearson's chi-square on the same bins, which keeps
    its level where PSI itself does not, in units of PSI; (0, 0) when nothing lies beyond chance.

    Source: Yurdakul & Naranjo (2020), Statistical properties of the population stability index,
    Journal of Risk Model Validation 14.
    """
    if len(reference) < 2:
        return 0.0, 0.0, 0.0
    pooled = (m * reference + n * current) / (m + n)
    expected = float(np.sum(1.0 - pooled)) / m + sum(_psi_of_chance(n, float(p)) for p in pooled)
    statistic = float(np.sum((current - reference) ** 2 / pooled)) * m * n / (m + n)
    low, high = find_noncentral_interval(statistic, len(reference) - 1)
    unit = measure_psi(reference, current) / statistic if statistic > 0.0 else (m + n) / (m * n)
    return expected, low * unit, high * unit


def _psi_of_chance(n: int, share: float) -> float:
    """Return the mean PSI term of a bin of which n rows are drawn with the given chance."""
    mean = n * share
    if mean >= 30.0:  # the next term of the expansion is below 0.1%
        return (1.0 - share) / n * (1.0 + 0.5 / mean)
    return _psi_of_few(n, float(f"{share:.3g}"))


@functools.lru_cache(maxsize=4096)
def _psi_of_few(n: int, share: float) -> float:
    counts = np.arange(min(n, int(n * share + 12.0 * math.sqrt(n * share) + 12.0)) + 1)
    terms = _psi_terms(np.full(len(counts), share), counts / n)
    return float(stats.binom.pmf(counts, n, share) @ terms)


def find_noncentral_interval(statistic: float, df: int, level: float = 0.95) -> tuple[float, float]:
    """Return the interval of a chi-square's noncentrality by inverting its distribution.

    Source: Steiger (2004), Beyond the F test, Psychological Methods 9.
    """
    tail, reached = (1.0 - level) / 2.0, float(special.chdtr(df, statistic))
    low, high = (
        0.0 if reached <= share else float(special.chndtrinc(statistic, df, share))
        for share in (1.0 - tail, tail)
    )
    return low, high


def pool_rare_levels(reference: Ints, current: Ints) -> tuple[Ints, Ints, int, int]:
    """Return the table of the frequent levels, and the two counts of all rare levels together.

    A level is frequent when the smaller sample expects five of it; the last cell (levels the
    reference never had) is always among the rare. Rare levels are a cell of the table when five
    of them together are expected; otherwise they join the smallest cell.

    >>> pool_rare_levels(np.array([50, 45, 3, 2, 0]), np.array([50, 44, 2, 3, 1]))[:2]
    (array([50, 45,  5]), array([50, 44,  6]))
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


def chi_square_test(reference: Ints, current: Ints) -> tuple[float, int]:
    """Return Pearson's chi-square of a 2 x k table and its degrees of freedom; (0, 0) for k < 2.

    Source: Pearson (1900), Philosophical Magazine 50; no continuity correction.
    """
    table = np.vstack([reference, current])[:, (reference + current) > 0]
    if table.shape[1] < 2 or not table.sum(axis=1).all():
        return 0.0, 0
    found = stats.chi2_contingency(table, correction=False)
    return float(found.statistic), int(found.dof)


def find_table_pvalue(statistic: float, df: int, m: int, n: int, minimum: float) -> float:
    """Return the p-value of a chi-square when Cohen's w up to ``minimum`` is harmless.

    Source: noncentral chi-square with noncentrality w^2 mn / (m + n); Cohen (1988), chapter 7.
    """
    noncentrality = minimum**2 * m * n / (m + n)
    if noncentrality == 0.0:
        return float(special.chdtrc(df, statistic))
    return float(stats.ncx2.sf(statistic, df, noncentrality))


def combine_pvalues(pvalues: Floats, weights: Floats) -> float:
    """Return one p-value of dependent tests: the weighted Cauchy combination.

    Accurate for small p-values under any dependence; values above 0.95 are cut there, so that one
    cannot hide the others. Source: Liu & Xie (2020), Cauchy combination test, JASA 115.

    >>> round(combine_pvalues(np.array([0.01, 0.01]), np.array([1.0, 1.0])), 6)
    0.01
    """
    p = np.clip(pvalues, 1e-290, 0.95)
    total = float(np.sum(weights / np.sum(weights) / np.tan(np.pi * p)))
    return 0.5 - math.atan(total) / math.pi if total < 1e6 else 1.0 / (total * math.pi)


def _pearson3_upper(z: float, skew: float) -> float:
    if abs(skew) < 1e-4:
        return float(special.ndtr(-z))
    shape = 4.0 / skew**2
    point = max(shape + math.copysign(math.sqrt(shape), skew) * z, 0.0)
    tail = special.gammaincc if skew > 0.0 else special.gammainc
    return float(tail(shape, point))
