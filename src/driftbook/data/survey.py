"""A survey of a streamed source: how many rows each window has, by the timestamp column alone.

Where a Parquet file's own statistics say that a whole row group lies in one period, not even that
column is read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from driftbook.data import engine, periods, timestamps
from driftbook.data.fragments import BatchReading, Fragment, read_batches
from driftbook.errors import UsageError

_FILLERS = frozenset(pd.to_datetime(list(timestamps.SENTINEL_DATES)))
# A filler date lies so far from all other dates; see `timestamps.find_sentinel_dates`.
_FAR = pd.Timedelta(days=3653)


@dataclass(frozen=True)
class Stamp:
    """The timestamp column, None where there is none, and the size of a window."""

    name: str | None
    size: str | int

    def parse(self, values: pd.Series) -> pd.Series:
        """Return a batch's timestamps, each read by itself."""
        calendar = isinstance(self.size, str)
        return timestamps.parse_timestamps(values, str(self.name), calendar, alone=True)


@dataclass(frozen=True)
class Survey:
    """What the timestamps of some rows show; ``a + b`` is that of both, ``b`` coming later.

    ``cells``: rows by the ordinal of their period; ``fillers``: rows by a date that stands for
    none, as long as no other dates are near; ``low``, ``high``: of all other dates; ``raw``: of
    numbers that stand for dates; ``ordered``: no row is older than one before it.
    """

    rows: int = 0
    missing: int = 0
    cells: Counter[int] = field(default_factory=Counter)
    fillers: Counter[pd.Timestamp] = field(default_factory=Counter)
    low: Any = None
    high: Any = None
    raw: tuple[float, float] | None = None
    ordered: bool = True
    zones: frozenset[str] = frozenset()

    def __add__(self, other: Survey) -> Survey:
        known = self.high is not None and other.low is not None
        return Survey(
            self.rows + other.rows,
            self.missing + other.missing,
            self.cells + other.cells,
            self.fillers + other.fillers,
            _combine(min, self.low, other.low),
            _combine(max, self.high, other.high),
            (
                (min(self.raw[0], other.raw[0]), max(self.raw[1], other.raw[1]))
                if self.raw and other.raw
                else self.raw or other.raw
            ),
            self.ordered and other.ordered and not (known and other.low < self.high),
            self.zones | other.zones,
        )

    def find_near_fillers(self) -> frozenset[pd.Timestamp]:
        """Return the dates that are no fillers here, because others are near; or there are none."""
        if self.low is None:
            return frozenset(self.fillers)
        return frozenset(d for d in self.fillers if self.low - _FAR <= d <= self.high + _FAR)

    def settle_fillers(self, near: frozenset[pd.Timestamp], size: str) -> Survey:
        """Return the survey with the rows of the ``near`` dates in their periods."""
        cells, low, high = self.cells.copy(), self.low, self.high
        for day in near & self.fillers.keys():
            cells[periods.list_periods(day, day, size)[0].ordinal] += self.fillers[day]
            low, high = _combine(min, low, day), _combine(max, high, day)
        far = Counter({day: n for day, n in self.fillers.items() if day not in near})
        return replace(self, cells=cells, fillers=far, low=low, high=high)


def _combine(choose: Any, *values: Any) -> Any:
    return choose((value for value in values if value is not None), default=None)


def survey_parts(
    fragments: Sequence[Fragment], stamp: Stamp, using: str
) -> tuple[tuple[Fragment, ...], tuple[Survey, ...]]:
    """Return the fragments, each with its rows and the number of its first, and their surveys.

    Raises:
        UsageError: timestamps that are no dates, or of more than one time zone.
    """
    order = {fragment: place for place, fragment in enumerate(fragments)}
    found: list[Survey] = [Survey()] * len(fragments)
    unread = []
    for fragment in fragments:
        known = _survey_statistics(stamp, fragment)
        if known is None:
            unread.append(fragment)
        else:
            found[order[fragment]] = known
    for fragment, survey in engine.map_parts(using, partial(_survey_rows, stamp), unread):
        found[order[fragment]] = survey
    starts = np.cumsum([0, *(survey.rows for survey in found)])
    numbered = tuple(
        replace(fragment, rows=survey.rows, first=int(first))
        for fragment, survey, first in zip(fragments, found, starts[:-1], strict=True)
    )
    return numbered, tuple(found)


def _survey_statistics(stamp: Stamp, fragment: Fragment) -> Survey | None:
    """Return the survey of a fragment whose statistics tell all of it."""
    rows = fragment.rows
    if rows is None:
        return None
    if stamp.name is None:
        return Survey(rows)
    if fragment.span is None or isinstance(stamp.size, int):
        return None
    low, high = fragment.span
    if {low.normalize(), high.normalize()} & _FILLERS:
        return None
    between = periods.list_periods(low, high, stamp.size)
    if len(between) > 1:
        return None
    return Survey(rows, cells=Counter({between[0].ordinal: rows}), low=low, high=high)


def _survey_rows(stamp: Stamp, fragment: Fragment) -> Survey:
    columns = () if stamp.name is None else (stamp.name,)
    found = Survey()
    for _, batch in read_batches(fragment, BatchReading(columns)):
        found += Survey(len(batch)) if stamp.name is None else _survey_batch(stamp, batch)
    return found


def _survey_batch(stamp: Stamp, batch: pd.DataFrame) -> Survey:
    written = batch[str(stamp.name)]
    times = stamp.parse(written)
    known = times.dropna()
    raw = None
    if pd.api.types.is_numeric_dtype(written.dtype) and written.notna().any():
        raw = float(written.min()), float(written.max())
    fillers: Counter[pd.Timestamp] = Counter()
    if known.dtype.kind == "M" and len(known):
        days = {known.min().normalize(), known.max().normalize()}
        if days & _FILLERS:
            filler = known.dt.normalize().dt.as_unit("s").isin(list(_FILLERS))
            fillers = Counter(known[filler].dt.normalize().tolist())
            known = known[~filler]
    cells = periods.count_periods(known, stamp.size) if isinstance(stamp.size, str) else {}
    return Survey(
        len(batch),
        int(times.isna().sum()),
        Counter(cells),
        fillers,
        None if known.empty else known.min(),
        None if known.empty else known.max(),
        raw,
        bool(known.is_monotonic_increasing),
        frozenset(timestamps.find_zones(written)),
    )


def check_stamps(whole: Survey, stamp: Stamp) -> None:
    """Return nothing where the timestamps of all fragments are of one sort.

    Raises:
        UsageError: several time zones, numbers that are several sorts of dates, or windows of a
            number of rows where rows are not in time order.
    """
    name = str(stamp.name)
    timestamps.refuse_mixed_zones(sorted(whole.zones), name)
    if whole.raw is not None:
        stamp.parse(pd.Series(whole.raw, name=name))
    by_rows = stamp.name is not None and isinstance(stamp.size, int)
    if by_rows and (whole.missing or not whole.ordered):
        raise UsageError(
            f"data.window is {stamp.size} rows, but the rows of a source too large for memory "
            f"are not in the order of {name!r}"
            + f", which {whole.missing:,} of them lack" * bool(whole.missing)
            + "; write the files in time order, name them so, or choose a window such as day"
        )
