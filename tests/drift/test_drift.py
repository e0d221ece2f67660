"""Drift: what must be flagged, what must not, and at which rates."""

from __future__ import annotations

import gc
import math
import weakref
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftbook.data import synthetic
from driftbook.data.columns import Feature, Kind
from driftbook.drift import reference
from driftbook.drift import report as drift
from driftbook.drift.column_change import ColumnChange, compare_profiles
from driftbook.drift.profile import find_bins, profile_values
from driftbook.model.training import Model, train
from driftbook.settings import DriftSettings, Settings

SETTINGS = Settings.parse({"data": {"source": "synthetic:none"}})
DRIFT = SETTINGS.drift


def change(reference: object, current: object, kind: Kind = "numeric") -> ColumnChange:
    before, after = pd.Series(reference), pd.Series(current)
    bins = find_bins(before, kind)
    return compare_profiles(profile_values(before, bins), profile_values(after, bins), DRIFT)


def model_of(frame: pd.DataFrame, **parts: object) -> Model:
    return train(frame, Settings.parse({"data": {"source": "synthetic:none"}, **parts}))


def scenario(name: str, seed: int = 0, rows: int = 1200) -> tuple[Model, pd.DataFrame]:
    table = synthetic.make_scenario(name, rows=2400 + rows, seed=seed, onset=2400)
    return model_of(table[:2400]), table[2400:].reset_index(drop=True)


@pytest.fixture(scope="module")
def normal() -> tuple[Model, pd.DataFrame]:
    return scenario("none")


def row(report: pd.DataFrame, name: str) -> pd.Series:
    return report[report["feature"] == name].iloc[0]


def test_columns_and_rows_of_the_report(normal: tuple[Model, pd.DataFrame]) -> None:
    model, current = normal
    report = drift.report_drift(model, current, SETTINGS)
    assert tuple(report.columns) == drift.DRIFT_COLUMNS
    assert report["feature"].tolist() == [*model.feature_names, "(prediction)", "(joint)"]
    assert report["kind"].tolist() == ["numeric"] * 8 + ["prediction", "joint"]
    assert report["drift_flag"].dtype == bool and report["matters"].dtype == bool
    assert not report["drift_flag"].any()
    assert report["importance"][:8].sum() == pytest.approx(1.0)


def test_the_reference_against_itself_has_not_moved(normal: tuple[Model, pd.DataFrame]) -> None:
    model, _ = normal
    report = drift.report_drift(model, model.reference, SETTINGS)[:8]
    assert (report[["ks_stat", "psi", "effect"]] == 0.0).all(axis=None)
    assert not report["drift_flag"].any()


def test_the_order_of_rows_changes_no_column(normal: tuple[Model, pd.DataFrame]) -> None:
    model, current = normal
    shuffled = current.sample(frac=1.0, random_state=1)
    first, second = (drift.report_drift(model, frame, SETTINGS) for frame in (current, shuffled))
    pd.testing.assert_frame_equal(first[:8], second[:8])
    assert row(first, "(joint)")["pvalue"] == pytest.approx(row(second, "(joint)")["pvalue"])


def test_a_comparison_leaves_its_inputs_alone(normal: tuple[Model, pd.DataFrame]) -> None:
    model, current = normal
    before = current.copy(deep=True), model.reference.copy(deep=True)
    drift.report_drift(model, current, SETTINGS)
    pd.testing.assert_frame_equal(current, before[0])
    pd.testing.assert_frame_equal(model.reference, before[1])


@pytest.mark.parametrize("size", [40.0, -40.0, math.inf])
def test_a_shift_out_of_the_reference_range_is_found_and_finite(size: float) -> None:
    rng = np.random.default_rng(0)
    found = change(rng.normal(size=1200), rng.normal(size=200) + size)
    assert found.pvalue < 1e-12 and found.ks_stat == 1.0
    assert 1.0 < found.psi < 7.0
    if math.isfinite(size):
        assert found.effect == pytest.approx(size, rel=0.1)


def test_one_missing_value_silences_nothing() -> None:
    rng = np.random.default_rng(1)
    reference, current = rng.normal(size=1200), rng.normal(1.0, 1.0, size=300)
    whole = change(reference, current)
    current[7] = np.nan
    holed = change(reference, current)
    assert holed.status == "ok" and holed.pvalue < 1e-12
    assert holed.effect == pytest.approx(whole.effect, abs=0.02)
    reference[3] = np.nan
    assert change(reference, current).pvalue < 1e-12


