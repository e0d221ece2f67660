"""The values of a text or boolean column as numbered levels: each distinct value is read once."""

from __future__ import annotations

import numpy as np
import pandas as pd

from driftbook.data.arrays import Ints
from driftbook.data.cells import Kind, to_kind


def code_levels(values: pd.Series, kind: Kind) -> tuple[Ints, pd.Index[str]]:
    """Return each row's place among the levels, -1 where it has none, and the levels' names.

    Text is told apart by pandas, in Arrow's own memory where it lies there, and only the first row
    of each distinct value is turned into a name: a million rows of 30 levels take a tenth of the
    time of reading row by row. Different values may have one name, as 3 and 3.0 have.

    >>> code_levels(pd.Series(["b", None, "a", "b"]), "categorical")[0]
    array([ 0, -1,  1,  0])
    """
    told = _tell_apart(values)
    # Missing values keep a code of their own, so that the first rows have gaps where all have.
    codes = pd.factorize(told, use_na_sentinel=False)[0]
    first = np.zeros(int(codes.max(initial=-1)) + 1, dtype=np.int64)
    first[codes[::-1]] = np.arange(len(codes) - 1, -1, -1)
    text = to_kind(values.iloc[first], kind)
    shared, names = pd.factorize(text.where(text.isna(), text.map(str)).astype(object))
    return np.append(shared, -1)[codes].astype(np.int64), pd.Index(names, dtype=object)


def _tell_apart(values: pd.Series) -> pd.Series | Ints:
    """Return what is as cheap to tell apart as can be, and equal only where the values are."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        return values.cat.codes
    if isinstance(values.dtype, np.dtype) and values.dtype.kind == "f":
        # By their bits: 0.0 and -0.0 are equal numbers of different names.
        return values.to_numpy().view(f"i{values.dtype.itemsize}")
    return values


def count_levels(values: pd.Series, kind: Kind) -> pd.Series[int]:
    """Return by level how many rows have it, in the order in which the levels first occur.

    >>> count_levels(pd.Series([True, None, "no", "yes"]), "boolean").to_dict()
    {'True': 2, 'False': 1}
    """
    codes, names = code_levels(values, kind)
    return pd.Series(np.bincount(codes[codes >= 0], minlength=len(names)), index=names)


def to_levels(values: pd.Series, kind: Kind) -> pd.Series:
    """Return the present values as text; booleans in whatever spelling become True and False."""
    codes, names = code_levels(values, kind)
    present = codes >= 0
    return pd.Series(
        names.to_numpy()[codes[present]], values.index[present], dtype=object, name=values.name
    )
