"""Fragments: the parts of Parquet and CSV files that can each be read alone, batch by batch."""

from __future__ import annotations

import hashlib
import io
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from driftbook.data import csv_blocks, files
from driftbook.data.csv_blocks import CsvDialect
from driftbook.errors import UsageError

# Rows of a batch: few enough for the processor's caches when they are sorted.
_BATCH_ROWS = 262_144
# Bytes that are read ahead of a column, whatever the size of its row group.
_BUFFER = 1 << 20

Span = tuple[pd.Timestamp, pd.Timestamp]


@dataclass(frozen=True)
class SourceFile:
    """One file of a source; ``label`` is its path. ``constants``: its folders named key=value."""

    label: str
    filesystem: Any
    constants: tuple[tuple[str, str], ...] = ()

    @property
    def is_local(self) -> bool:
        """Return whether the file lies on a disk of this machine."""
        return "file" in (self.filesystem.protocol, *self.filesystem.protocol)

    def open_parquet(self) -> pq.ParquetFile:
        """Return the file opened as Parquet."""
        # Arrow's own reader of local files leaves Python alone, so that threads run side by side.
        source = self.label if self.is_local else self.filesystem.open(self.label, "rb")
        return pq.ParquetFile(source, buffer_size=_BUFFER)

    def digest(self) -> str:
        """Return what tells this version of the file from others: size, and tag or date."""
        info = self.filesystem.info(self.label)
        tag = info.get("ETag") or info.get("etag") or info.get("mtime") or info.get("LastModified")
        told = self.label, str(info.get("size")), str(tag)
        return hashlib.sha256(repr(told).encode()).hexdigest()


@dataclass(frozen=True)
class Fragment:
    """A row group of a Parquet file, or a block of a CSV file.

    ``start``, ``stop``: the row group and the next one, or bytes. ``rows``: None where it is not
    known without reading. ``first``: the number of its first row among all rows of the source.
    ``span``: its first and last moment, where the file itself tells and no row is without one.
    """

    file: SourceFile
    start: int
    stop: int
    rows: int | None
    digest: str
    dialect: CsvDialect | None = None
    packed: bool = False
    span: Span | None = None
    first: int = 0

    @property
    def label(self) -> str:
        """Return the file and the place in it, for messages."""
        place = "row group" if self.dialect is None else "bytes from"
        return f"{self.file.label} ({place} {self.start})"


@dataclass(frozen=True)
class BatchReading:
    """Which columns are read, and how, so that no batch decides for itself.

    ``numbers``: columns of CSV files that hold numbers; ``exact``: whole numbers that are names.
    """

    columns: tuple[str, ...]
    numbers: frozenset[str] = frozenset()
    exact: frozenset[str] = frozenset()


@dataclass(frozen=True)
class FileParts:
    """What one file is made of: its columns, by name what each holds, and its fragments."""

    columns: tuple[str, ...]
    kinds: dict[str, str | None]
    fragments: tuple[Fragment, ...]


def list_parts(timestamp: str | None, file: SourceFile) -> FileParts:
    """Return the fragments of a file, without reading its rows.

    Raises:
        UsageError: neither Parquet nor CSV, unreadable, or two columns of one name.
    """
    kind = files.find_format(file.label)
    if kind is None:
        raise files.refuse_format(file.label)
    try:
        found = _list_row_groups(file, timestamp) if kind == "parquet" else _list_blocks(file)
    except (OSError, ValueError, LookupError, pa.ArrowException) as error:
        words = " ".join(str(error).split())[:300]
        raise UsageError(
            f"{file.label} cannot be read as {kind}: {words}; mend or remove the file"
        ) from error
    own = [name for name, _ in file.constants if name not in found.columns]
    return replace(
        found,
        columns=(*found.columns, *own),
        kinds={**found.kinds, **dict.fromkeys(own, "text")},
    )


def _list_row_groups(file: SourceFile, timestamp: str | None) -> FileParts:
    with file.open_parquet() as opened:
        schema, about = opened.schema_arrow, opened.metadata
        files.refuse_duplicates(file.label, schema.names)
        whole = file.digest()
        fragments = []
        for k in range(about.num_row_groups):
            group = about.row_group(k)
            if group.num_rows:
                span = _read_span(group, schema, timestamp)
                name = hashlib.sha256(f"{whole} {k} {group.num_rows}".encode()).hexdigest()
                fragments.append(Fragment(file, k, k + 1, group.num_rows, name, span=span))
    kinds = {field.name: _kind_of(field.type) for field in schema}
    return FileParts(tuple(schema.names), kinds, tuple(fragments))


