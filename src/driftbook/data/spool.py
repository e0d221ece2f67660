"""Queries of more rows than memory takes: kept as one Parquet file, which is streamed as any is."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from driftbook.errors import UsageError

_GROUP_ROWS = 1_000_000
# Another command may still read what an earlier query gave.
_KEPT_S = 86_400.0


def spool_rows(
    folder: Path, first: pa.Table, batches: Iterable[Sequence[pa.Array]], shown: str
) -> Path:
    """Return the file in ``folder`` that holds ``first`` and then all ``batches``.

    The types of ``first`` hold for all rows; decimals are kept as floats. The file is named by its
    content: where equal rows were kept before, that file stays as it is, and with it whatever was
    made of it. Files of other rows are removed once they are a day old. ``shown``: the source, for
    messages.

    Raises:
        UsageError: a later row holds what the first ones' type cannot.
    """
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"query.{os.getpid()}.partial"
    schema = pa.schema([(field.name, _choose_type(field.type)) for field in first.schema])
    try:
        with pq.ParquetWriter(partial, schema) as writer:
            writer.write_table(first.cast(schema), row_group_size=_GROUP_ROWS)
            left = (_cast_batch(batch, schema, shown) for batch in batches)
            while group := _take_group(left):
                writer.write_table(pa.Table.from_batches(group), row_group_size=_GROUP_ROWS)
        with partial.open("rb") as written:
            path = folder / f"{hashlib.file_digest(written, 'sha256').hexdigest()}.parquet"
        if not path.exists():
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    for old in folder.glob("*.parquet"):
        if old != path and time.time() - old.stat().st_mtime > _KEPT_S:
            old.unlink(missing_ok=True)
    return path


def _choose_type(kind: pa.DataType) -> pa.DataType:
    # Drivers give each batch's decimals the digits that it happens to need.
    return pa.float64() if pa.types.is_decimal(kind) else kind


def _take_group(batches: Iterable[pa.RecordBatch]) -> list[pa.RecordBatch]:
    """Return the next batches, enough for one row group of the file; none at the end."""
    taken: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        taken.append(batch)
        rows += batch.num_rows
        if rows >= _GROUP_ROWS:
            break
    return taken


def _cast_batch(batch: Sequence[pa.Array], schema: pa.Schema, shown: str) -> pa.RecordBatch:
    columns = []
    for values, field in zip(batch, schema, strict=True):
        try:
            columns.append(values.cast(field.type))
        except pa.ArrowException as error:
            raise UsageError(
                f"column {field.name!r} of data.query in {shown!r} is {field.type} in the first "
                f"rows and {values.type} later ({str(error).splitlines()[0][:200]}); CAST it to "
                "one type in data.query"
            ) from None
    return pa.RecordBatch.from_arrays(columns, schema=schema)
