"""Estimators of the owner's choice: whatever follows scikit-learn's conventions, by import path."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import has_fit_parameter

from driftbook.data.arrays import Floats
from driftbook.errors import UsageError
from driftbook.model.tasks import Task
from driftbook.settings import ModelSettings

# So many rows show whether an estimator takes the features as they are.
TRIAL_ROWS = 200


class RawColumns(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn is untyped
    """Features as they are: numbers with gaps, text as categories of the levels of training.

    ``as_text`` gives text itself instead, None where it is missing, as whole pipelines expect it.
    """

    def __init__(self, as_text: bool = False) -> None:
        self.as_text = as_text

    def fit(self, table: pd.DataFrame, _: Any = None) -> RawColumns:
        """Return itself with the levels of each column of text."""
        text = [name for name in table.columns if not is_numeric_dtype(table[name].dtype)]
        self.levels_ = {str(name): sorted(set(table[name]) - {""}) for name in text}
        return self

    def transform(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the columns; a level that training never saw is missing where levels are fixed."""
        found = {
            name: table[name].where(table[name] != "", None)
            if self.as_text
            else pd.Categorical(
                table[name].where(table[name].isin(levels), None), categories=levels
            )
            for name, levels in self.levels_.items()
        }
        return table.assign(**found)


def make_estimator(settings: ModelSettings, task: Task) -> Any:
    """Return the unfitted estimator that the settings name, with their parameters and seed.

    Raises:
        UsageError: it cannot be imported or made, or is no estimator for the task.
    """
    path = settings.estimator
    with import_from(settings.folders):
        made = _call(_import(path), path, settings.params)
    if not hasattr(made, "fit") or not hasattr(made, "get_params"):
        raise UsageError(
            f"model.estimator {path!r} makes a {type(made).__name__}, which is no scikit-learn "
            "estimator: it needs fit, predict and get_params"
        )
    known = made.get_params()
    chosen = {"random_state": settings.seed, "enable_categorical": True}
    if not any(re.match(r"sklearn\.(?!base|utils)", c.__module__) for c in type(made).__mro__):
        # Many small fits: threads of their own would wait for each other (6 s instead of 24).
        chosen["n_jobs"] = 1
    # XGBoost takes categories only where it is told to.
    free = {k: v for k, v in chosen.items() if k in known and k not in settings.params}
    made.set_params(**free)
    _check_task(made, task, path)
    return made


def _import(path: str) -> Any:
    module, _, name = path.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise UsageError(
            f"model.estimator {path!r} cannot be imported ({error}); install its package, or give "
            "module:name of something that can be imported from the settings' folder"
        ) from error
    return found


def _call(found: Any, path: str, params: dict[str, Any]) -> Any:
    try:
        return found(**params)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"model.estimator {path!r} cannot be made with model.params {params} ({error}); "
            "check the names and values of its parameters"
        ) from error


def _check_task(made: Any, task: Task, path: str) -> None:
    scores = hasattr(made, "decision_function") and len(task.outputs) == 1
    if task.classes and not (hasattr(made, "predict_proba") or scores):
        raise UsageError(
            f"model.estimator {path!r} has no predict_proba, which a {task.name} task needs; "
            "choose a classifier that gives chances, or set its option for them in model.params"
        )
    if not task.classes and hasattr(made, "predict_proba"):
        raise UsageError(
            f"model.estimator {path!r} is a classifier, but the target asks for regression; choose "
            "a regressor, or set model.task"
        )


@contextmanager
def import_from(folders: tuple[Path, ...]) -> Iterator[None]:
    """Let modules beside the settings, and in the working directory, be imported meanwhile."""
    added = [str(folder) for folder in (*folders, Path.cwd()) if str(folder) not in sys.path]
    sys.path[:0] = added
    try:
        yield
    finally:
        for folder in added:
            sys.path.remove(folder)


def takes_raw(settings: ModelSettings, task: Task, table: pd.DataFrame, y: Floats) -> bool:
    """Return whether the estimator fits and predicts the features as they are, on a few rows."""
    rows = np.unique(np.linspace(0, len(y) - 1, TRIAL_ROWS).astype(int))
    if task.classes:
        # A row of every class, so that no class is missing only from the sample.
        rows = np.unique(np.append(rows, np.unique(y, return_index=True)[1]))
    few = table.iloc[rows].reset_index(drop=True)
    try:
        made = make_estimator(settings, task)
        steps = Pipeline([("take", RawColumns(is_whole(made))), ("estimator", made)])
        steps.fit(few, y[rows].astype(np.int64) if task.classes else y[rows])
        steps.predict(_make_odd(few))
    except UsageError:
        raise
    except Exception:  # noqa: BLE001 what it cannot take, the standard encoder gives otherwise
        return False
    return True


def _make_odd(table: pd.DataFrame) -> pd.DataFrame:
    """Return rows with a gap in every column, and text that nobody has seen."""
    odd = table.head(2).copy()
    for name in odd.columns:
        number = is_numeric_dtype(odd[name].dtype)
        odd[name] = [np.nan, 0.0] if number else ["", "never seen before"]
    return odd


def is_whole(estimator: Any) -> bool:
    """Return whether the estimator is a pipeline of its own, which prepares its columns itself."""
    return isinstance(estimator, Pipeline)


def name_weights(estimator: Any) -> str | None:
    """Return under which name the estimator's fit takes weights of rows, None where it has none."""
    if is_whole(estimator):
        last = estimator.steps[-1]
        return f"{last[0]}__sample_weight" if has_fit_parameter(last[1], "sample_weight") else None
    return "sample_weight" if has_fit_parameter(estimator, "sample_weight") else None
