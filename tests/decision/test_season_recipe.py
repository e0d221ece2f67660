"""The recipe of the season: the newest block, and older rows of the same time of year."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from driftbook.backtest.timeline import Tenure, Timeline
from driftbook.data.windows import load_dataset
from driftbook.decision import recipes, retraining, trial
from driftbook.decision.gap import TrialEvidence
from driftbook.decision.policy import assess
from driftbook.model.design import tabulate_rows
from driftbook.model.tasks import BINARY
from driftbook.model.training import train
from driftbook.settings import ModelSettings, Settings

SETTINGS = Settings.parse(
    {
        "data": {
            "source": "rows.parquet", "target": "target", "timestamp": "at",
            "window": "month", "reference": 2,
        }
    }
)  # fmt: skip


def seasonal(years: int = 3, seed: int = 1) -> pd.DataFrame:
    """Return rows whose rule turns with the seasons: x in June means what -x does in January."""
    rng = np.random.default_rng(seed)
    at = pd.date_range("2021-01-01", f"{2021 + years}-01-01", freq="2h")[:-1]
    turn = np.cos(2 * np.pi * (at.day_of_year.to_numpy() - 15) / 365.25)
    x = rng.normal(size=len(at))
    chance = 1 / (1 + np.exp(-2.0 * turn * x))
    y = (rng.random(len(at)) < chance).astype(int)
    return pd.DataFrame({"at": at, "x": x, "target": y})


def test_weights_by_hand() -> None:
    stamps = pd.DatetimeIndex(
        ["2021-01-01", "2021-11-20", "2021-12-25", "2022-02-20", "2022-06-01", "2022-12-31"]
    )
    # Of 31 December, day 365: 1 January, 25 December and, 41 days off, 20 November.
    assert recipes.weigh_season(stamps, 1).tolist() == [1.0, 1.0, 1.0, 0.0, 0.0, 1.0]
    assert recipes.weigh_season(stamps, 2).tolist() == [1.0, 1.0, 1.0, 0.0, 1.0, 1.0]
    assert recipes.has_season(stamps, 6, 1, least=3)
    assert not recipes.has_season(stamps, 6, 1, least=4)
    assert not recipes.has_season(stamps, 6, 6, least=1)
    assert not recipes.has_season(None, 6, 1, least=1)


def test_rows_of_weight_zero_are_as_if_they_were_not_there() -> None:
    frame = seasonal(1)
    model = train(frame[:1500], SETTINGS)
    weights = (np.arange(1000) % 3 > 0).astype(float)
    table = tabulate_rows(frame[:1000], model.features, model.outcomes(frame[:1000]))
    kept = frame[:1000][weights > 0]
    alone = tabulate_rows(kept, model.features, model.outcomes(kept))
    given = ModelSettings()
    fit = recipes.fit_block(table, slice(0, 1000), weights, given, BINARY)
    bare = recipes.fit_block(alone, slice(0, len(kept)), np.ones(len(kept)), given, BINARY)
    assert fit is not None and bare is not None
    rows = slice(0, 100)
    assert fit.predict(table, rows) == pytest.approx(bare.predict(table, rows))


def test_where_rules_turn_with_the_seasons_it_beats_the_block() -> None:
    frame = seasonal()
    model = train(frame[frame["at"] < "2021-03-01"], SETTINGS)
    fresh = frame[(frame["at"] >= "2021-03-01") & (frame["at"] < "2023-06-01")]
    window = int((fresh["at"] >= "2023-05-01").sum())
    found = trial.run_trial(model, fresh.reset_index(drop=True), window, SETTINGS)
    assert found is not None
    means = {
        name: np.mean(np.concatenate([one for one in losses if one is not None][-4:]))
        for name, losses in found.losses.items()
    }
    assert means[recipes.SEASON] < 0.97 * means[recipes.BASE_RECIPE], means
    early = fresh[fresh["at"] < "2021-10-01"].reset_index(drop=True)
    first_year = trial.run_trial(model, early, 360, SETTINGS)
    assert first_year is not None and recipes.SEASON not in first_year.losses


def test_the_version_learns_from_the_season_and_the_block() -> None:
    frame = seasonal(2)
    model = train(frame[frame["at"] < "2021-03-01"], SETTINGS)
    fresh = frame[(frame["at"] >= "2021-03-01") & (frame["at"] < "2022-07-01")]
    order = retraining.RetrainOrder(
        model, fresh.reset_index(drop=True), recipes.SEASON, 360, SETTINGS, "{}"
    )
    made = retraining.retrain_model(order)
    months = made.reference["at"].dt.strftime("%Y-%m").unique().tolist()
    assert months == ["2021-05", "2021-06", "2021-07", "2021-08", "2022-05", "2022-06"]
    assert len(made.reference) == retraining.count_rows_used(order)
    assert made.origin["recipe"] == "season" and made.origin[retraining.GAPS] == "yes"


def test_a_replay_takes_no_fit_of_other_rows_after_it(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("rows")
    frame = seasonal(2)
    frame.to_parquet(folder / "rows.parquet")
    settings = SETTINGS.based(folder)
    dataset = load_dataset(settings)
    stop = dataset.windows[1].stop
    first = train(dataset.frame.iloc[:stop], settings)
    after = tuple(w for w in dataset.windows[2:] if w.complete)
    timeline = Timeline(dataset, settings, after, [Tenure(first, "first", 0, stop)])
    seen = after[15].stop
    order = retraining.RetrainOrder(
        first,
        dataset.frame.iloc[stop:seen].reset_index(drop=True),
        "season",
        360,
        settings,
        TrialEvidence().to_text(),
    )
    champion = Tenure(retraining.retrain_model(order), "season", 16, seen)
    replayed = timeline.assess(champion, 19, settings)
    current, history = dataset.rows(after[18]), dataset.frame.iloc[seen : after[18].start]
    past = [timeline._see(champion, s, settings) for s in (17, 18)]
    earlier = dataset.frame.iloc[: after[18].start]
    alone = assess(champion.model, current, settings, history.reset_index(drop=True), past, earlier)
    assert (replayed.action, replayed.reason) == (alone.action, alone.reason)
