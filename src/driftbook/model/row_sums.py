"""Sums over rows, with standard errors over blocks in time that dependent rows do not fool."""

from __future__ import annotations

from dataclasses import astuple, dataclass

import numpy as np
from scipy import stats

from driftbook.data.arrays import Floats

# At most this share of windows without any change is called worse, over all metrics together.
FALSE_WORSE_RATE = 0.01
BLOCKS = 16


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
        return self.mean - float(stats.t.ppf(confidence, max(1, self.df))) * self.error

    def high(self, confidence: float) -> float:
        """Return the bound that the true mean stays below with one-sided ``confidence``."""
        return self.mean + float(stats.t.ppf(confidence, max(1, self.df))) * self.error

    def exceeds(self, value: float) -> float:
        """Return the one-sided confidence that the true mean exceeds ``value``."""
        if self.error == 0.0:
            return float(self.mean > value)
        return float(stats.t.cdf((self.mean - value) / self.error, max(1, self.df)))


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
