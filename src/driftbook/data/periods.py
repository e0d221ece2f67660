"""Periods of time: the names of windows, and whether the last one has ended."""

from __future__ import annotations

import numpy as np
import pandas as pd

_CODES = {"day": "D", "week": "W-SUN", "month": "M", "quarter": "Q-DEC", "year": "Y-DEC"}
_NAMES = {"day": "%Y-%m-%d", "month": "%Y-%m", "quarter": "%Y-Q%q", "year": "%Y"}


def list_periods(first: pd.Timestamp, last: pd.Timestamp, size: str) -> pd.PeriodIndex:
    """Return the periods of a ``size`` such as ``month`` from the first moment to the last."""
    return pd.period_range(first.to_period(_CODES[size]), last.to_period(_CODES[size]))


def name_period(period: pd.Period, size: str) -> str:
    """Return the name of a window, such as ``2013-W23``."""
    if size == "week":
        year, week, _ = period.start_time.isocalendar()
        return f"{year}-W{week:02d}"
    return period.strftime(_NAMES[size])


def count_periods(times: pd.Series, size: str) -> dict[int, int]:
    """Return by period's ordinal how many of the ``times`` lie in it; none may be missing."""
    if times.empty:
        return {}
    periods = list_periods(times.min(), times.max(), size)
    if len(periods) == 1:
        return {periods[0].ordinal: len(times)}
    place = periods.start_time.to_numpy().searchsorted(times.to_numpy(), "right") - 1
    counts = np.bincount(place, minlength=len(periods))
    return {periods[k].ordinal: int(counts[k]) for k in np.flatnonzero(counts).tolist()}


def find_period(ordinal: int, size: str) -> pd.Period:
    """Return the period of an ordinal."""
    return pd.Period(ordinal=ordinal, freq=_CODES[size])


def reaches_end(times: pd.Series, newest: pd.Timestamp, last: pd.Period) -> bool:
    """Return whether rows reach the end of their last period, so that no more are to come.

    ``times``: of all rows or a sample of them, which show how dates are written; ``newest``: the
    last of all. The source may skip its last hours: rows in the last twentieth close the window. Of
    dates without a time the last day does, or the last working day where no row is of a weekend.
    """
    if newest >= last.end_time - (last.end_time - last.start_time) / 20:
        return True
    if not times.eq(times.dt.normalize()).all():
        return False
    day = last.end_time.normalize()
    if not times.dt.day_of_week.ge(5).any():
        day = pd.offsets.BDay().rollback(day)
    return bool(newest >= day)
