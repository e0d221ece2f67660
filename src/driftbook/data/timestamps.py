"""Timestamps: how dates that people and programs write become moments."""

from __future__ import annotations

import pandas as pd

from driftbook.data.cells import MISSING_WORDS, to_plain_column
from driftbook.errors import UsageError

# A date in numbers anywhere in a text, its three parts split by one and the same sign.
_DATE = r"(?<![\d:])(?P<a>\d{1,4})(?P<sign>[-./ ])(?P<b>\d{1,2})(?P=sign)(?P<c>\d{4}|\d{1,2})(?!\d)"
# Years of two digits are those of 1969 to 2068. Source: POSIX.1-2017, strptime, %y.
_FIRST_OF_1900S = 69
# Which of the three numbers are year, month and day.
_ORDERS = {"day first": "cba", "month first": "cab", "year first": "abc"}
# A time zone behind a time of day: Z, UTC, +01, +0100, +01:00.
_OFFSET = r"(?P<time>\d{1,2}:\d{2}[\d:.,]*)\s*(?P<zone>[zZ]|UTC|GMT|[+-]\d{2}(?::?\d{2})?)$"
# Any text that may end so: Arrow looks for it without a look at each one by Python.
_ZONED = r"(?:[zZ]|UTC|GMT|[+-]\d{2}(?::?\d{2})?)$"
# Dates that programs write where they know none.
SENTINEL_DATES = ("1753-01-01", "1899-12-30", "1899-12-31", "1900-01-01", "1970-01-01",
                  "2099-12-31", "2999-12-31", "9999-12-31")  # fmt: skip
_NEXT_STEP = "write dates as YYYY-MM-DD or YYYY-MM-DDTHH:MM:SS"


def parse_timestamps(
    values: pd.Series, name: str, calendar: bool = True, alone: bool = False
) -> pd.Series:
    """Return ``values`` as naive datetimes (wall time of their one zone); missing stays missing.

    Numbers are years, days as YYYYMMDD or seconds since 1970 (or thousandths and so on); where
    ``calendar`` is false they only order rows. Text that is no ISO 8601 has one order of day and
    month, taken from all values of the column. ``alone``: these are not all of them, so that no
    value may be read by what others say, and text has to be ISO 8601.

    Raises:
        UsageError: a value that is no date, more than one time zone, or an order that the values
            leave open.
    """
    values = to_plain_column(values)
    if isinstance(values.dtype, pd.DatetimeTZDtype):
        naive: pd.Series = values.dt.tz_localize(None)
        return naive
    if pd.api.types.is_datetime64_any_dtype(values.dtype):
        return values
    if pd.api.types.is_numeric_dtype(values.dtype):
        return _read_numbers_as_dates(values, name) if calendar else values
    text = values.dropna().astype(str).str.strip()
    text = text[~text.str.lower().isin(MISSING_WORDS)]
    text = _with_plain_offsets(text, name)
    try:
        parsed = pd.to_datetime(text, format="ISO8601")
    except ValueError:
        if alone:
            raise UsageError(
                f"timestamp {name!r} holds text that is no ISO 8601 date (first: "
                f"{text.iloc[0]!r}), which a source that is read in parts needs; {_NEXT_STEP}"
            ) from None
        parsed = pd.to_datetime(_with_iso_dates(text, name), errors="coerce", format="mixed")
    _refuse_unread(text[parsed.isna()], name)
    if isinstance(parsed.dtype, pd.DatetimeTZDtype):
        parsed = parsed.dt.tz_localize(None)
    return parsed.reindex(values.index)


