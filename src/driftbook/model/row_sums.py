"""Sums over rows, with standard errors over blocks in time that dependent rows do not fool."""

from __future__ import annotations

from dataclasses import astuple, dataclass

import numpy as np
from scipy import special, stats

from driftbook.data.arrays import Floats

# At most this share of windows without any change is called worse, over all metrics together.
FALSE_WORSE_RATE = 0.01
BLOCKS = 16
# Fewer stretches of a window's length say little of how windows vary.
LEAST_WINDOWS, VARY_LEVEL = 5, 0.05


@dataclass(frozen=True)
class RowSum:
    """A sum over ``rows`` rows, its variance and degrees of freedom: evidence that adds up."""

    total: float = 0.0
    variance: float = 0.0
    rows: float = 0.0
    df: int = 0

    def __add__(self, other: RowSum) -> RowSum:
        """Return both sums as one; their rows must differ."""
        return RowSum(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    @property
    def mean(self) -> float:
        """Return the mean a row, NaN without rows."""
        return self.total / self.rows if self.rows else float("nan")

    @property
    def error(self) -> float:
        """Return the standard error of the mean, infinite without rows."""
        return float(np.sqrt(self.variance)) / self.rows if self.rows else float("inf")

    def low(self, confidence: float) -> float:
        """Return the bound that the true mean exceeds with one-sided ``confidence``."""
        return self.mean - float(special.stdtrit(max(1, self.df), confidence)) * self.error

    def high(self, confidence: float) -> float:
        """Return the bound that the true mean stays below with one-sided ``confidence``."""
        return self.mean + float(special.stdtrit(max(1, self.df), confidence)) * self.error

    def exceeds(self, value: float) -> float:
        """Return the one-sided confidence that the true mean exceeds ``value``."""
        if self.error == 0.0:
            return float(self.mean > value)
        return float(special.stdtr(max(1, self.df), (self.mean - value) / self.error))


def sum_rows(values: Floats, counts: Floats | None = None) -> RowSum:
    """Return the sum of rows in time order; ``counts``: how many terms each value sums up.

    The variance is that of :func:`block_variance`, infinite for fewer than 8 rows.
    """
    counts = np.ones(len(values)) if counts is None else counts
    rows, total = float(counts.sum()), float(values.sum())
    if len(values) < 8 or rows == 0:
        return RowSum(total, float("inf"), rows, 1)
    variance, blocks = block_variance((values - total / rows * counts)[:, None])
    return RowSum(total, float(variance[0, 0]), rows, blocks - 1)


def block_variance(rows: Floats, least_blocks: int = 0) -> tuple[Floats, int]:
    """Return the covariance of the sums of columns of ``rows``, (n, k), and the number of blocks.

    The rows, centred and in time order, are cut into 16 contiguous blocks (fewer where a block
    would hold under four rows, never under ``least_blocks``) whose sums are treated as one sample,
    so that neighbouring rows may depend on each other. Shape (k, k); infinite with under two.

    Source: Ibragimov and Müller (2010), JBES 28(4): t-statistic based inference on q groups.
    """
    blocks = max(least_blocks, min(BLOCKS, len(rows) // 4))
    if blocks < 2:
        return np.full((rows.shape[1],) * 2, np.inf), 1
    edges = np.linspace(0, len(rows), blocks + 1).astype(np.int64)[:-1]
    sums = np.add.reduceat(rows, edges, axis=0)
    variance: Floats = sums.T @ sums * (blocks / (blocks - 1))
    return variance, blocks


def block_standard_error(influence: Floats) -> tuple[float, int]:
    """Return the standard error of a mean of rows in time order, and its degrees of freedom."""
    found = sum_rows(influence)
    return found.error, found.df


def window_standard_errors(
    current: Floats, reference: Floats
) -> tuple[tuple[float, int], tuple[float, int]]:
    """Return the standard errors of both means, of a window and of its reference, with their df.

    Each side's blocks tell how rows depend on each other within it. Where the reference holds at
    least 5 stretches as long as the window, and these differ by more than their own blocks explain
    (an F-test at 5%), whole windows vary: a day has its weather. A window then is one draw of
    those, and the reference as many as it holds.

    Source: one-way random effects, Searle, Casella and McCulloch (1992), Variance Components, §3.
    """
    own, known = block_standard_error(current), block_standard_error(reference)
    n = len(current)
    count = len(reference) // n if n else 0
    if count < LEAST_WINDOWS:
        return own, known
    stretches = reference[len(reference) - count * n :].reshape(count, n)
    between = float(stretches.mean(axis=1).std(ddof=1))
    errors = [block_standard_error(stretch) for stretch in stretches]
    within = float(np.mean([error**2 for error, _ in errors]))
    if not 0.0 < within < np.inf:
        return own, known
    df = count - 1
    if stats.f.sf(between**2 / within, df, sum(each for _, each in errors)) >= VARY_LEVEL:
        return own, known
    return (max(own[0], between), df), (max(known[0], between / count**0.5), df)


def difference_half_width(
    current: tuple[float, int], reference: tuple[float, int], confidence: float
) -> float:
    """Return the half width of the interval of a difference of two independent means.

    Source: Welch (1947), Biometrika 34: Satterthwaite's degrees of freedom.
    """
    (a, df_a), (b, df_b) = current, reference
    variance = a * a + b * b
    if variance == 0.0 or not np.isfinite(variance):
        return 0.0 if variance == 0.0 else float("inf")
    df = variance**2 / (a**4 / df_a + b**4 / df_b)
    return float(stats.t.ppf(0.5 + confidence / 2, df) * np.sqrt(variance))


def find_worse_confidence(tests: int) -> float:
    """Return the two-sided confidence at which ``tests`` one-sided calls share the budget."""
    return 1.0 - 2.0 * FALSE_WORSE_RATE / tests
