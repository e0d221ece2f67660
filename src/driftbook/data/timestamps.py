"""Timestamps: how dates that people and programs write become moments."""

from __future__ import annotations

import pandas as pd

from driftbook.errors import UsageError

# A date in numbers anywhere in a text, its three parts split by one and the same sign.
_DATE = r"(?<![\d:])(?P<a>\d{1,4})(?P<sign>[-./ ])(?P<b>\d{1,2})(?P=sign)(?P<c>\d{4}|\d{1,2})(?!\d)"
# Years of two digits are those of 1969 to 2068. Source: POSIX.1-2017, strptime, %y.
_FIRST_OF_1900S = 69
# Which of the three numbers are year, month and day.
_ORDERS = {"day first": "cba", "month first": "cab", "year first": "abc"}
_NEXT_STEP = "write dates as YYYY-MM-DD or YYYY-MM-DDTHH:MM:SS"


def parse_timestamps(values: pd.Series, name: str, calendar: bool = True) -> pd.Series:
    """Return ``values`` as naive datetimes (wall time of their one zone); missing stays missing.

    Numbers are accepted only where ``calendar`` is false: they order rows but name no day. Text
    that is no ISO 8601 has one order of day and month, taken from all values of the column.

    Raises:
        UsageError: a value that is no date, more than one time zone, or an order that the values
            leave open.
    """
    if isinstance(values.dtype, pd.DatetimeTZDtype):
        naive: pd.Series = values.dt.tz_localize(None)
        return naive
    if pd.api.types.is_datetime64_any_dtype(values.dtype):
        return values
    if pd.api.types.is_numeric_dtype(values.dtype):
        if calendar:
            raise UsageError(
                f"timestamp {name!r} holds numbers (first: {values.iloc[0]!r}), not dates; "
                "store dates or give data.window as a number of rows"
            )
        return values
    text = values.dropna().astype(str).str.strip()
    zones = text.str.extract(r"\d{1,2}:\d{2}[\d:.,]*\s*(Z|[+-]\d{2}:?\d{2}|UTC)$", expand=False)
    found = [str(zone) for zone in zones.fillna("none").unique()]
    if len(found) > 1:
        raise UsageError(
            f"timestamp {name!r} mixes time zones ({', '.join(found[:5])}); store all rows in "
            "one time zone"
        )
    try:
        parsed = pd.to_datetime(text, format="ISO8601")
    except ValueError:
        parsed = pd.to_datetime(_with_iso_dates(text, name), errors="coerce", format="mixed")
    _refuse_unread(text[parsed.isna()], name)
    if isinstance(parsed.dtype, pd.DatetimeTZDtype):
        parsed = parsed.dt.tz_localize(None)
    return parsed.reindex(values.index)


def _with_iso_dates(text: pd.Series, name: str) -> pd.Series:
    """Return ``text`` with dates in numbers as YYYY-MM-DD, read in the one order that fits all.

    Raises:
        UsageError: no order fits all values, or several do and they name different days.
    """
    parts = text.str.extract(_DATE)
    parts = parts[parts["b"].notna()]
    if parts.empty:
        return text
    readings = {order: _dates(parts, places) for order, places in _ORDERS.items()}
    none_fits = pd.concat(readings, axis=1).isna().all(axis=1)
    _refuse_unread(text[parts.index[none_fits]], name)
    fitting = {order: dates for order, dates in readings.items() if dates.notna().all()}
    if not fitting:
        examples = [text[dates.index[dates.isna()][0]] for dates in readings.values()]
        shown = ", ".join(repr(value) for value in dict.fromkeys(examples))
        raise UsageError(
            f"timestamp {name!r} mixes orders of day and month ({shown}); {_NEXT_STEP} in all rows"
        )
    (chosen, dates), *others = fitting.items()
    for order, other in others:
        if not dates.equals(other):
            row = dates.index[dates != other][0]
            raise UsageError(
                f"timestamp {name!r} may be read {chosen} or {order} in every row (row {row}, "
                f"{text[row]!r}, is {dates[row]:%Y-%m-%d} or {other[row]:%Y-%m-%d}); {_NEXT_STEP}"
            )
    iso = dates.dt.strftime("%Y-%m-%d")
    pieces = text[iso.index].str.split(_DATE, n=1, regex=True)
    return text.where(~text.index.isin(iso.index), pieces.str[0] + iso + pieces.str[-1])


def _dates(parts: pd.DataFrame, places: str) -> pd.Series:
    """Return the dates of numbers ``a``, ``b``, ``c`` read in one order; NaT where there is none.

    A year of four digits in front leaves one reading, whatever the order of the other rows.
    """
    fixed = parts["a"].str.len() > 2
    year, month, day = (
        parts[place].where(~fixed, parts[ahead]) for place, ahead in zip(places, "abc", strict=True)
    )
    number = pd.to_numeric(year)
    century = number.lt(_FIRST_OF_1900S).map({True: 2000, False: 1900})
    whole = number.where(year.str.len() > 2, number + century)
    known = {"year": whole, "month": pd.to_numeric(month), "day": pd.to_numeric(day)}
    return pd.to_datetime(pd.DataFrame(known), errors="coerce")


def _refuse_unread(unread: pd.Series, name: str) -> None:
    if len(unread):
        raise UsageError(
            f"timestamp {name!r} cannot be read as a date in {len(unread)} rows (first: row "
            f"{unread.index[0]}, {unread.iloc[0]!r}); {_NEXT_STEP}"
        )
