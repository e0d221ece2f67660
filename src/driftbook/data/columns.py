"""Columns: what kind each feature is, and how targets and timestamps are read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from driftbook.data.arrays import Floats
from driftbook.errors import UsageError
from driftbook.settings import Settings

Kind = Literal["numeric", "boolean", "categorical"]


@dataclass(frozen=True)
class Feature:
    """A column the model may use, and how it is read."""

    name: str
    kind: Kind


def find_features(frame: pd.DataFrame, settings: Settings) -> tuple[Feature, ...]:
    """Return the features of ``frame`` in column order with their kinds.

    Text, ``category`` and ``object`` columns are categorical, ``bool`` is boolean, numbers are
    numeric. A column without any value counts as numeric.

    Raises:
        UsageError: a feature that is a date, a number of unknown kind, or an object such as a list.
    """
    fixed = {settings.data.target, settings.data.timestamp, *settings.data.segments}
    names = settings.data.features or tuple(c for c in frame.columns if c not in fixed)
    return tuple(Feature(name, _kind(frame[name])) for name in names)


def _kind(values: pd.Series) -> Kind:
    dtype = values.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        dtype = dtype.categories.dtype
        if not pd.api.types.is_bool_dtype(dtype):
            return "categorical"
    if pd.api.types.is_bool_dtype(dtype):
        return "boolean"
    if pd.api.types.is_numeric_dtype(dtype) and not pd.api.types.is_complex_dtype(dtype):
        return "numeric"
    present = values.dropna()
    if present.empty:
        return "numeric"
    if pd.api.types.is_string_dtype(dtype) or all(isinstance(v, str) for v in present):
        return "categorical"
    if all(isinstance(v, bool | np.bool_) for v in present):
        return "boolean"
    raise UsageError(
        f"feature {str(values.name)!r} holds {type(present.iloc[0]).__name__} values "
        f"({dtype}); features are numbers, "
        "booleans or text: convert it, or list the columns to use in data.features"
    )


def to_numbers(values: pd.Series) -> Floats:
    """Return the values as float64, shape (n,); what is no number is NaN, infinities stay."""
    if not pd.api.types.is_numeric_dtype(values.dtype):
        values = pd.to_numeric(values.astype(object), errors="coerce")
    return np.asarray(values.to_numpy(dtype=np.float64, na_value=np.nan))
