"""Plain JSON values from tables and numbers: the only home of this rule."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd


def to_plain_json(value: Any) -> Any:
    """Return ``value`` as plain JSON values; a table becomes a list of its rows.

    NaN, infinities and pandas' missing values, which JSON lacks, become ``None``; whatever JSON
    does not know becomes its text.

    >>> to_plain_json({"a": np.float64("nan"), "b": pd.DataFrame({"c": [1, 2]})})
    {'a': None, 'b': [{'c': 1}, {'c': 2}]}
    """
    if isinstance(value, Mapping):
        return {str(key): to_plain_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray | pd.Series):
        return [to_plain_json(item) for item in value]
    if isinstance(value, pd.DataFrame):
        return to_plain_json(value.to_dict(orient="records"))
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    return None if value is pd.NA or value is pd.NaT else str(value)
