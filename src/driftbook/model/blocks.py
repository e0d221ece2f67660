"""Block variance: standard errors that dependent rows do not fool, and what rests on them."""

from __future__ import annotations

import numpy as np
from scipy import stats

from driftbook.data.arrays import Floats

# At most this share of windows without any change is called worse, over all metrics together.
FALSE_WORSE_RATE = 0.01
BLOCKS = 16


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
    """Return the standard error of a mean of rows in time order, and its degrees of freedom.

    See :func:`block_variance`; infinite, with one degree, for fewer than 8 rows.
    """
    n = len(influence)
    if n < 8:
        return float("inf"), 1
    variance, blocks = block_variance((influence - influence.mean())[:, None])
    return float(np.sqrt(variance[0, 0])) / n, blocks - 1


def difference_half_width(
    current: tuple[float, int], reference: tuple[float, int], confidence: float
) -> float:
    """Return the half width of the interval of a difference of two independent means.

    Source: Welch (1947), Biometrika 34: Satterthwaite's degrees of freedom.
    """
    (a, df_a), (b, df_b) = current, reference
    variance = a * a + b * b
    if not np.isfinite(variance) or variance == 0.0:
        return float("inf") if not np.isfinite(variance) else 0.0
    df = variance**2 / (a**4 / df_a + b**4 / df_b)
    return float(stats.t.ppf(0.5 + confidence / 2, df) * np.sqrt(variance))


def find_worse_confidence(tests: int) -> float:
    """Return the two-sided confidence at which ``tests`` one-sided calls share the budget."""
    return 1.0 - 2.0 * FALSE_WORSE_RATE / tests