@pytest.mark.parametrize("kind", ["numeric", "categorical"])
def test_a_constant_that_moves_is_found(kind: Kind) -> None:
    old, new = (5.0, 6.0) if kind == "numeric" else ("a", "b")
    still = change([old] * 1200, [old] * 100, kind)
    assert (still.status, still.pvalue, still.effect) == ("constant", 1.0, 0.0)
    moved = change([old] * 1200, [new] * 100, kind)
    assert moved.status == "ok" and moved.pvalue < 1e-12
    partly = change([old] * 1200, [old] * 80 + [new] * 20, kind)
    assert partly.pvalue < 1e-6


def test_a_column_that_becomes_constant_is_found() -> None:
    reference = np.random.default_rng(2).normal(size=1200)
    found = change(reference, np.full(100, 0.0))
    assert found.pvalue < 1e-6
    assert found.direction.endswith("one value only")


def test_missing_values_are_a_change_of_their_own() -> None:
    rng = np.random.default_rng(3)
    reference, current = rng.normal(size=1200), rng.normal(size=400)
    current[:60] = np.nan
    found = change(reference, current)
    assert found.pvalue < 1e-12 and found.direction.startswith("more missing (0.0% to 15.0%)")
    gone = change(reference, np.full(400, np.nan))
    assert gone.status == "all_missing" and gone.pvalue < 1e-12
    assert math.isnan(gone.psi) and math.isnan(gone.effect)
    usual = np.where(rng.random(1200) < 0.15, np.nan, reference)
    assert change(usual, current).pvalue > 0.05


def test_too_few_values_are_a_status_and_no_number() -> None:
    found = change(np.arange(100.0), np.arange(9.0))
    assert found.status == "insufficient"
    assert math.isnan(found.pvalue) and math.isnan(found.psi)
    assert change(np.full(50, np.nan), np.arange(50.0)).status == "insufficient"


def test_an_absent_column_is_named_and_silences_only_itself() -> None:
    model, current = scenario("covariate")
    report = drift.report_drift(model, current.drop(columns="f2"), SETTINGS)
    assert row(report, "f2")["status"] == "absent" and not row(report, "f2")["drift_flag"]
    assert row(report, "(prediction)")["status"] == "absent"
    assert row(report, "f0")["drift_flag"]


def test_an_empty_window_is_insufficient_everywhere(normal: tuple[Model, pd.DataFrame]) -> None:
    model, current = normal
    report = drift.report_drift(model, current[:0], SETTINGS)
    assert not report["drift_flag"].any() and (report["status"] != "ok").all()


def test_direction_and_interval_tell_what_happened() -> None:
    rng = np.random.default_rng(4)
    reference = rng.normal(10.0, 2.0, size=3000)
    higher = change(reference, reference[:1500] + 1.0)
    assert higher.direction.startswith("higher by 0.5")
    assert higher.effect_low < 0.5 < higher.effect_high
    wider = change(reference, rng.normal(10.0, 4.0, size=1500))
    assert wider.direction.startswith("wider, sd ×") and wider.pvalue < 1e-12
    levels = ["a"] * 500 + ["b"] * 500
    more = change(levels, ["a"] * 300 + ["b"] * 700, "categorical")
    assert (
        more.direction == "more 'b' (+20.0 points)" or more.direction == "fewer 'a' (-20.0 points)"
    )
    new = change(levels, ["a"] * 400 + ["c"] * 600, "categorical")
    assert new.direction == "more unseen levels (+60.0 points)"


@pytest.mark.parametrize("level", ["b", "new"])
def test_a_category_that_grows_is_found(level: str) -> None:
    rng = np.random.default_rng(5)
    reference = rng.choice(["a", "b", "c"], 1200, p=[0.5, 0.3, 0.2])
    current = reference[:300].copy().astype(object)
    current[:60] = level
    assert change(reference, current, "categorical").pvalue < 1e-3


def test_a_column_of_identifiers_is_sparse_not_drifted() -> None:
    found = change(
        [f"id{i}" for i in range(1200)], [f"id{i}" for i in range(5000, 5300)], "categorical"
    )
    assert found.status == "sparse"


def test_every_shift_of_three_sd_in_three_of_eight_columns_matters() -> None:
    table = synthetic.make_scenario("none", rows=2400, seed=3)
    model = model_of(table[:1200])
    moved = table[1200:].reset_index(drop=True)
    moved[["f0", "f1", "f2"]] += 3.0
    for rows in (50, 200, 1200):
        report = drift.report_drift(model, moved[:rows], SETTINGS)
        assert report["drift_flag"][:3].all() and report["matters"][:3].all()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_useless_columns_are_flagged_and_do_not_matter(seed: int) -> None:
    model, current = scenario("irrelevant", seed)
    report = drift.report_drift(model, current, SETTINGS)
    assert report.loc[report["drift_flag"], "feature"].tolist() == ["f5", "f6", "f7"]
    assert not report["matters"].any()


