"""Rows in time order, their features, and the windows that time cuts them into."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from driftbook.addresses import is_database
from driftbook.data import columns, files, flights, synthetic, timestamps
from driftbook.data.columns import Feature
from driftbook.data.sampling import take_sample
from driftbook.data.targets import TaskName, find_task_name, parse_target
from driftbook.errors import UsageError
from driftbook.settings import Settings, parse_scenario

_PERIODS = {"day": "D", "week": "W-SUN", "month": "M", "quarter": "Q-DEC", "year": "Y-DEC"}
_PERIOD_NAMES = {"day": "%Y-%m-%d", "month": "%Y-%m", "quarter": "%Y-Q%q", "year": "%Y"}


@dataclass(frozen=True)
class Window:
    """Rows ``start:stop`` of the time-ordered frame; ``complete`` when none is to come."""

    name: str
    start: int
    stop: int
    complete: bool

    @property
    def rows(self) -> int:
        """Return the number of rows."""
        return self.stop - self.start


@dataclass(frozen=True)
class Dataset:
    """A validated table in time order with its windows."""

    frame: pd.DataFrame
    features: tuple[Feature, ...]
    target: str
    timestamp: str | None
    windows: tuple[Window, ...]
    dropped: dict[str, int]
    fingerprint: str
    source: str
    task: TaskName | None = None  # of its labels; None where the model that made it knows
    notes: tuple[str, ...] = ()  # what is odd about its columns, a sentence each

    def rows(self, window: Window) -> pd.DataFrame:
        """Return the rows of one window."""
        return self.frame.iloc[window.start : window.stop].reset_index(drop=True)


@dataclass(frozen=True)
class WindowSplit:
    """What is known when ``window`` has ended: its rows, and earlier rows with mature labels.

    ``labelled``: the newest window whose labels are known by then, itself where there is no delay;
    None where no label has matured since the champion's reference. ``earlier``: all rows before the
    window, the reference's among them, without a word about their labels.
    """

    window: Window
    current: pd.DataFrame
    history: pd.DataFrame
    labelled: Window | None
    earlier: pd.DataFrame


def load_dataset(settings: Settings, artifacts: Path | None = None) -> Dataset:
    """Return the data source of the settings as a validated :class:`Dataset`.

    Missing feature values and missing labels stay missing; rows without a timestamp are dropped
    and counted. ``artifacts`` is where a prepared table is cached (``data/``) and where the
    prediction log lies.

    Raises:
        UsageError: with the cause, the value found and the next step; nothing was written.
    """
    frame, dropped = _table(settings, artifacts)
    wanted = settings.data
    if frame.empty:
        raise UsageError(f"data.source {wanted.source!r} holds no rows; give a source with rows")
    frame, notes = drop_row_numbers(frame.rename(columns=str))
    frame = columns.select_columns(frame, settings)
    if wanted.model_version is not None:
        newest = frame[wanted.model_version].eq(frame[wanted.model_version].iloc[-1])
        if not newest.all():
            dropped = {**dropped, "rows of earlier model versions": int((~newest).sum())}
            frame = frame[newest]
    task = None
    if wanted.source != "predictions":
        task = find_task_name(frame[wanted.target], wanted.target, settings.model.task)
        frame = frame.assign(**{wanted.target: parse_target(frame[wanted.target], task)})
    if wanted.timestamp is not None:
        times = timestamps.parse_timestamps(
            frame[wanted.timestamp], wanted.timestamp, calendar=isinstance(wanted.window, str)
        )
        frame = frame.assign(**{wanted.timestamp: times})
        lost = {"no timestamp": times.isna()}
        if times.dtype.kind == "M":
            lost["a filler date"] = timestamps.find_sentinel_dates(times)
        counts = {reason: int(rows.sum()) for reason, rows in lost.items()}
        dropped = {**dropped, **{reason: count for reason, count in counts.items() if count}}
        if any(counts.values()):
            frame = frame[~np.logical_or.reduce([*lost.values()])]
        if not frame[wanted.timestamp].is_monotonic_increasing:
            frame = frame.sort_values(wanted.timestamp, kind="stable")
    if wanted.share < 1.0:
        kept = max(1, round(wanted.share * len(frame)))
        dropped = {**dropped, "not in data.share": len(frame) - kept}
        frame = take_sample(frame, kept)
    frame = frame.reset_index(drop=True)
    features = columns.find_features(frame, settings)
    cuts = _windows(frame, settings)
    notes = (*notes, *columns.describe_oddities(frame, features), *_describe_sample(cuts, settings))
    frame = columns.clear_missing_words(frame, features)
    return Dataset(
        frame=frame,
        features=features,
        target=wanted.target,
        timestamp=wanted.timestamp,
        windows=cuts,
        dropped=dropped,
        fingerprint=hash_frame(frame),
        source=wanted.source,
        task=task,
        notes=notes,
    )


def _table(settings: Settings, artifacts: Path | None) -> tuple[pd.DataFrame, dict[str, int]]:
    wanted = settings.data
    if wanted.source == "flights":
        table, dropped = flights.load_flights(None if artifacts is None else artifacts / "data")
        return flights.choose_flight_columns(table, settings), dropped
    if wanted.source.startswith("synthetic:"):
        scenario, task = parse_scenario(wanted.source)
        return synthetic.make_scenario(
            scenario, target=wanted.target, timestamp=wanted.timestamp, task=task
        ), {}
    if wanted.source == "predictions":
        from driftbook.data import prediction_log

        if artifacts is None:
            raise UsageError(
                "source 'predictions' needs the artifacts folder that holds the prediction log"
            )
        return prediction_log.read_logged_predictions(settings, artifacts), {}
    if is_database(wanted.source):
        from driftbook.data import databases

        return databases.read_database(wanted, settings.bases), {}
    return files.read_files(wanted.address, settings.bases), {}


def drop_row_numbers(frame: pd.DataFrame) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return the frame without an unnamed column that only counts its rows, and a note of it."""
    for name in frame.columns[:1]:
        unnamed = not name.strip() or re.fullmatch(r"Unnamed: \d+|__index_level_\d+__|index", name)
        counted = unnamed and pd.api.types.is_integer_dtype(frame[name].dtype)
        if counted and frame[name].diff().dropna().eq(1).all():
            note = f"the unnamed first column {name!r} only numbers the rows and was left out"
            return frame.drop(columns=name), (note,)
    return frame, ()


