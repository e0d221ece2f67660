"""The three tasks: metrics, losses, calibration and models against independent oracles."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import special
from sklearn import metrics as oracle

from driftbook import Settings, assess, train
from driftbook.data.arrays import Floats
from driftbook.data.synthetic import CLASS_NAMES, make_scenario
from driftbook.errors import UsageError
from driftbook.model import class_scores, value_scores
from driftbook.model.calibrated import CalibratedEstimator, fit_score_calibration
from driftbook.model.score_calibration import (
    ScoreCalibration,
    fit_rising_line,
    fit_rising_softmax,
)
from driftbook.model.tasks import (
    BINARY,
    MulticlassTask,
    RegressionTask,
    Task,
    find_task,
    read_task,
    sort_classes,
)
from driftbook.model.training import Model

CLASSES = MulticlassTask(("a", "b", "c"))
VALUES = RegressionTask(variance=4.0)
SCENARIOS = {
    "none": "hold", "covariate": "monitor", "irrelevant": "hold", "concept": "retrain",
    "prior": "retrain", "correlation": "monitor", "outage": "investigate",
}  # fmt: skip


def settings(stream: str, **model: object) -> Settings:
    """Return settings of a synthetic stream of that task."""
    return Settings.parse({"data": {"source": f"synthetic:none?task={stream}"}, "model": model})


def chances(n: int, seed: int = 0) -> tuple[Floats, Floats]:
    """Return classes (n,) drawn from chances (n, 3)."""
    rng = np.random.default_rng(seed)
    p = special.softmax(rng.normal(0, 1.2, (n, 3)), axis=1)
    y = (rng.random(n)[:, None] > np.cumsum(p, axis=1)).sum(axis=1).astype(np.float64)
    return y, p


def values(n: int, seed: int = 0) -> tuple[Floats, Floats]:
    """Return outcomes (n,) and predictions (n,) that miss them by a little more than noise."""
    rng = np.random.default_rng(seed)
    p = rng.normal(3.0, 2.0, n)
    return p + rng.normal(0.2, 1.0, n), p


def test_metrics_of_classes_are_those_of_scikit_learn() -> None:
    y, p = chances(700)
    found = CLASSES.summarise(y, p).set_index("metric")["value"]
    assert found["roc_auc"] == pytest.approx(oracle.roc_auc_score(y, p, multi_class="ovr"))
    assert found["log_loss"] == pytest.approx(oracle.log_loss(y, p))
    assert found["accuracy"] == pytest.approx(oracle.accuracy_score(y, p.argmax(axis=1)))
    by_hand = np.mean([((p[i] - np.eye(3)[int(y[i])]) ** 2).sum() for i in range(len(y))])
    assert found["brier"] == pytest.approx(by_hand)
    assert found["brier"] == pytest.approx(CLASSES.row_losses(y, p).mean())


def test_metrics_of_values_are_those_of_scikit_learn() -> None:
    y, p = values(500)
    found = VALUES.summarise(y, p).set_index("metric")["value"]
    assert found["mae"] == pytest.approx(oracle.mean_absolute_error(y, p))
    assert found["rmse"] == pytest.approx(oracle.root_mean_squared_error(y, p))
    assert found["r2"] == pytest.approx(oracle.r2_score(y, p))
    assert found["squared_error"] == pytest.approx(oracle.mean_squared_error(y, p) / 4.0)
    assert VALUES.row_losses(y, p).mean() == pytest.approx(found["squared_error"])


@pytest.mark.parametrize("metric", [*CLASSES.metrics, *value_scores.VALUE_METRICS])
def test_intervals_are_those_of_a_bootstrap(metric: str) -> None:
    task, (y, p) = (CLASSES, chances(1500)) if metric in CLASSES.metrics else (VALUES, values(1500))
    found = task.score_metric(metric, y, p)
    rng = np.random.default_rng(1)
    drawn = []
    for _ in range(400):
        rows = rng.integers(0, len(y), len(y))
        drawn.append(task.score_metric(metric, y[rows], p[rows]).value)
    low, high = np.quantile(drawn, [0.025, 0.975])
    width = high - low
    assert found.ci_low == pytest.approx(low, abs=0.15 * width)
    assert found.ci_high == pytest.approx(high, abs=0.15 * width)
    assert found.influence.mean() == pytest.approx(0.0, abs=1e-9)
    error = float(np.std(drawn))
    assert found.influence.std() / len(y) ** 0.5 == pytest.approx(error, rel=0.15)


@pytest.mark.parametrize("metric", value_scores.VALUE_METRICS)
def test_an_influence_is_what_leaving_a_row_out_changes(metric: str) -> None:
    y, p = values(400)
    whole = VALUES.score_metric(metric, y, p)
    for i in (0, 17, 399):
        kept = np.arange(400) != i
        without = VALUES.score_metric(metric, y[kept], p[kept]).value
        assert 399 * (whole.value - without) == pytest.approx(
            whole.influence[i], rel=0.05, abs=0.02
        )


def test_odd_samples_have_a_status_and_no_number() -> None:
    none = np.empty(0)
    assert CLASSES.score_metric("roc_auc", none, np.empty((0, 3))).status == "no_rows"
    assert VALUES.score_metric("rmse", none, none).status == "no_rows"
    flat = VALUES.score_metric("r2", np.ones(5), np.zeros(5))
    assert flat.status == "constant" and np.isnan(flat.value)
    y, p = chances(60)
    absent = CLASSES.score_metric("roc_auc", np.where(y == 2, 1.0, y), p)
    assert absent.status == "one_class" and np.isnan(absent.value)
    unknown = y.copy()
    unknown[:10] = np.nan
    assert CLASSES.score_metric("brier", unknown, p).n == 50
    assert np.isnan(CLASSES.row_losses(unknown, p)[:10]).all()


def test_a_class_that_the_model_does_not_know_is_always_missed() -> None:
    y = CLASSES.encode(pd.Series(["a", "d", None]))
    np.testing.assert_array_equal(y, [0.0, -1.0, np.nan])
    p = np.array([[0.5, 0.3, 0.2]] * 3)
    assert CLASSES.row_losses(y, p)[1] == pytest.approx(0.25 + 0.09 + 0.04)
    assert class_scores.measure_class_losses("accuracy", y[:2], p[:2]).tolist() == [1.0, 0.0]


@pytest.mark.parametrize("task", [BINARY, CLASSES, VALUES])
def test_scores_and_predictions_are_inverse(task: Task) -> None:
    p = {"binary": np.linspace(0.01, 0.99, 9), "regression": np.linspace(-5, 5, 9)}.get(
        task.name, chances(9)[1]
    )
    np.testing.assert_allclose(task.from_scores(task.to_scores(p)), p, rtol=1e-9)
    assert read_task(task.to_document()) == task


def test_a_softmax_calibration_finds_slope_and_intercepts() -> None:
    rng = np.random.default_rng(0)
    scores = np.log(chances(30_000)[1])
    moved = 0.6 * scores + np.array([0.5, -0.5, 0.0])
    p = special.softmax(moved, axis=1)
    y = (rng.random(len(p))[:, None] > np.cumsum(p, axis=1)).sum(axis=1).astype(np.float64)
    found = fit_rising_softmax(scores, y, np.ones(len(y)))
    assert found.slope == pytest.approx(0.6, abs=0.03)
    shift = np.array(found.intercept) - np.mean(found.intercept)
    np.testing.assert_allclose(shift, [0.5, -0.5, 0.0], atol=0.05)


def test_a_line_finds_slope_and_intercept_and_never_falls() -> None:
    rng = np.random.default_rng(0)
    p = rng.normal(10.0, 3.0, 20_000)
    y = 0.7 * p + 4.0 + rng.normal(0, 1, len(p))
    found = fit_rising_line(p, y, np.ones(len(y)))
    assert found.slope == pytest.approx(0.7, abs=0.02)
    np.testing.assert_allclose(found.moved(p).mean(), y.mean(), atol=0.02)
    against = fit_rising_line(p, -y, np.ones(len(y)))
    assert 0.0 < against.slope < 0.1
    few = fit_rising_line(p[:2], y[:2], np.ones(2))
    assert 0.0 < few.slope < 2.0


@pytest.mark.parametrize("task", [CLASSES, VALUES])
def test_a_calibration_that_does_not_surely_help_is_not_kept(task: Task) -> None:
    kept = 0
    for seed in range(100):
        y, p = chances(300, seed) if task is CLASSES else values(300, seed)
        right = p if task is CLASSES else p + 0.2
        kept += not fit_score_calibration(task.to_scores(right), y, task=task).keeps
    # 5% by the rule; 13 or more of 100 come at that rate in 0.3% of tries, at twice it in 24%.
    assert kept <= 12
    y, p = chances(3000) if task is CLASSES else values(3000)
    wrong = task.to_scores(p) * 3.0
    assert not fit_score_calibration(wrong, y, task=task).keeps


def test_one_calibration_after_another_is_one() -> None:
    scores = np.log(chances(5)[1])
    first, then = ScoreCalibration(0.5, (0.1, 0.2, -0.3)), ScoreCalibration(2.0, (1.0, 0.0, -1.0))
    np.testing.assert_allclose(then.after(first).moved(scores), then.moved(first.moved(scores)))
    line = ScoreCalibration(2.0, 1.0).after(ScoreCalibration(0.5, 3.0))
    assert line == ScoreCalibration(1.0, 7.0)


@pytest.mark.parametrize("estimator", ["linear", "hist_gradient_boosting"])
@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_a_model_learns_the_rule(task: str, estimator: str) -> None:
    frame = make_scenario("none", rows=5000, task=task)
    model = train(frame.iloc[:3600], settings(task, estimator=estimator))
    later = frame.iloc[3600:]
    table = model.task.summarise(model.outcomes(later), model.predict(later)).set_index("metric")
    if task == "multiclass":
        assert model.task.classes == tuple(sorted(CLASS_NAMES))
        assert model.predict(later).shape == (1400, 3)
        np.testing.assert_allclose(model.predict(later).sum(axis=1), 1.0)
        assert table.loc["roc_auc", "value"] > 0.7
    else:
        assert model.predict(later).shape == (1400,)
        assert table.loc["r2", "value"] > 0.6
        with pytest.raises(UsageError, match="has no probabilities"):
            model.predict_proba(later)
    useless = [model.importance[f"f{k}"] for k in (5, 6, 7)]
    assert min(model.importance["f0"], model.importance["f1"]) > 5 * max(useless)
    assert model.metrics["metric"].tolist() == [*model.task.metrics, "n_train", "n_test"]


@pytest.mark.parametrize("task", ["multiclass", "regression"])
@pytest.mark.parametrize(("scenario", "action"), SCENARIOS.items())
def test_the_seven_truths_lead_to_the_same_actions(task: str, scenario: str, action: str) -> None:
    frame = make_scenario(scenario, task=task)
    wanted = settings(task)
    model = train(frame.iloc[:4800], wanted)
    found = assess(model, frame.iloc[9600:10800], wanted, history=frame.iloc[4800:9600])
    assert found.action == action, found.reason
    assert found.to_dict()["task"] == task and found.to_dict()["loss"] == model.task.loss


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_a_challenger_keeps_the_champions_task(task: str) -> None:
    frame = make_scenario("concept", task=task)
    wanted = settings(task)
    model = train(frame.iloc[:4800], wanted)
    found = assess(model, frame.iloc[9600:10800], wanted, history=frame.iloc[4800:9600])
    assert found.challenger is not None
    made = found.challenger.model
    assert made.task == model.task and made.version != model.version
    later = frame.iloc[10800:]
    losses = [
        float(m.task.row_losses(m.outcomes(later), m.predict(later)).mean()) for m in (model, made)
    ]
    assert losses[1] < losses[0]


def test_a_missing_class_in_a_fit_has_no_chance() -> None:
    class Two:
        classes_ = np.array([0, 2])

        def predict_proba(self, table: Floats) -> Floats:
            return np.tile([0.25, 0.75], (len(table), 1))

    found = CalibratedEstimator(Two(), "softmax", classes=3).predict_proba(np.zeros((2, 1)))
    assert found.tolist() == [[0.25, 0.0, 0.75]] * 2


def test_the_task_is_found_from_the_reference() -> None:
    assert find_task(pd.Series([0, 1, 1]), "y") is BINARY
    assert find_task(pd.Series(["b", "a", "c"]), "y") == CLASSES
    assert find_task(pd.Series([1.5, 2.5, 3.5, 0.5]), "y") == RegressionTask(1.25)
    assert sort_classes(["3", "10", "b"]) == ["10", "3", "b"]
    with pytest.raises(UsageError, match="same value in every row"):
        find_task(pd.Series([2.5, 2.5]), "y")


def test_equal_rows_make_equal_versions_and_another_task_another_one() -> None:
    frame = make_scenario("none", rows=1200, task="multiclass")
    numbered = frame.assign(target=frame["target"].map({"low": 0, "middle": 1, "high": 2}))
    named = train(frame, settings("multiclass"))
    first = train(numbered, settings("multiclass", task="multiclass"))
    again = train(numbered, settings("multiclass"))
    values_instead = train(numbered, settings("multiclass", task="regression"))
    assert first.version == again.version
    assert len({first.version, named.version, values_instead.version}) == 3
    assert isinstance(first, Model)
