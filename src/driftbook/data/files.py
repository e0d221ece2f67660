"""Tables from the outside: Parquet and CSV files by path, folder, glob or URL."""

from __future__ import annotations

import codecs
import csv
import io
import itertools
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import fsspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from driftbook.addresses import hide_secrets
from driftbook.data.cells import MISSING_WORDS, read_numbers
from driftbook.errors import UsageError

DELIMITERS = (",", ";", "\t", "|")
_HEAD = 65_536  # characters of a file that show how it is written


def read_files(source: str, bases: tuple[Path, ...] = ()) -> pd.DataFrame:
    """Return the rows of all Parquet or CSV files that ``source`` names, files in name order.

    ``source`` is a path, a folder, a glob or an fsspec URL; a relative path is looked for under
    each of ``bases``, without any in the working directory.

    Raises:
        UsageError: nothing found, unreadable, neither Parquet nor CSV, duplicate column names,
            different columns, a column that is text in one file and number in another, or
            timestamps with a time zone in one file and another or none in the next.
    """
    filesystem, root, paths = find_files(source, bases, hide_secrets(source))
    frames = [_read(filesystem, path, root) for path in paths]
    if len(frames) == 1:
        return frames[0]
    return pd.concat(_unite(paths, frames), ignore_index=True)


def find_files(source: str, bases: tuple[Path, ...], shown: str) -> tuple[Any, str, list[str]]:
    """Return the file system, the part of the paths that the user named, and the files by name.

    Raises:
        UsageError: an address that cannot be opened, or nothing found there.
    """
    urls = [source]
    if "://" not in source:
        urls = list(dict.fromkeys(str(base / source) for base in bases or (Path.cwd(),)))
    for url in urls:
        try:
            filesystem, path = fsspec.core.url_to_fs(url)
            paths = filesystem.glob(path) if any(c in path for c in "*?[") else []
            if not paths and filesystem.exists(path):
                paths = [path]
                if filesystem.isdir(path):
                    listed = filesystem.find(path)
                    paths = [p for p in listed if find_format(p) and not _is_hidden(p, path)]
        except (ImportError, ValueError, OSError) as error:
            raise UsageError(
                f"data.source {shown!r} cannot be opened: "
                f"{_one_line(error).replace(source, shown)}; "
                "check the URL and that its fsspec driver is installed"
            ) from error
        if paths:
            return filesystem, path, sorted(map(str, paths))
    raise UsageError(
        f"data.source {shown!r} names no file (looked in "
        f"{', '.join(hide_secrets(url) for url in urls)}); "
        "give 'flights', 'synthetic:<scenario>', 'predictions', or an existing Parquet or CSV "
        "path, glob or URL"
    )


def _is_hidden(path: str, folder: str) -> bool:
    """Return whether a part below the folder begins with a point or an underscore: no data."""
    parts = path.removeprefix(folder).strip("/").split("/")
    return any(part.startswith((".", "_")) and "=" not in part for part in parts)


def find_format(path: str) -> str | None:
    """Return ``parquet`` or ``csv``, as the name of a file says; None where it says neither."""
    name = path.lower()
    if name.endswith((".parquet", ".pq")):
        return "parquet"
    plain = re.sub(r"\.(gz|zst|bz2|xz)$", "", name)
    return "csv" if plain.endswith((".csv", ".tsv")) else None


def _read(filesystem: Any, path: str, root: str) -> pd.DataFrame:
    kind = find_format(path)
    if kind is None:
        raise refuse_format(path)
    try:
        if kind == "parquet":
            frame = _read_parquet(filesystem, path)
        else:
            with filesystem.open(path, "rb", compression="infer") as stream:
                frame = _read_csv(path, stream.read())
    except (OSError, ValueError, LookupError, pa.ArrowException, csv.Error) as error:
        raise UsageError(
            f"{path} cannot be read as {kind}: {_one_line(error)}; mend or remove the file"
        ) from error
    found = list_folder_values(path, root)
    return frame.assign(**{k: v for k, v in found if k not in frame.columns})


def refuse_format(path: str) -> UsageError:
    """Return the error of a file whose name says no format."""
    return UsageError(
        f"{path} is neither Parquet nor CSV by its name; rename it to .parquet or .csv"
    )


def list_folder_values(path: str, root: str) -> list[tuple[str, str]]:
    """Return what folders named key=value, as Hive and Spark write them, say of a file's rows."""
    found = re.findall(r"([^/=]+)=([^/]*)/", path.removeprefix(root))
    return [(key, unquote(value)) for key, value in found]


def _read_parquet(filesystem: Any, path: str) -> pd.DataFrame:
    table = pq.read_table(path, filesystem=filesystem, partitioning=None)
    refuse_duplicates(path, table.column_names)
    return convert_table(table)


