"""What an owner repeats: no word of a statistician, two sentences, and the same as the evidence."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from driftbook.data import synthetic, windows
from driftbook.decision import plain_numbers
from driftbook.decision.alarms import Seen
from driftbook.decision.gap import trace_gaps
from driftbook.decision.newer import join_newer
from driftbook.decision.policy import Assessment, assess
from driftbook.decision.trial import Trial, TrialSegment
from driftbook.model.training import train
from driftbook.performance import trend
from driftbook.settings import Settings

SCENARIOS = ("none", "covariate", "irrelevant", "concept", "prior", "correlation", "outage")
PRICES = {"currency": "EUR", "false_positive": 10, "false_negative": 40, "retrain_cost": 50}


def _assess_all(
    scenario: str, task: str = "binary", labelled: bool = True, policy: object = None
) -> list[Assessment]:
    """Return the assessments of four windows of 600 rows, the last two after the change."""
    source = {"data": {"source": f"synthetic:{scenario}?task={task}"}, "policy": policy or {}}
    settings = Settings.parse(source)
    frame = synthetic.make_scenario(scenario, rows=4200, onset=3000, seed=3, task=task)
    model = train(frame.iloc[:1800], settings)
    past: list[Seen] = []
    found = []
    for start in range(1800, 4200, 600):
        window = frame.iloc[start : start + 600]
        window = window if labelled else window.drop(columns="target")
        found.append(assess(model, window, settings, frame.iloc[1800:start], past))
        past.append(found[-1].seen)
    return found


def _say_all(one: Assessment) -> list[str]:
    plain = one.plain
    assert plain is not None
    money = [] if plain.money is None else [plain.money]
    return [plain.what, *plain.why, plain.sure, *money, *plain.reverses]


@pytest.mark.parametrize(
    ("scenario", "labelled"), [*((s, True) for s in SCENARIOS), ("covariate", False)]
)
def test_every_sentence_can_be_said_aloud(
    scenario: str, labelled: bool, not_aloud: re.Pattern[str]
) -> None:
    for one in _assess_all(scenario, labelled=labelled):
        sentences = _say_all(one)
        for sentence in sentences:
            assert not_aloud.search(sentence) is None, (sentence, not_aloud.search(sentence))
            assert re.fullmatch(r"[A-Z0-9].*\.", sentence), sentence
            assert "  " not in sentence and "None" not in sentence and "nan" not in sentence
        assert len(set(sentences)) == len(sentences)
        assert one.to_dict()["plain"]["why"] == list(one.plain.why if one.plain else ())


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_other_tasks_say_it_in_their_own_terms(task: str, not_aloud: re.Pattern[str]) -> None:
    told = [" ".join(_say_all(one)) for one in _assess_all("concept", task)]
    assert all(not_aloud.search(words) is None for words in told)
    wrong = "predictions are now off by" if task == "regression" else "now wrong; it was"
    assert any(wrong.lower() in words.lower() for words in told)


def test_a_changed_rule_is_told_with_what_a_newer_model_wins_back() -> None:
    last = _assess_all("concept")[-1]
    assert last.action == "retrain" and last.plain is not None and last.challenger is not None
    rows = last.performance[last.performance["basis"] == "realised"].set_index("metric")
    accuracy = rows.loc["accuracy"]
    now = round(100 * (1 - accuracy["value"]))
    assert last.plain.why[0].startswith((f"{now} predictions in 100", "One ", "Two ", "Three "))
    assert "win back" in last.plain.why[1] and "what a retrain costs" in last.plain.why[1]
    assert "almost certain" in last.plain.sure and "60% is asked" in last.plain.sure


def test_money_is_told_where_prices_are_set_and_only_there() -> None:
    priced = [one.plain.money for one in _assess_all("concept", policy=PRICES) if one.plain]
    assert all(money is not None and "EUR" in money for money in priced)
    assert priced[-1] is not None and "costs about" in priced[-1]
    assert {one.plain.money for one in _assess_all("none") if one.plain} == {None}


def test_broken_columns_are_told_by_name_and_fault() -> None:
    first = next(one for one in _assess_all("outage") if one.action == "investigate")
    assert first.plain is not None
    assert "column f0 is empty" in first.plain.why[0].lower()
    assert "no verdict on the model" in first.plain.why[1]
    assert "your word that its change is for good" in first.plain.reverses[0]


def test_too_few_rows_say_how_many_there_are() -> None:
    settings = Settings.parse({"data": {"source": "synthetic:none"}})
    frame = synthetic.make_scenario("none", rows=2400)
    plain = assess(train(frame, settings), frame.iloc[:9], settings).plain
    assert plain is not None
    assert plain.why[0] == "Only 9 rows came in; at least 30 are needed to say anything."
    assert plain.reverses == ("A window of at least 30 rows.",)


@pytest.mark.parametrize("share", np.linspace(0.0, 1.0, 41))
def test_a_share_in_words_is_near_the_share(share: float) -> None:
    words = plain_numbers.say_share(float(share))
    counts = {word: k for k, word in enumerate(plain_numbers._COUNTS)}
    found = re.fullmatch(r"(\S+) predictions? in (\S+)", words)
    if found is None:
        assert words in ("hardly any prediction", "every prediction")
        return
    part, whole = (counts.get(one) or int(one.replace(",", "")) for one in found.groups())
    assert part / whole == pytest.approx(share, rel=plain_numbers.NEAR, abs=0.006)


@pytest.mark.parametrize("before", [0.004, 0.08, 0.1, 0.23, 0.5])
@pytest.mark.parametrize("factor", [1.03, 1.2, 1.9])
def test_two_shares_can_be_told_apart(before: float, factor: float) -> None:
    now, then = plain_numbers.say_shares(before * factor, before)
    assert re.sub(r" predictions?", "", now).split(" in ")[0] != then or " in " in then


def _trial() -> Trial:
    champion = np.array([np.nan, np.nan, 0.4, 0.4, 0.6, 0.6])
    segments = (TrialSegment(2, 4, 4, gate=False), TrialSegment(4, 6, 6, gate=True))
    losses = {"recent": [np.array([0.3, 0.5]), np.array([0.1, 0.2])], "fading": [None, None]}
    return Trial(segments, losses, champion, [None, None], 2, 6, 2)  # type: ignore[arg-type]


def test_gaps_row_by_row_are_the_champions_less_those_of_fits_on_earlier_rows() -> None:
    wanted = [np.nan, np.nan, 0.1, -0.1, 0.5, 0.4]
    np.testing.assert_allclose(trace_gaps(_trial(), "recent"), wanted)
    # A recipe without a fit is stood in for by the sliding block.
    np.testing.assert_allclose(trace_gaps(_trial(), "fading"), wanted)


@pytest.mark.parametrize("timed", [True, False])
def test_what_newer_models_would_have_lost_is_worked_out_window_by_window(
    timed: bool, tmp_path: Path
) -> None:
    frame = synthetic.make_scenario("concept", rows=7200, onset=3600, seed=3)
    frame = frame.assign(at=pd.date_range("2024-01-01", periods=len(frame), freq="min"))
    path = tmp_path / "rows.parquet"
    frame.to_parquet(path)
    data = {"source": str(path), "target": "target", "window": 600, "reference": 4}
    data |= {"timestamp": "at"} if timed else {"exclude": ["at"]}
    settings = Settings.parse({"data": data})
    dataset = windows.load_dataset(settings, tmp_path)
    model = train(dataset.frame.iloc[:2400], settings)
    last = dataset.windows[-1]
    split = windows.split_at_window(dataset, settings, last.name, 2400)
    found = assess(model, split.current, settings, split.history)
    since = trend.trace_performance(model, dataset, settings, last, 2400, found.performance)
    joined = join_newer(since, found.challenger, dataset)
    assert list(joined.columns) == [*since.columns, "newer"]
    assert found.challenger is not None
    newest = joined.iloc[-1]
    # The last window is where the challenger's own evidence was measured.
    assert newest["newer"] == pytest.approx(found.challenger.challenger_loss, rel=0.02)
    assert newest["newer"] < newest["realised"]
    if timed:
        times, gaps = found.challenger.order.fresh["at"], found.challenger.gaps
        for place, window in enumerate(dataset.windows[-len(joined) :]):
            inside = times.isin(dataset.frame["at"].iloc[window.start : window.stop]).to_numpy()
            graded = gaps[inside & np.isfinite(gaps)]
            expected = joined["realised"].iloc[place] - (graded.mean() if len(graded) else np.nan)
            assert joined["newer"].iloc[place] == pytest.approx(expected, nan_ok=True)
    assert join_newer(since, None, dataset)["newer"].isna().all()


def test_a_model_that_is_never_wrong_is_told_in_good_english() -> None:
    settings = Settings.parse({"data": {"source": "synthetic:none"}})
    x = 0.2 * np.random.default_rng(0).normal(size=6000)
    frame = pd.DataFrame({"x": x, "target": (x > 0.0).astype(int)})
    frame = frame[frame["x"].abs() > 0.05].reset_index(drop=True)
    plain = assess(train(frame.iloc[:2400], settings), frame.iloc[2400:], settings).plain
    assert plain is not None
    words = " ".join(plain.why)
    assert "every prediction is right" in words and " are right" not in words
