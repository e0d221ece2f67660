"""A fitted estimator under its calibration: on later rows, and only where that surely helps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special
from sklearn.base import BaseEstimator
from sklearn.calibration import CalibratedClassifierCV
from sklearn.pipeline import Pipeline

from driftbook.data.arrays import Floats
from driftbook.model import row_sums, threads
from driftbook.model.design import transform_inputs
from driftbook.model.score_calibration import ScoreCalibration
from driftbook.model.scoring import SMALLEST_CHANCE
from driftbook.model.tasks import BINARY, Task

CALIBRATION_CONFIDENCE = 0.95  # a convention


class CalibratedEstimator(BaseEstimator):  # type: ignore[misc]  # scikit-learn is untyped
    """A fitted estimator whose scores are moved: ``slope * score + intercept``.

    ``link``: ``logit`` (log odds of class 1), ``softmax`` (log chances) or ``identity``. It is
    scikit-learn's own kind of object, so that pipelines, skops and MLflow take it as such.
    """

    def __init__(
        self,
        estimator: Any,
        link: str = "logit",
        slope: float = 1.0,
        intercept: float | list[float] = 0.0,
        classes: int = 2,
    ) -> None:
        self.estimator = estimator
        self.link = link
        self.slope = slope
        self.intercept = intercept
        self.classes = classes

    def fit(self, table: Any, outcomes: Any, **given: Any) -> CalibratedEstimator:
        """Return itself with its estimator fitted anew; the calibration stays as it is."""
        self.estimator.fit(table, outcomes, **given)
        return self

    def __sklearn_is_fitted__(self) -> bool:
        """Return that it is fitted: its estimator was before it was wrapped."""
        return True

    @property
    def classes_(self) -> NDArray[np.int64]:
        """Return the numbers of the classes."""
        return np.arange(self.classes)

    def decision_function(self, table: Any) -> Floats:
        """Return the moved scores of the rows."""
        found = read_scores(self.estimator, table, self.link, self.classes)
        return np.asarray(self.slope * found + np.asarray(self.intercept))

    def predict_proba(self, table: Any) -> Floats:
        """Return a chance a class, shape (n, classes), the estimator's own where nothing moves."""
        scored = hasattr(self.estimator, "predict_proba")
        if scored and self.slope == 1.0 and not np.any(self.intercept):
            return expand_classes(self.estimator, table, self.classes)
        moved = self.decision_function(table)
        if self.link == "softmax":
            return np.asarray(special.softmax(moved, axis=1))
        return np.column_stack([special.expit(-moved), special.expit(moved)])

    def predict(self, table: Any) -> NDArray[Any]:
        """Return the likeliest class's number, or the value."""
        if self.link == "identity":
            return self.decision_function(table)
        return np.asarray(self.predict_proba(table).argmax(axis=1))


def read_scores(estimator: Any, table: Any, link: str, classes: int = 2) -> Floats:
    """Return what a fitted estimator says of rows on the scale of ``link``, before calibration.

    Source of log odds: its ``decision_function`` where that is one, else its chances.
    """
    if link == "identity":
        return np.asarray(estimator.predict(table), dtype=np.float64).reshape(-1)
    if link == "logit" and hasattr(estimator, "decision_function"):
        return np.asarray(estimator.decision_function(table), dtype=np.float64)
    chances = expand_classes(estimator, table, classes)
    if link == "logit":
        return BINARY.to_scores(chances[:, 1])
    return np.asarray(np.log(np.maximum(chances, SMALLEST_CHANCE)))


def expand_classes(estimator: Any, table: Any, classes: int) -> Floats:
    """Return a chance a class, shape (n, classes): 0 for one that the fit never saw."""
    found = np.asarray(estimator.predict_proba(table), dtype=np.float64)
    if found.shape[1] == classes:
        return found
    whole = np.zeros((len(found), classes))
    whole[:, np.asarray(estimator.classes_, dtype=np.int64)] = found
    return whole


