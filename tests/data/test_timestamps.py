"""Dates as people write them: one order of day and month a column, or a refusal that says why."""

from __future__ import annotations

from datetime import date, timedelta

import pandas as pd
import pytest

from driftbook.data.timestamps import parse_timestamps
from driftbook.errors import UsageError

DAYS = [date(2013, 1, 1) + timedelta(days=d) for d in range(0, 200, 3)]


@pytest.mark.parametrize(
    "pattern",
    [
        "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%m-%Y", "%m-%d-%Y", "%d %m %Y", "%m/%d/%y",
        "%Y/%m/%d", "%Y.%m.%d", "%d.%m.%Y 23:30", "%m/%d/%Y 11:30 PM", "%a %d/%m/%Y", "%d %b %Y",
        "%B %d, %Y", "%Y-%m-%d", "%Y%m%d", "%d/%m/%Y 05:00:01.250",
    ],
)  # fmt: skip
def test_every_order_is_read_as_it_was_written(pattern: str) -> None:
    text = pd.Series([day.strftime(pattern) for day in DAYS])
    parsed = parse_timestamps(text, "when")
    assert parsed.dt.date.tolist() == DAYS


def test_times_and_missing_values_stay() -> None:
    text = pd.Series(["31/01/2013 17:45", None, " 01/02/2013 05:15 "], index=[5, 6, 9])
    parsed = parse_timestamps(text, "when")
    assert parsed.index.tolist() == [5, 6, 9]
    assert parsed[5] == pd.Timestamp("2013-01-31 17:45")
    assert pd.isna(parsed[6])
    assert parsed[9] == pd.Timestamp("2013-02-01 05:15")


def test_one_late_row_settles_all() -> None:
    text = pd.Series(["03/02/2013", "04/02/2013", "13/02/2013"])
    assert parse_timestamps(text, "when").dt.month.tolist() == [2, 2, 2]


def test_the_same_day_in_both_readings_is_not_ambiguous() -> None:
    text = pd.Series(["01/01/2013", "02/02/2013"])
    assert parse_timestamps(text, "when").dt.month.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (["01/01/2013", "03/02/2013"], ["row 1", "'03/02/2013'", "2013-02-03", "2013-03-02"]),
        (["01/02/13", "02/02/13"], ["row 0", "'01/02/13'", "2013-02-01", "2013-01-02"]),
        (["13/02/2013", "02/13/2013"], ["'13/02/2013'", "'02/13/2013'", "orders"]),
        (["31/12/2013", "31/02/2013"], ["row 1", "'31/02/2013'", "cannot be read"]),
        (["2013/13/02"], ["row 0", "'2013/13/02'", "cannot be read"]),
    ],
)
def test_what_has_no_one_reading_is_refused(values: list[str], words: list[str]) -> None:
    with pytest.raises(UsageError) as raised:
        parse_timestamps(pd.Series(values), "when")
    for word in ["'when'", "YYYY-MM-DD", *words]:
        assert word in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_zone_beside_a_day_first_date_is_wall_time() -> None:
    text = pd.Series(["13/02/2013 10:00:00+02:00", "14/02/2013 11:00:00+02:00"])
    assert parse_timestamps(text, "when").dt.hour.tolist() == [10, 11]