def _describe_sample(cuts: tuple[Window, ...], settings: Settings) -> Iterator[str]:
    largest, size = max(window.rows for window in cuts), settings.data.sample_rows
    if largest > size:
        yield (
            f"windows have up to {largest:,} rows: columns and their faults are counted in all of "
            f"them, training and losses take {size:,} drawn at random (data.sample_rows)"
        )


def _windows(frame: pd.DataFrame, settings: Settings) -> tuple[Window, ...]:
    size, timestamp = settings.data.window, settings.data.timestamp
    if isinstance(size, int):
        starts = range(0, len(frame), size)
        return tuple(
            Window(
                f"rows-{i:04d}", start, min(start + size, len(frame)), start + size <= len(frame)
            )
            for i, start in enumerate(starts, 1)
        )
    times = frame[timestamp]
    first, last = (time.to_period(_PERIODS[size]) for time in (times.iloc[0], times.iloc[-1]))
    periods = pd.period_range(first, last)
    cuts = [*times.searchsorted(periods.start_time.to_numpy()), len(frame)]
    reached = _reaches_end(times, last)
    return tuple(
        Window(_period_name(period, size), int(start), int(stop), stop < len(frame) or reached)
        for period, (start, stop) in zip(periods, pairwise(cuts), strict=True)
        if stop > start
    )


