"""The values of a text or boolean column as numbered levels: each distinct value is read once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from driftbook.data.arrays import Ints
from driftbook.data.cells import Kind, to_kind

# Whole numbers of any width: a dictionary's codes are counted as they lie.
Codes = np.ndarray[Any, np.dtype[np.integer[Any]]]


def code_levels(values: pd.Series, kind: Kind) -> tuple[Ints, pd.Index[str]]:
    """Return each row's place among the levels, -1 where it has none, and the levels' names.

    Text is told apart by its codes where the column is a dictionary, by Arrow where it lies in
    Arrow's memory, and by pandas otherwise; only distinct values are turned into names. Different
    values may have one name, as 3 and 3.0 have.

    >>> code_levels(pd.Series(["b", None, "a", "b"]), "categorical")[0]
    array([ 0, -1,  1,  0])
    """
    codes, distinct = _tell_apart(values)
    used = np.flatnonzero(_count_codes(codes, len(distinct)))
    places, names = _name_levels(distinct.iloc[used], kind)
    shared = np.full(len(distinct) + 1, -1, dtype=np.int64)
    shared[used] = places
    return shared[codes], names


def count_levels(values: pd.Series, kind: Kind) -> pd.Series[int]:
    """Return by level how many rows have it.

    Levels stand in the order of the first rows that have them, or of the column's dictionary.

    >>> count_levels(pd.Series([True, None, "no", "yes"]), "boolean").to_dict()
    {'True': 2, 'False': 1}
    """
    codes, distinct = _tell_apart(values)
    rows = _count_codes(codes, len(distinct))
    used = np.flatnonzero(rows)
    places, names = _name_levels(distinct.iloc[used], kind)
    counts = np.zeros(len(names) + 1, dtype=np.int64)
    np.add.at(counts, places, rows[used])  # a distinct value that is missing falls into the last
    return pd.Series(counts[:-1], index=names)


def to_levels(values: pd.Series, kind: Kind) -> pd.Series:
    """Return the present values as text; booleans in whatever spelling become True and False."""
    codes, names = code_levels(values, kind)
    present = codes >= 0
    return pd.Series(
        names.to_numpy()[codes[present]], values.index[present], dtype=object, name=values.name
    )


def _tell_apart(values: pd.Series) -> tuple[Codes, pd.Series]:
    """Return each row's place among distinct values, and those; -1 is a missing value.

    A missing value may be among the distinct ones; in a dictionary not all of them need occur, and
    one may be there twice.
    """
    if isinstance(values.dtype, pd.CategoricalDtype):
        return values.cat.codes.to_numpy(), pd.Series(values.cat.categories)
    if (coded := _find_dictionary(values)) is not None:
        indices = coded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        return indices, coded.dictionary.to_pandas()
    told: pd.Series | Ints = values
    if isinstance(values.dtype, np.dtype) and values.dtype.kind == "f":
        # By their bits: 0.0 and -0.0 are equal numbers of different names.
        told = values.to_numpy().view(f"i{values.dtype.itemsize}")
    # Missing values keep a code of their own, so that the first rows have gaps where all have.
    codes = pd.factorize(told, use_na_sentinel=False)[0]
    first = np.zeros(int(codes.max(initial=-1)) + 1, dtype=np.int64)
    first[codes[::-1]] = np.arange(len(codes) - 1, -1, -1)
    return codes, values.iloc[first]


def _find_dictionary(values: pd.Series) -> Any:
    """Return Arrow's codes and dictionary of text in Arrow's memory; None for any other column."""
    dtype = values.dtype
    if isinstance(dtype, pd.ArrowDtype):
        held = dtype.pyarrow_dtype
    elif isinstance(dtype, pd.StringDtype) and dtype.storage == "pyarrow":
        held = pa.large_string()
    else:
        return None
    arrow = values.array.__arrow_array__()
    if pa.types.is_string(held) or pa.types.is_large_string(held):
        arrow = arrow.dictionary_encode()
    elif not pa.types.is_dictionary(held):
        return None
    return arrow.combine_chunks()


def _count_codes(codes: Codes, distinct: int) -> Ints:
    """Return by distinct value how many rows have it; a code of -1 is not counted."""
    # The sum is wider than the codes, which may be as narrow as a byte.
    return np.bincount(np.add(codes, 1, dtype=np.intp), minlength=distinct + 1)[1:]


def _name_levels(distinct: pd.Series, kind: Kind) -> tuple[Ints, pd.Index[str]]:
    """Return each distinct value's place among the names, -1 for a missing one, and the names."""
    text = to_kind(distinct, kind)
    places, names = pd.factorize(text.where(text.isna(), text.map(str)).astype(object))
    return places, pd.Index(names, dtype=object)
