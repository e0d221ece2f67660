"""Samples of windows that were drawn before: a window whose files did not change is not read again.

A file a window, in ``samples/`` beside the other prepared tables; its name is all that the sample
depends on. Whatever cannot be read back as it was is not kept.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

_FOLDER, _NUMBER = "samples", "(row number)"


def read_samples(cache: Path | None, keys: Sequence[str]) -> dict[int, pd.DataFrame]:
    """Return the samples that are kept, by the place of their key."""
    if cache is None:
        return {}
    read = {k: _read_sample(_find_path(cache, key)) for k, key in enumerate(keys)}
    return {k: frame for k, frame in read.items() if frame is not None}


def keep_samples(cache: Path | None, keys: Sequence[str], frames: Sequence[pd.DataFrame]) -> None:
    """Keep the samples by their keys, and let go of all others."""
    if cache is None:
        return
    (cache / _FOLDER).mkdir(parents=True, exist_ok=True)
    wanted = [_find_path(cache, key) for key in keys]
    for path in {*(cache / _FOLDER).glob("*.parquet")} - {*wanted}:
        path.unlink(missing_ok=True)
    for path, frame in zip(wanted, frames, strict=True):
        if not path.exists():
            _write_sample(path, frame)


def _find_path(cache: Path, key: str) -> Path:
    return cache / _FOLDER / f"{key}.parquet"


def _read_sample(path: Path) -> pd.DataFrame | None:
    try:
        frame: pd.DataFrame = pq.read_table(path).to_pandas()
        return frame.set_index(_NUMBER).rename_axis(None)
    except (OSError, ValueError, LookupError, pa.ArrowException):
        return None


def _write_sample(path: Path, frame: pd.DataFrame) -> None:
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        numbered = frame.reset_index(names=_NUMBER)
        pq.write_table(pa.Table.from_pandas(numbered, preserve_index=False), partial)
        again = _read_sample(partial)
        if again is not None and again.equals(frame) and again.dtypes.equals(frame.dtypes):
            partial.replace(path)
    except (OSError, ValueError, pa.ArrowException):
        pass  # drawn again next time
    finally:
        partial.unlink(missing_ok=True)
