"""Rows in time order, their features, and the windows that time cuts them into."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from driftbook.addresses import is_database
from driftbook.data import columns, files, flights, periods, synthetic, timestamps
from driftbook.data.columns import Feature
from driftbook.data.sampling import take_sample
from driftbook.data.stream import Stream
from driftbook.data.streamed import OpenedStream, open_stream, settle_stream
from driftbook.data.targets import TaskName, find_task_name, parse_target
from driftbook.errors import UsageError
from driftbook.settings import DataSettings, Settings, parse_scenario


@dataclass(frozen=True)
class Window:
    """Rows ``start:stop`` of the time-ordered frame; ``complete`` when none is to come.

    ``counted``: all its rows, where the frame holds a sample of them; None where it holds all.
    """

    name: str
    start: int
    stop: int
    complete: bool
    counted: int | None = None

    @property
    def rows(self) -> int:
        """Return the number of all its rows."""
        return self.sampled if self.counted is None else self.counted

    @property
    def sampled(self) -> int:
        """Return the number of its rows in the frame."""
        return self.stop - self.start


@dataclass(frozen=True)
class Dataset:
    """A validated table in time order with its windows.

    ``stream``: the source of one that is larger than memory. Its ``frame`` holds of each window a
    reproducible uniform sample, at most ``data.sample_rows`` rows; the stream counts all of them.
    """

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
    stream: Stream | None = None

    @property
    def all_rows(self) -> int:
        """Return the number of rows of all windows, whether the frame holds them or not."""
        return sum(window.rows for window in self.windows)

    def count_upto(self, window: Window) -> int:
        """Return how many rows, in the frame or not, there are up to a window's end."""
        return sum(one.rows for one in self.windows[: self.windows.index(window) + 1])

    def find_place(self, count: int) -> int:
        """Return where the first ``count`` of all rows end in the frame."""
        if self.stream is None:
            return count
        for window in self.windows:
            if count < window.rows:
                return window.start + round(window.sampled * count / window.rows)
            count -= window.rows
        return len(self.frame)

    def key_window(self, window: Window) -> str:
        """Return a hash that changes where any row of the window does; see ``Stream.digest``."""
        own = hash_frame(self.rows(window))
        if self.stream is None:
            return own
        known = f"{own} {self.stream.digest(self.windows.index(window))}"
        return hashlib.sha256(known.encode()).hexdigest()

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
    wanted, found = settings.data, _open_source(settings, artifacts)
    if isinstance(found, OpenedStream):
        return _load_stream(found, settings, _find_cache(artifacts))
    frame, dropped = found
    if frame.empty:
        raise UsageError(f"data.source {wanted.source!r} holds no rows; give a source with rows")
    frame, notes = drop_row_numbers(frame.rename(columns=str))
    frame = columns.select_columns(frame, settings)
    if wanted.model_version is not None:
        newest = frame[wanted.model_version].eq(frame[wanted.model_version].iloc[-1])
        if not newest.all():
            dropped = {**dropped, "rows of earlier model versions": int((~newest).sum())}
            frame = frame[newest]
    frame, task = _read_target(frame, settings)
    if wanted.timestamp is not None:
        frame, lost = _order_by_time(frame, wanted, wanted.timestamp)
        dropped = {**dropped, **lost}
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


def _find_cache(artifacts: Path | None) -> Path | None:
    return None if artifacts is None else artifacts / "data"


def _open_source(
    settings: Settings, artifacts: Path | None
) -> OpenedStream | tuple[pd.DataFrame, dict[str, int]]:
    """Return all rows and what was dropped of them, or a stream where they do not fit in memory."""
    if is_database(settings.data.source):
        from driftbook.data import databases

        cache = _find_cache(artifacts)
        spool = None if cache is None else cache / "queries"
        found = databases.read_database(settings.data, settings.bases, spool)
        if not isinstance(found, Path):
            return found, {}
        settings = settings.reading(found)
    return open_stream(settings) or _table(settings, artifacts)


def _read_target(frame: pd.DataFrame, settings: Settings) -> tuple[pd.DataFrame, TaskName | None]:
    """Return the rows with their labels as the task keeps them; the log's own are read already."""
    target = settings.data.target
    if settings.data.source == "predictions":
        return frame, None
    task = find_task_name(frame[target], target, settings.model.task)
    return frame.assign(**{target: parse_target(frame[target], task)}), task


