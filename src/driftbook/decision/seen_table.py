"""What each window since the reference showed of each column, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from scipy import stats

from driftbook.decision.alarms import Seen
from driftbook.drift.readings import Reading

READING_COLUMNS = ("window", "feature", "aspect", "value", "ci_low", "ci_high", "rows")


def tabulate_readings(windows: Sequence[tuple[str, Seen]], features: Sequence[str]) -> pd.DataFrame:
    """Return a row a window, feature and aspect: how far it lay from the reference, with 95%.

    ``windows``: by name, in order; what was seen of others than ``features`` is left out. The scale
    is that of ``drift.readings``: the reference's own standard deviation for a level, 0 where
    nothing has changed.
    """
    rows = [
        _tabulate_reading(window, feature, key.removeprefix(f"{feature}: "), reading)
        for window, seen in windows
        for key, reading in seen.readings.items()
        for feature in features
        if key.startswith(f"{feature}: ")
    ]
    return pd.DataFrame(rows, columns=list(READING_COLUMNS))


def _tabulate_reading(window: str, feature: str, aspect: str, reading: Reading) -> dict[str, Any]:
    half = float(stats.t.ppf(0.975, reading.df)) * reading.error
    return {
        "window": window,
        "feature": feature,
        "aspect": aspect,
        "value": reading.value,
        "ci_low": reading.value - half,
        "ci_high": reading.value + half,
        "rows": reading.rows,
    }
