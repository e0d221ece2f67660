"""A sum over rows with its variance: evidence that adds up over segments and over windows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from driftbook.data.arrays import Floats
from driftbook.model.blocks import block_variance


@dataclass(frozen=True)
class RowSum:
    """A sum over ``rows`` rows, the variance of that sum, and its degrees of freedom."""

    total: float = 0.0
    variance: float = 0.0
    rows: float = 0.0
    df: int = 0

    def __add__(self, other: RowSum) -> RowSum:
        """Return both tallies as one; their rows must differ."""
        return RowSum(
            self.total + other.total,
            self.variance + other.variance,
            self.rows + other.rows,
            self.df + other.df,
        )

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


def sum_rows(values: Floats, counts: Floats | None = None) -> RowSum:
    """Return the tally of rows in time order; ``counts``: how many terms each value sums up.

    The variance is that of ``blocks.block_variance``, infinite for fewer than 8 rows.
    """
    counts = np.ones(len(values)) if counts is None else counts
    rows, total = float(counts.sum()), float(values.sum())
    if len(values) < 8 or rows == 0:
        return RowSum(total, float("inf"), rows, 1)
    variance, blocks = block_variance((values - total / rows * counts)[:, None])
    return RowSum(total, float(variance[0, 0]), rows, blocks - 1)
