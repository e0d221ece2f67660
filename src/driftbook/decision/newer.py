"""What newer models would have lost in each window that the champion has served."""

from __future__ import annotations

import numpy as np
import pandas as pd

from driftbook.data.arrays import Floats
from driftbook.data.windows import Dataset
from driftbook.decision.challenger import Challenger


def join_newer(
    since: pd.DataFrame, challenger: Challenger | None, dataset: Dataset
) -> pd.DataFrame:
    """Return the champion's record with the column ``newer``: what newer models would have lost.

    ``since``: a row a window with its realised loss, as ``trend.trace_performance`` makes it, up
    to the window that ``challenger`` was tried in. A newer model is a fit on the rows before each
    part of a window, so that none is graded on what trained it; the champion's mean loss less the
    mean gap of the rows that were graded is what such models lost. NaN where there is none.
    """
    if challenger is None:
        return since.assign(newer=np.nan)
    rows = challenger.order.fresh
    starts = {window.name: window for window in dataset.windows}
    labelled = since.loc[since["realised"].notna(), "window"]
    windows = [starts[name] for name in labelled if name in starts]
    if not windows:
        return since.assign(newer=np.nan)
    if dataset.timestamp is not None and dataset.timestamp in rows:
        # As an index of times, not of Python's objects: those take a second for 200,000 rows.
        starts_at = dataset.frame[dataset.timestamp].iloc[[window.start for window in windows]]
        place = pd.Index(starts_at).searchsorted(rows[dataset.timestamp], side="right") - 1
    else:
        # Rows without a time are as many in each window, but for a sample's luck.
        ends = np.cumsum([window.sampled for window in windows])
        spots = ends[-1] - np.arange(len(rows), 0, -1)
        place = np.where(spots < 0, -1, np.searchsorted(ends, spots, side="right"))
    gaps = pd.Series(_mean_by_place(challenger.gaps, place, len(windows)))
    gaps.index = pd.Index([window.name for window in windows])
    return since.assign(newer=since["realised"] - since["window"].map(gaps))


def _mean_by_place(gaps: Floats, place: np.ndarray, windows: int) -> Floats:
    known = np.isfinite(gaps) & (place >= 0)
    sums = np.bincount(place[known], weights=gaps[known], minlength=windows)[:windows]
    counts = np.bincount(place[known], minlength=windows)[:windows]
    return np.asarray(np.where(counts > 0, sums / np.maximum(counts, 1), np.nan), dtype=np.float64)
