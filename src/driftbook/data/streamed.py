"""Opening a source that is too large for memory: its files, its windows, and its sample."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial, reduce
from pathlib import Path

import numpy as np
import pandas as pd

from driftbook.addresses import hide_secrets, is_database
from driftbook.data import columns, engine, files, periods, sample_cache
from driftbook.data.cells import read_numbers
from driftbook.data.columns import Feature
from driftbook.data.fragments import FileParts, Fragment, SourceFile, list_parts
from driftbook.data.stream import Cut, Stream
from driftbook.data.survey import Stamp, Survey, check_stamps, survey_parts
from driftbook.errors import UsageError
from driftbook.settings import DataSettings, Settings

# A smaller sample of a window says too little.
_FEWEST_SAMPLED = 500
# A compressed CSV file is as long as so many times its bytes; a rough mean of such tables.
_UNPACKED = 5
# A row of a CSV file is taken for so long where its first bytes do not tell.
_USUAL_ROW_BYTES = 100
# Beyond this no number of a CSV file is named by all its digits.
_EXACT = 1e15


@dataclass(frozen=True)
class StreamedWindow:
    """A window's name, how many rows it has, and whether it has ended; of periods the last may."""

    name: str
    rows: int
    complete: bool


@dataclass(frozen=True)
class OpenedStream:
    """A streamed source whose windows are known and whose rows are not read yet."""

    stream: Stream
    names: tuple[str, ...]
    windows: tuple[StreamedWindow, ...]
    dropped: dict[str, int]
    newest: pd.Timestamp | None = None
    last: pd.Period | None = None

    def choose_size(self, wanted: DataSettings) -> int:
        """Return how many rows of a window are drawn: ``sample_rows``, where all fit in memory.

        Else half of it, a quarter and so on: a larger sample holds a smaller one, so that windows
        that come later change earlier ones' rows as seldom as can be.

        Raises:
            UsageError: so many windows that not even a small sample of each fits.
        """
        size = wanted.sample_rows
        while sum(min(window.rows, size) for window in self.windows) > wanted.memory_rows:
            size = (size + 1) // 2
            if size < _FEWEST_SAMPLED:
                raise UsageError(
                    f"data.window {wanted.window!r} cuts the source into {len(self.windows):,} "
                    f"windows; {_FEWEST_SAMPLED} rows of each are more than data.memory_rows "
                    f"({wanted.memory_rows:,}): choose larger windows or a larger data.memory_rows"
                )
        return size

    def draw_frame(
        self, settings: Settings, cache: Path | None
    ) -> tuple[pd.DataFrame, tuple[int, ...]]:
        """Return the windows' samples one after the other, and how many rows each has.

        The index is the number of each row among all rows. ``cache``: the folder in which samples
        of windows are kept, so that a window is read for its sample only once.
        """
        empty = columns.select_columns(pd.DataFrame(columns=list(self.names)), settings)
        names, size = [str(name) for name in empty.columns], self.choose_size(settings.data)
        how = f"1 {size} {names} {sorted(self.stream.exact)}"
        keys = [
            hashlib.sha256(f"{how} {self.stream.digest(k)}".encode()).hexdigest()
            for k in range(len(self.windows))
        ]
        parts = self.stream.draw_sample(names, size, sample_cache.read_samples(cache, keys))
        sample_cache.keep_samples(cache, keys, parts)
        frame = pd.concat(parts)
        if self.stream.fragments[0].dialect is not None:
            frame = frame.assign(**{str(n): _read_codes(frame[n]) for n in frame.columns})
        return frame, tuple(len(part) for part in parts)

    def find_codes(self, frame: pd.DataFrame) -> frozenset[str]:
        """Return which columns of CSV files hold numbers, by their sample."""
        dialect = self.stream.fragments[0].dialect
        if dialect is None:
            return frozenset()
        numbers = frame.select_dtypes("number").columns
        return frozenset(map(str, numbers)) & frozenset(dialect.names)


