"""What is counted over all rows of a window, of which only a sample may be at hand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, reduce

import numpy as np
import pandas as pd

from driftbook.data.windows import Dataset, Window
from driftbook.drift.profile import ColumnBins, ColumnProfile, profile_values
from driftbook.drift.reference import find_reference
from driftbook.model.training import Model

Profiles = Mapping[str, ColumnProfile]


@dataclass(frozen=True)
class WindowCounts:
    """The rows of a window and the profiles of its columns, and of those rows with a prediction.

    ``a + b`` are the counts of both sets of rows. Of a model that predicts itself all rows have a
    prediction, and ``predicted`` is ``profiles``.
    """

    rows: int
    profiles: Profiles
    predicted_rows: int
    predicted: Profiles

    def __add__(self, other: WindowCounts) -> WindowCounts:
        profiles = _add_profiles(self.profiles, other.profiles)
        alike = self.predicted is self.profiles and other.predicted is other.profiles
        predicted = profiles if alike else _add_profiles(self.predicted, other.predicted)
        return WindowCounts(
            self.rows + other.rows,
            profiles,
            self.predicted_rows + other.predicted_rows,
            predicted,
        )

    def fill_gone(self, model: Model, names: Sequence[str]) -> WindowCounts:
        """Return the counts with columns that are gone as if all their values were missing."""
        known = find_reference(model).profiles
        gone = [name for name in names if name not in self.profiles]
        if not gone:
            return self
        both = [
            {**profiles, **{name: _profile_nothing(known[name].bins, rows) for name in gone}}
            for profiles, rows in (
                (self.profiles, self.rows),
                (self.predicted, self.predicted_rows),
            )
        ]
        return WindowCounts(self.rows, both[0], self.predicted_rows, both[1])


def count_window(model: Model, dataset: Dataset, window: Window) -> WindowCounts | None:
    """Return what all rows of a streamed source's window hold, on the bins of the reference.

    Exact, and the same whatever the fragments, their order and the engine. None where the data
    set's frame holds all rows. The reference of a model of such a source is its sample.

    Raises:
        UsageError: a fragment that cannot be read.
    """
    stream = dataset.stream
    if stream is None:
        return None
    bins = {
        name: known.bins
        for name, known in find_reference(model).profiles.items()
        if name in dataset.frame.columns
    }
    needed = [name for name in model.prediction if name in dataset.frame.columns]
    work = partial(count_batches, bins, needed)
    place = dataset.windows.index(window)
    parts = stream.map_window(place, list(dict.fromkeys([*bins, *needed])), work)
    return reduce(WindowCounts.__add__, parts, count_batches(bins, needed, iter(())))


def count_rows(model: Model, rows: pd.DataFrame) -> WindowCounts:
    """Return the same of a window whose ``rows`` are all at hand; a column may be absent."""
    side, kept = find_reference(model), model.keep_predicted(rows)
    profiles = side.profile_window(rows)
    predicted = side.profile_window(kept) if len(kept) < len(rows) else profiles
    return WindowCounts(len(rows), profiles, len(kept), predicted)


def count_batches(
    bins: Mapping[str, ColumnBins], needed: Sequence[str], batches: Iterator[pd.DataFrame]
) -> WindowCounts:
    """Return the counts of some batches of rows; ``needed``: columns that hold predictions."""
    start = {name: _profile_nothing(one, 0) for name, one in bins.items()}
    found = WindowCounts(0, start, 0, start)
    for batch in batches:
        profiles = {name: profile_values(batch[name], one) for name, one in bins.items()}
        kept = batch.dropna(subset=list(needed)) if needed else batch
        predicted = profiles
        if len(kept) < len(batch):
            predicted = {name: profile_values(kept[name], one) for name, one in bins.items()}
        found += WindowCounts(len(batch), profiles, len(kept), predicted)
    return found


def _add_profiles(left: Profiles, right: Profiles) -> Profiles:
    return {name: known + right[name] for name, known in left.items()}


def _profile_nothing(bins: ColumnBins, rows: int) -> ColumnProfile:
    """Return the profile of rows without any value."""
    return ColumnProfile(bins, np.zeros(bins.cells, dtype=np.int64), missing=rows)
