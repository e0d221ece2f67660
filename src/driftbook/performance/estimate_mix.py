"""Several estimates of one metric, weighed by how far each was off in windows whose labels came."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from scipy import stats

from driftbook.data.arrays import Floats
from driftbook.model.row_sums import BLOCKS
from driftbook.performance.verdicts import INTERVAL

MIXED = "all methods"
# Weights fall with the square of a method's mean squared error: of ten streams' two metrics, powers
# from one to eight made no estimate more than 4% worse or better.
POWER = 2
# Of a normal distribution the standard deviation is so many times the median distance.
NORMAL_MAD = 1.4826
# Half of an interval in standard errors, which blocks in time estimate.
WIDTH = float(stats.t.ppf(0.5 + INTERVAL / 2, BLOCKS - 1))


@dataclass(frozen=True)
class Estimate:
    """What one method expects a metric of a window to be.

    ``variance``: of what comes true around ``value``, from the luck of the outcomes and the error
    of the method's own fit; ``rows``: mean 0, the share of each row's inputs in the value.
    """

    method: str
    value: float
    variance: float
    rows: Floats = field(repr=False)


@dataclass(frozen=True)
class GradedWindow:
    """What the methods said of a window before its labels came, and then ``realised``.

    ``values``: shape (methods,), NaN where a method had no say yet; ``luck``: the standard error of
    the realised metric itself.
    """

    values: Floats
    realised: float
    luck: float


def weigh_methods(past: Sequence[GradedWindow]) -> Floats:
    """Return the weight of each method, shape (methods,), sum 1.

    Inverse to the square of its mean squared error over the windows in which it had a say; one
    window more counts in which each was off by no more than the luck of the outcomes, so that few
    windows weigh evenly, and a method that never had a say is not blamed for what others said.

    Source: combination of forecasts, Bates and Granger (1969), Operational Research Quarterly 20.
    """
    luck = float(np.mean([one.luck**2 for one in past]))
    squares = np.square([one.values - one.realised for one in past])
    error = (np.nansum(squares, axis=0) + luck) / (np.isfinite(squares).sum(axis=0) + 1)
    weights = (error.min() / error) ** POWER if error.min() > 0 else (error == 0).astype(float)
    return np.asarray(weights / weights.sum())


def widen_by_others(each: Sequence[Estimate]) -> Estimate:
    """Return the first of several estimates, its error widened by how far the others are from it.

    Before labels say which method is right, their disagreement is part of what is not known.
    """
    first = each[0]
    apart = [(one.value - first.value) ** 2 for one in each]
    return replace(first, variance=first.variance + float(np.mean(apart)))


def mix_estimates(now: Sequence[Estimate], past: Sequence[GradedWindow]) -> Estimate:
    """Return the weighed mean of all methods' estimates of a window.

    Its error holds the methods' own and how far they are apart, and is no smaller than what the
    mean, weighed alike, was off by in the ``past`` windows in which most of it had a say. That is
    taken from the median of those errors, so that one window in which the rule itself changed does
    not say how wrong all later ones are.

    Source: median absolute deviation, Rousseeuw and Croux (1993), JASA 88. (Conformal intervals of
    so few windows end at the largest past error, which one break makes useless.)
    """
    weights = weigh_methods(past)
    values = np.array([one.value for one in now])
    value, error = _mix(weights, values, np.sqrt([one.variance for one in now]))
    off = []
    for one in past:
        known = np.isfinite(one.values)
        if weights[known].sum() > 0.5:
            said = float(weights[known] @ one.values[known]) / weights[known].sum()
            off.append(abs(said - one.realised))
    error = max(error, NORMAL_MAD * float(np.median(off)) if off else 0.0)
    rows = np.sum([weight * one.rows for weight, one in zip(weights, now, strict=True)], axis=0)
    windows = "1 window" if len(past) == 1 else f"{len(past)} windows"
    return Estimate(f"{MIXED}, graded on {windows}", value, error**2, rows)


def _mix(weights: Floats, values: Floats, errors: Floats) -> tuple[float, float]:
    value = float(weights @ values)
    apart = float(weights @ np.square(values - value))
    return value, float(np.hypot(weights @ errors, np.sqrt(apart)))
