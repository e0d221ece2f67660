"""Accepted columns: no fault, no alarm and no feature of a challenger; all else is judged on."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest

from driftbook.data import synthetic
from driftbook.data.windows import Window
from driftbook.decision import gap, retraining
from driftbook.decision.accepted import find_accepted
from driftbook.decision.findings import see_window
from driftbook.decision.policy import Assessment, assess
from driftbook.decision.trial import Trial
from driftbook.model.row_sums import RowSum
from driftbook.model.training import Model, train
from driftbook.settings import Settings

WINDOW, REFERENCE = 1200, 2400
SETTINGS = Settings.parse({"data": {"source": "synthetic:none"}})
BROKEN = ("f0", "f1", "f2")


@cache
def _outage() -> tuple[Model, pd.DataFrame]:
    frame = synthetic.make_scenario("outage")
    return train(frame.iloc[:REFERENCE], SETTINGS), frame


def _judge(*accepted: str, drop: tuple[str, ...] = ()) -> Assessment:
    model, frame = _outage()
    current, history = frame.iloc[-WINDOW:].drop(columns=list(drop)), frame.iloc[REFERENCE:-WINDOW]
    return assess(model, current, SETTINGS, history, accepted=accepted)


def test_what_is_accepted_is_told_and_no_fault_any_more() -> None:
    found = _judge(*BROKEN)
    assert found.quality["severity"].tolist() == ["accepted"] * 3
    assert found.action == "retrain"
    assert found.reason.startswith("a lasting change of f0, f1, f2 is accepted; ")
    assert found.to_dict()["acknowledged"] == [{"column": name} for name in BROKEN]
    assert found.seen.broken == ()


def test_another_broken_column_is_still_investigated() -> None:
    found = _judge("f0", "f2")
    assert found.action == "investigate" and "f1 constant" in found.reason
    assert found.quality.set_index("feature")["severity"].to_dict() == {
        "f0": "accepted", "f1": "broken", "f2": "accepted",
    }  # fmt: skip


def test_its_drift_is_shown_and_raises_no_alarm() -> None:
    rows = _judge(*BROKEN).drift.set_index("feature")
    for name in BROKEN:
        assert rows.loc[name, ["drift_flag", "matters", "alarm", "accepted"]].tolist() == [
            True, False, False, True,
        ]  # fmt: skip
    assert not rows.loc["f3", "accepted"]
    sources = {alarm.source for alarm in _judge(*BROKEN).alarms}
    assert not sources & {*BROKEN} and {"f3", "(prediction)"} <= sources


def test_a_sound_column_that_drifts_is_accepted_too_and_the_others_are_watched() -> None:
    frame = synthetic.make_scenario("none")
    model = train(frame.iloc[:REFERENCE], SETTINGS)
    current = frame.iloc[-WINDOW:].reset_index(drop=True)
    current[["f0", "f1"]] += 0.8
    moved = assess(model, current, SETTINGS).drift.set_index("feature")
    assert moved.loc[["f0", "f1"], "alarm"].all()
    found = assess(model, current, SETTINGS, accepted=["f0"]).drift.set_index("feature")
    assert found["alarm"].to_dict() == moved["alarm"].to_dict() | {"f0": False}
    assert found.loc["f0", "pvalue_adjusted"] == moved.loc["f0", "pvalue_adjusted"]


def test_the_dependence_on_an_accepted_column_is_no_news() -> None:
    rng = np.random.default_rng(0)
    frame = synthetic.make_scenario("none")
    model = train(frame.iloc[:REFERENCE], SETTINGS)
    current = frame.iloc[-WINDOW:].reset_index(drop=True)
    # f3 as ever by itself, but now it goes with f4.
    order = np.argsort(current["f4"].to_numpy() + 0.5 * rng.normal(size=WINDOW))
    current.loc[order, "f3"] = np.sort(current["f3"].to_numpy())
    joint = [
        assess(model, current, SETTINGS, accepted=accepted).drift.set_index("feature")
        for accepted in ([], ["f3"], ["f7"])
    ]
    assert [bool(each.loc["(joint)", "drift_flag"]) for each in joint] == [True, False, True]
    assert "f3" not in str(joint[1].loc["(joint)", "direction"])


def test_the_challenger_does_without_it() -> None:
    found = _judge(*BROKEN).challenger
    assert found is not None
    assert found.model.feature_names == ["f3", "f4", "f5", "f6", "f7"]
    assert found.recipe != "recalibrated"


def test_no_new_calibration_stands_for_a_model_without_the_column() -> None:
    """Earlier trials may favour a recipe that none of these fits can be made by."""
    known = gap.TrialEvidence({"recalibrated": RowSum(1000.0, 1.0, 1000.0)})
    assert gap.choose_recipe(known) == "recalibrated"
    tried: dict[str, Any] = {"recent": [], "everything": []}
    assert gap.choose_recipe(known, tried) == "recent"
    assert retraining.recipes.BASE_RECIPE == "recent" and Trial is not None


def test_a_column_that_is_gone_for_good_leaves_the_rest_to_be_judged() -> None:
    """To the champion it is as if all its values were missing; without consent it is a fault."""
    assert _judge(drop=BROKEN).action == "investigate"
    found = _judge(*BROKEN, drop=BROKEN)
    assert found.quality["fault"].tolist() == ["absent"] * 3
    assert (found.performance["basis"] == "realised").any()
    assert found.challenger is not None
    assert not {*BROKEN} & {*found.challenger.model.feature_names}


def test_what_is_no_feature_changes_nothing() -> None:
    model, frame = _outage()
    quiet = frame.iloc[REFERENCE : REFERENCE + WINDOW]
    plain = assess(model, quiet, SETTINGS).to_dict()
    assert assess(model, quiet, SETTINGS, accepted=["wibble", "target"]).to_dict() == plain


def test_everything_accepted_leaves_no_challenger() -> None:
    model, _ = _outage()
    found = _judge(*model.feature_names)
    assert found.challenger is None and found.action in ("hold", "monitor")


def test_a_window_is_known_again_once_its_column_is_accepted() -> None:
    model, frame = _outage()
    current = frame.iloc[-WINDOW:]
    before, after = (see_window(model, current, SETTINGS, accepted=one) for one in ((), BROKEN))
    assert before.key == after.key
    assert (before.broken, after.broken) == (BROKEN, ())


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("a", ("gone",)),
        ("b", ("gone", "x")),
        ("c", ("gone", "x", "y")),
        ("later", ("gone", "x", "y")),
    ],
)
def test_it_holds_from_its_window_on(name: str, columns: tuple[str, ...]) -> None:
    windows = [Window(one, k, k + 1, True) for k, one in enumerate("abc")]
    since = {"y": "c", "x": "b", "gone": "an older window"}
    assert find_accepted(since, windows, name) == columns
