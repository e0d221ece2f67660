"""Whether the champion does worse: standard errors, Welch, and the table on known streams."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
import pytest
from scipy import signal, stats

from driftbook.data import synthetic
from driftbook.data.arrays import Floats
from driftbook.model import row_sums, scores
from driftbook.model.row_sums import block_standard_error, difference_half_width
from driftbook.model.training import Model, train
from driftbook.performance import realised as performance
from driftbook.performance.metric_rows import PERFORMANCE_COLUMNS
from driftbook.performance.realised import ScoredRows
from driftbook.settings import Settings

SETTINGS = Settings.parse({"data": {"source": "synthetic:none"}})
REFERENCE, WINDOW = 2400, 1200
REALISED = [*scores.METRICS, "calibration"]


@cache
def stream(scenario: str, seed: int = 0, rows: int = WINDOW) -> tuple[Model, pd.DataFrame]:
    frame = synthetic.make_scenario(scenario, rows=REFERENCE + rows, seed=seed, onset=REFERENCE)
    return train(frame[:REFERENCE], SETTINGS), frame[REFERENCE:].reset_index(drop=True)


def judged(model: Model, current: pd.DataFrame) -> pd.DataFrame:
    return performance.judge_performance(model, current, SETTINGS)


def part(table: pd.DataFrame, basis: str) -> pd.DataFrame:
    return table[table["basis"] == basis].set_index("metric")


def autoregressive(seed: int, n: int, rho: float) -> Floats:
    noise = np.random.default_rng(seed).standard_normal(n + 200)
    made: Floats = signal.lfilter([1.0], [1.0, -rho], noise)[200:]
    return made


def test_standard_error_by_hand() -> None:
    # Two blocks with means 0 and 2: half of their distance.
    assert block_standard_error(np.array([0.0, 0, 0, 0, 2, 2, 2, 2])) == (pytest.approx(1.0), 1)


def test_standard_error_of_equal_blocks_is_that_of_their_means() -> None:
    values = np.random.default_rng(0).standard_normal(16 * 25) + 3.0
    means = values.reshape(16, 25).mean(axis=1)
    assert block_standard_error(values) == (pytest.approx(stats.sem(means)), 15)


@pytest.mark.parametrize(("n", "df"), [(8, 1), (11, 1), (12, 2), (63, 14), (64, 15), (5000, 15)])
def test_a_block_holds_four_rows_at_least(n: int, df: int) -> None:
    found = block_standard_error(np.random.default_rng(n).standard_normal(n))
    assert found[1] == df and 0 < found[0] < np.inf


@pytest.mark.parametrize("n", [0, 1, 7])
def test_too_few_rows_have_no_finite_standard_error(n: int) -> None:
    assert block_standard_error(np.arange(float(n))) == (np.inf, 1)


@pytest.mark.parametrize("n", [320, 333])
def test_standard_error_of_independent_rows_is_sd_over_root_n(n: int) -> None:
    rng = np.random.default_rng(1)
    squares = [block_standard_error(2.0 * rng.standard_normal(n))[0] ** 2 for _ in range(2000)]
    # A mean of 2000 squares on 15 degrees of freedom: its own error is 0.8%.
    assert np.sqrt(np.mean(squares)) == pytest.approx(2.0 / np.sqrt(n), rel=0.02)


def test_standard_error_of_dependent_rows_is_larger_and_its_interval_covers() -> None:
    n, rho, covered, naive, ratios = 1600, 0.8, 0, 0, []
    for seed in range(500):
        values = autoregressive(seed, n, rho)
        error, df = block_standard_error(values)
        plain = float(stats.sem(values))
        ratios.append((error / plain) ** 2)
        covered += bool(abs(values.mean()) <= stats.t.ppf(0.975, df) * error)
        naive += bool(abs(values.mean()) <= 1.96 * plain)
    # Variance of the mean grows by (1 + rho) / (1 - rho) = 9, less a little at the blocks' edges.
    assert 8.0 < np.mean(ratios) < 9.5
    assert 0.92 <= covered / 500 <= 0.98
    assert naive / 500 < 0.6


@pytest.mark.parametrize("confidence", [0.9, 0.996])
def test_difference_is_that_of_welch(confidence: float) -> None:
    rng = np.random.default_rng(2)
    a, b = rng.normal(0.0, 1.0, 16), rng.normal(0.5, 3.0, 9)
    welch = stats.ttest_ind(a, b, equal_var=False).confidence_interval(confidence)
    half = difference_half_width((float(stats.sem(a)), 15), (float(stats.sem(b)), 8), confidence)
    assert half == pytest.approx((welch.high - welch.low) / 2)


def test_difference_at_the_edges() -> None:
    assert difference_half_width((np.inf, 1), (0.1, 15), 0.95) == np.inf
    assert difference_half_width((0.0, 15), (0.0, 15), 0.95) == 0.0
    alone = difference_half_width((0.2, 15), (0.0, 15), 0.95)
    assert alone == pytest.approx(0.2 * stats.t.ppf(0.975, 15))


def test_five_one_sided_calls_share_one_in_a_hundred() -> None:
    assert row_sums.find_worse_confidence(5) == pytest.approx(0.996)
    assert 5 * (1 - row_sums.find_worse_confidence(5)) / 2 == pytest.approx(0.01)


def test_the_table_without_any_change() -> None:
    model, current = stream("none")
    table = judged(model, current)
    assert tuple(table.columns) == PERFORMANCE_COLUMNS
    realised, estimated = part(table, "realised"), part(table, "estimated")
    assert realised.index.tolist() == REALISED
    assert estimated.index.tolist() == list(scores.METRICS)
    assert (table["status"] == "ok").all() and (table["n"] == WINDOW).all()
    assert not table["worse"].any() and performance.find_worse_rows(table).empty
    y, p = current["target"].to_numpy(), model.predict_proba(current)
    before = model.holdout["target"].to_numpy()
    for metric in scores.METRICS:
        row, now = realised.loc[metric], scores.score_metric(metric, y, p)
        base = scores.score_metric(metric, before, model.holdout_scores)
        assert (row["value"], row["ci_low"], row["ci_high"]) == (now.value, now.ci_low, now.ci_high)
        assert (row["baseline"], row["baseline_high"]) == (base.value, base.ci_high)
    gap = realised.loc["calibration"]
    assert gap["value"] == pytest.approx((y - p).mean())
    assert gap["baseline"] == pytest.approx((before - model.holdout_scores).mean())
    np.testing.assert_allclose(table["change"], table["value"] - table["baseline"], atol=1e-12)
    half = (table["change_high"] - table["change_low"]) / 2
    np.testing.assert_allclose(table["change"] - half, table["change_low"], atol=1e-12)


def test_the_interval_of_a_change_of_brier_loss_from_its_blocks() -> None:
    frame = synthetic.make_scenario("none", rows=2560 + WINDOW)
    model, current = train(frame[:2560], SETTINGS), frame[2560:]
    now = np.square(current["target"] - model.predict_proba(current)).to_numpy()
    base = np.square(model.holdout["target"] - model.holdout_scores).to_numpy()
    assert len(now) % 16 == 0 and len(base) % 16 == 0
    means = [values.reshape(16, -1).mean(axis=1) for values in (now, base)]
    welch = stats.ttest_ind(*means, equal_var=False).confidence_interval(0.95)
    row = part(judged(model, current), "realised").loc["brier"]
    assert (row["change_low"], row["change_high"]) == pytest.approx((welch.low, welch.high))


def test_a_changed_rule_is_worse_with_labels_and_unseen_without() -> None:
    model, current = stream("concept")
    table = judged(model, current)
    realised = part(table, "realised")
    assert realised.loc[list(scores.METRICS), "worse"].all()
    assert (realised.loc[["roc_auc", "accuracy"], "change_high"] < 0).all()
    assert (realised.loc[["log_loss", "brier"], "change_low"] > 0).all()
    assert (performance.find_worse_rows(table)["basis"] == "realised").all()
    # The documented limit of an estimate from the inputs alone: they stand.
    unlabelled = judged(model, current.drop(columns="target"))
    assert performance.find_worse_rows(unlabelled).empty


def test_without_labels_only_the_estimate_is_judged() -> None:
    model, current = stream("none")
    for frame in (current.drop(columns="target"), current.assign(target=np.nan)):
        table = judged(model, frame)
        realised = part(table, "realised")
        assert (realised["status"] == "insufficient").all() and (realised["n"] == 0).all()
        assert realised["value"].isna().all() and not realised["worse"].any()
        assert realised["baseline"].notna().all()
        assert (part(table, "estimated")["status"] == "ok").all()


@pytest.mark.parametrize(("labels", "status"), [(29, "insufficient"), (30, "ok")])
def test_few_labels_say_nothing(labels: int, status: str) -> None:
    model, current = stream("concept")
    known = current["target"].where(current.index < labels)
    realised = part(judged(model, current.assign(target=known)), "realised")
    assert realised["n"].tolist() == [labels] * 5
    assert realised.loc[["accuracy", "log_loss", "brier", "calibration"], "status"].eq(status).all()
    assert realised.loc["brier", "value"] > 0 if status == "ok" else realised["value"].isna().all()


def test_few_rows_say_nothing_at_all() -> None:
    model, current = stream("concept")
    for n in (0, 1, 29):
        table = judged(model, current[:n])
        lone = ["insufficient", "one_class"] if n == 1 else ["insufficient"]
        assert table["status"].isin(lone).all() and not table["worse"].any()
        assert table["value"].isna().all() and (table["n"] == n).all()


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_leaves_the_auc_open_and_judges_the_rest(label: int) -> None:
    model, current = stream("none")
    realised = part(judged(model, current.assign(target=label)), "realised")
    assert realised.loc["roc_auc", "status"] == "one_class"
    assert np.isnan(realised.loc["roc_auc", "value"]) and not realised.loc["roc_auc", "worse"]
    assert (realised["status"].drop("roc_auc") == "ok").all()
    assert realised.loc["calibration", "worse"]


def test_an_auc_of_nine_positives_is_not_judged() -> None:
    model, current = stream("none")
    ones = current[current["target"] == 1][:9]
    realised = part(judged(model, pd.concat([current[current["target"] == 0], ones])), "realised")
    assert realised.loc["roc_auc", "status"] == "insufficient"
    assert np.isnan(realised.loc["roc_auc", "value"])
    assert realised.loc["brier", "status"] == "ok"


def test_an_absent_feature_column_is_not_scored() -> None:
    model, current = stream("none")
    table = judged(model, current.drop(columns="f3"))
    assert tuple(table.columns) == PERFORMANCE_COLUMNS
    assert (table["status"] == "not_scored").all() and not table["worse"].any()
    assert table[["value", "baseline", "change"]].isna().all(axis=None)
    assert performance.find_worse_rows(table).empty


def test_labels_besides_zero_and_one_are_unknown() -> None:
    model, current = stream("none")
    odd = current["target"].astype(object)
    odd[:4] = [2, "maybe", None, -1]
    odd[4:6] = ["1", 0.0]
    rows = performance.score_outcomes(model, current.assign(target=odd))
    assert np.isnan(rows.y[:4]).all() and rows.y[4:6].tolist() == [1.0, 0.0]
    np.testing.assert_array_equal(rows.y[6:], current["target"][6:])
    np.testing.assert_array_equal(rows.p, model.predict_proba(current))


def test_better_is_not_worse_and_worse_is_in_every_metric() -> None:
    model, current = stream("none")
    p = model.predict_proba(current)
    right = (p >= 0.5).astype(np.float64)
    better = part(performance.judge_realised(model, ScoredRows(right, p), 30), "realised")
    assert not better.loc[list(scores.METRICS), "worse"].any()
    assert better.loc["accuracy", "change_low"] > 0 > better.loc["brier", "change_high"]
    turned = part(performance.judge_realised(model, ScoredRows(1 - right, p), 30), "realised")
    assert turned.loc[list(scores.METRICS), "worse"].all()


@pytest.mark.parametrize("shift", [-0.15, 0.15])
def test_calibration_is_worse_in_both_directions(shift: float) -> None:
    model, current = stream("none")
    p = model.predict_proba(current)
    chance = np.clip(p + shift, 0, 1)
    y = (np.random.default_rng(0).random(len(p)) < chance).astype(np.float64)
    row = part(performance.judge_realised(model, ScoredRows(y, p), 30), "realised").loc[
        "calibration"
    ]
    assert row["worse"] and np.sign(row["change"]) == np.sign(shift)
    assert row["value"] == pytest.approx((y - p).mean())


def test_worse_rows_take_the_realised_basis_where_there_is_one() -> None:
    def table(status: str, realised: bool) -> pd.DataFrame:
        return pd.DataFrame(
            {
                "metric": ["brier", "brier"],
                "basis": ["realised", "estimated"],
                "status": [status, "ok"],
                "worse": [realised, True],
            }
        )

    assert performance.find_worse_rows(table("ok", False)).empty
    assert performance.find_worse_rows(table("ok", True))["basis"].tolist() == ["realised"]
    assert performance.find_worse_rows(table("insufficient", False))["basis"].tolist() == [
        "estimated"
    ]


def test_windows_without_any_change_are_seldom_called_worse() -> None:
    size, called, unlabelled = 400, 0, 0
    for seed in range(10):
        model, later = stream("none", seed=50 + seed, rows=10 * size)
        for start in range(0, len(later), size):
            table = judged(model, later[start : start + size])
            called += not performance.find_worse_rows(table).empty
            unlabelled += not performance.find_worse_rows(
                table[table["basis"] == "estimated"]
            ).empty
    assert called <= 5, called
    assert unlabelled <= 5, unlabelled


def test_windows_with_a_changed_rule_are_called_worse() -> None:
    model, later = stream("concept", seed=60, rows=4000)
    tables = [judged(model, later[start : start + 400]) for start in range(0, 4000, 400)]
    assert all(len(performance.find_worse_rows(table)) for table in tables)


def test_beside_each_metric_stands_what_no_skill_scores() -> None:
    """Always the share of ones in the training rows: counted by hand on the window's labels."""
    rng = np.random.default_rng(5)
    frame = pd.DataFrame({"x": rng.normal(size=1500)})
    frame["y"] = (rng.uniform(size=1500) < 1.0 / (1.0 + np.exp(-frame["x"]))).astype(int)
    settings = Settings.parse({"data": {"target": "y", "timestamp": None, "window": 500}})
    model = train(frame.iloc[:1000], settings)
    current = frame.iloc[1000:]
    table = performance.judge_performance(model, current, settings)
    found = table[table["basis"] == "realised"].set_index("metric")["no_skill"]
    share = model.outcomes(model.training_rows).mean()
    assert found["brier"] == pytest.approx(np.mean((current["y"] - share) ** 2))
    assert found["accuracy"] == pytest.approx(np.mean(current["y"] == (share >= 0.5)))
    assert found["roc_auc"] == 0.5
    assert np.isnan(found["calibration"])
    assert table.loc[table["basis"] == "estimated", "no_skill"].isna().all()