def _reaches_end(times: pd.Series, last: pd.Period) -> bool:
    """Return whether rows reach the end of their last period, so that no more are to come.

    The source may skip its last hours: rows in the last twentieth close the window. Of dates
    without a time the last day does, or the last working day where no row is of a weekend.
    """
    newest = times.iloc[-1]
    if newest >= last.end_time - (last.end_time - last.start_time) / 20:
        return True
    if not times.eq(times.dt.normalize()).all():
        return False
    day = last.end_time.normalize()
    if not times.dt.day_of_week.ge(5).any():
        day = pd.offsets.BDay().rollback(day)
    return bool(newest >= day)


def _period_name(period: pd.Period, size: str) -> str:
    if size == "week":
        year, week, _ = period.start_time.isocalendar()
        return f"{year}-W{week:02d}"
    return period.strftime(_PERIOD_NAMES[size])


def find_reference_windows(dataset: Dataset, settings: Settings) -> tuple[Window, ...]:
    """Return the first ``data.reference`` windows, from which the first champion learns.

    Raises:
        UsageError: fewer complete windows than the reference and one current window need.
    """
    wanted = settings.data.reference
    complete = [w for w in dataset.windows if w.complete]
    if len(complete) < wanted + 1:
        raise UsageError(
            f"the data makes {len(complete)} complete window(s) of {settings.data.window} from "
            f"{len(dataset.frame)} rows, but data.reference is {wanted} and one more is needed as "
            "current; give more rows, a smaller data.window or a smaller data.reference"
        )
    return tuple(dataset.windows[:wanted])


def split_at_window(
    dataset: Dataset, settings: Settings, name: str | None, after: int
) -> WindowSplit:
    """Return what is known at the end of window ``name`` (default: the latest complete one).

    ``after`` is the row where the champion's reference ends; windows that start before it are not
    open to judgement. With a label delay of d windows, ``current`` has no target where d > 0, and
    ``history`` holds the labelled rows from ``after`` up to the window d windows earlier.

    Raises:
        UsageError: unknown window; the message lists the known ones.
    """
    known = [w for w in dataset.windows if w.start >= after]
    chosen = [w for w in known if (w.complete if name is None else w.name == name)]
    if not chosen:
        names = ", ".join(w.name for w in known) or "none: every row is in the champion's reference"
        asked = "no complete window" if name is None else f"unknown window {name!r}"
        raise UsageError(f"{asked} after the champion's reference; known windows: {names}")
    window = chosen[-1]
    position, delay = dataset.windows.index(window), settings.data.label_delay
    # Labels come ``delay`` windows later; the judged window itself is not history in any case.
    known_by_then = dataset.windows[: max(0, position + 1 - max(1, delay))]
    mature = [w for w in known_by_then if w.start >= after]
    history = dataset.frame.iloc[after : mature[-1].stop] if mature else dataset.frame.iloc[:0]
    current = dataset.rows(window)
    if delay > 0:
        current = current.drop(columns=dataset.target)
    newest = window if delay == 0 else mature[-1] if mature else None
    history = history[history[dataset.target].notna()].reset_index(drop=True)
    earlier = dataset.frame.iloc[: window.start].drop(columns=dataset.target)
    return WindowSplit(window, current, history, newest, earlier)


def hash_frame(frame: pd.DataFrame) -> str:
    """Return the SHA-256 of column names, types and values in row order."""
    digest = hashlib.sha256()
    for name in frame.columns:
        values = frame[name]
        kind = re.sub(r"\[.*", "", str(values.dtype))
        digest.update(f"{name}\0{kind}\0".encode())
        if values.dtype.kind in "biufmM" and isinstance(values.dtype, np.dtype):
            digest.update(np.ascontiguousarray(values.to_numpy()).view(np.uint8).data)
        else:
            digest.update(pd.util.hash_pandas_object(values, index=False).to_numpy().tobytes())
    return digest.hexdigest()
