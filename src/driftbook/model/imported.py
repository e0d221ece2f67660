"""How an estimator of the owner's choice takes the features, as far as it can as they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import has_fit_parameter

from driftbook.data.arrays import Floats, Ints
from driftbook.model.importing import describe_error, make_estimator
from driftbook.model.tasks import SUM_TOLERANCE, Task
from driftbook.settings import ModelSettings

# So many rows show whether an estimator takes the features as they are.
TRIAL_ROWS = 200
Form = Literal["categories", "text", "encoded"]


@dataclass(frozen=True)
class FeatureForm:
    """How features reach the estimator, and why not as they are where the encoder stands before."""

    form: Form = "encoded"
    refused: str = ""


ENCODED = FeatureForm()


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


class NumberedClasses(BaseEstimator):  # type: ignore[misc]  # scikit-learn is untyped
    """A classifier whose rows lack a class: some take only classes numbered without a gap."""

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator

    def fit(self, table: Any, outcomes: Ints, **given: Any) -> NumberedClasses:
        """Return itself, fitted on the classes that the rows have."""
        self.classes_, codes = np.unique(outcomes, return_inverse=True)
        self.estimator.fit(table, codes, **given)
        return self

    def predict_proba(self, table: Any) -> Floats:
        """Return a chance a class of ``classes_``."""
        return np.asarray(self.estimator.predict_proba(table))


def choose_form(settings: ModelSettings, task: Task, table: pd.DataFrame, y: Floats) -> FeatureForm:
    """Return the first form in which the estimator fits and predicts a few of the rows.

    A whole pipeline, which prepares its columns itself, is given text; others categories first.

    Raises:
        UsageError: the estimator cannot be made at all.
    """
    whole = _is_whole(make_estimator(settings, task))
    forms: tuple[Form, ...] = ("text",) if whole else ("categories", "text")
    few, outcomes = _take_few(table, y, task)
    refused = ""
    for form in forms:
        error = _try_form(settings, task, few if whole else _spell_out(few), outcomes, form)
        if error is None:
            return FeatureForm(form)
        refused = refused or describe_error(error)
    return FeatureForm("encoded", refused)


def _take_few(table: pd.DataFrame, y: Floats, task: Task) -> tuple[pd.DataFrame, Floats | Ints]:
    rows = np.unique(np.linspace(0, len(y) - 1, TRIAL_ROWS).astype(int))
    if not task.classes:
        return table.iloc[rows].reset_index(drop=True), y[rows]
    # A row of every class, so that no class is missing only from the sample.
    rows = np.unique(np.append(rows, np.unique(y, return_index=True)[1]))
    return table.iloc[rows].reset_index(drop=True), np.unique(y[rows], return_inverse=True)[1]


def _try_form(
    settings: ModelSettings, task: Task, few: pd.DataFrame, y: Floats | Ints, form: Form
) -> Exception | None:
    """Return what the estimator raises on rows in this form, None where it takes them."""
    estimator = make_estimator(settings, task)
    try:
        steps = Pipeline([("take", RawColumns(form == "text")), ("estimator", estimator)])
        steps.fit(few, y).predict(_make_odd(few))
    except Exception as error:  # noqa: BLE001 whatever it is, the standard encoder may help
        return error
    return None


def _spell_out(table: pd.DataFrame) -> pd.DataFrame:
    """Return rows whose text is no number: an estimator that reads "7" as 7 takes no categories."""
    text = [name for name in table.columns if not is_numeric_dtype(table[name].dtype)]
    return table.assign(**{name: [v and f"level {v}" for v in table[name]] for name in text})


def _make_odd(table: pd.DataFrame) -> pd.DataFrame:
    """Return rows with a gap in every column, and text that nobody has seen."""
    odd = table.head(2).copy()
    for name in odd.columns:
        number = is_numeric_dtype(odd[name].dtype)
        odd[name] = [np.nan, 0.0] if number else ["", "never seen before"]
    return odd


def _is_whole(estimator: Any) -> bool:
    """Return whether the estimator is, or holds, a pipeline that prepares its columns itself."""
    parts = [estimator, *estimator.get_params().values()]
    return any(isinstance(part, Pipeline | ColumnTransformer) for part in parts)


def name_weights(estimator: Any) -> str | None:
    """Return under which name the estimator's fit takes weights of rows, None where it has none."""
    if isinstance(estimator, Pipeline):
        last = estimator.steps[-1]
        inner = name_weights(last[1])
        return inner and f"{last[0]}__{inner}"
    return "sample_weight" if has_fit_parameter(estimator, "sample_weight") else None


def check_outputs(fitted: Pipeline, table: pd.DataFrame, task: Task) -> None:
    """Return if the fitted pipeline's predictions for rows are what the task predicts.

    Raises:
        ValueError: another shape, no number, or no chances that add up to 1.
    """
    shown: str = "predict"
    shape: tuple[int, ...] = (len(table),)
    if not task.classes:
        found = np.asarray(fitted.predict(table), dtype=np.float64)
        found = found[:, 0] if found.shape == (len(table), 1) else found
    elif hasattr(fitted, "predict_proba"):
        found = np.asarray(fitted.predict_proba(table), dtype=np.float64)
        shown, shape = "predict_proba", (len(table), len(fitted.classes_))
    else:
        found = np.asarray(fitted.decision_function(table), dtype=np.float64)
        shown = "decision_function"
    if found.shape != shape:
        raise ValueError(f"{shown} gives numbers of shape {found.shape} instead of {shape}")
    if not np.isfinite(found).all():
        raise ValueError(f"{shown} gives {found[~np.isfinite(found)][0]}, which is no number")
    sums = found.sum(axis=-1)
    if len(shape) == 2 and (found.min() < 0.0 or np.abs(sums - 1.0).max() > SUM_TOLERANCE):
        raise ValueError(f"{shown} gives {np.round(found[0], 3).tolist()}, which are no chances")