def _kind_of(kind: pa.DataType) -> str | None:
    if pa.types.is_null(kind):
        return None
    if pa.types.is_timestamp(kind):
        return f"timestamps in time zone {kind.tz}" if kind.tz else "timestamps without time zone"
    numbers = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_boolean)
    return "number" if any(is_one(kind) for is_one in numbers) else "text"


def _read_span(group: Any, schema: pa.Schema, timestamp: str | None) -> Span | None:
    """Return the first and last moment of a row group by its statistics, where they tell."""
    if timestamp not in schema.names:
        return None
    kind = schema.field(timestamp).type
    if not pa.types.is_timestamp(kind) or kind.tz is not None:
        return None
    for k in range(group.num_columns):
        column = group.column(k)
        known = column.statistics if column.path_in_schema == timestamp else None
        if known is not None and known.has_min_max and known.has_null_count:
            if known.null_count:
                return None
            return pd.Timestamp(known.min), pd.Timestamp(known.max)
    return None


def _list_blocks(file: SourceFile) -> FileParts:
    filesystem, path = file.filesystem, file.label
    packed = path.lower().endswith((".gz", ".zst", ".bz2", ".xz"))
    with filesystem.open(path, "rb", compression="infer") as stream:
        dialect = csv_blocks.find_dialect(path, stream)
    whole, ends = file.digest(), [0]
    if packed:
        # Such a file can only be read from its beginning: it is one fragment of many batches.
        ends.append(int(filesystem.size(path)))
    else:
        with filesystem.open(path, "rb") as stream:
            for block in csv_blocks.cut_blocks(path, stream, csv_blocks.BLOCK_BYTES):
                _refuse_other_text(path, block, dialect)
                ends.append(ends[-1] + len(block))
    fragments = [
        Fragment(file, a, b, None, f"{whole} {a}", dialect, packed)
        for a, b in itertools.pairwise(ends)
    ]
    return FileParts(dialect.names, {}, tuple(fragments))


def _refuse_other_text(path: str, block: bytes, dialect: CsvDialect) -> None:
    if dialect.encoding != "utf-8":
        return
    try:
        block.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{path} begins as UTF-8 but is not all of it ({error.reason}); store it as UTF-8"
        ) from None


def read_batches(fragment: Fragment, reading: BatchReading) -> Iterator[tuple[int, pd.DataFrame]]:
    """Yield the rows of a fragment in batches, each with the number of its first row."""
    own = dict(fragment.file.constants)
    first = fragment.first
    read = _read_row_group if fragment.dialect is None else _read_blocks
    for written in read(fragment, reading):
        constants = {k: v for k, v in own.items() if k in reading.columns and k not in written}
        frame = written.assign(**constants) if constants else written
        yield first, frame[list(reading.columns)]
        first += len(frame)


def _read_row_group(fragment: Fragment, reading: BatchReading) -> Iterator[pd.DataFrame]:
    with fragment.file.open_parquet() as opened:
        names = opened.schema_arrow.names
        # Where only folders' values are wanted, the rows still count.
        columns = [name for name in names if name in reading.columns] or names[:1]
        batches = opened.iter_batches(
            _BATCH_ROWS, row_groups=[fragment.start], columns=columns, use_threads=False
        )
        for batch in batches:
            frame: pd.DataFrame = batch.to_pandas(ignore_metadata=True, split_blocks=True)
            for name in reading.exact.intersection(columns):
                # As objects whole numbers keep all their digits beside missing ones.
                frame[name] = batch.column(name).to_pandas(integer_object_nulls=True)
            yield frame


def _read_blocks(fragment: Fragment, reading: BatchReading) -> Iterator[pd.DataFrame]:
    file, dialect = fragment.file, fragment.dialect
    assert dialect is not None  # noqa: S101  a CSV file's own
    columns = [n for n in dialect.names if n in reading.columns] or list(dialect.names[:1])
    with file.filesystem.open(file.label, "rb", compression="infer") as stream:
        if fragment.packed:
            blocks = csv_blocks.cut_blocks(file.label, stream, csv_blocks.BLOCK_BYTES)
        else:
            stream.seek(fragment.start)
            part = io.BytesIO(stream.read(fragment.stop - fragment.start))
            blocks = iter([part.getvalue()])
        head = fragment.start == 0
        for block in blocks:
            yield csv_blocks.parse_block(block, dialect, columns, reading.numbers, head)
            head = False