def test_a_model_without_importance_is_not_a_reason_for_silence() -> None:
    rng = np.random.default_rng(6)
    frame = pd.DataFrame({"a": np.ones(400), "b": np.ones(400), "target": rng.integers(0, 2, 400)})
    model = model_of(frame)
    assert sum(model.importance.values()) == 0.0
    report = drift.report_drift(model, frame.assign(a=2.0), SETTINGS)
    assert row(report, "a")["drift_flag"] and row(report, "a")["matters"]


def test_predictions_have_a_row_of_their_own() -> None:
    table = synthetic.make_scenario("none", rows=3600, seed=4)
    model, current = model_of(table[:2400]), table[2400:].copy()
    for name, sign in zip(model.feature_names[:5], (1, -1, 1, 1, -1), strict=True):
        current[name] += 0.35 * sign
    moved = row(drift.report_drift(model, current, SETTINGS), "(prediction)")
    assert moved["drift_flag"] and moved["matters"] and moved["effect"] > 0.5


def test_predictions_of_a_flexible_model_are_compared_with_the_holdout() -> None:
    table = synthetic.make_scenario("none", rows=3600, seed=5)
    model = model_of(table[:1200], model={"estimator": "hist_gradient_boosting"})
    report = drift.report_drift(model, table[1200:2400].reset_index(drop=True), SETTINGS)
    assert not row(report, "(prediction)")["drift_flag"]


@pytest.mark.parametrize("estimator", ["logistic_regression", "hist_gradient_boosting"])
@pytest.mark.parametrize("share", [0.5, 0.05])
def test_predictions_without_any_signal_have_not_moved(estimator: str, share: float) -> None:
    # The sigmoids of the graded and of the served fit differ tenfold in slope here.
    rng = np.random.default_rng(10)
    for _ in range(6 if estimator == "logistic_regression" else 2):
        frame = pd.DataFrame(rng.normal(size=(1600, 4)), columns=list("abcd"))
        frame["target"] = (rng.random(1600) < share).astype(int)
        frame["c"] = 1.0
        model = model_of(frame[:1200], model={"estimator": estimator})
        report = drift.report_drift(model, frame[1200:].reset_index(drop=True), SETTINGS)
        assert not row(report, "(prediction)")["drift_flag"]


def test_predictions_of_constant_columns_have_not_moved() -> None:
    rng = np.random.default_rng(13)
    frame = pd.DataFrame({"a": np.ones(1600), "target": rng.random(1600) < 0.4}).astype(int)
    report = drift.report_drift(model_of(frame[:1200]), frame[1200:], SETTINGS)
    assert not report["drift_flag"].any()


TIED: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "whole numbers": lambda rng, n: rng.integers(0, 20, n).astype(float),
    "flag": lambda rng, n: (rng.random(n) < 0.3).astype(float),
    "rare flag": lambda rng, n: (rng.random(n) < 0.02).astype(float),
    "mostly zero": lambda rng, n: np.where(rng.random(n) < 0.95, 0.0, rng.exponential(size=n)),
    "tenths": lambda rng, n: np.round(rng.lognormal(size=n), 1),
}


@pytest.mark.parametrize("shape", TIED)
@pytest.mark.parametrize(("before", "rows"), [(1200, 10_000), (20_000, 100_000)])
def test_a_harmless_shift_off_tied_values_is_no_drift(shape: str, before: int, rows: int) -> None:
    rng = np.random.default_rng(14)
    limit = DRIFT.alpha * drift.BUDGETS["column"] / 8
    flags = []
    for _ in range(4):
        old, new = TIED[shape](rng, before), TIED[shape](rng, rows)
        flags.append(change(old, new + 0.05 * old.std()).pvalue < limit)
        assert change(old, new + 0.25 * old.std()).pvalue < limit
    assert sum(flags) <= 1


@pytest.mark.parametrize("rows", [10_000, 100_000])
def test_a_harmless_shift_in_every_column_is_no_drift(rows: int) -> None:
    rng = np.random.default_rng(rows)
    features = tuple(Feature(f"x{i}", "numeric") for i in range(30))
    flags = 0
    for _ in range(3 if rows > 10_000 else 12):
        profiles = {}
        for feature in features:
            old, new = pd.Series(rng.normal(size=1200)), pd.Series(rng.normal(0.05, 1.0, size=rows))
            bins = find_bins(old, "numeric")
            profiles[feature.name] = profile_values(old, bins), profile_values(new, bins)
        before, after = ({k: v[side] for k, v in profiles.items()} for side in (0, 1))
        pvalues = [r["pvalue"] for r in drift.compare_columns(features, before, after, DRIFT)]
        flags += min(pvalues) * 30 / drift.BUDGETS["column"] < DRIFT.alpha
    assert flags <= 1


