"""Scores turned into predictions: rising, so that calibration never changes the order of rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import optimize, special

from driftbook.data.arrays import Floats

_STEPS, _TOLERANCE = 50, 1e-10
# A line is never flatter than this: the order of predictions stays, and so does their use.
_LEAST_SLOPE = 0.05


@dataclass(frozen=True)
class ScoreCalibration:
    """A rising map of scores; slope 1 and intercept 0 leave them as they are.

    Scores are log odds, log chances with an intercept a class, or predicted numbers.
    """

    slope: float = 1.0
    intercept: float | tuple[float, ...] = 0.0

    @property
    def keeps(self) -> bool:
        """Return whether scores stay as they are."""
        return self.slope == 1.0 and not np.any(self.intercept)

    def moved(self, scores: Floats) -> Floats:
        """Return the calibrated scores, of the same shape."""
        return np.asarray(self.slope * scores + np.asarray(self.intercept))

    def probabilities(self, scores: Floats) -> Floats:
        """Return the chance that each of ``scores`` (n,), log odds, stands for."""
        return np.asarray(special.expit(self.moved(scores)))

    def after(self, first: ScoreCalibration) -> ScoreCalibration:
        """Return this calibration on top of ``first`` as one."""
        moved = self.slope * np.asarray(first.intercept) + np.asarray(self.intercept)
        both = float(moved) if moved.ndim == 0 else tuple(moved.tolist())
        return ScoreCalibration(self.slope * first.slope, both)


def fit_rising_sigmoid(scores: Floats, y: Floats, weights: Floats) -> ScoreCalibration:
    """Return the sigmoid of slope above zero that fits outcomes ``y`` (n,) best.

    Log slope and intercept bear a standard normal prior, which shrinks them to 0 where rows are few
    and keeps the order of scores, whatever the rows say.

    Source: Platt (1999), Probabilistic outputs for support vector machines; Cox (1958), Biometrika
    45: logistic recalibration.
    """
    found, best = np.zeros(2), np.inf
    step = np.zeros(2)
    for _ in range(_STEPS):
        while (value := _penalised_loss(found - step, scores, y, weights)) > best:
            step = step / 2
        found, fallen, best = found - step, best - value, value
        if fallen < _TOLERANCE * len(y):
            break
        slope = np.exp(found[0])
        chance = special.expit(slope * scores + found[1])
        inputs = np.column_stack([slope * scores, np.ones(len(y))])
        curvature = weights * chance * (1.0 - chance)
        pull = inputs.T @ (weights * (chance - y))
        # The log slope's own curvature counts where it is positive: steps are not too long then.
        bend = np.diag([1.0 + max(0.0, pull[0]), 1.0])
        hessian = (inputs * curvature[:, None]).T @ inputs + bend
        gradient = pull + found
        step = np.clip(np.linalg.solve(hessian, gradient), -1.0, 1.0)
        # A step that was cut may lead uphill; one taken coordinate by coordinate never does.
        if gradient @ step <= 0.0:
            step = np.clip(gradient / np.diag(hessian), -1.0, 1.0)
    return ScoreCalibration(float(np.exp(found[0])), float(found[1]))


def _penalised_loss(found: Floats, scores: Floats, y: Floats, weights: Floats) -> float:
    eta = np.exp(found[0]) * scores + found[1]
    return float(weights @ (np.logaddexp(0.0, eta) - y * eta) + found @ found / 2)


def fit_rising_softmax(scores: Floats, y: Floats, weights: Floats) -> ScoreCalibration:
    """Return slope and intercepts that fit classes ``y`` (n,) best, by log chances (n, classes).

    Log slope and intercepts bear a standard normal prior, as in :func:`fit_rising_sigmoid`. Rows
    of no known class count for none.

    Source: Guo et al. (2017), ICML: vector scaling, here with one temperature.
    """
    came = np.asarray(y[:, None] == np.arange(scores.shape[1]), dtype=np.float64)
    came *= weights[:, None]

    def loss(found: Floats) -> tuple[float, Floats]:
        moved = np.exp(found[0]) * scores + found[1:]
        chances = special.softmax(moved, axis=1)
        value = float((came * (special.logsumexp(moved, axis=1)[:, None] - moved)).sum())
        pull = chances * came.sum(axis=1, keepdims=True) - came
        slope = float((pull * np.exp(found[0]) * scores).sum())
        gradient = np.append(slope, pull.sum(axis=0)) + found
        return value + float(found @ found) / 2, gradient

    best = optimize.minimize(loss, np.zeros(scores.shape[1] + 1), jac=True, method="BFGS").x
    return ScoreCalibration(float(np.exp(best[0])), tuple(best[1:].tolist()))


def fit_rising_line(scores: Floats, y: Floats, weights: Floats) -> ScoreCalibration:
    """Return the line of slope above zero that fits values ``y`` (n,) best to predictions.

    The slope's distance from 1 and the intercept, in standard deviations of ``y``, bear a standard
    normal prior: few rows move nothing.

    Source: ridge regression towards the identity, Hoerl and Kennard (1970), Technometrics 12.
    """
    missed = y - scores
    noise = float(np.average(np.square(missed), weights=weights)) if len(y) else 0.0
    spread = float(y.std()) if len(y) else 0.0
    if noise <= 0.0 or spread <= 0.0:
        return ScoreCalibration()
    middle = float(np.average(scores, weights=weights))
    inputs = np.column_stack([scores - middle, np.full(len(y), spread)])
    pull = inputs.T @ (weights * missed) / noise
    bend = (inputs * weights[:, None]).T @ inputs / noise + np.eye(2)
    rise, level = np.linalg.solve(bend, pull)
    slope = max(1.0 + float(rise), _LEAST_SLOPE)
    return ScoreCalibration(slope, float(level) * spread + (1.0 - slope) * middle)
