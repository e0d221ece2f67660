"""Values as JSON has them: the only cleaner of what is written as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd


def to_plain_json(value: Any) -> Any:
    """Return ``value`` with NumPy and pandas scalars as plain JSON values and NaN as ``None``."""
    if isinstance(value, Mapping):
        return {str(key): to_plain_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray | pd.Series):
        return [to_plain_json(item) for item in value]
    if isinstance(value, pd.DataFrame):
        return [to_plain_json(row) for row in value.to_dict(orient="records")]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    if value is pd.NA or value is pd.NaT:
        return None
    return str(value)