def convert_table(table: pa.Table) -> pd.DataFrame:
    """Return the rows of an Arrow table, which is used up: each column is let go once converted.

    Without pandas' own notes an index is a column again, and every type is NumPy's or Python's.
    """
    frame: pd.DataFrame = table.to_pandas(
        ignore_metadata=True, split_blocks=True, self_destruct=True
    )
    return frame


def _read_csv(path: str, content: bytes) -> pd.DataFrame:
    text = _decode(content)
    delimiter = find_delimiter(text)
    head = next(csv.reader(io.StringIO(text[:_HEAD]), delimiter=delimiter), [])
    refuse_duplicates(path, head)
    # Only an empty cell is missing: in a column of text NA and None are values like any other.
    return pd.read_csv(
        io.StringIO(text), sep=delimiter, low_memory=False, keep_default_na=False, na_values=[""]
    )


def _decode(content: bytes) -> str:
    """Return the text of a file: by its byte order mark, else UTF-8, else Windows-1252.

    Raises:
        UnicodeDecodeError: it is none of them.
    """
    marks = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16",
             codecs.BOM_UTF16_BE: "utf-16"}  # fmt: skip
    for mark, name in marks.items():
        if content.startswith(mark):
            return content.decode(name)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("cp1252")


def find_delimiter(text: str) -> str:
    """Return the sign that cuts the first rows into equally many cells, the most of them."""
    rows = {}
    for sign in DELIMITERS:
        reader = csv.reader(io.StringIO(text[:_HEAD]), delimiter=sign)
        # The last row of a head may be cut.
        widths = [len(row) for row in itertools.islice(reader, 20) if row][:-1] or [0]
        rows[sign] = widths[0] if len(set(widths)) == 1 else 0
    best = max(DELIMITERS, key=rows.__getitem__)
    return best if rows[best] > 1 else ","


def refuse_duplicates(path: str, names: list[str]) -> None:
    """Return nothing where each column of a table has a name of its own.

    Raises:
        UsageError: names that occur twice.
    """
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise UsageError(
            f"{path} has duplicate column names: {', '.join(map(repr, repeated))}; rename them "
            "so that each is unique"
        )


def _unite(paths: list[str], frames: list[pd.DataFrame]) -> list[pd.DataFrame]:
    """Return the frames with each column stored alike: equal values in other types are no conflict.

    Raises:
        UsageError: a column is absent from a file, or holds other things there.
    """
    first_path, first = paths[0], frames[0]
    for path, frame in zip(paths, frames, strict=True):
        if set(frame.columns) != set(first.columns):
            odd = sorted(map(str, set(frame.columns) ^ set(first.columns)))
            raise UsageError(
                f"{first_path} and {path} do not have the same columns: "
                f"{', '.join(map(repr, odd))} is only in one of them; give files of one table"
            )
    united = [frame.copy(deep=False) for frame in frames]
    for name in first.columns:
        kinds = [_storage_kind(frame[name]) for frame in frames]
        known = {kind for kind in kinds if kind is not None}
        if len(known) <= 1:
            continue
        texts = [k for k, kind in enumerate(kinds) if kind == "text"]
        dates = [k for k, kind in enumerate(kinds) if str(kind).startswith("timestamps")]
        if known == {"number", "text"} and all(_is_number(frames[k][name]) for k in texts):
            for k in texts:
                united[k][name] = read_numbers(frames[k][name])
        elif len(known) == 2 and texts and dates:
            for k in dates:
                united[k][name] = frames[k][name].map(str, na_action="ignore").astype(object)
        else:
            shown = dict(zip(kinds, paths, strict=True))
            (kind, path), (other, where) = [(k, p) for k, p in shown.items() if k is not None][:2]
            raise UsageError(
                f"column {name!r} is {kind} in {path} and {other} in {where}; "
                "store it the same way in every file"
            )
    return united


def _is_number(values: pd.Series) -> bool:
    present = values.dropna()
    words = present.astype(str).str.strip().str.lower()
    return bool(np.isfinite(read_numbers(present[~words.isin(MISSING_WORDS)])).all())


def _storage_kind(values: pd.Series) -> str | None:
    """Return what a column holds, or None for a column without any value."""
    if not values.notna().any():
        return None
    if isinstance(values.dtype, pd.DatetimeTZDtype):
        return f"timestamps in time zone {values.dtype.tz}"
    if pd.api.types.is_datetime64_any_dtype(values.dtype):
        return "timestamps without time zone"
    if pd.api.types.is_bool_dtype(values.dtype) or pd.api.types.is_numeric_dtype(values.dtype):
        return "number"
    return "text"


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