def apply_estimator(estimator: Any, table: Any, task: Task) -> Floats:
    """Return a fitted, calibrated estimator's predictions in the task's form."""
    with threads.one_tree_thread():
        if not task.classes:
            return np.asarray(estimator.predict(table), dtype=np.float64)
        chances = np.asarray(estimator.predict_proba(table), dtype=np.float64)
    return chances if len(task.outputs) > 1 else chances[:, 1]


def apply_pipeline(pipeline: Pipeline, inputs: pd.DataFrame, task: Task) -> Floats:
    """Return a fitted pipeline's predictions for ``design.model_inputs``, in the task's form."""
    return apply_estimator(pipeline[-1], transform_inputs(pipeline[0], inputs), task)


def fit_score_calibration(
    scores: Floats, y: Floats, weights: Floats | None = None, task: Task = BINARY
) -> ScoreCalibration:
    """Return the calibration for ``scores`` of a fit that is older than these rows in time order.

    It is fitted on the older half and kept, fitted on both, where it lowers the loss of the
    newer half with one-sided confidence 95% (a convention), the standard error taken over blocks in
    time; otherwise, and with fewer than 16 rows, the scores stay as they are.
    """
    w = np.ones(len(y)) if weights is None else weights
    half = len(y) // 2
    if not half:
        return ScoreCalibration()
    tried = task.fit_calibration(scores[:half], y[:half], w[:half])
    later, truth = scores[half:], y[half:]
    before, after = (
        task.proper.row_losses(truth, task.from_scores(found))
        for found in (later, tried.moved(later))
    )
    gained = row_sums.sum_rows(w[half:] * (before - after), w[half:])
    # Without any difference the error is 0: then there is nothing to keep either.
    if gained.low(CALIBRATION_CONFIDENCE) > 0.0:
        return task.fit_calibration(scores, y, w)
    return ScoreCalibration()


def rows_before_holdout(rows: int, share: float) -> int:
    """Return how many of ``rows`` are older than the newest ``share``, which holds one at least."""
    return rows - max(1, round(rows * share))


def weights_before(weights: Floats | None, stop: int) -> Floats | None:
    """Return the weights of the rows before ``stop``, as large on average as those of all rows.

    A penalised fit on the older rows is then penalised like that on all rows, whose stand-in it is.
    """
    return None if weights is None else weights[:stop] * (weights.mean() / weights[:stop].mean())


def calibration_of(pipeline: Pipeline) -> ScoreCalibration:
    """Return the calibration that the pipeline's last step ends with."""
    last = pipeline[-1]
    moved = last.intercept
    return ScoreCalibration(last.slope, tuple(moved) if isinstance(moved, list) else moved)


def with_calibration(pipeline: Pipeline, found: ScoreCalibration, task: Task = BINARY) -> Pipeline:
    """Return the fitted pipeline with ``found`` on top of its bare estimator's scores."""
    last = pipeline[-1]
    bare = last.estimator if isinstance(last, CalibratedEstimator) else last
    moved = list(found.intercept) if isinstance(found.intercept, tuple) else found.intercept
    step = CalibratedEstimator(bare, task.link, found.slope, moved, max(2, len(task.classes)))
    return Pipeline([*pipeline.steps[:-1], ("estimator", step)])


def renew_calibration(pipeline: Pipeline) -> Pipeline:
    """Return a pipeline whose calibration is of this release's kind, whatever release made it."""
    last = pipeline[-1]
    if not isinstance(last, CalibratedClassifierCV):
        return pipeline
    inner = last.calibrated_classifiers_[0]
    sigmoid = inner.calibrators[0]
    step = CalibratedEstimator(inner.estimator, "logit", -float(sigmoid.a_), -float(sigmoid.b_))
    return Pipeline([*pipeline.steps[:-1], ("estimator", step)])
