"""Cells: what any column of any library holds, as numbers, booleans or text."""

from __future__ import annotations

import decimal
import numbers
from collections.abc import Hashable
from typing import Any, Literal

import numpy as np
import pandas as pd

from driftbook.data.arrays import Floats
from driftbook.errors import UsageError
from driftbook.settings import LARGEST_NUMBER

Kind = Literal["numeric", "boolean", "categorical"]
# Text that is a number in so many of its values is a column of numbers with bad cells.
NEARLY_NUMBERS = 0.95
# Words for a missing number; in a column of text they are values like any other.
MISSING_WORDS = frozenset(
    ["", "na", "n/a", "nan", "null", "none", "nil", "-", "--", ".", "?", "#n/a", "#na", "<na>",
     "missing", "nat", "unknown"]
)  # fmt: skip
TRUE_WORDS = frozenset({"true", "yes", "y", "t", "1", "1.0"})
FALSE_WORDS = frozenset({"false", "no", "n", "f", "0", "0.0"})
_SIGNS = r"[$€£¥₹%\s\u00a0\u202f'_]"
_REFUSED = {"datetime": "dates", "date": "dates", "Timestamp": "dates", "time": "times of day",
            "timedelta": "durations", "Timedelta": "durations", "list": "lists", "tuple": "lists",
            "ndarray": "lists", "dict": "records", "set": "lists", "complex": "complex numbers",
            "Interval": "intervals", "Period": "periods"}  # fmt: skip


def to_plain_column(values: pd.Series) -> pd.Series:
    """Return a column of any library as NumPy's numbers and booleans, dates, or Python's objects.

    Arrow's and pandas' own types lose their names: whole numbers with gaps become float64 with
    NaN, booleans with gaps objects with None, categories their values, decimals float64.
    """
    dtype = values.dtype
    if isinstance(dtype, pd.ArrowDtype):
        # An index given to pd.Series would pick rows by their labels.
        plain = values.array.__arrow_array__().to_pandas()
        values = plain.set_axis(values.index).rename(values.name)
        dtype = values.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        values = values.astype(dtype.categories.dtype if not values.hasnans else object)
        dtype = values.dtype
    if pd.api.types.is_bool_dtype(dtype):
        return values.astype(bool) if values.notna().all() else values.astype(object)
    if pd.api.types.is_complex_dtype(dtype):
        return values.astype(object)
    if pd.api.types.is_numeric_dtype(dtype):
        whole = pd.api.types.is_integer_dtype(dtype) and values.notna().all()
        if whole and dtype != np.uint64:
            return values if dtype == np.int64 else values.astype("int64")
        return values if dtype == np.float64 else values.astype("float64")
    return values


def find_kind(values: pd.Series) -> Kind:
    """Return what a feature's column holds; one without any value counts as numeric.

    Text is numeric where 95% of its values or more are numbers, in whatever spelling; boolean where
    all are true or false. A column that its source typed as text or as categories although every
    value is a plain number holds codes, and stays categorical.

    Raises:
        UsageError: dates, lists, records, bytes that are no text or other objects, named with the
            column.
    """
    plain = to_plain_column(values)
    if pd.api.types.is_bool_dtype(plain.dtype):
        return "boolean"
    if isinstance(values.dtype, pd.CategoricalDtype) and values.notna().any():
        return "categorical"
    if pd.api.types.is_numeric_dtype(plain.dtype):
        return "numeric"
    present = plain.dropna()
    if pd.api.types.is_datetime64_any_dtype(plain.dtype) or plain.dtype.kind == "m":
        _refuse(values, "durations" if plain.dtype.kind == "m" else "dates")
    if present.empty:
        return "numeric"
    if isinstance(plain.dtype, pd.StringDtype):
        return _find_kind_of_words(present)  # text throughout: no look at each object's type
    return _find_kind_of_objects(present)


def _find_kind_of_objects(present: pd.Series) -> Kind:
    """Return what Python's objects are; those that no feature may hold are refused by name."""
    types = set(map(type, present))
    for one in types:
        if one.__name__ in _REFUSED and not issubclass(one, numbers.Real | decimal.Decimal):
            _refuse(present, _REFUSED[one.__name__])
    if all(issubclass(one, bool | np.bool_) for one in types):
        return "boolean"
    if not all(issubclass(one, str | bytes | numbers.Real | decimal.Decimal) for one in types):
        _refuse(present, f"objects of the kind {min(one.__name__ for one in types)}")
    if any(issubclass(one, bytes) for one in types):
        for value in present.unique():
            _to_text(value, present.name)
        return "categorical"
    return _find_kind_of_words(present)


def _find_kind_of_words(present: pd.Series) -> Kind:
    """Return what objects and text mean, each distinct value weighing as often as it occurs."""
    rows = present.value_counts(sort=False)
    words = pd.Series(rows.index.astype(str)).str.strip().str.lower()
    told = ~words.isin(MISSING_WORDS).to_numpy()
    texts = [isinstance(value, str) for value in rows.index]
    if all(texts) and pd.to_numeric(words, errors="coerce").notna().all():
        return "categorical"
    if not told.any():
        return "categorical"
    if words[told].isin({"true", "false"}).all():
        return "boolean"
    read = read_numbers(pd.Series(rows.index, dtype=object))
    known = np.average(~np.isnan(read[told]), weights=rows.to_numpy()[told])
    return "numeric" if known >= NEARLY_NUMBERS else "categorical"