def draws(make: Callable[[np.random.Generator, int], np.ndarray], n: int, times: int) -> np.ndarray:
    rng = np.random.default_rng(n)
    kind: Kind = "categorical" if make(rng, 1).dtype.kind in "UO" else "numeric"
    return np.array([change(make(rng, 1200), make(rng, n), kind).pvalue for _ in range(times)])


SHAPES: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "normal": lambda rng, n: rng.normal(size=n),
    "cauchy": lambda rng, n: rng.standard_cauchy(n),
    "lognormal": lambda rng, n: np.exp(2.0 * rng.normal(size=n)),
    "poisson": lambda rng, n: rng.poisson(0.5, n).astype(float),
    "rare flag": lambda rng, n: (rng.random(n) < 0.02).astype(float),
    "mostly zero": lambda rng, n: np.where(rng.random(n) < 0.95, 0.0, rng.exponential(size=n)),
    "levels": lambda rng, n: rng.choice(list("abcdef"), n, p=[0.4, 0.3, 0.2, 0.05, 0.04, 0.01]),
    "rare levels": lambda rng, n: (
        np.minimum(1.0 / rng.power(0.3, n), 999.0).astype(int).astype(str)
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("n", [50, 400])
def test_without_drift_small_pvalues_are_as_rare_as_they_say(shape: str, n: int) -> None:
    # 400 windows: 5 of 400 is 2.3 standard deviations above 1%, and 10 of 400 above 2%.
    pvalues = draws(SHAPES[shape], n, 400)
    assert np.mean(pvalues < 0.01) <= 0.0225
    assert np.mean(pvalues < 0.05) <= 0.075


def test_psi_without_drift_is_what_it_is_expected_to_be() -> None:
    rng = np.random.default_rng(7)
    for rows in (50, 400):
        found = [change(rng.normal(size=1200), rng.normal(size=rows)) for _ in range(150)]
        expected = np.mean([c.psi_expected for c in found])
        assert np.mean([c.psi for c in found]) == pytest.approx(expected, rel=0.1)
        assert np.mean([c.psi_low > 0.0 for c in found]) < 0.06
    assert expected == pytest.approx(9 * (1 / 1200 + 1 / 400), rel=0.05)


def test_power_is_that_of_bonferroni_ks_or_better() -> None:
    rng = np.random.default_rng(8)
    limit = DRIFT.alpha * drift.BUDGETS["column"] / 8
    for n, needed in ((100, 0.20), (500, 0.91), (1200, 0.975)):
        found = [change(rng.normal(size=1200), rng.normal(0.25, 1.0, n)).pvalue for _ in range(120)]
        assert np.mean(np.array(found) < limit) >= needed


@given(
    pvalues=st.lists(st.floats(0.0, 1.0), min_size=1, max_size=8),
    data=st.data(),
)
def test_holm_equals_a_loop(pvalues: list[float], data: st.DataObject) -> None:
    weights = [data.draw(st.sampled_from([0.03, 0.1, 0.5])) for _ in pvalues]
    left, reached, expected = sum(weights), 0.0, {}
    for place in sorted(range(len(pvalues)), key=lambda i: pvalues[i] / weights[i]):
        reached = max(reached, min(1.0, pvalues[place] / weights[place] * left))
        expected[place] = reached
        left -= weights[place]
    found = drift.holm_adjust(np.array(pvalues), np.array(weights))
    assert found == pytest.approx([expected[i] for i in range(len(pvalues))])


def test_holm_leaves_unknown_pvalues_out() -> None:
    found = drift.holm_adjust(np.array([0.01, np.nan, 0.02]), np.ones(3))
    assert found[[0, 2]].tolist() == [0.02, 0.02] and math.isnan(found[1])


def test_the_reference_side_is_computed_once_and_goes_with_its_model() -> None:
    model, _ = scenario("none", seed=9)
    known = reference.find_reference(model)
    assert reference.find_reference(model) is known
    assert known.profiles is known.profiles
    twin = model_of(model.reference)
    assert twin.version == model.version
    assert reference.find_reference(twin) is not known
    gone = weakref.ref(known)
    del model, known
    gc.collect()
    assert gone() is None


def test_settings_of_drift_reach_the_decision(normal: tuple[Model, pd.DataFrame]) -> None:
    model, current = normal
    moved = current.assign(f0=current["f0"] + 0.3)
    for loose, flagged in ((DriftSettings(), True), (DriftSettings(min_effect=0.6), False)):
        report = drift.report_drift(model, moved, SETTINGS.model_copy(update={"drift": loose}))
        assert row(report, "f0")["drift_flag"] == flagged