def settle_stream(
    stream: Stream, features: Sequence[Feature], codes: frozenset[str], frame: pd.DataFrame
) -> Stream:
    """Return the stream that reads each batch as the sample was read.

    Raises:
        UsageError: numbers whose comma only the whole column could explain.
    """
    numeric = frozenset(feature.name for feature in features if feature.kind == "numeric")
    for name in numeric:
        values = frame[name]
        if not pd.api.types.is_numeric_dtype(values.dtype):
            commas = values[values.map(lambda cell: isinstance(cell, str) and "," in cell)]
            if len(commas) and not np.isnan(read_numbers(commas)).all():
                raise UsageError(
                    f"column {name!r} holds numbers with commas as text ({commas.iloc[0]!r}), "
                    "which a source that is read in parts cannot tell apart; store them as numbers"
                )
    return replace(stream, numeric=numeric, codes=codes)


def _read_codes(values: pd.Series) -> pd.Series:
    """Return a column of text as numbers where every cell is one."""
    if pd.api.types.is_numeric_dtype(values.dtype):
        return values
    numbers = pd.to_numeric(values, errors="coerce")
    if values.isna().all() or (numbers.isna() & values.notna()).any():
        return values
    whole = pd.api.types.is_integer_dtype(numbers.dtype) and numbers.abs().max() < _EXACT
    return numbers if whole else numbers.astype("float64")


def open_stream(settings: Settings) -> OpenedStream | None:
    """Return a source of files that is to be streamed; None where it fits in memory.

    It is streamed where ``data.engine`` is no pool of this machine, or where it has more rows than
    ``data.memory_rows``, by the metadata of Parquet files and the bytes of CSV files.

    Raises:
        UsageError: no files, unreadable ones, or of different columns; timestamps that only a
            look at all of them could read; a setting that streams do not have.
    """
    wanted = settings.data
    if _is_no_files(wanted.source):
        return None
    filesystem, root, paths = files.find_files(
        wanted.address, settings.bases, hide_secrets(wanted.source)
    )
    found = [
        SourceFile(path, filesystem, tuple(files.list_folder_values(path, root))) for path in paths
    ]
    if wanted.engine == engine.LOCAL and _count_roughly(found, wanted) <= wanted.memory_rows:
        return None
    if wanted.model_version is not None:
        raise UsageError(
            f"data.model_version is {wanted.model_version!r}, but a source that is read in parts "
            "cannot follow versions; give the rows of one version, or raise data.memory_rows"
        )
    names, fragments = _list_fragments(found, wanted)
    stamp = Stamp(wanted.timestamp, wanted.window)
    for setting, name in columns.list_roles(wanted).items():
        if name == wanted.timestamp and name not in names:
            raise UsageError(f"{setting} {name!r} is no column of {wanted.source!r}")
    fragments, surveys = survey_parts(fragments, stamp, wanted.engine)
    opened = _cut_windows(wanted, stamp, names, fragments, surveys)
    return opened if wanted.share >= 1.0 else _keep_share(opened)


def _is_no_files(source: str) -> bool:
    named = source in ("flights", "predictions") or source.startswith("synthetic:")
    return named or is_database(source)


def _count_roughly(found: Sequence[SourceFile], wanted: DataSettings) -> float:
    rows = 0.0
    for file in found:
        try:
            if files.find_format(file.label) == "parquet":
                with file.open_parquet() as opened:
                    rows += opened.metadata.num_rows
            elif files.find_format(file.label) == "csv":
                rows += _guess_csv_rows(file)
        except (OSError, ValueError, UsageError):
            continue  # whoever reads it says what is wrong
        if rows > wanted.memory_rows:
            break
    return rows


def _guess_csv_rows(file: SourceFile) -> float:
    size = float(file.filesystem.size(file.label) or 0)
    if file.label.lower().endswith((".gz", ".zst", ".bz2", ".xz")):
        size *= _UNPACKED
    with file.filesystem.open(file.label, "rb", compression="infer") as stream:
        head = stream.read(65_536)
    lines = head.count(b"\n")
    return size / (len(head) / lines if lines else _USUAL_ROW_BYTES)


def _list_fragments(
    found: Sequence[SourceFile], wanted: DataSettings
) -> tuple[tuple[str, ...], tuple[Fragment, ...]]:
    """Return the columns of all files and their fragments, in the order of the files' names.

    Raises:
        UsageError: files of different columns or kinds.
    """
    listed = dict(engine.map_parts(engine.LOCAL, partial(list_parts, wanted.timestamp), found))
    parts = [listed[file] for file in found]
    for file, part in zip(found[1:], parts[1:], strict=True):
        _refuse_other_columns(found[0].label, parts[0], file.label, part)
    fragments = tuple(fragment for part in parts for fragment in part.fragments)
    if not fragments:
        raise UsageError(f"data.source {wanted.source!r} holds no rows; give a source with rows")
    return parts[0].columns, fragments


