"""Rows as a caller of ``train`` and ``assess`` gives them: what no table of a file would hold."""

from __future__ import annotations

from typing import Any

import pandas as pd

from driftbook.data.files import refuse_duplicates


def accept_rows(rows: pd.DataFrame, what: str, *, lists_as_text: bool = False) -> pd.DataFrame:
    """Return rows whose columns have text for names, and whose index names each row once.

    Text that is no Unicode (lone surrogates) has question marks instead. ``lists_as_text``: lists,
    records and whatever else has no hash are the text that they print as, for a window's odd cells
    are told, not refused; whoever trains refuses them by name.

    Raises:
        UsageError: two columns of one name.
    """
    names = list(map(str, rows.columns))
    refuse_duplicates(what, names)
    rows = rows.set_axis(names, axis="columns")
    if not rows.index.is_unique:
        rows = rows.reset_index(drop=True)
    odd = [name for name in names if _is_odd(rows[name])]
    mended = {name: rows[name].astype(object) for name in odd}
    return rows.assign(
        **{
            name: cells.map(lambda cell: _mend(cell, lists_as_text))
            for name, cells in mended.items()
        }
    )


def _is_odd(values: pd.Series) -> bool:
    if isinstance(values.dtype, pd.CategoricalDtype):
        levels = values.cat.categories
        values = pd.Series(levels.to_numpy(), dtype=levels.dtype)
    if values.dtype != object:
        return False
    try:
        "".join(one for one in pd.unique(values) if isinstance(one, str)).encode()
    except (TypeError, UnicodeEncodeError):
        return True
    return False


def _mend(cell: Any, lists_as_text: bool) -> Any:
    if isinstance(cell, str):
        return cell.encode("utf-8", "replace").decode()
    try:
        hash(cell)
    except TypeError:
        return _mend(str(cell), lists_as_text) if lists_as_text else cell
    return cell
