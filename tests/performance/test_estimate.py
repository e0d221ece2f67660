"""Performance without labels: for-loops, simulated outcomes, known shifts, and what it misses."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
import pytest
from scipy import special

from driftbook.data import synthetic
from driftbook.data.arrays import Floats
from driftbook.decision import policy
from driftbook.model import scores
from driftbook.model.encoding import find_encoding
from driftbook.model.training import Model, train
from driftbook.performance import estimate_mix, estimated, outcome_chance
from driftbook.performance import realised as performance
from driftbook.performance.baseline import find_baseline
from driftbook.settings import Settings

SETTINGS = Settings.parse({"data": {"source": "synthetic:none"}})


def chances(seed: int, n: int, a: float = 2.0, b: float = 3.0) -> Floats:
    p: Floats = np.random.default_rng(seed).beta(a, b, n)
    return p


def outcomes(seed: int, chance: Floats) -> Floats:
    drawn: Floats = (np.random.default_rng(seed).random(len(chance)) < chance).astype(np.float64)
    return drawn


@cache
def stream(scenario: str, seed: int = 0, reference: int = 2400) -> tuple[Model, pd.DataFrame]:
    frame = synthetic.make_scenario(scenario, rows=reference + 2400, seed=seed, onset=reference)
    return train(frame[:reference], SETTINGS), frame[reference:].reset_index(drop=True)


def judged(
    model: Model, current: pd.DataFrame, history: pd.DataFrame | None = None
) -> pd.DataFrame:
    table = performance.judge_performance(model, current, SETTINGS, history)
    return table[table["basis"] != "realised"]


def counts(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["basis"] == "estimated"].set_index("metric")


def curved(seed: int, n: int, centre: float, spread: float) -> pd.DataFrame:
    """A rule that a linear champion misses: the chance bends in x, and z is noise."""
    rng = np.random.default_rng(seed)
    x = rng.normal(centre, spread, n)
    frame = pd.DataFrame({"x": x, "z": rng.normal(size=n)})
    drawn = rng.random(n) < special.expit(1.5 * x - 1.2 * np.square(np.maximum(x, 0.0)))
    return frame.assign(target=drawn.astype(int))


def expected_values(p: Floats, chances: Floats) -> dict[str, float]:
    return {metric: one.value for metric, one in estimated.expect_metrics(p, chances).items()}


def by_loop(p: Floats, chance: Floats) -> dict[str, float]:
    n = len(p)
    brier = loss = right = won = pairs = 0.0
    for i in range(n):
        c = chance[i]
        brier += (c * (1 - p[i]) ** 2 + (1 - c) * p[i] ** 2) / n
        loss -= (c * np.log(p[i]) + (1 - c) * np.log(1 - p[i])) / n
        right += (c if p[i] >= 0.5 else 1 - c) / n
        for j in range(n):
            if i != j:
                weight = c * (1 - chance[j])
                pairs += weight
                won += weight * (1.0 if p[i] > p[j] else 0.5 if p[i] == p[j] else 0.0)
    return {"brier": brier, "log_loss": loss, "accuracy": right, "roc_auc": won / pairs}


@pytest.mark.parametrize("decimals", [1, 12])
@pytest.mark.parametrize("n", [2, 3, 40])
def test_expectation_equals_the_for_loop(n: int, decimals: int) -> None:
    p = np.clip(np.round(chances(1, n), decimals), 0.1, 0.9)
    assert expected_values(p, p) == pytest.approx(by_loop(p, p), abs=1e-12)
    chance = chances(2, n)  # probabilities that are not the chances
    assert expected_values(p, chance) == pytest.approx(by_loop(p, chance), abs=1e-12)


def test_expectation_by_hand() -> None:
    found = expected_values(np.array([0.8, 0.4]), np.array([0.8, 0.4]))
    assert found["accuracy"] == pytest.approx((0.8 + 0.6) / 2)
    assert found["brier"] == pytest.approx((0.8 * 0.2 + 0.4 * 0.6) / 2)
    # One pair of each class: the first is the positive with 0.8 * 0.6, the second with 0.4 * 0.2.
    assert found["roc_auc"] == pytest.approx(0.48 / 0.56)


def test_expectation_is_the_mean_score_of_simulated_outcomes() -> None:
    p = np.round(chances(3, 300), 2).clip(0.01, 0.99)
    expected = estimated.expect_metrics(p, p)
    drawn = [outcomes(1000 + seed, p) for seed in range(400)]
    for metric in scores.METRICS:
        values = np.array([scores.score_metric(metric, y, p).value for y in drawn])
        error = values.std(ddof=1) / np.sqrt(len(values))
        assert abs(values.mean() - expected[metric].value) < 3.5 * error
        # Outcomes spread as the slope says: the interval's share of what comes true.
        spread = np.sqrt(np.square(expected[metric].slope) @ (p * (1 - p)))
        assert values.std(ddof=1) == pytest.approx(spread, rel=0.12)


def test_slope_is_the_derivative_by_each_rows_chance() -> None:
    p, chance = np.round(chances(4, 400), 2).clip(0.01, 0.99), chances(5, 400)
    found = estimated.expect_metrics(p, chance)
    for row in (0, 7, 399):
        step = np.where(np.arange(400) == row, 1e-4, 0.0)
        up, down = (expected_values(p, chance + sign * step) for sign in (1, -1))
        for metric in scores.METRICS:
            slope = (up[metric] - down[metric]) / 2e-4
            # A row paired with itself, which the slope of the AUC leaves in, weighs 1 / n.
            near = 1e-5 if metric == "roc_auc" else 1e-9
            assert found[metric].slope[row] == pytest.approx(slope, abs=near)


def test_influence_is_the_spread_over_resampled_rows() -> None:
    p, chance = chances(6, 500), chances(6, 500) * 0.9
    found = estimated.expect_metrics(p, chance)
    rng = np.random.default_rng(0)
    drawn = [rng.integers(0, 500, 500) for _ in range(400)]
    again = [expected_values(p[rows], chance[rows]) for rows in drawn]
    for metric in scores.METRICS:
        spread = np.std([one[metric] for one in again])
        influence = found[metric].influence
        assert influence.mean() == pytest.approx(0.0, abs=1e-12)
        assert influence.std() / np.sqrt(500) == pytest.approx(spread, rel=0.12)


def test_equal_probabilities_rank_nothing_and_certain_ones_have_no_auc() -> None:
    flat = np.full(20, 0.3)
    assert expected_values(flat, flat)["roc_auc"] == pytest.approx(0.5)
    ones = np.ones(20)
    assert np.isnan(expected_values(ones, ones)["roc_auc"])


def test_order_of_rows_changes_no_expectation() -> None:
    p, chance = np.round(chances(4, 50), 1).clip(0.1, 0.9), chances(5, 50)
    mixed = np.random.default_rng(0).permutation(50)
    assert expected_values(p[mixed], chance[mixed]) == pytest.approx(expected_values(p, chance))


def test_one_estimate_a_metric_counts_and_the_others_stand_beside_it() -> None:
    model, current = stream("none")
    table = judged(model, current[:1200])
    chosen = counts(table)
    assert chosen.index.tolist() == list(scores.METRICS)
    assert (chosen["method"] == "CBPE").all()  # same inputs, and a linear rule
    others = table[table["basis"] == "alternative"]
    assert set(others["method"]) == {"PAPE"} and not others["worse"].any()
    assert (table["status"] == "ok").all()
    assert (table["ci_low"] < table["value"]).all() and (table["value"] < table["ci_high"]).all()


def test_labels_of_the_window_are_not_looked_at() -> None:
    model, current = stream("none")
    blind = judged(model, current[:600].drop(columns="target"))
    for label in (0, 1):
        pd.testing.assert_frame_equal(
            judged(model, current[:600].assign(target=label)).reset_index(drop=True),
            blind.reset_index(drop=True),
        )


def test_weights_are_the_ratio_of_the_densities() -> None:
    model, current = stream("none")
    base = find_baseline(model).calibration_rows
    moved = current.assign(f0=current["f0"] + 0.7)  # f1 follows f0 no more: two columns matter
    found = outcome_chance.weigh_resemblance(base.design, base.encoding.bent(moved))
    assert found.seen
    x, y = (model.reference[name].to_numpy() for name in ("f0", "f1"))
    # Normal inputs of correlation 0.5: the log ratio is linear in both.
    ratio = np.exp(0.7 * (x - 0.5 * y) / 0.75 - 0.5 * 0.49 / 0.75)
    assert np.corrcoef(np.log(found.weights), np.log(ratio))[0, 1] > 0.95
    for column in (x, y):
        weighted = np.average(column, weights=found.weights)
        assert weighted == pytest.approx(np.average(column, weights=ratio), abs=0.1)


def test_a_window_of_the_same_kind_is_seldom_told_apart() -> None:
    model, current = stream("none")
    base = find_baseline(model).calibration_rows
    told = [
        outcome_chance.weigh_resemblance(base.design, base.encoding.bent(current[a : a + 200])).seen
        for a in range(0, 2400, 200)
    ]
    assert sum(told) <= 1


def test_weights_reproduce_the_truth_under_a_shift_where_cbpe_is_off() -> None:
    model = train(curved(1, 6000, 0.0, 1.0), SETTINGS)
    window = curved(2, 3000, 1.2, 0.6)
    table = judged(model, window)
    big = curved(3, 200_000, 1.2, 0.6)
    y, p = big["target"].to_numpy(), model.predict_proba(big)
    for metric in ("accuracy", "brier", "log_loss"):
        truth = scores.score_metric(metric, y, p).value
        rows = table[table["metric"] == metric].set_index("method")
        off = (rows["value"] - truth).abs()
        assert off["CBPE"] > 0.03
        assert off["PAPE"] < 0.7 * off["CBPE"]
        assert off["PAPE + columns"] < 0.5 * off["CBPE"]
        assert rows.loc["PAPE + columns", "basis"] == "estimated"


def test_columns_are_used_only_where_they_say_more_than_the_score() -> None:
    assert not find_baseline(stream("none")[0]).calibration_rows.informative
    assert find_baseline(train(curved(1, 3000, 0.0, 1.0), SETTINGS)).calibration_rows.informative


@pytest.mark.parametrize("scenario", ["none", "covariate"])
def test_the_interval_covers_what_comes_true(scenario: str) -> None:
    covered, n = dict.fromkeys(scores.METRICS, 0), 0
    for seed in range(8):
        model, later = stream(scenario, seed=300 + seed, reference=1200)
        for start in range(0, 2400, 400):
            window, n = later[start : start + 400], n + 1
            found, p = counts(judged(model, window)), model.predict_proba(window)
            for metric in scores.METRICS:
                came = scores.score_metric(metric, window["target"].to_numpy(), p).value
                row = found.loc[metric]
                covered[metric] += bool(row["ci_low"] <= came <= row["ci_high"])
    # 95% of 48, and windows of one model share its luck.
    assert min(covered.values()) >= 0.89 * n, covered


def test_the_interval_narrows_with_more_rows_but_not_below_the_calibrations_share() -> None:
    model, current = stream("none")
    widths = []
    for n in (60, 600, 120_000):
        rows = pd.concat([current] * (1 + n // 2400), ignore_index=True)[:n]
        row = counts(judged(model, rows)).loc["brier"]
        widths.append(row["ci_high"] - row["ci_low"])
    assert widths[0] > widths[1] > widths[2] > 0.002


def test_a_changed_rule_on_the_same_inputs_is_not_seen() -> None:
    model, current = stream("concept")
    found = counts(judged(model, current))
    assert not found["worse"].any()
    realised = scores.score_metric("roc_auc", current["target"], model.predict_proba(current))
    assert realised.ci_high < found.loc["roc_auc", "ci_low"] - 0.2


def test_newer_labels_calibrate_the_estimate_where_they_are_known() -> None:
    model, current = stream("concept")
    history, window = current[:1200], current[1200:]
    found = counts(judged(model, window, history))
    assert found["method"].str.endswith(estimated.RECENT).all()
    p = model.predict_proba(window)
    for metric in scores.METRICS:
        came = scores.score_metric(metric, window["target"], p)
        assert abs(found.loc[metric, "value"] - came.value) < 0.06
    assert found.loc[["brier", "log_loss"], "worse"].all()
    few = judged(model, window, history[: estimated.MIN_HISTORY - 1])
    pd.testing.assert_frame_equal(few, judged(model, window))


def test_history_reaches_the_estimate_through_assess() -> None:
    model, current = stream("concept")
    blind = current[1200:].drop(columns="target").reset_index(drop=True)
    found = policy.assess(model, blind, SETTINGS, current[:1200].reset_index(drop=True))
    assert counts(found.performance)["method"].str.startswith(estimate_mix.MIXED).all()
    alone = policy.assess(model, blind, SETTINGS)
    assert not counts(alone.performance)["worse"].any()
    assert "cannot show a changed rule" in alone.reason


def test_history_of_one_class_or_without_a_column_is_left_aside() -> None:
    model, current = stream("none")
    alone = judged(model, current[1200:])
    for history in (
        current[:1200].assign(target=1),
        current[:1200].assign(target=np.nan),
        current[:1200].drop(columns="f0"),
        current[:0],
    ):
        pd.testing.assert_frame_equal(judged(model, current[1200:], history), alone)


def test_the_same_arguments_give_the_same_table() -> None:
    frame = synthetic.make_scenario("covariate", rows=3600, seed=5, onset=2400)
    first, second = (train(frame[:2400], SETTINGS) for _ in range(2))
    table = judged(first, frame[2400:])
    pd.testing.assert_frame_equal(table, judged(first, frame[2400:]))
    pd.testing.assert_frame_equal(table, judged(second, frame[2400:].copy()))


@pytest.mark.parametrize(("n", "status"), [(0, "insufficient"), (29, "insufficient"), (30, "ok")])
def test_too_few_rows_estimate_nothing(n: int, status: str) -> None:
    model, current = stream("none")
    found = judged(model, current[:n])
    assert (found["status"] == status).all()
    assert found["value"].isna().all() == (status == "insufficient")
    assert found["baseline"].notna().all() and not found["worse"].any()


def test_odd_columns_neither_stop_nor_bend_the_estimate() -> None:
    rng = np.random.default_rng(7)
    frame = synthetic.make_scenario("none", rows=2400, seed=7)
    frame = frame.assign(
        constant=1.0,
        empty=np.nan,
        word=rng.choice(["a", "b", None], 2400),
        gaps=np.where(rng.random(2400) < 0.3, np.nan, rng.normal(size=2400)),
    )
    model = train(frame[:1800], SETTINGS)
    window = frame[1800:].assign(word="new", gaps=np.nan, f7=np.inf)
    found = counts(judged(model, window))
    assert (found["status"] == "ok").all() and np.isfinite(found["ci_high"]).all()
    missing = performance.judge_performance(model, window.drop(columns="gaps"), SETTINGS)
    assert (missing["status"] == "not_scored").all() and missing["value"].isna().all()


def test_a_holdout_with_hardly_any_positive_has_no_estimated_auc() -> None:
    frame = synthetic.make_scenario("none", rows=2400, seed=8)
    rare = frame["target"].where(frame.index < 1800, 0)
    rare.iloc[-3:] = 1
    model = train(frame.assign(target=rare), SETTINGS)
    found = counts(judged(model, frame))
    assert found.loc["roc_auc", "status"] == "insufficient"
    assert np.isnan(found.loc["roc_auc", "value"])
    assert (found["status"].drop("roc_auc") == "ok").all()


def test_an_uncertain_window_is_seen_to_be_worse_without_labels() -> None:
    frame = synthetic.make_scenario("none", rows=4800, seed=9)
    model, later = train(frame[:2400], SETTINGS), frame[2400:]
    log_odds = special.logit(model.predict_proba(later))
    near = later[np.abs(log_odds) < 0.6]  # only rows near a half come
    assert counts(judged(model, near))["worse"].all()
    far = later[np.abs(log_odds) > 1.0]
    assert not counts(judged(model, far))["worse"].any()


def test_a_boosted_champion_is_calibrated_on_its_holdout_alone() -> None:
    settings = Settings.parse(
        {"data": {"source": "synthetic:none"}, "model": {"estimator": "hist_gradient_boosting"}}
    )
    frame = synthetic.make_scenario("none", rows=1600, seed=10)
    model = train(frame[:1200], settings)
    base = find_baseline(model).calibration_rows
    assert len(base.y) == len(model.holdout)
    np.testing.assert_allclose(base.inputs[:, 0], scores.to_log_odds(model.holdout_scores))
    assert (
        counts(performance.judge_performance(model, frame[1200:], settings))["status"] == "ok"
    ).all()


def test_dependent_rows_widen_the_calibrations_error() -> None:
    rng = np.random.default_rng(11)
    base = find_baseline(stream("none")[0]).calibration_rows
    plain = outcome_chance.calibrate_chances(base)
    shared = np.repeat(rng.normal(size=16), len(base.y) // 16)  # a mood of each stretch of rows
    drawn = rng.random(len(shared)) < special.expit(base.inputs[: len(shared), 0] + shared)
    moody = outcome_chance.CalibrationRows(
        base.encoding, base.columns, drawn * 1.0, base.design, base.inputs[: len(shared)],
        informative=False, recent=False,
    )  # fmt: skip
    wide = outcome_chance.calibrate_chances(moody)
    assert wide.covariance[-1, -1] > 8 * plain.covariance[-1, -1]


def test_a_score_that_points_the_wrong_way_is_not_used() -> None:
    base = find_baseline(stream("none")[0]).calibration_rows
    turned = outcome_chance.CalibrationRows(
        base.encoding, base.columns, 1.0 - base.y, base.design, base.inputs,
        informative=False, recent=False,
    )  # fmt: skip
    found = outcome_chance.calibrate_chances(turned, columns=True)
    assert found.used.tolist() == [2]
    assert found.chances(base.inputs)[0] == pytest.approx(turned.y.mean(), abs=0.005)


@pytest.mark.parametrize("rows", [1, 8191, 8192, 20_000])
def test_sums_in_blocks_are_those_of_the_whole_design(rows: int) -> None:
    rng = np.random.default_rng(8)
    frame = pd.DataFrame(
        {
            "x": rng.normal(size=rows + 3000),
            "holes": np.where(
                rng.random(rows + 3000) < 0.1, np.nan, rng.exponential(size=rows + 3000)
            ),
            "place": rng.choice(["a", "b", "c"], rows + 3000),
            "target": rng.integers(0, 2, rows + 3000),
        }
    )
    model = train(frame[:3000], SETTINGS)
    known, window = find_encoding(model.reference, model.features), frame[3000:]
    design = known.bent(window)
    # Column, hinges and constant of each number, one flag for the gaps, one for each place.
    assert design.shape == (rows, 2 + 4 + 4 + 1 + 3 + 1)
    coefficients = rng.normal(size=design.shape[1])
    np.testing.assert_allclose(
        known.sum_bent(window, coefficients), design @ coefficients, rtol=0.0, atol=1e-12
    )


def test_a_long_window_is_told_apart_by_every_kth_row() -> None:
    model, current = stream("none")
    base = find_baseline(model).calibration_rows
    many = pd.concat([current] * 5, ignore_index=True)
    p = model.predict(many)
    thinned = many.iloc[outcome_chance.thin_rows(len(many))]
    assert len(many) > outcome_chance.MOST_TOLD >= len(thinned)
    whole, part = (
        outcome_chance.weigh_resemblance(base.design, base.encoding.bent(rows))
        for rows in (many, thinned)
    )
    np.testing.assert_allclose(whole.weights, part.weights, rtol=1e-9)
    inputs = base.window(p, many)
    np.testing.assert_allclose(
        inputs[:, 1],
        np.clip(
            base.encoding.bent(many) @ base.columns,
            base.inputs[:, 1].min(),
            base.inputs[:, 1].max(),
        ),
        atol=1e-12,
    )


def test_of_very_many_rows_a_sample_is_estimated(monkeypatch: pytest.MonkeyPatch) -> None:
    model, window = stream("covariate")
    blind = window.drop(columns="target")
    whole = counts(judged(model, blind))
    monkeypatch.setattr(estimated, "MOST_ESTIMATED", 1200)
    drawn = counts(judged(model, blind))
    assert (whole["n"] == 2400).all() and (drawn["n"] == 1200).all()
    half = (drawn["ci_high"] - drawn["ci_low"]) / 2
    assert (half > (whole["ci_high"] - whole["ci_low"]) / 2).all()
    apart = (drawn["value"] - whole["value"]).abs()
    assert (apart > 0).all() and (apart < half).all()
    pd.testing.assert_frame_equal(drawn, counts(judged(model, blind)))
