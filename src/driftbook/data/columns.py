"""Columns: what kind each feature is, and how targets and timestamps are read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

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
    fixed = {settings.data.target, settings.data.timestamp}
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


def parse_target(values: pd.Series, name: str) -> pd.Series:
    """Return the target as 0.0, 1.0 or NaN, as int64 where nothing is missing."""
    present = values.dropna()
    if present.empty:
        raise UsageError(
            f"target {name!r} has no value in any row; give labelled rows or another data.target"
        )
    numbers = pd.to_numeric(present, errors="coerce")
    odd = present[~numbers.isin([0, 1])]
    if len(odd):
        shown = ", ".join(repr(v) for v in odd.unique()[:5].tolist())
        raise UsageError(
            f"target {name!r} is not binary: found {shown} besides 0 and 1; recode it to 0 and "
            "1 or choose another data.target"
        )
    result = pd.to_numeric(values).astype("float64")
    return result.astype("int64") if result.notna().all() else result


def parse_timestamps(values: pd.Series, name: str, calendar: bool = True) -> pd.Series:
    """Return ``values`` as naive datetimes (wall time of their one zone); missing stays missing.

    Numbers are accepted only where ``calendar`` is false: they order rows but name no day.

    Raises:
        UsageError: a value that is no date, or more than one time zone.
    """
    if isinstance(values.dtype, pd.DatetimeTZDtype):
        naive: pd.Series = values.dt.tz_localize(None)
        return naive
    if pd.api.types.is_datetime64_any_dtype(values.dtype):
        return values
    if pd.api.types.is_numeric_dtype(values.dtype):
        if calendar:
            raise UsageError(
                f"timestamp {name!r} holds numbers (first: {values.iloc[0]!r}), not dates; "
                "store dates or give data.window as a number of rows"
            )
        return values
    text = values.dropna().astype(str).str.strip()
    zones = text.str.extract(r"\d{1,2}:\d{2}[\d:.,]*\s*(Z|[+-]\d{2}:?\d{2}|UTC)$", expand=False)
    found = [str(zone) for zone in zones.fillna("none").unique()]
    if len(found) > 1:
        raise UsageError(
            f"timestamp {name!r} mixes time zones ({', '.join(found[:5])}); store all rows in "
            "one time zone"
        )
    try:
        parsed = pd.to_datetime(text, format="ISO8601")
    except ValueError:
        parsed = pd.to_datetime(text, errors="coerce", format="mixed")
    bad = text[parsed.isna()]
    if len(bad):
        raise UsageError(
            f"timestamp {name!r} cannot be read as a date in {len(bad)} rows (first: row "
            f"{bad.index[0]}, {bad.iloc[0]!r}); "
            "write dates as YYYY-MM-DD or YYYY-MM-DDTHH:MM:SS"
        )
    if isinstance(parsed.dtype, pd.DatetimeTZDtype):
        parsed = parsed.dt.tz_localize(None)
    return parsed.reindex(values.index)
