"""Seasons: what moved a year ago too is no alarm; what the season leaves over is."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from driftbook.data.arrays import Floats
from driftbook.decision.alarms import Seen
from driftbook.decision.findings import see_window
from driftbook.decision.policy import assess
from driftbook.drift.report import add_season, report_drift
from driftbook.drift.season import SeasonSide, find_season, find_seasonal
from driftbook.model.training import Model, train
from driftbook.settings import Settings

SETTINGS = Settings.parse(
    {
        "data": {
            "source": "rows.parquet", "target": "target", "timestamp": "at",
            "window": "month", "reference": 2,
        }
    }
)  # fmt: skip


def years(count: int = 3, a_day: int = 12, seed: int = 1) -> pd.DataFrame:
    """Return rows whose ``temp`` follows the seasons; the outcome rests on it and on ``x``."""
    rng = np.random.default_rng(seed)
    at = pd.date_range("2021-01-01", f"{2021 + count}-01-01", freq=f"{24 // a_day}h")[:-1]
    season = -np.cos(2 * np.pi * (at.day_of_year.to_numpy() - 15) / 365.25)
    x, temp = rng.normal(size=len(at)), 2.0 * season + rng.normal(size=len(at))
    chance = 1 / (1 + np.exp(-(x + 0.7 * temp)))
    return pd.DataFrame({"at": at, "x": x, "temp": temp, "target": rng.random(len(at)) < chance})


def month(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    first = pd.Timestamp(f"{name}-01")
    return frame[(frame["at"] >= first) & (frame["at"] < first + pd.DateOffset(months=1))]


def before(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    return frame[frame["at"] < pd.Timestamp(f"{name}-01")]


@pytest.fixture(scope="module")
def stream() -> tuple[Model, pd.DataFrame]:
    frame = years().astype({"target": int})
    return train(before(frame, "2021-03"), SETTINGS), frame


def test_the_season_is_the_same_time_of_every_earlier_year(
    stream: tuple[Model, pd.DataFrame],
) -> None:
    _, frame = stream
    found = find_season(month(frame, "2023-06"), before(frame, "2023-06"), SETTINGS)
    assert found is not None and (found.years, found.name) == (2, "June")
    months = found.rows["at"].dt.strftime("%Y-%m").unique().tolist()
    assert months == ["2021-06", "2022-06"]
    assert find_season(month(frame, "2021-06"), before(frame, "2021-06"), SETTINGS) is None
    leap = frame.assign(at=frame["at"] + pd.DateOffset(years=3))  # 2024 has a 29th of February
    found = find_season(month(leap, "2026-02"), before(leap, "2026-02"), SETTINGS)
    assert found is not None and found.years == 2


def test_there_is_no_season_without_time_rows_or_a_whole_month(
    stream: tuple[Model, pd.DataFrame],
) -> None:
    _, frame = stream
    now, earlier = month(frame, "2022-06"), before(frame, "2022-06")
    untimed = Settings.parse({"data": {"source": "rows.parquet", "target": "target", "window": 99}})
    for current, rows, settings in (
        (now, earlier, untimed),
        (now, None, SETTINGS),
        (now, earlier[:0], SETTINGS),
        (now.assign(at=range(len(now))), earlier.assign(at=range(len(earlier))), SETTINGS),
        (now[:0], earlier, SETTINGS),
        (now.drop(columns="at"), earlier, SETTINGS),
        (now, earlier.drop(columns="at"), SETTINGS),
        (now, earlier[earlier["at"] >= "2021-06-15"], SETTINGS),  # half of June is not there
        (frame[frame["at"].dt.year == 2022], before(frame, "2022-01"), SETTINGS),  # a whole year
    ):
        assert find_season(current, rows, settings) is None


def test_a_june_like_the_last_is_the_seasons_and_a_hotter_one_is_not(
    stream: tuple[Model, pd.DataFrame],
) -> None:
    model, frame = stream
    earlier = before(frame, "2022-06")
    for added, seasonal in ((0.0, True), (4.0, False)):
        now = month(frame, "2022-06").assign(temp=lambda rows, d=added: rows["temp"] + d)
        season = find_season(now, earlier, SETTINGS)
        assert season is not None
        report = report_drift(model, now, SETTINGS)
        beside = report_drift(model, now, SETTINGS, against=SeasonSide(model, season))
        row = add_season(report, beside).set_index("feature").loc["temp"]
        assert row["drift_flag"] and bool(row["seasonal"]) is seasonal
        assert row["effect"] == report.set_index("feature").loc["temp", "effect"]


def past_of(model: Model, frame: pd.DataFrame, names: list[str], with_years: bool) -> list[Seen]:
    return [
        see_window(
            model, month(frame, name), SETTINGS, None, before(frame, name) if with_years else None
        )
        for name in names
    ]


def test_what_the_season_explains_raises_no_alarm(stream: tuple[Model, pd.DataFrame]) -> None:
    model, frame = stream
    names = [f"2022-{k:02d}" for k in range(3, 6)]
    now, earlier = month(frame, "2022-06"), before(frame, "2022-06")
    told = assess(
        model, now, SETTINGS, past=past_of(model, frame, names, with_years=True), earlier=earlier
    )
    bare = assess(model, now, SETTINGS, past=past_of(model, frame, names, with_years=False))
    alarms = [found.drift.set_index("feature").loc["temp", "alarm"] for found in (told, bare)]
    assert alarms == [False, True]
    assert "temp, the predictions moved as in June of the year before" in told.reason
    assert "moved as in" not in bare.reason and "temp" in bare.reason


def test_what_the_season_leaves_over_raises_one(stream: tuple[Model, pd.DataFrame]) -> None:
    model, frame = stream
    hot = frame.assign(temp=frame["temp"] + 2.0 * (frame["at"] >= "2022-05-01"))
    names = [f"2022-{k:02d}" for k in range(3, 6)]
    past = past_of(model, hot, names, with_years=True)
    found = assess(
        model, month(hot, "2022-06"), SETTINGS, past=past, earlier=before(hot, "2022-06")
    )
    assert found.drift.set_index("feature").loc["temp", "alarm"]
    assert "drift that matters (temp" in found.reason


def test_seasonal_needs_both_effects() -> None:
    effect: Floats = np.array([2.0, 2.0, -2.0, np.nan, 2.0])
    left: Floats = np.array([0.5, 1.5, -0.9, 0.1, np.nan])
    assert np.array_equal(
        find_seasonal(effect, left), [1.0, 0.0, 1.0, np.nan, np.nan], equal_nan=True
    )
