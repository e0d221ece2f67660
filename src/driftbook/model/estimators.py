"""The estimators that a model may be made of, and the pipeline that feeds one."""

from __future__ import annotations

from typing import Any

from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline

from driftbook.data.columns import Feature
from driftbook.model.design import MAX_CATEGORIES, build_preparation, split_names
from driftbook.model.imported import Form, RawColumns
from driftbook.model.importing import make_estimator
from driftbook.model.tasks import Task
from driftbook.settings import ModelSettings


def build_pipeline(
    features: tuple[Feature, ...], settings: ModelSettings, task: Task, form: Form = "encoded"
) -> Pipeline:
    """Return the unfitted pipeline: preparation, then the estimator of the settings.

    ``form``: how the estimator takes the features, see ``imported.choose_form``.
    """
    width = len(features) + MAX_CATEGORIES * len(split_names(features)[1])
    estimator = build_estimator(settings, task, width)
    if form == "encoded":
        return Pipeline([("prepare", build_preparation(features)), ("estimator", estimator)])
    return Pipeline([("take", RawColumns(form == "text")), ("estimator", estimator)])


def build_estimator(settings: ModelSettings, task: Task, width: int) -> Any:
    """Return the unfitted estimator of the settings for a design of about ``width`` columns."""
    if settings.is_imported:
        return make_estimator(settings, task)
    params = dict(settings.params)
    if settings.estimator == "linear":
        return _build_linear(task, width, {"random_state": settings.seed} | params)
    given = {"random_state": settings.seed, "early_stopping": False} | params
    if task.classes:
        return HistGradientBoostingClassifier(**given)
    return HistGradientBoostingRegressor(**given)


def _build_linear(task: Task, width: int, params: dict[str, Any]) -> Any:
    if not task.classes:
        return Ridge(**{"alpha": 1.0} | params)
    # Newton steps converge in a handful of passes; their matrix is (width x classes) squared.
    solver = "newton-cholesky" if width * (len(task.classes) - 1) <= 1000 else "lbfgs"
    return LogisticRegression(**{"max_iter": 1000, "solver": solver} | params)
