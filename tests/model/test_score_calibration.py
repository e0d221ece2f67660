"""Calibration: on later rows, only where it surely helps, and never against the rank order."""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st
from scipy import optimize, special
from sklearn.linear_model import LogisticRegression

from driftbook.data import windows
from driftbook.data.arrays import Floats
from driftbook.model import compilation, design, scores, scoring, training
from driftbook.model.calibrated import (
    CalibratedEstimator,
    fit_score_calibration,
    weights_before,
    with_calibration,
)
from driftbook.model.estimators import build_pipeline
from driftbook.model.score_calibration import ScoreCalibration, fit_rising_sigmoid
from driftbook.model.tasks import BINARY
from driftbook.settings import Settings

STREAMS = Path(
    os.environ.get("DRIFTBOOK_DATA", Path(__file__).parents[3] / "shared" / "data")
).resolve()
ESTIMATORS = ("logistic_regression", "hist_gradient_boosting")


def drawn(n: int, seed: int, slope: float = 1.0, intercept: float = 0.0) -> tuple[Floats, Floats]:
    """Return scores, and outcomes whose log odds are ``slope * score + intercept``."""
    rng = np.random.default_rng(seed)
    values = rng.normal(0.0, 1.5, n)
    return values, (rng.random(n) < special.expit(slope * values + intercept)) * 1.0


def seasons(seed: int = 9, rows: int = 2000) -> pd.DataFrame:
    """Return eight seasons, each of its own level of a column and of its own base rate."""
    rng = np.random.default_rng(seed)
    season = np.arange(rows) // (rows // 8)
    level, mood, x = rng.normal(size=8)[season], rng.normal(size=8)[season], rng.normal(size=rows)
    told = level + 0.1 * rng.normal(size=rows)
    outcome = rng.random(rows) < special.expit(0.6 * x + mood)
    return pd.DataFrame({"x": x, "level": told, "target": outcome * 1})


def bare_scores(model: training.Model) -> Floats:
    """Return the graded fit's scores on the holdout before any calibration."""
    assert model.graded is not None
    bare = with_calibration(model.graded, ScoreCalibration())
    table = design.model_inputs(model.holdout, model.features)
    found: Floats = special.logit(bare.predict_proba(table)[:, 1])
    return found


# The sigmoid


@given(
    seed=st.integers(0, 10_000),
    n=st.integers(12, 80),
    scale=st.floats(0.1, 10.0),
    sign=st.sampled_from([1.0, -1.0]),
)
@effort(max_examples=50)
def test_the_rising_sigmoid_is_the_optimum_that_scipy_finds(
    seed: int, n: int, scale: float, sign: float
) -> None:
    rng = np.random.default_rng(seed)
    values, weights = rng.normal(0.5, scale, n), rng.uniform(0.2, 3.0, n)
    y = (rng.random(n) < special.expit(sign * values / scale)) * 1.0

    def loss(found: Floats) -> float:
        eta = np.exp(found[0]) * values + found[1]
        return float(weights @ (np.logaddexp(0, eta) - y * eta) + found @ found / 2)

    found = fit_rising_sigmoid(values, y, weights)
    best = optimize.minimize(loss, np.zeros(2), method="Nelder-Mead", options={"fatol": 1e-10})
    assert found.slope > 0.0
    assert loss(np.array([np.log(found.slope), found.intercept])) <= best.fun + 1e-4


@pytest.mark.parametrize(
    ("mean", "sd", "share"),
    [(4.8, 0.94, 0.6), (-7.5, 0.01, 0.3), (-5.0, 1.0, 0.05), (3.0, 0.5, 0.9)],
)
def test_the_sigmoid_finds_its_optimum_where_scores_lie_far_from_zero(
    mean: float, sd: float, share: float
) -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(mean, sd, 2000)
    y = (rng.random(2000) < share) * 1.0
    found = fit_rising_sigmoid(values, y, np.ones(2000))
    slope, chance = found.slope, found.probabilities(values)
    # At the optimum the gradient by log slope and intercept vanishes, the prior's part included.
    assert slope * values @ (chance - y) + np.log(slope) == pytest.approx(0.0, abs=0.1)
    assert (chance - y).sum() + found.intercept == pytest.approx(0.0, abs=0.1)


def test_the_sigmoid_finds_a_known_slope_and_intercept() -> None:
    values, y = drawn(40_000, seed=1, slope=0.5, intercept=-0.7)
    found = fit_rising_sigmoid(values, y, np.ones(len(y)))
    assert (found.slope, found.intercept) == pytest.approx((0.5, -0.7), abs=0.04)
    twice = fit_rising_sigmoid(values, y, np.full(len(y), 2.0))
    again = fit_rising_sigmoid(np.tile(values, 2), np.tile(y, 2), np.ones(2 * len(y)))
    assert (twice.slope, twice.intercept) == pytest.approx((again.slope, again.intercept))


