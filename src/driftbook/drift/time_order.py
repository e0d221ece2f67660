"""How much a mean of rows in time order varies beyond what independent rows would."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import special, stats

from driftbook.data.arrays import Floats
from driftbook.model.row_sums import BLOCKS

MOST_BLOCKS = 100
# Rows are taken for independent unless their blocks vary more than chance makes one in twenty.
DEPENDENT_LEVEL = 0.05


@dataclass(frozen=True)
class TimeDependence:
    """``ratio``: variance of a mean of rows over that of independent ones, at least 1.

    ``df``: degrees of freedom that it rests on, infinite where rows are taken for independent.
    """

    ratio: float = 1.0
    df: float = math.inf


def measure_time_dependence(values: Floats, window: int) -> TimeDependence:
    """Return how dependent rows are in means of ``window`` rows.

    ``values``: one a row of the reference, in time order, without missing ones. They are cut into
    contiguous blocks, as long as the window where that gives 16 to 100 of them. Rows that balance
    each other out count as independent: the ratio never lies below 1.

    Source: batch means, Flegal and Jones (2010), Annals of Statistics 38; the chi-square test of a
    variance.

    >>> measure_time_dependence(np.tile([0.0, 1.0], 500), 50)
    TimeDependence(ratio=1.0, df=inf)
    >>> measure_time_dependence(np.repeat([0.0, 1.0, 0.0, 1.0, 0.5, 0.25, 0.75, 1.0], 125), 50).df
    19.0
    """
    n = len(values)
    blocks = count_blocks(n, window)
    if n < 4 * blocks:
        return TimeDependence()
    spread = float(values.var())
    if spread <= 0.0:
        return TimeDependence()
    edges = np.linspace(0, n, blocks + 1).astype(np.int64)
    sizes = np.diff(edges)
    means = np.add.reduceat(values, edges[:-1]) / sizes
    df = blocks - 1
    ratio = float((sizes * (means - values.mean()) ** 2).sum()) / df / spread
    if stats.chi2.sf(ratio * df, df) > DEPENDENT_LEVEL:
        return TimeDependence()
    return TimeDependence(ratio, float(df))


def count_blocks(rows: int, window: int) -> int:
    """Return into how many blocks ``rows`` rows are cut: of ``window`` rows where that may be."""
    return max(BLOCKS, min(MOST_BLOCKS, rows // max(1, window)))


def to_normal_scores(z: Floats | float, df: Floats | float) -> Floats:
    """Return t statistics as standard normal ones of the same tails; unchanged for infinite df."""
    found, df = np.broadcast_arrays(np.asarray(z, dtype=np.float64), df)
    tails = np.maximum(special.stdtr(np.where(np.isfinite(df), df, 1.0), -np.abs(found)), 1e-300)
    return np.where(np.isfinite(df), np.sign(found) * -special.ndtri(tails), found)