def _read_numbers_as_dates(values: pd.Series, name: str) -> pd.Series:
    """Return dates of numbers: years, YYYYMMDD, or seconds (or parts of them) since 1970.

    Raises:
        UsageError: numbers that are none of these.
    """
    known = values.dropna().astype("float64")
    whole = known.eq(known.round()).all()
    if len(known) and whole:
        low, high = float(known.min()), float(known.max())
        if low >= 1800 and high <= 2200:
            return pd.to_datetime(known.astype("int64").astype(str), format="%Y").reindex(
                values.index
            )
        if low >= 18_000_101 and high <= 22_001_231:
            text = known.astype("int64").astype(str)
            days = pd.to_datetime(text, format="%Y%m%d", errors="coerce")
            _refuse_unread(text[days.isna()], name)
            return days.reindex(values.index)
    for unit, size in {"s": 1e9, "ms": 1e12, "us": 1e15, "ns": 1e18}.items():
        # Between 1973 and 2128 in that unit: other numbers are no moments.
        if len(known) and 0.1 * size <= known.min() and known.max() <= 5.0 * size:
            return pd.to_datetime(known, unit=unit).reindex(values.index)  # type: ignore[call-overload, no-any-return]
    raise UsageError(
        f"timestamp {name!r} holds numbers (first: {values.iloc[0]!r}) that are no years, days or "
        "seconds since 1970; store dates or give data.window as a number of rows"
    )


def _with_plain_offsets(text: pd.Series, name: str) -> pd.Series:
    """Return text without its time zone, whatever its spelling: the wall time of the one zone.

    Raises:
        UsageError: more than one time zone.
    """
    refuse_mixed_zones(find_zones(text), name)
    zoned = text.str.contains(_ZONED, regex=True)
    plain = text[zoned].str.replace(_OFFSET, r"\g<time>", regex=True)
    return text.mask(zoned, plain) if zoned.any() else text


def find_zones(values: pd.Series) -> list[str]:
    """Return the time zones that are written in text, ``none`` where there is no zone."""
    if pd.api.types.is_numeric_dtype(values.dtype) or values.dtype.kind in "mM":
        return []
    text = values.dropna().astype(str).str.strip()
    text = text[~text.str.lower().isin(MISSING_WORDS)]
    zoned = text.str.contains(_ZONED, regex=True)
    zones = text[zoned].str.extract(_OFFSET)["zone"].str.upper().fillna("none")
    bare = [] if zoned.all() else ["none"]
    return [str(zone) for zone in dict.fromkeys([*zones, *bare])]


def refuse_mixed_zones(found: list[str], name: str) -> None:
    """Return nothing where all is one zone; two offsets an hour apart are one with summer time.

    Raises:
        UsageError: more than one time zone.
    """
    minutes = {_offset_minutes(zone) for zone in found}
    known = sorted(one for one in minutes if one is not None)
    summer = len(minutes) == len(known) == 2 and known[1] - known[0] == 60
    if len(minutes) > 1 and not summer:
        raise UsageError(
            f"timestamp {name!r} mixes time zones ({', '.join(found[:5])}); store all rows in "
            "one time zone"
        )


def _offset_minutes(zone: str) -> int | None:
    if zone == "none":
        return None
    if zone in ("Z", "UTC", "GMT"):
        return 0
    digits = zone[1:].replace(":", "").ljust(4, "0")
    return (1 if zone[0] == "+" else -1) * (int(digits[:2]) * 60 + int(digits[2:]))


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


def find_sentinel_dates(times: pd.Series) -> pd.Series:
    """Return which dates stand for none: a well-known filler ten years from all other dates."""
    # In seconds: nanoseconds reach no further than the year 2262.
    fillers = pd.to_datetime(list(SENTINEL_DATES)).as_unit("s")
    # Ten years from all others, a filler is the first or the last date.
    if not pd.Series([times.min(), times.max()]).dt.normalize().dt.as_unit("s").isin(fillers).any():
        return pd.Series(False, index=times.index)
    filler = times.dt.normalize().dt.as_unit("s").isin(fillers)
    others = times[~filler & times.notna()]
    if others.empty:
        return pd.Series(False, index=times.index)
    far = pd.Timedelta(days=3653)
    found: pd.Series = filler & ~times.between(others.min() - far, others.max() + far)
    return found


def _refuse_unread(unread: pd.Series, name: str) -> None:
    if len(unread):
        raise UsageError(
            f"timestamp {name!r} cannot be read as a date in {len(unread)} rows (first: row "
            f"{unread.index[0]}, {unread.iloc[0]!r}); {_NEXT_STEP}"
        )
