"""Curves and threshold costs, against scikit-learn, SciPy and loops over rows."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score, roc_curve

from driftbook.data.arrays import Floats
from driftbook.model import curves


@pytest.fixture
def scored() -> tuple[Floats, Floats]:
    rng = np.random.default_rng(11)
    p = rng.beta(2, 5, size=3000)
    return (rng.random(3000) < p).astype(float), p


def test_observed_shares_have_the_interval_of_wilson() -> None:
    p = np.repeat([0.1, 0.4, 0.9], [12, 40, 40])
    y = np.concatenate([np.zeros(12), np.arange(40) < 7, np.ones(40)]).astype(float)
    table = curves.measure_calibration(y, p)
    for place, (k, n) in enumerate([(0, 12), (7, 40), (40, 40)]):
        oracle = stats.binomtest(k, n).proportion_ci(0.95, method="wilson")
        row = table.loc[place, ["ci_low", "ci_high"]].tolist()
        assert row == pytest.approx([oracle.low, oracle.high], abs=1e-9)


def test_calibrated_scores_lie_on_the_line(scored: tuple[Floats, Floats]) -> None:
    table = curves.measure_calibration(*scored)
    assert table["n"].sum() == 3000
    assert table["n"].between(290, 310).all()
    inside = (table["ci_low"] <= table["predicted"]) & (table["predicted"] <= table["ci_high"])
    assert inside.sum() >= 8


def test_calibration_groups_are_means_of_their_rows() -> None:
    y, p = np.array([0.0, 1.0, 0.0, 1.0]), np.array([0.1, 0.1, 0.8, 0.9])
    table = curves.measure_calibration(y, p, bins=2)
    assert table["predicted"].tolist() == pytest.approx([0.1, 0.85])
    assert table["observed"].tolist() == [0.5, 0.5]


def test_equal_probabilities_share_one_group() -> None:
    table = curves.measure_calibration(np.array([0.0, 1.0, 1.0, 1.0]), np.full(4, 0.3))
    assert table["n"].tolist() == [4]
    assert table["observed"].tolist() == [0.75]


def test_roc_passes_through_scikit_learns_points(scored: tuple[Floats, Floats]) -> None:
    y, p = scored
    fpr, tpr, _ = roc_curve(y, p)
    curve = curves.trace_roc_curve(y, p, resamples=20)
    assert curve["tpr"].to_numpy() == pytest.approx(np.interp(curve["fpr"], fpr, tpr), abs=2e-3)
    area = np.trapezoid(curve["tpr"], curve["fpr"])
    assert area == pytest.approx(roc_auc_score(y, p), abs=2e-3)


def test_roc_band_holds_the_curve_and_repeats(scored: tuple[Floats, Floats]) -> None:
    curve = curves.trace_roc_curve(*scored, resamples=100, seed=5)
    middle = curve.iloc[5:-5]
    assert (middle["ci_low"] <= middle["tpr"]).all()
    assert (middle["tpr"] <= middle["ci_high"]).all()
    assert (middle["ci_high"] - middle["ci_low"]).between(0.001, 0.15).all()
    assert curves.trace_roc_curve(*scored, resamples=100, seed=5).equals(curve)


def test_roc_of_a_perfect_and_of_a_tied_score() -> None:
    y = np.array([0.0, 0.0, 1.0, 1.0])
    assert (curves.trace_roc_curve(y, y, resamples=5)["tpr"] == 1.0).all()
    tied = curves.trace_roc_curve(y, np.full(4, 0.5), resamples=5)
    assert tied["tpr"].to_numpy() == pytest.approx(tied["fpr"].to_numpy())


def test_roc_needs_both_classes() -> None:
    with pytest.raises(ValueError, match="only one is present"):
        curves.trace_roc_curve(np.ones(3), np.array([0.1, 0.2, 0.3]))


def test_threshold_costs_count_like_a_loop(scored: tuple[Floats, Floats]) -> None:
    y, p = scored
    table = curves.price_thresholds(y, p, false_alarm_cost=2.0, miss_cost=5.0)
    for _, row in table.iterrows():
        cost, alarms = 0.0, 0
        for label, probability in zip(y, p, strict=True):
            flagged = probability >= row["threshold"]
            alarms += int(flagged)
            cost += 2.0 * (flagged and label == 0) + 5.0 * (not flagged and label == 1)
        assert row["alarms"] == alarms
        assert row["cost_per_1000"] == pytest.approx(1000 * cost / len(y))


def test_cheapest_threshold_is_near_the_ratio_of_costs() -> None:
    rng = np.random.default_rng(1)
    p = rng.uniform(size=200_000)
    y = (rng.random(200_000) < p).astype(float)
    table = curves.price_thresholds(y, p, false_alarm_cost=1.0, miss_cost=3.0)
    best = table["threshold"][table["cost_per_1000"].argmin()]
    assert best == pytest.approx(0.25, abs=0.051)


def test_precision_without_alarms_is_not_a_number() -> None:
    table = curves.price_thresholds(np.array([0.0, 1.0]), np.array([0.1, 0.2]))
    assert table["precision"].isna().to_numpy()[-1]
    assert table["recall"].to_numpy()[-1] == 0.0


@pytest.mark.parametrize(
    ("y", "p"),
    [
        (np.array([0.0, np.nan]), np.array([0.1, 0.2])),
        (np.array([0.0]), np.array([0.1, 0.2])),
        (np.array([]), np.array([])),
    ],
)
def test_bad_input_is_refused(y: Floats, p: Floats) -> None:
    with pytest.raises(ValueError, match=r"missing|shapes"):
        curves.measure_calibration(y, p)
