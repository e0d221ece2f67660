"""The ROC AUC that is expected of predictions whose outcomes are known as chances only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from driftbook.data.arrays import Floats, Ints


@dataclass(frozen=True)
class ExpectedMetric:
    """A metric's expectation over outcomes: ``value``, and what moves it, one number a row.

    ``slope``: its derivative by each row's chance; ``influence``: mean 0, as in ``scores.Score``,
    the share of each row's inputs.
    """

    value: float
    slope: Floats
    influence: Floats


def rank_distinct(p: Floats) -> Ints:
    """Return the place of each prediction (n,) among the different ones, from 0."""
    return np.unique(p, return_inverse=True)[1]


def expect_auc(ranks: Ints, chances: Floats) -> ExpectedMetric:
    """Return the expected ROC AUC of predictions with true ``chances`` (n,).

    ``ranks`` (n,): of the predictions, see :func:`rank_distinct`.
    """
    ones, zeros = np.bincount(ranks, chances), np.bincount(ranks, 1 - chances)
    n1, n0 = float(ones.sum()), float(zeros.sum())
    beaten = (np.cumsum(zeros) - zeros / 2)[ranks]
    beating = (n1 - np.cumsum(ones) + ones / 2)[ranks]
    own = float(np.sum(chances * (1 - chances)))
    total = n1 * n0 - own
    if total <= 0:
        return ExpectedMetric(float("nan"), np.zeros(len(ranks)), np.zeros(len(ranks)))
    value = (float(chances @ beaten) - own / 2) / total
    as_one, as_zero = beaten / n0 - value, beating / n1 - value
    influence = len(ranks) * (chances * as_one / n1 + (1 - chances) * as_zero / n0)
    return ExpectedMetric(value, as_one / n1 - as_zero / n0, influence - influence.mean())