def test_a_score_that_points_the_wrong_way_is_flattened_and_never_turned() -> None:
    values, y = drawn(2000, seed=2, slope=-1.0)
    found = fit_score_calibration(values, y)
    assert 0.0 < found.slope < 0.05
    assert scores.roc_auc(y, found.probabilities(values)) == scores.roc_auc(y, values_in_01(values))


def values_in_01(values: Floats) -> Floats:
    """Return the values by rank between 0 and 1."""
    return np.argsort(np.argsort(values)) / len(values)


def test_it_is_kept_only_where_the_newer_half_surely_gains() -> None:
    values, y = drawn(2000, seed=3, slope=0.4, intercept=0.6)
    found = fit_score_calibration(values, y)
    assert (found.slope, found.intercept) == pytest.approx((0.4, 0.6), abs=0.1)
    both = fit_rising_sigmoid(values, y, np.ones(2000))
    assert found == both  # fitted again on all rows once it has proved itself
    # The older half asks for it, the newer half does not.
    fine, right = drawn(1000, seed=4)
    mixed = np.concatenate([values[:1000], fine]), np.concatenate([y[:1000], right])
    assert fit_score_calibration(*mixed) == ScoreCalibration()


def test_it_is_seldom_kept_where_probabilities_are_right_and_few_rows_prove_nothing() -> None:
    kept = [fit_score_calibration(*drawn(400, seed)) != ScoreCalibration() for seed in range(200)]
    # At most 5% by the test itself; 24 of 200 would be six standard errors too many.
    assert sum(kept) < 24
    wrong = drawn(15, seed=5, slope=0.0, intercept=3.0)
    assert fit_score_calibration(*wrong) == ScoreCalibration()
    assert fit_score_calibration(np.empty(0), np.empty(0)) == ScoreCalibration()


def test_weights_count_as_rows_in_the_check_too() -> None:
    values, y = drawn(3000, seed=6)
    weights = np.where(y == 1, 5.0, 1.0)
    found = fit_score_calibration(values, y, weights)
    assert found.intercept == pytest.approx(np.log(5.0), abs=0.2)


def test_older_rows_weigh_on_average_as_all_rows_do() -> None:
    weights = np.array([1.0, 1.0, 4.0, 6.0])
    assert weights_before(None, 2) is None
    older = weights_before(weights, 2)
    assert older is not None and older.tolist() == [3.0, 3.0]


# The model


@pytest.mark.parametrize("refit", [True, False])
def test_folds_that_differ_in_time_do_not_turn_the_rank_order(refit: bool) -> None:
    source = {"data": {"source": "synthetic:none"}, "model": {"refit": refit}}
    model = training.train(seasons(), Settings.parse(source))
    y = model.holdout["target"].to_numpy()
    own = scores.roc_auc(y, special.expit(bare_scores(model)))
    assert own > 0.65
    assert scores.roc_auc(y, model.holdout_scores) == pytest.approx(own, abs=1e-12)
    assert model.calibration.slope > 0.0


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_each_fit_is_calibrated_on_rows_later_than_its_stand_in(estimator: str) -> None:
    settings = Settings.parse(
        {"data": {"source": "synthetic:none"}, "model": {"estimator": estimator}}
    )
    rng = np.random.default_rng(7)
    frame = pd.DataFrame(rng.normal(size=(2000, 3)), columns=list("abc"))
    frame["target"] = (rng.random(2000) < special.expit(0.3 * frame["a"])) * 1
    model = training.train(frame, settings)
    start, n_train = 1125, 1500
    inputs = design.model_inputs(frame, model.features)

    def scored(stop: int, rows: slice) -> Floats:
        fitted = build_pipeline(model.features, settings.model, BINARY)
        fitted.fit(inputs[:stop], frame["target"][:stop])
        return np.asarray(fitted.decision_function(inputs[rows]))

    y = frame["target"].to_numpy(dtype=np.float64)
    graded = fit_score_calibration(scored(start, slice(start, n_train)), y[start:n_train])
    expected = graded.probabilities(scored(n_train, slice(n_train, None)))
    assert model.holdout_scores == pytest.approx(expected, abs=1e-9)
    served = fit_score_calibration(scored(n_train, slice(n_train, None)), y[n_train:])
    assert model.calibration.slope == pytest.approx(served.slope, abs=1e-9)
    # A boosted fit of so weak a signal is far too sure of itself, a penalised linear one is not.
    assert (served == ScoreCalibration()) is (estimator == "logistic_regression")


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_calibrated_model_compiles_to_the_same_probabilities(estimator: str) -> None:
    settings = Settings.parse(
        {"data": {"source": "synthetic:none"}, "model": {"estimator": estimator}}
    )
    plain = training.train(seasons()[:1600], settings)
    found = ScoreCalibration(0.37, -1.4)
    moved = with_calibration(plain.estimator, found)
    model = replace(plain, estimator=moved)
    document = compilation.compile_model(model)
    scorer = scoring.build_scorer(document)
    assert model.calibration == found
    assert scorer.many(compilation.to_wire_rows(model.reference, model.features)) == pytest.approx(
        model.predict_proba(model.reference).tolist(), abs=1e-9
    )