def _refuse(values: pd.Series, held: str) -> None:
    raise UsageError(
        f"feature {str(values.name)!r} holds {held}; features are numbers, booleans or text: "
        "convert it, leave it out with data.exclude, or list the columns to use in data.features"
    )


def to_kind(values: pd.Series, kind: Kind) -> pd.Series:
    """Return a feature's column in the one form of its kind, so that equal values are equal.

    Numbers: float64, NaN for what is none, infinities for what lies beyond 1e100. Booleans: bool,
    or objects with None where there are gaps. Text: objects, NaN where missing; bytes are UTF-8.

    Raises:
        UsageError: bytes that are no text.
    """
    if kind == "numeric":
        return pd.Series(to_numbers(values), index=values.index, name=values.name, copy=False)
    plain = to_plain_column(values)
    if kind == "boolean":
        if plain.dtype == bool:
            return plain
        lower = plain.astype(object).where(plain.notna(), "").map(str).str.strip().str.lower()
        truth = lower.isin(TRUE_WORDS).astype(object)
        known = lower.isin(TRUE_WORDS | FALSE_WORDS)
        return truth.astype(bool) if known.all() else truth.where(known, None)
    codes, distinct = pd.factorize(plain.astype(object))
    texts = [_to_text(value, values.name) for value in distinct]
    named = np.array([*texts, np.nan], dtype=object)
    return pd.Series(named[codes], index=values.index, name=values.name)


def _to_text(value: Any, column: Hashable) -> str:
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError as error:
            raise UsageError(
                f"column {str(column)!r} holds bytes that are no UTF-8 text ({value[:20]!r}); "
                "convert it, or leave it out with data.exclude"
            ) from error
    # 3.0 of a column with gaps and 3 of one without are the same name.
    return f"{value:.15g}" if isinstance(value, float) else str(value)


def to_numbers(values: pd.Series) -> Floats:
    """Return the values as float64, shape (n,); what is no number is NaN, infinities stay.

    Numbers written as text may have signs of currency or percent, and thousands separators. Those
    beyond 1e100 are infinite: some program's word for a missing value.
    """
    plain = values if values.dtype == np.float64 else to_plain_column(values)
    if plain.dtype == np.float64:
        found = plain.to_numpy()
    elif pd.api.types.is_numeric_dtype(plain.dtype):
        found = np.asarray(plain.to_numpy(dtype=np.float64, na_value=np.nan))
    else:
        found = read_numbers(plain)
    with np.errstate(invalid="ignore"):
        # Two numbers tell of nearly every column that none is so large.
        largest, smallest = np.fmax.reduce(found, initial=0.0), np.fmin.reduce(found, initial=0.0)
        if largest <= LARGEST_NUMBER and smallest >= -LARGEST_NUMBER:
            return found
        huge = (found > LARGEST_NUMBER) | (found < -LARGEST_NUMBER)
        return np.where(huge, np.sign(found) * np.inf, found)


def read_numbers(values: pd.Series) -> Floats:
    """Return what objects and text mean as numbers, shape (n,); NaN for what means none.

    >>> read_numbers(pd.Series(["1,234.5", "$ 7", "12 %", "abc"])).tolist()
    [1234.5, 7.0, 12.0, nan]
    >>> read_numbers(pd.Series(["1.234,5", "2,25"])).tolist()
    [1234.5, 2.25]
    """
    codes, distinct = pd.factorize(values.astype(object))
    known = pd.Series(distinct, dtype=object)
    read = pd.to_numeric(known, errors="coerce")
    found = read.to_numpy(dtype=np.float64, na_value=np.nan, copy=True)
    unread = np.isnan(found) & known.map(lambda value: isinstance(value, str)).to_numpy(dtype=bool)
    if unread.any():
        found[unread] = _read_spelled(known[unread])
    # A code of -1, a missing value, takes the NaN at the end.
    return np.append(found, np.nan)[codes]


def _read_spelled(text: pd.Series) -> Floats:
    """Return numbers written for people; one meaning of comma and point for the whole column."""
    bare = text.astype(str).str.replace(_SIGNS, "", regex=True)
    bare = bare.str.replace(r"^\((.+)\)$", r"-\1", regex=True).str.replace("\u2212", "-")
    comma = bare[bare.str.contains(",", regex=False)]
    grouped = comma.str.fullmatch(r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?")
    if grouped.all():
        bare = bare.str.replace(",", "", regex=False)
    elif comma.str.fullmatch(r"[+-]?(\d{1,3}(\.\d{3})+|\d+),\d+").mean() >= NEARLY_NUMBERS:
        points = bare.str.replace(".", "", regex=False)
        bare = points.str.replace(",", ".", regex=False)
    read = pd.to_numeric(bare, errors="coerce")
    return np.asarray(read.to_numpy(dtype=np.float64, na_value=np.nan))


def find_bad_cells(values: pd.Series) -> pd.Series:
    """Return the cells of a numeric column that are neither numbers nor words for missing."""
    plain = to_plain_column(values)
    if pd.api.types.is_numeric_dtype(plain.dtype):
        return plain.iloc[:0]
    unread = plain.notna().to_numpy() & np.isnan(read_numbers(plain))
    words = plain[unread].astype(str).str.strip().str.lower()
    return plain[unread][~words.isin(MISSING_WORDS)]
