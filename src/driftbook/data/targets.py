"""The target: which task it asks for, and its values as numbers, classes or 0 and 1."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd

from driftbook.data.arrays import Floats
from driftbook.errors import UsageError
from driftbook.settings import LARGEST_NUMBER

TaskName = Literal["binary", "multiclass", "regression"]
# Whole numbers with more different values than this are amounts, not names of classes.
MOST_NUMBERED_CLASSES = 20
# More classes than this are rather ids or free text.
MOST_CLASSES = 100
# So many rows of 0 and 1 among others are rather a binary target with odd values than classes.
NEARLY_BINARY = 0.95
_YES_AND_NO = {"true": 1, "false": 0, "yes": 1, "no": 0, "y": 1, "n": 0, "t": 1, "f": 0}


def find_task_name(values: pd.Series, name: str, wanted: str = "auto") -> TaskName:
    """Return the task that a target's values ask for; ``wanted`` is the setting ``model.task``.

    0 and 1 (true and false, yes and no, in any spelling) are ``binary``; other text, and whole
    numbers of 3 to 20 different values, ``multiclass``; other numbers ``regression``.

    Raises:
        UsageError: no value at all, or values that the wanted task cannot have.
    """
    present = values.dropna()
    if present.empty:
        raise UsageError(
            f"target {name!r} has no value in any row; give labelled rows or another data.target"
        )
    _refuse_odd(present, name)
    guessed = _guess(present, name)
    if wanted == "auto":
        _refuse_nearly_binary(present, name)
    if wanted in ("auto", guessed):
        return guessed
    if wanted == "multiclass" and present.nunique() <= MOST_CLASSES:
        return "multiclass"
    if wanted == "regression" and np.isfinite(_to_floats(present)).all():
        return "regression"
    shown = ", ".join(repr(value) for value in present.unique()[:5].tolist())
    raise UsageError(
        f"model.task is {wanted!r}, but target {name!r} holds {present.nunique()} different "
        f"values such as {shown}; set model.task to {guessed!r} or choose another data.target"
    )


def _guess(present: pd.Series, name: str) -> TaskName:
    if np.isin(read_yes_and_no(present), (0.0, 1.0)).all():
        return "binary"
    numbers, different = _to_floats(present), present.nunique()
    if np.isfinite(numbers).all() and not isinstance(present.dtype, pd.CategoricalDtype):
        few = different <= MOST_NUMBERED_CLASSES and (numbers == np.round(numbers)).all()
        return "multiclass" if few and different > 2 else "regression"
    if different > MOST_CLASSES:
        raise UsageError(
            f"target {name!r} holds {different} different text values, such as "
            f"{present.iloc[0]!r}; a target is 0 and 1, at most {MOST_CLASSES} classes, or "
            "numbers: choose another data.target or clean its values"
        )
    return "multiclass"


def _refuse_odd(present: pd.Series, name: str) -> None:
    try:
        present.nunique()
    except TypeError as error:  # what has no hash
        raise UsageError(
            f"target {name!r} holds lists or records, such as {present.iloc[-1]!r}; a target is 0 "
            "and 1, classes or numbers: choose another data.target"
        ) from error
    numbers = _to_floats(present)
    huge = np.isfinite(numbers) & (np.abs(numbers) > LARGEST_NUMBER)
    if huge.any():
        raise UsageError(
            f"target {name!r} holds {numbers[huge][0]:g}, more than anybody measures; "
            "clear such values or choose another data.target"
        )


def _refuse_nearly_binary(present: pd.Series, name: str) -> None:
    known = np.isin(read_yes_and_no(present), (0.0, 1.0))
    if NEARLY_BINARY <= known.mean() < 1.0:
        odd = ", ".join(repr(value) for value in present[~known].unique()[:5].tolist())
        raise UsageError(
            f"target {name!r} is 0 or 1 in {known.mean():.1%} of its rows, but {odd} in others; "
            "clear those values, or say what it is with model.task"
        )


def parse_target(values: pd.Series, task: TaskName) -> pd.Series:
    """Return the labels as they are kept: 0 and 1, class names as text, or numbers; gaps stay.

    Binary labels are int64 where none is missing, else float64 with NaN, as numbers always are. A
    value that is no label of a binary or numeric target, or is beyond 1e100, is missing; class 2.0
    is named ``2``.
    """
    if task == "multiclass":
        return name_classes(values)
    numbers = read_yes_and_no(values) if task == "binary" else _to_floats(values)
    if task == "binary":
        numbers = np.where(np.isin(numbers, (0.0, 1.0)), numbers, np.nan)
    known = np.abs(numbers) <= LARGEST_NUMBER
    result = pd.Series(np.where(known, numbers, np.nan), index=values.index)
    return result.astype("int64") if task == "binary" and result.notna().all() else result


def name_classes(values: pd.Series) -> pd.Series:
    """Return labels as text, whole numbers without a decimal point; missing ones stay None."""
    known = values.notna()
    if pd.api.types.is_numeric_dtype(values.dtype) and not pd.api.types.is_bool_dtype(values.dtype):
        text = [f"{value:.15g}" for value in _to_floats(values)[known]]
    else:
        text = [str(value).strip() for value in values[known]]
    named = pd.Series(None, index=values.index, dtype=object)
    named[known] = text
    return named


def read_yes_and_no(values: pd.Series) -> Floats:
    """Return 1.0 for true, yes, y, t and 1, 0.0 for their opposites; other numbers as they are.

    >>> read_yes_and_no(pd.Series(["Yes", "no", "1", "maybe"])).tolist()
    [1.0, 0.0, 1.0, nan]
    """
    numbers = _to_floats(values)
    if not np.isnan(numbers).any():
        return numbers
    words = values.astype(object).where(values.notna(), "").astype(str).str.strip().str.lower()
    meant = words.map(_YES_AND_NO).to_numpy(dtype=np.float64)
    return np.where(np.isnan(numbers), meant, numbers)


def _to_floats(values: pd.Series) -> Floats:
    if isinstance(values.dtype, pd.CategoricalDtype):
        values = values.astype(object)
    if values.dtype == np.float64:
        return values.to_numpy()
    numbers = pd.to_numeric(values, errors="coerce")
    return np.asarray(numbers.to_numpy(dtype=np.float64, na_value=np.nan))
