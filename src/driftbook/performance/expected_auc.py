"""The ROC AUC that is expected of predictions whose outcomes are known as chances only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from driftbook.data.arrays import Floats


@dataclass(frozen=True)
class ExpectedMetric:
    """A metric's expectation over outcomes: ``value``, and what moves it, one number a row.

    ``slope``: its derivative by each row's chance; ``influence``: mean 0, as in ``scores.Score``,
    the share of each row's inputs.
    """

    value: float
    slope: Floats
    influence: Floats


def expect_auc(p: Floats, chances: Floats) -> ExpectedMetric:
    """Return the expected ROC AUC of predictions ``p`` (n,) with true ``chances`` (n,)."""
    order = np.argsort(p)
    starts = np.flatnonzero(np.r_[True, np.diff(p[order]) > 0])
    ones = np.add.reduceat(chances[order], starts)
    zeros = np.add.reduceat(1 - chances[order], starts)
    n1, n0 = float(ones.sum()), float(zeros.sum())
    group = np.empty(len(p), dtype=np.int64)
    group[order] = np.repeat(np.arange(len(starts)), np.diff(np.r_[starts, len(p)]))
    beaten = (np.cumsum(zeros) - zeros / 2)[group]
    beating = (n1 - np.cumsum(ones) + ones / 2)[group]
    own = float(np.sum(chances * (1 - chances)))
    total = n1 * n0 - own
    if total <= 0:
        return ExpectedMetric(float("nan"), np.zeros(len(p)), np.zeros(len(p)))
    value = (float(chances @ beaten) - own / 2) / total
    as_one, as_zero = beaten / n0 - value, beating / n1 - value
    influence = len(p) * (chances * as_one / n1 + (1 - chances) * as_zero / n0)
    return ExpectedMetric(value, as_one / n1 - as_zero / n0, influence - influence.mean())
