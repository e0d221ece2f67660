"""Windows of a day: one is seen, several in a row are what a retrain can rest on."""

from __future__ import annotations

import dataclasses
import math
from itertools import pairwise
from types import SimpleNamespace
from typing import cast

import pytest

from driftbook.data import windows
from driftbook.decision import policy
from driftbook.decision.alarms import LOSS, Alarm, Seen, find_alarms
from driftbook.decision.challenger import Challenger
from driftbook.decision.gap import GapCourse
from driftbook.decision.policy import Assessment, assess
from driftbook.drift.readings import Reading
from driftbook.model.row_sums import RowSum
from driftbook.model.training import train
from driftbook.settings import Settings

DAYS = Settings.parse({"data": {"window": "day", "reference": 31}})
SHARES = {"temp": (1.0, True)}


def _challenger(stale: bool) -> Challenger:
    known = SimpleNamespace(stale=stale, pays=True, changed_before=False)
    return cast("Challenger", known)


def _judge_loss(past: list[Seen], now: Seen) -> Alarm:
    return next(one for one in find_alarms(past, now, DAYS, SHARES, 0.2) if one.source == LOSS)


def _weeks() -> Settings:
    return Settings.parse({"data": {"window": "week", "reference": 4}})


def test_a_retrain_of_days_waits_until_several_in_a_row_are_worse() -> None:
    paying, stale = _challenger(stale=False), _challenger(stale=True)
    assert policy.decide_action(False, False, True, paying) == "retrain"
    assert policy.decide_action(False, False, True, paying, passing=True) == "monitor"
    assert policy.decide_action(False, False, True, stale, passing=True) == "retrain"


def test_the_alarm_of_one_day_counts_the_days_it_lasted() -> None:
    bad = Seen(900, {LOSS: Reading(0.3, 0.0004, 0.0)}, {"temp": 0.5}, ("temp",))
    good = dataclasses.replace(bad, rows=901, readings={LOSS: Reading(0.0, 0.0004, 0.0)})
    days = [dataclasses.replace(bad, rows=rows) for rows in (902, 903, 904)]
    single = _judge_loss([good], bad)
    assert single.raised and single.since == 1
    several = _judge_loss(days, bad)
    assert several.raised and several.since == 4


@pytest.mark.parametrize(("settings", "needed"), [(DAYS, 4), (_weeks(), 1)])
def test_what_no_sum_over_days_proves_takes_several_of_them(
    settings: Settings, needed: int
) -> None:
    joint = [Seen(900 + day, {}, {"(joint)": 1e-12}, ("(joint)",)) for day in range(6)]
    raised = [find_alarms(joint[:k], joint[k], settings, {}, 0.2)[0].raised for k in range(6)]
    assert raised == [k + 1 >= needed for k in range(6)]
    calm = Seen(800, {}, {"(joint)": 0.5}, ())
    broken_off = find_alarms([*joint[:3], calm], joint[4], settings, {}, 0.2)[0]
    assert broken_off.raised == (needed == 1)


def test_newer_fits_must_lead_on_several_days_and_then_for_as_long_as_the_gap_lasts() -> None:
    lead, slight, gone = (RowSum(mean, 1e-6, 1.0, 60) for mean in (0.01, 0.001, -0.001))
    assert GapCourse((lead,), -math.inf).is_behind(0.0)
    assert not GapCourse((slight,), -math.inf).is_behind(0.0)
    assert not GapCourse((lead, lead, slight, lead), -math.inf).is_behind(0.0, 3)
    assert GapCourse((lead, lead, lead, slight, slight), -math.inf).is_behind(0.0, 3)
    assert not GapCourse((lead, lead, lead, gone, slight), -math.inf).is_behind(0.0, 3)
    assert not GapCourse((lead, lead, lead), -math.inf).is_behind(0.1, 3)


def _advise_summer() -> list[Assessment]:
    data = windows.load_dataset(DAYS)
    after = windows.find_reference_windows(data, DAYS)[-1].stop
    model = train(data.frame.iloc[:after], DAYS)
    found: list[Assessment] = []
    for window in data.windows[31 + 100 : 31 + 220 : 6]:
        split = windows.split_at_window(data, DAYS, window.name, after)
        past = [one.seen for one in found]
        found.append(assess(model, split.current, DAYS, split.history, past))
    return found


def test_flights_by_day_are_advised_steadily() -> None:
    """Every sixth day from May to September, nothing carried out."""
    found = _advise_summer()
    actions = [one.action for one in found]
    assert "retrain" in actions and "hold" in actions
    assert sum(before != after for before, after in pairwise(actions)) <= 3
    for one in found:
        loss = one.performance.set_index(["metric", "basis"]).loc[("brier", "realised")]
        if loss["change_high"] < 0.0:
            assert "is worse" not in one.reason, one.reason