def test_the_calibrated_estimator_is_the_same_curve() -> None:
    values, y = drawn(300, seed=8)
    fitted = LogisticRegression().fit(values[:, None], y)
    found = ScoreCalibration(0.6, 0.25)
    classifier = CalibratedEstimator(fitted, "logit", found.slope, found.intercept)
    expected = found.probabilities(fitted.decision_function(values[:, None]))
    assert classifier.predict_proba(values[:, None])[:, 1] == pytest.approx(expected, abs=1e-12)
    assert classifier.predict(values[:, None]).tolist() == (expected > 0.5).astype(int).tolist()


# A model that ranks backwards


@pytest.mark.parametrize(
    ("high", "value", "backwards"),
    [(0.49, 0.45, True), (0.5, 0.45, False), (0.62, 0.41, False), (np.nan, np.nan, False)],
)
def test_a_rank_order_surely_below_chance_is_found(
    high: float, value: float, backwards: bool
) -> None:
    table = pd.DataFrame(
        [("roc_auc", value, value - 0.05, high), ("brier", 0.2, 0.1, 0.3)],
        columns=["metric", "value", "ci_low", "ci_high"],
    )
    assert scores.find_backward_ranking(table) is backwards


@pytest.mark.parametrize(("high", "worse"), [(-0.01, True), (0.2, False), (np.nan, False)])
def test_values_that_err_more_than_their_mean_are_found(high: float, worse: bool) -> None:
    table = pd.DataFrame(
        [("mae", 3.0, 2.0, 4.0), ("r2", -0.3, -0.5, high), ("n_test", 90.0, np.nan, np.nan)],
        columns=["metric", "value", "ci_low", "ci_high"],
    )
    assert scores.find_backward_ranking(table) is worse


# Real streams


# Holdout Brier loss of a sigmoid on out-of-fold scores of five contiguous folds, for comparison.
OUT_OF_FOLD = {
    "bank_additional": (0.0359, 0.0359),
    "beijing_pm25": (0.1497, 0.1929),
    "bike_hour_bin": (0.2297, 0.1366),
    "elec2": (0.1452, 0.1767),
    "flights": (0.1702, 0.1863),
    "gss_wages": (0.1593, 0.1522),
    "nml_car_loan": (0.0974, 0.0499),
    "nml_employment_ma": (0.1388, 0.1241),
    "noaa_weather": (0.1351, 0.1327),
    "phishing": (0.0381, 0.0211),
    "steel_load": (0.0713, 0.0468),
}
# The tariff turns inside this holdout: no earlier row shows that the trees are too sure of it.
UNKNOWABLE = {("steel_load", "hist_gradient_boosting")}


@cache
def first_fifth(name: str) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return a stream's first fifth and what the settings say of its data."""
    if name == "flights":
        frame = windows.load_dataset(Settings(), Path(tempfile.gettempdir()) / "driftbook").frame
        return frame.iloc[: len(frame) // 5], {}
    path = STREAMS / f"{name}.parquet"
    if not path.is_file():
        pytest.skip(f"there is no {path}")
    frame = pd.read_parquet(path)
    if frame["target"].nunique() > 2:
        frame["target"] = (frame["target"] == 0).astype(int)
    source = {"source": str(path), "target": "target", "window": 1000}
    return frame.iloc[: len(frame) // 5], source | ({"timestamp": "ts"} if "ts" in frame else {})


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("name", sorted(OUT_OF_FOLD))
def test_calibration_costs_neither_rank_order_nor_loss_on_real_streams(
    name: str, estimator: str
) -> None:
    rows, source = first_fifth(name)
    kind = {"estimator": estimator, "refit": False}
    model = training.train(rows, Settings.parse({"data": source, "model": kind}))
    y = model.holdout[model.target].to_numpy(dtype=np.float64)
    bare, found = special.expit(bare_scores(model)), model.holdout_scores
    assert scores.roc_auc(y, found) == pytest.approx(scores.roc_auc(y, bare), abs=0.005)
    own = scores.score_metric("brier", y, bare).value
    best = min(own, OUT_OF_FOLD[name][ESTIMATORS.index(estimator)])
    assert scores.score_metric("brier", y, found).value <= 1.02 * (
        own if (name, estimator) in UNKNOWABLE else best
    )
