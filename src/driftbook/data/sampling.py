"""The rows that are looked at one by one: of very many, a reproducible uniform sample."""

from __future__ import annotations

import numpy as np
import pandas as pd

from driftbook.data.arrays import Ints


def draw_rows(rows: int, size: int) -> Ints:
    """Return the places of ``size`` of ``rows`` rows, drawn uniformly, in their order.

    All of them where there are no more. Equal counts draw equal places, on any machine.

    >>> draw_rows(3, 5)
    array([0, 1, 2])
    """
    if rows <= size:
        return np.arange(rows)
    rng = np.random.default_rng(rows)
    drawn = np.zeros(rows, dtype=bool)
    drawn[rng.choice(rows, size, replace=False, shuffle=False)] = True
    return np.flatnonzero(drawn)


def take_sample(frame: pd.DataFrame, size: int) -> pd.DataFrame:
    """Return the rows of ``frame`` that :func:`draw_rows` draws; itself where there are no more."""
    if len(frame) <= size:
        return frame
    return frame.iloc[draw_rows(len(frame), size)].reset_index(drop=True)
