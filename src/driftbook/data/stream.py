"""A source too large for memory: counted whole, fragment by fragment, and sampled for the rest.

Numbers come out the same whatever the fragments, their order and the engine: what is counted adds
up exactly, and whether a row is in the sample depends on nothing but its number among all rows, in
the order of the files' names.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from driftbook.data import engine
from driftbook.data.arrays import Floats, Ints
from driftbook.data.fragments import BatchReading, Fragment, read_batches
from driftbook.data.survey import Stamp

_ResultT = TypeVar("_ResultT")
_Words = npt.NDArray[np.uint64]
_LARGEST = float(2**64)
# What stands for a cell whose meaning as a number would depend on other cells.
_UNREAD = "(text)"


@dataclass(frozen=True)
class Cut:
    """Where windows begin and end: moments, or numbers of rows; ``share`` of all rows is used."""

    starts: npt.NDArray[Any]
    ends: npt.NDArray[Any]
    by_time: bool
    share: float = 1.0

    def place(self, numbers: Ints, times: pd.Series | None) -> Ints:
        """Return each row's window, -1 for a row that is in none."""
        values = numbers if times is None else times.to_numpy()
        found = self.starts.searchsorted(values, "right") - 1
        with np.errstate(invalid="ignore"):
            inside = (found >= 0) & (values < self.ends[found])
        inside &= self.keeps(numbers)
        return np.where(inside, found, -1)

    def keeps(self, numbers: Ints) -> npt.NDArray[np.bool_]:
        """Return which rows belong to the share that is used."""
        if self.share >= 1.0:
            return np.ones(len(numbers), dtype=bool)
        return draw_priorities(numbers) <= self.share * _LARGEST


@dataclass(frozen=True)
class WindowPart:
    """A fragment, and the window that holds all its rows where there is such a one."""

    fragment: Fragment
    whole: int | None

    @property
    def label(self) -> str:
        """Return the fragment's label."""
        return self.fragment.label


@dataclass(frozen=True)
class Stream:
    """A streamed source with its windows.

    ``held``: by window, how many rows each of its fragments has in it. ``numeric``: features that
    are numbers, found on the sample. ``codes``: columns of CSV files that hold numbers.
    """

    engine: str
    fragments: tuple[Fragment, ...]
    stamp: Stamp
    cut: Cut
    held: tuple[dict[int, int], ...]
    numeric: frozenset[str] = frozenset()
    codes: frozenset[str] = frozenset()
    exact: frozenset[str] = frozenset()

    def count_rows(self, window: int) -> int:
        """Return the number of all rows of a window."""
        return sum(self.held[window].values())

    def digest(self, window: int) -> str:
        """Return what tells a window's rows from any other: its bounds, its files, their places.

        Of a file that is its size and the tag that its store gives it, or the time of its last
        change where it has no tag: nothing of its rows is read.
        """
        names = [str(self.cut.starts[window]), str(self.cut.ends[window]), str(self.cut.share)]
        for k, count in sorted(self.held[window].items()):
            names.append(f"{self.fragments[k].digest} {self.fragments[k].first} {count}")
        return hashlib.sha256("\n".join(names).encode()).hexdigest()

    def map_window(
        self,
        window: int,
        columns: Sequence[str],
        function: Callable[[Iterator[pd.DataFrame]], _ResultT],
    ) -> Iterator[_ResultT]:
        """Yield what ``function`` makes of the window's rows in each fragment, in no order.

        It gets the rows in batches with ``columns``, and must be one that another process can
        import. Only fragments that hold rows of the window are read.
        """
        reading = self._read(columns)
        work = partial(_work_on_window, function, window, reading, self.stamp, self.cut)
        parts = self._list_parts([window])
        for _, found in engine.map_parts(self.engine, partial(work, self.numeric), parts):
            yield found

    def draw_sample(
        self,
        columns: Sequence[str],
        size: int,
        known: Mapping[int, pd.DataFrame] = MappingProxyType({}),
    ) -> list[pd.DataFrame]:
        """Return by window ``size`` of its rows at most, drawn uniformly, in the files' order.

        The rows are those of the smallest priorities, a hash of the row's number: equal files give
        equal rows, and a larger sample holds a smaller one. The index is the row's number.
        ``known``: windows' samples that were drawn before.
        """
        counts = [self.count_rows(k) for k in range(len(self.held))]
        kept = dict(known)
        slack = 1.0
        while missing := [k for k in range(len(counts)) if k not in kept]:
            limits = np.zeros(len(counts), dtype=np.float64)
            for k in missing:
                # So many that hardly ever fewer rows than wanted lie below; else they are drawn
                # again with more room.
                wanted = slack * (size + 6.0 * size**0.5 + 20.0)
                limits[k] = self.cut.share * min(1.0, wanted / max(counts[k], 1)) * _LARGEST
            rows, places = self._draw_below(columns, limits, missing)
            for k in missing:
                found = _keep_smallest(rows[places == k], size)
                if len(found) >= min(size, counts[k]):
                    kept[k] = found
            slack *= 4.0
        return [kept[k] for k in range(len(counts))]

    def _draw_below(
        self, columns: Sequence[str], limits: Floats, wanted: Sequence[int]
    ) -> tuple[pd.DataFrame, Ints]:
        """Return the rows below their windows' limits, in the files' order, and their windows."""
        work = partial(_draw_rows, self._read(columns), self.stamp, self.cut, limits)
        parts = self._list_parts(wanted)
        drawn = [one for _, one in engine.map_parts(self.engine, work, parts) if one is not None]
        if not drawn:
            return pd.DataFrame(columns=list(columns)), np.empty(0, dtype=np.int64)
        drawn.sort(key=lambda one: int(one[0].index[0]))
        return pd.concat([one[0] for one in drawn]), np.concatenate([one[1] for one in drawn])

    def count_share(self) -> Stream:
        """Return the stream whose windows hold only the rows of the share that is used."""
        held: tuple[dict[int, int], ...] = tuple({} for _ in self.held)
        parts = [replace(part, whole=None) for part in self._list_parts(range(len(held)))]
        place = {part.label: k for k, part in enumerate(self.fragments)}
        work = partial(_count_places, self._read(()), self.stamp, self.cut)
        for part, counts in engine.map_parts(self.engine, work, parts):
            for window, count in counts.items():
                held[window][place[part.label]] = count
        return replace(self, held=held)

    def _read(self, columns: Sequence[str]) -> BatchReading:
        return BatchReading(tuple(columns), self.codes, self.exact)

    def _list_parts(self, wanted: Sequence[int]) -> list[WindowPart]:
        """Return the fragments that hold rows of the windows."""
        holders: dict[int, list[int]] = {}
        for window, held in enumerate(self.held):
            for k in held:
                holders.setdefault(k, []).append(window)
        chosen = set(wanted)
        return [
            WindowPart(self.fragments[k], self._find_whole(k, windows))
            for k, windows in sorted(holders.items())
            if chosen & set(windows)
        ]

    def _find_whole(self, fragment: int, windows: list[int]) -> int | None:
        rows = self.held[windows[0]][fragment]
        return windows[0] if rows == self.fragments[fragment].rows else None