def _load_stream(opened: OpenedStream, settings: Settings, cache: Path | None) -> Dataset:
    """Return a source larger than memory: the frame holds each window's sample, in time order."""
    wanted = settings.data
    frame, sizes = opened.draw_frame(settings, cache)
    codes = opened.find_codes(frame)
    frame, task = _read_target(frame, settings)
    ends = np.cumsum(sizes)
    if wanted.timestamp is not None:
        times = opened.stream.stamp.parse(frame[wanted.timestamp])
        frame = frame.assign(**{wanted.timestamp: times})
        # Windows follow each other in time: the stable sort leaves each one's rows its own.
        frame = frame.sort_values(wanted.timestamp, kind="stable")
    frame = frame.reset_index(drop=True)
    features = columns.find_features(frame, settings)
    stream = settle_stream(opened.stream, features, codes, frame)
    last = opened.last
    cuts = tuple(
        Window(one.name, int(end - size), int(end), one.complete, one.rows)
        for one, size, end in zip(opened.windows, sizes, ends, strict=True)
    )
    if last is not None and opened.newest is not None:
        ended = periods.reaches_end(frame[wanted.timestamp], opened.newest, last)
        cuts = (*cuts[:-1], replace(cuts[-1], complete=ended))
    notes = (*columns.describe_oddities(frame, features), _describe_stream(cuts))
    frame = columns.clear_missing_words(frame, features)
    digests = (stream.digest(k) for k in range(len(cuts)))
    fingerprint = hashlib.sha256("\n".join([hash_frame(frame), *digests]).encode())
    return Dataset(
        frame=frame,
        features=features,
        target=wanted.target,
        timestamp=wanted.timestamp,
        windows=cuts,
        dropped=opened.dropped,
        fingerprint=fingerprint.hexdigest(),
        source=wanted.source,
        task=task,
        notes=notes,
        stream=stream,
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


def _order_by_time(
    frame: pd.DataFrame, wanted: DataSettings, name: str
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Return the rows that have a time, in its order, and how many have none, by reason."""
    times = timestamps.parse_timestamps(frame[name], name, calendar=isinstance(wanted.window, str))
    frame = frame.assign(**{name: times})
    lost = {"no timestamp": times.isna()}
    if times.dtype.kind == "M":
        lost["a filler date"] = timestamps.find_sentinel_dates(times)
    counts = {reason: int(rows.sum()) for reason, rows in lost.items() if rows.any()}
    if counts:
        frame = frame[~np.logical_or.reduce([*lost.values()])]
    if frame.empty:
        why = ", ".join(f"{count} with {reason}" for reason, count in counts.items())
        raise UsageError(
            f"no row of {wanted.source!r} has a usable data.timestamp {name!r} ({why}); name "
            "another column, or null where the rows are in order"
        )
    if not frame[name].is_monotonic_increasing:
        frame = frame.sort_values(name, kind="stable")
    return frame, counts


def _describe_sample(cuts: tuple[Window, ...], settings: Settings) -> Iterator[str]:
    largest, size = max(window.rows for window in cuts), settings.data.sample_rows
    if largest > size:
        yield (
            f"windows have up to {largest:,} rows: columns and their faults are counted in all of "
            f"them, training and losses take {size:,} drawn at random (data.sample_rows)"
        )


def _describe_stream(cuts: tuple[Window, ...]) -> str:
    rows, size = sum(window.rows for window in cuts), max(window.sampled for window in cuts)
    return (
        f"the source is read in parts: columns and their faults are counted in all {rows:,} rows; "
        f"training, losses and what is said of single cells take at most {size:,} rows a window, "
        "drawn at random (data.sample_rows, data.memory_rows)"
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
    found = periods.list_periods(times.iloc[0], times.iloc[-1], size)
    cuts = [*times.searchsorted(found.start_time.to_numpy()), len(frame)]
    reached = periods.reaches_end(times, times.iloc[-1], found[-1])
    return tuple(
        Window(
            periods.name_period(period, size), int(start), int(stop), stop < len(frame) or reached
        )
        for period, (start, stop) in zip(found, pairwise(cuts), strict=True)
        if stop > start
    )


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
            f"{dataset.all_rows} rows, but data.reference is {wanted} and one more is needed as "
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
