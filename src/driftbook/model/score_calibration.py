"""Scores turned into probabilities: on rows later than a fit's own, and only where that helps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special
from sklearn.calibration import (
    CalibratedClassifierCV,
    _CalibratedClassifier,
    _SigmoidCalibration,
)
from sklearn.pipeline import Pipeline

from driftbook.data.arrays import Floats
from driftbook.model import row_sums

CALIBRATION_CONFIDENCE = 0.95  # a convention
_STEPS, _TOLERANCE = 50, 1e-10


@dataclass(frozen=True)
class ScoreCalibration:
    """A rising sigmoid on top of a score (log odds); slope 1 and intercept 0 leave it as it is."""

    slope: float = 1.0
    intercept: float = 0.0

    def probabilities(self, scores: Floats) -> Floats:
        """Return the chance that each of ``scores`` (n,) stands for, in the same order of rows."""
        return np.asarray(special.expit(self.slope * scores + self.intercept))


def rows_before_holdout(rows: int, share: float) -> int:
    """Return how many of ``rows`` are older than the newest ``share``, which holds one at least."""
    return rows - max(1, round(rows * share))


def weights_before(weights: Floats | None, stop: int) -> Floats | None:
    """Return the weights of the rows before ``stop``, as large on average as those of all rows.

    A penalised fit on the older rows is then penalised like that on all rows, whose stand-in it is.
    """
    return None if weights is None else weights[:stop] * (weights.mean() / weights[:stop].mean())


def fit_score_calibration(
    scores: Floats, y: Floats, weights: Floats | None = None
) -> ScoreCalibration:
    """Return the sigmoid for ``scores`` (n,) of a fit that is older than these rows in time order.

    It is fitted on the older half and kept, fitted on both, where it lowers the Brier loss of the
    newer half with one-sided confidence 95% (a convention), the standard error taken over blocks in
    time; otherwise, and with fewer than 16 rows, the scores stay as they are.
    """
    w = np.ones(len(y)) if weights is None else weights
    half = len(y) // 2
    tried = fit_rising_sigmoid(scores[:half], y[:half], w[:half])
    later, truth = scores[half:], y[half:]
    fall = np.square(special.expit(later) - truth) - np.square(tried.probabilities(later) - truth)
    gained = row_sums.sum_rows(w[half:] * fall, w[half:])
    # Without any difference the error is 0: then there is nothing to keep either.
    return (
        fit_rising_sigmoid(scores, y, w)
        if gained.low(CALIBRATION_CONFIDENCE) > 0.0
        else ScoreCalibration()
    )


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


def calibrated_classifier(fitted: Any, found: ScoreCalibration) -> CalibratedClassifierCV:
    """Return scikit-learn's own form of a fitted classifier under a sigmoid that is known.

    Its classes are scikit-learn's so that a stored pipeline needs none of this package.
    """
    sigmoid = _SigmoidCalibration()
    sigmoid.a_, sigmoid.b_ = -found.slope, -found.intercept
    classifier = CalibratedClassifierCV(fitted, method="sigmoid", ensemble=False)
    classifier.classes_ = fitted.classes_
    classifier.n_features_in_ = fitted.n_features_in_
    classifier.calibrated_classifiers_ = [
        _CalibratedClassifier(fitted, [sigmoid], classes=fitted.classes_, method="sigmoid")
    ]
    return classifier


def calibration_of(pipeline: Pipeline) -> ScoreCalibration:
    """Return the sigmoid that the pipeline's last step, a calibrated classifier, ends with."""
    sigmoid = pipeline[-1].calibrated_classifiers_[0].calibrators[0]
    return ScoreCalibration(-float(sigmoid.a_), -float(sigmoid.b_))


def with_calibration(pipeline: Pipeline, found: ScoreCalibration) -> Pipeline:
    """Return the fitted pipeline with ``found`` on top of its bare classifier's scores."""
    last = pipeline[-1]
    calibrated = isinstance(last, CalibratedClassifierCV)
    bare = last.calibrated_classifiers_[0].estimator if calibrated else last
    return Pipeline([*pipeline.steps[:-1], ("classifier", calibrated_classifier(bare, found))])