def draw_priorities(numbers: Ints) -> _Words:
    """Return a number from 0 to 2^64 - 1 for each row's number, as good as drawn at random.

    Source: Steele, Lea & Flood (2014), Fast splittable pseudorandom number generators, OOPSLA: the
    finaliser of SplitMix64 after its increment.

    >>> draw_priorities(np.array([0, 1]))
    array([16294208416658607535,  7960286522194355700], dtype=uint64)
    """
    state = (numbers.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def _place_batches(
    part: WindowPart, reading: BatchReading, stamp: Stamp, cut: Cut
) -> Iterator[tuple[Ints, Ints, pd.DataFrame]]:
    """Yield rows' windows, rows' numbers and the rows with the columns of ``reading``."""
    timed = part.whole is None and cut.by_time
    columns = reading.columns
    if timed and stamp.name not in columns:
        columns = (*columns, str(stamp.name))
    wider = BatchReading(columns, reading.numbers, reading.exact)
    for first, batch in read_batches(part.fragment, wider):
        numbers = np.arange(first, first + len(batch))
        if part.whole is not None:
            places = np.full(len(batch), part.whole)
        else:
            times = stamp.parse(batch[str(stamp.name)]) if timed else None
            places = cut.place(numbers, times)
        yield places, numbers, batch[list(reading.columns)]


def _work_on_window(
    function: Callable[[Iterator[pd.DataFrame]], _ResultT],
    window: int,
    reading: BatchReading,
    stamp: Stamp,
    cut: Cut,
    numeric: frozenset[str],
    part: WindowPart,
) -> _ResultT:
    batches = _place_batches(part, reading, stamp, cut)
    chosen = (
        batch if part.whole == window else batch[places == window] for places, _, batch in batches
    )
    codes = reading.numbers
    return function(settle_numbers(batch, numeric, codes) for batch in chosen)


def _count_places(
    reading: BatchReading, stamp: Stamp, cut: Cut, part: WindowPart
) -> dict[int, int]:
    """Return by window how many rows of a fragment it has."""
    found: Counter[int] = Counter()
    for places, _, _ in _place_batches(part, reading, stamp, cut):
        found.update(places[places >= 0].tolist())
    return dict(found)


def _draw_rows(
    reading: BatchReading, stamp: Stamp, cut: Cut, limits: Floats, part: WindowPart
) -> tuple[pd.DataFrame, Ints] | None:
    """Return a fragment's rows whose priority lies below the limit of their window, and those."""
    rows, windows = [], []
    for places, numbers, batch in _place_batches(part, reading, stamp, cut):
        low = draw_priorities(numbers) <= np.append(limits, -1.0)[places]
        if low.any():
            rows.append(batch[low].set_axis(numbers[low]))
            windows.append(places[low])
    return (pd.concat(rows), np.concatenate(windows)) if rows else None


def _keep_smallest(rows: pd.DataFrame, size: int) -> pd.DataFrame:
    if len(rows) <= size:
        return rows
    order = np.argpartition(draw_priorities(rows.index.to_numpy()), size)[:size]
    return rows.iloc[np.sort(order)]


def settle_numbers(
    batch: pd.DataFrame, numeric: frozenset[str], codes: frozenset[str] = frozenset()
) -> pd.DataFrame:
    """Return a batch whose columns of numbers mean the same in whatever batch they stand.

    Text with a comma means a number only by the other cells of its column: it counts as text. Of
    ``codes``, columns of CSV files that hold numbers, each cell that is one is one.
    """
    changed = {}
    for name in (numeric | codes).intersection(batch.columns):
        values = batch[name]
        if pd.api.types.is_numeric_dtype(values.dtype):
            continue
        if name in codes:
            numbers = pd.to_numeric(values, errors="coerce").astype("float64")
            values = values.astype(object).where(numbers.isna(), numbers)
        text = values.map(lambda cell: isinstance(cell, str) and "," in cell).astype(bool)
        if name in numeric and text.any():
            values = values.astype(object).mask(text, _UNREAD)
        changed[name] = values
    return batch.assign(**changed) if changed else batch
