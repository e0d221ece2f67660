"""Estimates graded by windows whose labels came: weights, intervals, and what they gain."""

import numpy as np
import pandas as pd
import pytest

from driftbook.data.synthetic import make_scenario
from driftbook.model.training import Model, train
from driftbook.performance import estimate_mix, realised
from driftbook.performance.estimate_mix import Estimate, GradedWindow, mix_estimates, weigh_methods
from driftbook.settings import Settings


def graded(values: tuple[float, ...], came: float, luck: float = 0.1) -> GradedWindow:
    return GradedWindow(np.array(values), came, luck)


def asked(*values: float) -> list[Estimate]:
    return [Estimate(f"m{k}", v, 0.05**2, np.zeros(3)) for k, v in enumerate(values)]


def test_weights_fall_with_the_square_of_the_mean_squared_error() -> None:
    past = [graded((0.5, 0.8), 0.5), graded((0.6, 0.9), 0.6)]
    # Errors 0 and 0.3 twice, and one window of luck 0.1: means of squares 0.01/3 and 0.19/3.
    expected = np.array([1.0, (1 / 19) ** 2])
    assert weigh_methods(past) == pytest.approx(expected / expected.sum())
    assert weigh_methods([graded((0.5, 0.7), 0.6)]) == pytest.approx([0.5, 0.5])


def test_the_mean_covers_what_methods_are_apart_and_what_they_were_off_by() -> None:
    calm = [graded((0.5, 0.5), 0.5)]
    alike = mix_estimates(asked(0.7, 0.7), calm)
    assert (alike.value, alike.variance) == pytest.approx((0.7, 0.05**2))
    apart = mix_estimates(asked(0.6, 0.8), calm)
    assert (apart.value, apart.variance) == pytest.approx((0.7, 0.05**2 + 0.1**2))
    # Off by 0, 0.1 and, where the rule changed, by 0.4: the middle one counts.
    wide = mix_estimates(asked(0.7, 0.7), [*calm, graded((0.9, 0.9), 0.5), graded((0.6, 0.6), 0.5)])
    assert np.sqrt(wide.variance) == pytest.approx(1.4826 * 0.1)
    assert alike.method == "all methods, graded on 1 window"
    assert wide.method == "all methods, graded on 3 windows"


def test_without_grades_disagreement_widens() -> None:
    found = estimate_mix.widen_by_others(asked(0.7, 0.7, 0.4))
    assert (found.value, found.variance) == pytest.approx((0.7, 0.05**2 + 0.03))
    assert estimate_mix.widen_by_others(asked(0.7)).variance == pytest.approx(0.05**2)


def test_a_method_without_a_say_is_neither_blamed_nor_does_it_widen() -> None:
    past = [graded((np.nan, 0.8), 0.5)]
    expected = np.array([1.0, ((0.01) / (0.1 / 2)) ** 2])
    assert weigh_methods(past) == pytest.approx(expected / expected.sum())
    assert mix_estimates(asked(0.7, 0.7), past).variance == pytest.approx(0.05**2)


def test_a_method_that_was_never_off_takes_all() -> None:
    past = [graded((0.5, 0.8), 0.5, luck=0.0)]
    assert weigh_methods(past) == pytest.approx([1.0, 0.0])


SETTINGS = Settings.parse({"data": {"source": "synthetic:none"}})


def changed(rows: int = 9_600) -> tuple[Model, pd.DataFrame]:
    frame = make_scenario("concept", rows=rows, onset=2400, seed=3)
    return train(frame.iloc[:2400], SETTINGS), frame.iloc[2400:].reset_index(drop=True)


def test_after_a_changed_rule_grading_leaves_the_reference_behind() -> None:
    model, rows = changed()
    history, window = rows[:6000], rows[6000:].reset_index(drop=True)
    blind = window.drop(columns="target")
    found = realised.judge_performance(model, blind, SETTINGS, history)
    alone = realised.judge_performance(model, blind, SETTINGS)
    came = realised.judge_performance(model, window, SETTINGS)
    for metric in model.task.metrics:
        true = came.query(f"basis == 'realised' and metric == '{metric}'")["value"].iloc[0]
        row = found.query(f"basis == 'estimated' and metric == '{metric}'").iloc[0]
        told = alone.query(f"basis == 'estimated' and metric == '{metric}'")["value"].iloc[0]
        assert abs(row["value"] - true) < 0.3 * abs(told - true)
        assert row["ci_low"] <= true <= row["ci_high"]
    assert (found["basis"] == "alternative").sum() == 8 * len(model.task.metrics)
    assert not found.query("basis == 'alternative'")["worse"].any()


def test_newest_labels_of_one_class_grade_the_reference_alone() -> None:
    model, rows = changed()
    history = rows[:5000].copy()
    history.loc[2500:, "target"] = 0
    blind = rows[5000:5400].drop(columns="target").reset_index(drop=True)
    found = realised.judge_performance(model, blind, SETTINGS, history)
    row = found.query("basis == 'estimated' and metric == 'brier'").iloc[0]
    assert row["method"] == "all methods, graded on 6 windows" and row["status"] == "ok"
    assert not found["method"].fillna("").str.contains("recent labels").any()


def test_a_window_with_its_own_labels_is_not_graded() -> None:
    model, rows = changed(4800)
    found = realised.judge_performance(model, rows[1200:], SETTINGS, rows[:1200])
    methods = found.query("basis == 'estimated'")["method"]
    assert not methods.str.startswith(estimate_mix.MIXED).any()


def test_without_drift_intervals_hold_what_comes_true() -> None:
    covered = []
    for seed in range(12):
        frame = make_scenario("none", rows=6000, seed=seed)
        model, later = train(frame.iloc[:2000], SETTINGS), frame.iloc[2000:]
        for k in range(4):
            history = later.iloc[: 500 + 600 * k].reset_index(drop=True)
            window = later.iloc[500 + 600 * k : 1100 + 600 * k].reset_index(drop=True)
            blind = window.drop(columns="target")
            found = realised.judge_performance(model, blind, SETTINGS, history)
            row = found.query("basis == 'estimated' and metric == 'brier'").iloc[0]
            p = model.predict_proba(window)
            came = float(np.square(window["target"] - p).mean())
            covered.append(row["ci_low"] <= came <= row["ci_high"])
            assert not row["worse"]
    assert np.mean(covered) >= 0.9
