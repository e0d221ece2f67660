"""Tables from the outside: Parquet and CSV files by path, folder, glob or URL."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import fsspec
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from driftbook.errors import UsageError


def read_files(source: str, bases: tuple[Path, ...] = ()) -> pd.DataFrame:
    """Return the rows of all Parquet or CSV files that ``source`` names, files in name order.

    ``source`` is a path, a folder, a glob or an fsspec URL; a relative path is looked for under
    each of ``bases``, without any in the working directory.

    Raises:
        UsageError: nothing found, unreadable, neither Parquet nor CSV, duplicate column names,
            different columns, a column that is text in one file and number in another, or
            timestamps with a time zone in one file and another or none in the next.
    """
    filesystem, paths = _expand(source, bases)
    frames = [_read(filesystem, path) for path in paths]
    _check_agree(paths, frames)
    return pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0]


def _expand(source: str, bases: tuple[Path, ...]) -> tuple[Any, list[str]]:
    urls = [source]
    if "://" not in source:
        urls = list(dict.fromkeys(str(base / source) for base in bases or (Path.cwd(),)))
    for url in urls:
        try:
            filesystem, path = fsspec.core.url_to_fs(url)
            paths = sorted(filesystem.glob(path)) if any(c in path for c in "*?[") else []
            if not paths and filesystem.exists(path):
                paths = [path]
                if filesystem.isdir(path):
                    listed = sorted(filesystem.find(path))
                    paths = [p for p in listed if _format_of(p) is not None]
        except (ImportError, ValueError, OSError) as error:
            raise UsageError(
                f"data.source {source!r} cannot be opened: {_one_line(error)}; "
                "check the URL and that its fsspec driver is installed"
            ) from error
        if paths:
            return filesystem, [str(p) for p in paths]
    raise UsageError(
        f"data.source {source!r} names no file (looked in {', '.join(urls)}); "
        "give 'flights', 'synthetic:<scenario>', 'predictions', or an existing Parquet or CSV "
        "path, glob or URL"
    )


def _format_of(path: str) -> str | None:
    name = path.lower()
    if name.endswith((".parquet", ".pq")):
        return "parquet"
    if name.endswith((".csv", ".csv.gz", ".csv.zst", ".csv.bz2", ".csv.xz")):
        return "csv"
    return None


def _read(filesystem: Any, path: str) -> pd.DataFrame:
    kind = _format_of(path)
    if kind is None:
        raise UsageError(
            f"{path} is neither Parquet nor CSV by its name; rename it to .parquet or .csv"
        )
    try:
        with filesystem.open(path, "rb", compression="infer") as stream:
            content = stream.read()
        if kind == "parquet":
            names = pq.read_schema(io.BytesIO(content)).names
            _refuse_duplicates(path, names)
            return pd.read_parquet(io.BytesIO(content))
        head = next(csv.reader(io.TextIOWrapper(io.BytesIO(content), encoding="utf-8-sig")), [])
        _refuse_duplicates(path, head)
        return pd.read_csv(io.BytesIO(content), low_memory=False, encoding="utf-8-sig")
    except (OSError, ValueError, pa.ArrowException, csv.Error) as error:
        raise UsageError(
            f"{path} cannot be read as {kind}: {_one_line(error)}; mend or remove the file"
        ) from error


def _refuse_duplicates(path: str, names: list[str]) -> None:
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise UsageError(
            f"{path} has duplicate column names: {', '.join(map(repr, repeated))}; rename them "
            "so that each is unique"
        )


def _check_agree(paths: list[str], frames: list[pd.DataFrame]) -> None:
    first_path, first = paths[0], frames[0]
    kinds: dict[str, tuple[str, str]] = {}
    for path, frame in zip(paths, frames, strict=True):
        if set(frame.columns) != set(first.columns):
            odd = sorted(map(str, set(frame.columns) ^ set(first.columns)))
            raise UsageError(
                f"{first_path} and {path} do not have the same columns: "
                f"{', '.join(map(repr, odd))} is only in one of them; give files of one table"
            )
        for name in frame.columns:
            kind = _storage_kind(frame[name])
            if kind is None:
                continue
            known_path, known = kinds.setdefault(name, (path, kind))
            if known != kind:
                raise UsageError(
                    f"column {name!r} is {known} in {known_path} and {kind} in {path}; "
                    "store it the same way in every file"
                )


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