def _refuse_other_columns(first: str, known: FileParts, path: str, part: FileParts) -> None:
    if odd := sorted({*known.columns} ^ {*part.columns}):
        raise UsageError(
            f"{first} and {path} differ in their columns: {', '.join(map(repr, odd))} is only in "
            "one of them; give files of one table"
        )
    for name, kind in part.kinds.items():
        before = known.kinds.get(name)
        if None not in (kind, before) and kind != before:
            raise UsageError(
                f"column {name!r} is {before} in {first} and {kind} in {path}; store it the same "
                "way in every file"
            )


def _cut_windows(
    wanted: DataSettings,
    stamp: Stamp,
    names: tuple[str, ...],
    fragments: tuple[Fragment, ...],
    surveys: Sequence[Survey],
) -> OpenedStream:
    whole = reduce(Survey.__add__, surveys)
    check_stamps(whole, stamp)
    dropped = {"no timestamp": whole.missing} if whole.missing else {}
    if isinstance(stamp.size, int):
        cut, held, windows = _cut_by_rows(fragments, whole.rows, stamp.size, wanted.share)
        stream = Stream(wanted.engine, fragments, stamp, cut, held, exact=_exact(wanted))
        return OpenedStream(stream, names, windows, dropped)
    near = whole.find_near_fillers()
    surveys = [survey.settle_fillers(near, stamp.size) for survey in surveys]
    whole = whole.settle_fillers(near, stamp.size)
    if whole.fillers:
        dropped["a filler date"] = whole.fillers.total()
    if not whole.cells:
        raise UsageError(f"no row of {wanted.source!r} has a timestamp in {stamp.name!r}")
    ordinals = sorted(whole.cells)
    found = [periods.find_period(one, stamp.size) for one in ordinals]
    starts, ends = (
        np.array([moment.to_datetime64() for moment in moments], dtype="datetime64[s]")
        for moments in ([p.start_time for p in found], [(p + 1).start_time for p in found])
    )
    held = tuple({k: s.cells[n] for k, s in enumerate(surveys) if s.cells[n]} for n in ordinals)
    cut = Cut(starts, ends, by_time=True, share=wanted.share)
    stream = Stream(wanted.engine, fragments, stamp, cut, held, exact=_exact(wanted))
    windows = tuple(
        StreamedWindow(periods.name_period(p, stamp.size), whole.cells[p.ordinal], True)
        for p in found
    )
    return OpenedStream(stream, names, windows, dropped, whole.high, found[-1])


def _exact(wanted: DataSettings) -> frozenset[str]:
    return frozenset(wanted.categorical)


def _cut_by_rows(
    fragments: tuple[Fragment, ...], rows: int, size: int, share: float
) -> tuple[Cut, tuple[dict[int, int], ...], tuple[StreamedWindow, ...]]:
    starts = np.arange(0, rows, size)
    ends = np.minimum(starts + size, rows)
    held: list[dict[int, int]] = [{} for _ in starts]
    for k, fragment in enumerate(fragments):
        stop = fragment.first + (fragment.rows or 0)
        for window in range(fragment.first // size, -(-stop // size)):
            inside = min(stop, int(ends[window])) - max(fragment.first, int(starts[window]))
            held[window][k] = inside
    windows = tuple(
        StreamedWindow(f"rows-{k:04d}", int(b - a), bool(a + size <= rows))
        for k, (a, b) in enumerate(zip(starts, ends, strict=True), 1)
    )
    return Cut(starts, ends, by_time=False, share=share), tuple(held), windows


def _keep_share(opened: OpenedStream) -> OpenedStream:
    """Return the source with only those rows that ``data.share`` keeps."""
    stream = opened.stream.count_share()
    windows = tuple(
        replace(window, rows=stream.count_rows(k)) for k, window in enumerate(opened.windows)
    )
    lost = sum(w.rows for w in opened.windows) - sum(w.rows for w in windows)
    dropped = {**opened.dropped, "not in data.share": lost}
    return replace(opened, stream=stream, windows=windows, dropped=dropped)
