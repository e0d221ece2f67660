"""Challengers: what a retrain must earn, honest gates, recipes that learn from the right rows."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special
from sklearn.linear_model import LogisticRegression

from driftbook.data import synthetic
from driftbook.decision import challenger, costs, findings, gap, policy, recipes, retraining, trial
from driftbook.decision.gap import TrialEvidence
from driftbook.decision.trial import Trial, TrialSegment
from driftbook.model import design, logistic
from driftbook.model.row_sums import RowSum
from driftbook.model.tasks import BINARY
from driftbook.model.training import Model, train
from driftbook.settings import PolicySettings, Settings

WINDOW, REFERENCE = 200, 400


def _settings(**terms: Any) -> Settings:
    data = {"source": "synthetic:none", "window": WINDOW}
    return Settings.parse({"data": data, "policy": terms})


@cache
def _stream(scenario: str) -> tuple[Model, pd.DataFrame]:
    """Return a champion and the labelled rows since, all of them after the change."""
    frame = synthetic.make_scenario(scenario, rows=REFERENCE + 5 * WINDOW, seed=2, onset=REFERENCE)
    frame = frame[["f0", "f1", "f2", "f3", "target"]]
    return train(frame.iloc[:REFERENCE], _settings()), frame.iloc[REFERENCE:].reset_index(drop=True)


@cache
def _tried(scenario: str, flipped_from: int | None = None) -> Trial:
    """Return the trial in which the labels of all fresh rows from that one on were flipped."""
    model, rows = _stream(scenario)
    if flipped_from is not None:
        rows = rows.copy()
        rows.loc[flipped_from:, "target"] = 1 - rows.loc[flipped_from:, "target"]
    found = trial.run_trial(model, rows, WINDOW, _settings())
    assert found is not None
    return found


# What a retrain must earn


@given(
    error_cost=st.floats(0.01, 100.0),
    horizon=st.integers(1, 24),
    gain_low=st.floats(1e-4, 0.25),
    slope=st.floats(0.0, 0.05),
)
def test_the_turning_cost_is_where_the_break_even_meets_the_gain(
    error_cost: float, horizon: int, gain_low: float, slope: float
) -> None:
    policy = PolicySettings(error_cost=error_cost, horizon=horizon)
    turn = costs.find_turning_cost(policy, gain_low, slope)
    assert turn > 0.0

    def price(factor: float) -> float:
        cost = turn * factor
        return costs.find_break_even(policy.model_copy(update={"retrain_cost": cost}), slope)[0]

    assert price(0.999) < gain_low < price(1.001)
    assert price(1.0) == pytest.approx(gain_low, rel=1e-9, abs=1e-12)


@given(
    retrain_cost=st.floats(0.0, 1.0),
    error_cost=st.floats(0.01, 10.0),
    horizon=st.integers(1, 24),
    slope=st.floats(0.0, 0.1),
)
def test_the_break_even_by_a_loop(
    retrain_cost: float, error_cost: float, horizon: int, slope: float
) -> None:
    policy = PolicySettings(retrain_cost=retrain_cost, error_cost=error_cost, horizon=horizon)
    totals = []
    for windows in range(1, horizon + 1):
        stale = sum(slope * age for age in range(windows)) / windows
        totals.append(retrain_cost / error_cost / windows + stale)
    cheapest = min(totals)
    price, windows = costs.find_break_even(policy, slope)
    assert price == pytest.approx(max(0.0, cheapest - slope / 2), abs=1e-9)
    assert totals[windows - 1] == pytest.approx(cheapest, abs=1e-9)


def test_a_gap_that_has_lasted_is_credited_for_as_long_again() -> None:
    policy = PolicySettings(retrain_cost=0.03, horizon=6)
    assert costs.find_break_even(costs.credit_windows(policy, 0)) == (pytest.approx(0.005), 6)
    assert costs.find_break_even(costs.credit_windows(policy, 4)) == (pytest.approx(0.005), 6)
    # A gap of 0.003 never pays within six windows; once it has lasted twelve it does.
    assert costs.find_break_even(costs.credit_windows(policy, 12)) == (pytest.approx(0.0025), 12)


def test_costs_at_the_edge() -> None:
    policy = PolicySettings(error_cost=2.0, retrain_cost=0.06, horizon=6)
    assert costs.find_break_even(policy) == (pytest.approx(0.005), 6)
    assert costs.find_turning_cost(policy, 0.005, 0.0) == pytest.approx(0.06)
    assert costs.find_turning_cost(policy, 0.0, 0.0) == 0.0
    assert costs.find_turning_cost(policy, -0.1, 0.3) == 0.0
    free = PolicySettings(error_cost=0.0, horizon=6)
    assert costs.find_break_even(free, 0.1) == (float("inf"), 6)


# Logistic fits


@pytest.mark.parametrize("weighted", [False, True])
def test_the_logistic_fit_is_that_of_scikit_learn(weighted: bool) -> None:
    rng = np.random.default_rng(4)
    inputs = rng.normal(size=(300, 3))
    y = (rng.random(300) < special.expit(inputs @ [1.5, -1.0, 0.0] - 0.5)).astype(np.int64)
    weights = rng.uniform(0.2, 2.0, 300) if weighted else None
    theirs = LogisticRegression(tol=1e-8).fit(inputs, y, sample_weight=weights)
    ours = logistic.fit_logistic(np.column_stack([inputs, np.ones(300)]), y * 1.0, weights)
    assert ours == pytest.approx([*theirs.coef_[0], theirs.intercept_[0]], abs=1e-4)


def test_crossfitted_decisions_come_from_fits_without_their_fold() -> None:
    rng = np.random.default_rng(5)
    inputs = rng.normal(size=(200, 2))
    y = (rng.random(200) < special.expit(2.0 * inputs[:, 0])) * 1.0
    fold = np.arange(200) % 4
    _, found = logistic.fit_crossfitted(np.column_stack([inputs, np.ones(200)]), y, fold, 4)
    for k in range(4):
        fitted = LogisticRegression(tol=1e-8).fit(inputs[fold != k], y[fold != k])
        expected = fitted.decision_function(inputs[fold == k])
        assert found[fold == k] == pytest.approx(expected, abs=1e-3)


def test_a_trial_fit_predicts_what_the_version_it_stands_for_predicts() -> None:
    model, rows = _stream("none")
    frame = pd.concat([model.reference, rows], ignore_index=True)
    frame.loc[::7, "f1"] = np.nan
    part = slice(100, 500)
    table = design.tabulate_rows(frame, model.features, model.outcomes(frame))
    fitted = recipes.fit_block(table, part, None, _settings().model, BINARY)
    assert fitted is not None
    version = train(frame.iloc[part], _settings())
    later = slice(500, 700)
    expected = version.predict_proba(frame.iloc[later])
    assert fitted.predict(table, later) == pytest.approx(expected, abs=2e-3)


# Honest gates


def test_segments_tile_the_window_and_every_fit_is_older_than_what_it_is_graded_on() -> None:
    found = _tried("concept")
    gates = [s for s in found.segments if s.gate]
    past = [s for s in found.segments if not s.gate]
    assert [s.stop for s in gates] == [s.start for s in gates[1:]] + [found.rows]
    assert gates[0].start == found.rows - WINDOW and {s.reach for s in gates} == {found.rows}
    assert past and all(s.reach == s.stop <= gates[0].start for s in past)
    assert min(s.stop - s.start for s in gates) >= _settings().policy.min_rows
    memo = trial.FitMemo(0)
    model, rows = _stream("concept")
    trial.run_trial(model, rows, WINDOW, _settings(), memo)
    assert {key[2] for key in memo.fits} == {s.start for s in found.segments}


@pytest.mark.parametrize("k", range(trial.GATES))
def test_poisoned_gate_labels_change_no_fit_that_is_graded_on_them(k: int) -> None:
    plain = _tried("concept")
    gate = [s for s in plain.segments if s.gate][k]
    found = _tried("concept", gate.start - REFERENCE)
    assert {"recent", "fading", "everything", "weighted", "recalibrated"} <= set(plain.losses)
    for name in plain.losses:
        for segment, before, after in zip(
            plain.segments, plain.losses[name], found.losses[name], strict=True
        ):
            if before is None or after is None or segment.start > gate.start:
                continue
            flipped = max(0, gate.start - segment.start)
            assert before[:flipped] == pytest.approx(after[:flipped], abs=1e-12)
            # |p - y| and |p - (1 - y)| make 1 only where p did not learn of the flip.
            both = np.sqrt(before[flipped:]) + np.sqrt(after[flipped:])
            assert both == pytest.approx(np.ones(len(both)), abs=1e-9)


def test_a_fit_that_learned_from_the_poison_would_be_seen() -> None:
    plain = _tried("concept")
    gates = [k for k, segment in enumerate(plain.segments) if segment.gate]
    found = _tried("concept", plain.segments[gates[0]].start - REFERENCE)
    before, after = plain.losses["recent"][gates[-1]], found.losses["recent"][gates[-1]]
    assert before is not None and after is not None
    assert np.abs(np.sqrt(before) + np.sqrt(after) - 1).max() > 0.01


def test_the_recipe_on_the_gates_was_chosen_without_them() -> None:
    plain = _tried("concept")
    found = _tried("concept", plain.rows - WINDOW - REFERENCE)
    before = [gap.learn_from_trial(t, gates=False) for t in (plain, found)]
    assert before[0].leads and before[0].to_text() == before[1].to_text()
    assert gap.learn_from_trial(plain).to_text() != gap.learn_from_trial(found).to_text()


def test_the_gap_by_a_loop() -> None:
    found = _tried("concept")
    for name in ("recent", "everything", "recalibrated"):
        total = rows = 0.0
        for segment, losses in zip(found.segments, found.losses[name], strict=True):
            if not segment.gate or losses is None:
                continue
            for i in range(segment.start, segment.stop):
                champion = found.champion[i]
                total += float(champion - losses[i - segment.start])
                rows += 1
        measured = gap.measure_gap(found, name)
        assert measured is not None and rows == measured.rows == WINDOW
        assert measured.mean == pytest.approx(total / rows)
    assert gap.measure_gap(found, "no such recipe") is None


def test_leads_count_a_row_once_by_hand() -> None:
    segments = (
        TrialSegment(0, 8, 8, False),
        TrialSegment(8, 16, 24, True),
        TrialSegment(16, 24, 24, True),
    )
    base = [np.full(8, 0.3), np.full(16, 0.4), np.full(8, 0.2)]
    other = [np.full(8, 0.2), np.full(16, 0.1), None]
    losses = {"recent": base, "fading": other}
    found = Trial(segments, losses, np.zeros(24), [None, None, None], 16, 24, 0)
    lead = gap.measure_lead(found, "fading")
    assert lead.rows == 24 and lead.mean == pytest.approx((8 * 0.1 + 16 * 0.3) / 24)
    assert gap.measure_lead(found, "fading", gates=False).mean == pytest.approx(0.1)


def test_a_recipe_must_lead_with_confidence() -> None:
    sure, faint, behind = (
        RowSum(5.0, 1.0, 100, 15),
        RowSum(0.1, 1.0, 100, 15),
        RowSum(-9, 1, 100, 15),
    )
    assert gap.choose_recipe(TrialEvidence({})) == "recent"
    assert gap.choose_recipe(TrialEvidence({"fading": faint, "weighted": behind})) == "recent"
    assert gap.choose_recipe(TrialEvidence({"fading": faint, "weighted": sure})) == "weighted"


def test_a_recipe_that_leans_on_the_old_must_lead_more_surely() -> None:
    # t is 1.34 at 90% and 2.60 at 99% with 15 degrees of freedom.
    lead = RowSum(2.0, 1.0, 100, 15)
    for name, taken in (("fading", "fading"), ("weighted", "recent"), ("recalibrated", "recent")):
        assert gap.choose_recipe(TrialEvidence({name: lead})) == taken
    assert (
        gap.choose_recipe(TrialEvidence({"recalibrated": RowSum(3.0, 1.0, 100, 15)}))
        == "recalibrated"
    )


def test_readings_by_a_loop() -> None:
    found = _tried("concept")
    expected = []
    for segment, losses in zip(found.segments, found.losses["recent"], strict=True):
        if segment.gate or segment.start < REFERENCE or losses is None:
            continue
        gaps = [
            float(found.champion[i] - losses[i - segment.start])
            for i in range(segment.start, segment.stop)
        ]
        expected.append(((segment.stop - REFERENCE) / WINDOW, sum(gaps) / len(gaps)))
    window = gap.measure_gap(found, "recent")
    assert window is not None
    expected.append(((found.rows - REFERENCE) / WINDOW, window.mean))
    readings = gap.read_gaps(found, "recent")
    assert len(readings) >= 3
    assert [(r.age, r.gap) for r in readings] == [pytest.approx(pair) for pair in expected]
    assert readings[-1].variance == pytest.approx(window.error**2)
    # A recipe that was never fitted is stood in for by the sliding block.
    assert gap.read_gaps(found, "no such recipe") == readings


def test_the_gain_is_the_level_of_the_readings() -> None:
    found = _tried("concept")
    known = TrialEvidence({}, motion=gap.GapMotion(0.01, 3.0, 1e-3, 3, 1e-4, 2))
    lasting, moved = gap.expect_gap(found, "recent", known)
    readings = gap.read_gaps(found, "recent")
    assert moved == known.motion + gap.fit_motion(readings)
    loss = float(np.mean(found.champion[REFERENCE:]))
    assert lasting == gap.forecast_level(readings, moved, loss)
    assert 0.0 < lasting.mean < 0.2 and lasting.error < 0.05


def _readings(*gaps: float, error: float = 0.01) -> list[gap.GapReading]:
    return [gap.GapReading(k + 1.0, g, error**2, 15) for k, g in enumerate(gaps)]


def test_a_calm_window_needs_surer_evidence_of_staleness() -> None:
    still, settings = gap.GapMotion(), _settings()
    calm, moved = (challenger.choose_watch(settings, 0.03, calm, 3) for calm in (True, False))
    for size, plain, sure in ((0.005, False, False), (0.02, True, False), (0.035, True, True)):
        readings = _readings(size, size, size)
        assert gap.judge_staleness(readings, still, 0.0, moved).raised is plain
        assert gap.judge_staleness(readings, still, 0.0, calm).raised is sure
    # Less than the luck of two fits is no evidence, however exact; nor is what passes each time.
    exact = _readings(0.01, 0.01, 0.01, error=1e-6)
    assert gap.judge_staleness(exact, still, 0.001, calm).raised
    assert not gap.judge_staleness(exact, still, 0.01, moved).raised
    passing = gap.GapMotion(reversal=0.03**2 * (3 + gap.LASTING_TURNS), turns=3)
    assert not gap.judge_staleness(exact, passing, 0.0, moved).raised


def test_what_paid_goes_on_to_until_the_evidence_turns() -> None:
    sure, likely, gone = RowSum(0.03, 1e-5, 1.0, 15), RowSum(0.011, 1e-2, 1.0, 15), RowSum(0.0)
    low = RowSum(0.002, 1e-6, 1.0, 15)
    for levels, proven, pays in (
        ((sure,), -np.inf, True),
        ((likely,), -np.inf, False),
        ((sure, likely), -np.inf, True),
        ((sure, low), -np.inf, False),
        ((sure, low), 0.02, True),
        ((sure, low), 0.005, False),
        ((low, low), 0.02, False),
        ((sure, gone, likely), -np.inf, False),
    ):
        course = gap.GapCourse(levels, proven)
        assert course.pays(0.01, 0.6) is pays, (levels, proven)
        worth = course.find_worth(0.6)
        assert (worth > 0.01) is pays
        if worth:
            assert course.pays(0.999 * worth, 0.6) and not course.pays(1.001 * worth, 0.6)


def _calm(scenario: str) -> Trial:
    model, rows = _stream(scenario)
    found = trial.run_trial(model, rows, WINDOW, _settings(), calm=True)
    assert found is not None
    return found


def test_luck_is_theory_and_what_fits_on_quarters_differ_by() -> None:
    model, _ = _stream("none")
    found, plain = _calm("none"), _tried("none")
    theory = gap.measure_fit_noise(plain, model)
    p = model.holdout_scores
    assert plain.quarters == ()
    assert theory == pytest.approx(2 * np.mean(p * (1 - p)) * np.sqrt(5) / REFERENCE)
    wide = replace(found, quarters=(0.1, 0.2, 0.3, 0.4))
    sd = np.std([0.1, 0.2, 0.3, 0.4], ddof=1)
    assert gap.measure_fit_noise(wide, model) == pytest.approx(
        np.hypot(theory, np.sqrt(2) * sd / 4)
    )
    assert len(found.quarters) == 4 and theory <= gap.measure_fit_noise(found, model) < 5 * theory


def test_a_quarter_is_every_fourth_row_before_the_window() -> None:
    model, rows = _stream("concept")
    found = _calm("concept")
    both = pd.concat([model.reference, rows], ignore_index=True)
    table = design.tabulate_rows(both, model.features, model.outcomes(both))
    start = found.rows - WINDOW
    part = both.iloc[start - REFERENCE + 1 : start : 4]
    alone = design.tabulate_rows(part, model.features, model.outcomes(part))
    fitted = recipes.fit_block(alone, slice(0, len(part)), None, _settings().model, BINARY)
    assert fitted is not None
    window = slice(start, found.rows)
    loss = np.square(fitted.predict(table, window) - table.y[window]).mean()
    assert found.quarters[1] == pytest.approx(loss, rel=1e-6)


def test_calm_windows_are_tried_once_there_is_a_whole_window_before_them() -> None:
    model, rows = _stream("none")
    window, past = rows.iloc[-WINDOW:], rows.iloc[:-WINDOW]
    for history, tried in ((None, False), (past.iloc[:50], False), (past, True)):
        found = findings.examine_window(model, window, _settings(), history)
        assert found.calm
        assert (found.trial is not None) is tried
    assert policy.assess(model, window, _settings(), past).action == "hold"


def test_staleness_is_found_where_the_rule_turned_and_only_there() -> None:
    for scenario, stale in (("none", False), ("concept", True)):
        model, rows = _stream(scenario)
        found = challenger.weigh_challenger(model, rows, _tried(scenario), _settings())
        assert found is not None and found.stale is stale
        assert found.pays == (found.gain_asked > found.break_even) and found.pays >= stale
        assert found.pays == (found.certainty > _settings().policy.confidence)
        assert (found.certainty > 0.975) == (found.gain_low > found.break_even)
        assert found.measured == pytest.approx(found.champion_loss - found.challenger_loss)
        assert found.gain_low < found.gain < found.gain_high


# Versions and recipes


def test_recalibration_meets_the_new_base_rate() -> None:
    model, rows = _stream("prior")
    block, later = rows.iloc[:600], rows.iloc[600:]
    made = retraining.recalibrate_model(model, block, _settings())
    seen = block.iloc[-REFERENCE:]
    assert made.predict_proba(seen).mean() == pytest.approx(seen["target"].mean(), abs=0.005)
    rate = later["target"].mean()
    assert model.predict_proba(later).mean() < rate - 0.08
    assert made.predict_proba(later).mean() == pytest.approx(rate, abs=0.05)
    # One monotone curve on top of the champion: the order of rows stays.
    order = np.argsort(model.predict_proba(later))
    assert (np.diff(made.predict_proba(later)[order]) >= -1e-12).all()
    assert made.version != model.version and made.origin["base_version"] == model.version


def test_a_recalibrated_version_is_graded_on_rows_it_never_saw() -> None:
    model, rows = _stream("prior")
    block = rows.iloc[:REFERENCE]
    poisoned = block.copy()
    held = REFERENCE - round(REFERENCE * _settings().model.holdout)
    poisoned.loc[held:, "target"] = 1 - poisoned.loc[held:, "target"]
    plain = retraining.recalibrate_model(model, block, _settings())
    found = retraining.recalibrate_model(model, poisoned, _settings())
    assert len(plain.holdout_scores) == REFERENCE - held
    assert found.holdout_scores.tolist() == plain.holdout_scores.tolist()
    assert not np.allclose(found.predict_proba(rows), plain.predict_proba(rows))


@pytest.mark.parametrize(
    ("recipe", "rows"), [("recent", 400), ("fading", 400), ("everything", 1400), ("weighted", 1400)]
)
def test_a_version_learns_from_the_rows_its_recipe_names(recipe: str, rows: int) -> None:
    model, fresh = _stream("concept")
    order = retraining.RetrainOrder(model, fresh, recipe, WINDOW, _settings(), "{}")
    made = retraining.retrain_model(order)
    assert retraining.count_rows_used(order) == len(made.reference) == rows
    newest = pd.concat([model.reference, fresh], ignore_index=True).iloc[-rows:]
    columns = [*model.feature_names, model.target]
    assert made.reference[columns].to_numpy() == pytest.approx(newest[columns].to_numpy())
    assert made.origin["recipe"] == recipe and recipes.count_block_rows(made) == REFERENCE


def test_no_challenger_without_rows_columns_or_a_second_class() -> None:
    model, rows = _stream("concept")
    few = rows.iloc[: _settings().policy.min_rows - 1]
    assert challenger.try_recipes(model, few, few, _settings()) is None
    enough = rows.iloc[: _settings().policy.min_rows]
    assert challenger.try_recipes(model, enough, enough, _settings()) is not None
    assert challenger.try_recipes(model, rows, rows.drop(columns="f0"), _settings()) is None
    bare = rows.drop(columns="target")
    assert challenger.try_recipes(model, bare, bare.iloc[:0], _settings()) is None
    single = rows.assign(target=1)
    order = retraining.RetrainOrder(model, single, "recent", WINDOW, _settings(), "{}")
    assert retraining.count_rows_used(order) is None
    assert retraining.count_rows_used(replace(order, recipe="recalibrated")) is None
    found = challenger.try_recipes(model, single.iloc[-WINDOW:], single, _settings())
    assert found is not None
    assert challenger.weigh_challenger(model, single, found, _settings()) is None


def test_where_one_class_is_left_no_block_is_fitted_and_the_world_is_called_harder() -> None:
    """More than a year of one class: no segment has a sliding block to compare with."""
    frame = synthetic.make_scenario("none", rows=REFERENCE + 40 * WINDOW)
    frame.loc[REFERENCE + 8 * WINDOW :, "target"] = 1
    model = train(frame.iloc[:REFERENCE], _settings())
    current, history = frame.iloc[-WINDOW:], frame.iloc[REFERENCE:-WINDOW]
    fresh = challenger.gather_labelled(model, current, history)
    found = challenger.try_recipes(model, current, fresh, _settings())
    assert found is not None and recipes.BASE_RECIPE not in found.losses
    assert found.losses_of(recipes.BASE_RECIPE) == [None] * len(found.segments)
    assert gap.read_gaps(found, recipes.BASE_RECIPE) == []
    assert gap.measure_gap(found, recipes.BASE_RECIPE) is None
    assessment = policy.assess(model, current, _settings(), history)
    assert assessment.action == "monitor"


def test_gates_are_the_newest_known_rows_where_the_window_has_no_labels() -> None:
    model, rows = _stream("concept")
    known, current = rows.iloc[:-WINDOW], rows.iloc[-WINDOW:].drop(columns="target")
    found = challenger.try_recipes(model, current, known, _settings())
    assert found is not None and found.window == WINDOW
    assert found.rows == len(model.reference) + len(known)


def test_only_zeros_and_ones_are_labels() -> None:
    model, rows = _stream("none")
    odd = rows.iloc[:6].assign(target=[0, 1, np.nan, 2, "1", "late"])
    found = challenger.gather_labelled(model, odd, rows.iloc[6:8])
    assert found["f0"].tolist() == [*rows["f0"].iloc[6:8], *rows["f0"].iloc[[0, 1, 4]]]
    assert len(challenger.gather_labelled(model, rows.drop(columns="target"), None)) == 0


def test_weights_favour_rows_that_resemble_the_window() -> None:
    rng = np.random.default_rng(8)
    alike = rng.random(1000) < 0.5
    alike[-WINDOW:] = True
    frame = pd.DataFrame(
        {"f0": np.where(alike, 2.0, 0.0) + rng.normal(0, 0.5, 1000), "f1": rng.normal(size=1000)}
    )
    frame["target"] = rng.integers(0, 2, 1000)
    model = train(frame, _settings())
    table = design.tabulate_rows(frame, model.features, model.outcomes(frame))
    weights = recipes.weigh_resembling(table, slice(0, 1000), WINDOW)
    older, newest = weights[:-WINDOW], weights[-WINDOW:]
    assert older[alike[:-WINDOW]].mean() > 5 * older[~alike[:-WINDOW]].mean()
    assert (weights >= 0).all() and weights.max() <= recipes.MAX_ODDS and newest.min() >= 1.0
    values = frame["f0"].to_numpy()
    moved = np.average(values[:-WINDOW], weights=older)
    start, goal = values[:-WINDOW].mean(), values[-WINDOW:].mean()
    assert moved > start + 0.8 * (goal - start)
    turned = recipes.weigh_resembling(replace(table, y=1 - table.y), slice(0, 1000), WINDOW)
    assert turned.tolist() == weights.tolist()


def test_fading_weights_halve() -> None:
    assert recipes.weigh_fading(5, 2.0).tolist() == pytest.approx(
        [0.25, 0.5**1.5, 0.5, 0.5**0.5, 1.0]
    )
    part, weights = recipes.plan_rows("fading", stop=900, block=600)
    assert part == slice(300, 900) and weights is not None
    assert weights[-1] / weights[-101] == pytest.approx(2.0)
    assert recipes.plan_rows("recent", stop=900, block=600) == (slice(300, 900), None)
    assert recipes.plan_rows("everything", stop=900, block=600) == (slice(0, 900), None)


def test_one_class_makes_no_fit() -> None:
    model, frame = _stream("none")
    frame = frame.assign(target=0)
    frame.loc[0, "target"] = 1
    table = design.tabulate_rows(frame, model.features, model.outcomes(frame))
    assert recipes.fit_block(table, slice(0, 400), None, _settings().model, BINARY) is None
    frame.loc[1:4, "target"] = 1
    table = design.tabulate_rows(frame, model.features, model.outcomes(frame))
    assert recipes.fit_block(table, slice(0, 400), None, _settings().model, BINARY) is not None


def test_text_keeps_its_commonest_values() -> None:
    text = [f"v{i}" for i in range(design.MAX_CATEGORIES + 5) for _ in range(40 - i // 2)]
    frame = pd.DataFrame({"c": text, "target": np.arange(len(text)) % 2})
    model = train(frame.sample(frac=1.0, random_state=0), _settings())
    table = design.tabulate_rows(frame, model.features, model.outcomes(frame))
    # The rarer values share the last column, as in the version that a trial stands for.
    assert len(table.vocabulary) == design.MAX_CATEGORIES == table.flags.shape[1]
    assert table.vocabulary[0] == "c_v0" and table.vocabulary[-1] == "c_infrequent_sklearn"
    assert f"c_v{design.MAX_CATEGORIES + 4}" not in table.vocabulary
    assert (table.flags.sum(axis=1) == 1.0).all()
