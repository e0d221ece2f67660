"""Standard errors that dependent rows do not fool, and the interval of a difference."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import stats

Floats = npt.NDArray[np.float64]

# At most this share of windows without any change is called worse, over all metrics together.
FALSE_WORSE_RATE = 0.01
BLOCKS = 16


def block_standard_error(influence: Floats, blocks: int = BLOCKS) -> tuple[float, int]:
    """Return the standard error of a mean of rows in time order, and its degrees of freedom.

    The rows are cut into ``blocks`` contiguous blocks (fewer where a block would hold under four
    rows) and the block means are treated as one sample. Infinite with fewer than 8 rows.

    Source: Ibragimov and Müller (2010), JBES 28(4): t-statistic based inference on q groups.
    """
    n = len(influence)
    blocks = min(blocks, n // 4)
    if blocks < 2:
        return float("inf"), 1
    edges = np.linspace(0, n, blocks + 1).astype(np.int64)
    sizes = np.diff(edges)
    sums = np.add.reduceat(influence - influence.mean(), edges[:-1])
    spread = float((np.square(sums)).sum() * blocks / (blocks - 1))
    return float(np.sqrt(spread) / sizes.sum()), blocks - 1


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
