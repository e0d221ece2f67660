"""Training: the split, calibration, versions, and inputs in the wild."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, roc_auc_score

from driftbook.data import synthetic
from driftbook.errors import UsageError
from driftbook.model import training
from driftbook.model.design import model_inputs
from driftbook.model.estimators import build_pipeline
from driftbook.model.tasks import BINARY
from driftbook.model.training import Model
from driftbook.settings import Settings

SETTINGS = Settings.parse({"data": {"source": "synthetic:none"}})
TREES = SETTINGS.model_copy(
    update={"model": SETTINGS.model.model_copy(update={"estimator": "hist_gradient_boosting"})}
)


@pytest.fixture(scope="module")
def reference() -> pd.DataFrame:
    return synthetic.make_scenario("none", rows=2400, onset=2400)


@pytest.fixture(scope="module")
def model(reference: pd.DataFrame) -> Model:
    return training.train(reference, SETTINGS)


def test_the_newest_quarter_is_the_holdout(model: Model, reference: pd.DataFrame) -> None:
    assert model.n_train == 1800
    pd.testing.assert_frame_equal(model.holdout, reference.iloc[1800:])
    assert model.metrics.set_index("metric")["value"][["n_train", "n_test"]].tolist() == [1800, 600]


def test_holdout_rows_do_not_touch_the_graded_fit(reference: pd.DataFrame) -> None:
    settings = Settings.parse({"data": {"source": "synthetic:none"}, "model": {"refit": False}})
    spoiled = reference.copy()
    spoiled.loc[1800:, "target"] = 1 - spoiled.loc[1800:, "target"]
    spoiled.loc[1800:, "f0"] *= 50
    rows = reference.iloc[:100]
    first, other = training.train(reference, settings), training.train(spoiled, settings)
    np.testing.assert_array_equal(other.predict_proba(rows), first.predict_proba(rows))
    np.testing.assert_array_equal(first.predict_proba(first.holdout), first.holdout_scores)


def test_the_served_model_learns_from_the_holdout_once_it_was_graded(
    model: Model, reference: pd.DataFrame
) -> None:
    settings = Settings.parse({"data": {"source": "synthetic:none"}, "model": {"refit": False}})
    graded = training.train(reference, settings)
    np.testing.assert_array_equal(model.holdout_scores, graded.predict_proba(model.holdout))
    whole = build_pipeline(model.features, SETTINGS.model, BINARY)
    whole.fit(model_inputs(reference, model.features), reference["target"])
    scores = whole.decision_function(model_inputs(reference, model.features))
    np.testing.assert_allclose(
        model.predict_proba(reference), model.calibration.probabilities(scores)
    )


def test_metrics_agree_with_scikit_learn_and_lie_in_their_intervals(model: Model) -> None:
    table = model.metrics.set_index("metric")
    labels, scores = model.holdout["target"], model.holdout_scores
    assert table.loc["roc_auc", "value"] == pytest.approx(roc_auc_score(labels, scores))
    assert table.loc["brier", "value"] == pytest.approx(brier_score_loss(labels, scores))
    for name in ("roc_auc", "accuracy", "log_loss", "brier"):
        assert table.loc[name, "ci_low"] < table.loc[name, "value"] < table.loc[name, "ci_high"]


def test_probabilities_are_near_the_truth(model: Model) -> None:
    fresh = synthetic.make_scenario("none", rows=4000, seed=9, onset=4000)
    features = fresh[list(synthetic.SYNTHETIC_FEATURES)].to_numpy()
    truth = expit(features @ synthetic._WEIGHTS + synthetic._INTERCEPT)
    assert np.abs(model.predict_proba(fresh) - truth).mean() < 0.03


@pytest.mark.parametrize("settings", [SETTINGS, TREES], ids=["linear", "trees"])
def test_calibration_mends_an_overconfident_base(
    settings: Settings, reference: pd.DataFrame
) -> None:
    noisy = reference.assign(target=np.random.default_rng(0).permutation(reference["target"]))
    scores = training.train(noisy, settings).predict_proba(noisy.iloc[1800:])
    # With nothing to learn a calibrated model says the base rate and little else.
    assert scores.mean() == pytest.approx(noisy["target"].mean(), abs=0.03)
    assert scores.std() < 0.05


def test_the_same_rows_and_settings_give_the_same_version(
    model: Model, reference: pd.DataFrame
) -> None:
    again = training.train(reference, SETTINGS)
    assert again.version == model.version
    np.testing.assert_array_equal(again.predict_proba(reference), model.predict_proba(reference))


@pytest.mark.parametrize("change", ["row", "settings", "recipe", "weights", "features"])
def test_any_other_input_gives_another_version(
    model: Model, reference: pd.DataFrame, change: str
) -> None:
    rows, settings, options = reference.copy(), SETTINGS, dict[str, Any]()
    if change == "row":
        rows.loc[0, "f0"] += 1e-9
    if change == "settings":
        settings = TREES
    if change == "recipe":
        options["recipe"] = "block"
    if change == "weights":
        options["weights"] = np.linspace(0.5, 1.5, len(rows))
    if change == "features":
        rows = rows.drop(columns="f7")
    assert training.train(rows, settings, **options).version != model.version


def test_weights_reach_the_estimator(reference: pd.DataFrame) -> None:
    # Weighting by the label must raise the predicted probabilities.
    weights = np.where(reference["target"] == 1, 5.0, 1.0)
    weighted = training.train(reference, SETTINGS, weights=weights)
    plain = training.train(reference, SETTINGS)
    assert weighted.predict_proba(reference).mean() > plain.predict_proba(reference).mean() + 0.1


def test_importance_finds_the_features_that_carry_the_target(model: Model) -> None:
    ordered = sorted(model.importance, key=lambda name: -model.importance[name])
    assert set(ordered[:2]) <= {"f0", "f1", "f2"}
    assert (
        max(model.importance[f] for f in ("f5", "f6", "f7")) < 0.05 * model.importance[ordered[0]]
    )


def test_importance_is_the_rise_of_loss_of_a_plain_loop(model: Model) -> None:
    rng = np.random.default_rng(1)
    labels = model.holdout["target"].to_numpy()
    base = np.mean((model.predict_proba(model.holdout) - labels) ** 2)
    rises = []
    for _ in range(20):
        mixed = model.holdout.copy()
        mixed["f0"] = rng.permutation(mixed["f0"].to_numpy())
        rises.append(np.mean((model.predict_proba(mixed) - labels) ** 2) - base)
    assert model.importance["f0"] == pytest.approx(np.mean(rises), abs=4 * np.std(rises))


@pytest.fixture(scope="module")
def mixed() -> pd.DataFrame:
    frame = synthetic.make_scenario("none", rows=2000, onset=2000)
    rng = np.random.default_rng(3)
    frame["colour"] = rng.choice(["red", "green", "blue"], len(frame))
    frame["member"] = rng.random(len(frame)) < 0.5
    frame["target"] = (
        rng.random(len(frame)) < expit(frame["f0"] + 2.0 * (frame["colour"] == "red") - 1)
    ).astype(int)
    frame.loc[::7, ["f0", "colour"]] = [np.nan, None]
    return frame


@pytest.mark.parametrize("settings", [SETTINGS, TREES], ids=["linear", "trees"])
def test_categories_booleans_and_missing_values(mixed: pd.DataFrame, settings: Settings) -> None:
    model = training.train(mixed, settings)
    assert {f.name: f.kind for f in model.features} | {"colour": "categorical"} == {
        **dict.fromkeys(synthetic.SYNTHETIC_FEATURES, "numeric"),
        "colour": "categorical",
        "member": "boolean",
    }
    assert roc_auc_score(model.holdout["target"], model.holdout_scores) > 0.7
    odd = mixed.iloc[:3].copy()
    odd["colour"] = ["violet", None, "red"]
    odd["f1"] = [np.inf, np.nan, 1.0]
    odd["member"] = odd["member"].astype(object)
    odd.loc[odd.index[0], "member"] = None
    assert np.isfinite(model.predict_proba(odd)).all()


def test_text_in_a_numeric_column_counts_as_missing(model: Model, reference: pd.DataFrame) -> None:
    rows = reference.iloc[:4]
    text, empty = rows.assign(f0="n/a"), rows.assign(f0=np.nan)
    np.testing.assert_array_equal(model.predict_proba(text), model.predict_proba(empty))


def test_row_order_columns_and_extra_columns_do_not_matter(
    model: Model, reference: pd.DataFrame
) -> None:
    rows = reference.iloc[:50]
    shuffled = rows[rows.columns[::-1]].assign(extra="x").iloc[::-1]
    np.testing.assert_allclose(
        model.predict_proba(shuffled)[::-1], model.predict_proba(rows), rtol=1e-12
    )


def test_no_rows_give_no_scores(model: Model, reference: pd.DataFrame) -> None:
    assert model.predict_proba(reference.iloc[:0]).shape == (0,)


def test_an_absent_column_is_named(model: Model, reference: pd.DataFrame) -> None:
    with pytest.raises(UsageError, match="'f3'"):
        model.predict_proba(reference.drop(columns="f3"))


def test_rows_without_a_label_are_left_out(reference: pd.DataFrame) -> None:
    gaps = reference.assign(target=reference["target"].astype(float))
    gaps.loc[::10, "target"] = np.nan
    assert len(training.train(gaps, SETTINGS).reference) == 2160


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: f.drop(columns="target"), "no column of the reference"),
        (lambda f: f.assign(target=0), "needs at least"),
        (lambda f: f.assign(target=[1] * 1800 + [0] * 600), "training part"),
        (lambda f: f.iloc[:1], "needs at least"),
        (lambda f: f.iloc[:0], "no value in any row"),
    ],
)
def test_an_untrainable_reference_is_refused(
    reference: pd.DataFrame, change: Any, words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        training.train(change(reference), SETTINGS)


def test_the_estimator_is_what_the_settings_say(reference: pd.DataFrame, model: Model) -> None:
    calibrated = model.estimator.named_steps["estimator"]
    assert isinstance(calibrated.estimator, LogisticRegression)


@pytest.mark.parametrize("settings", [SETTINGS, TREES], ids=["linear", "trees"])
def test_exchanging_a_prepared_feature_is_preparing_the_exchanged_rows(settings: Settings) -> None:
    rng = np.random.default_rng(21)
    frame = pd.DataFrame(
        {
            "a": np.where(rng.random(400) < 0.1, np.nan, rng.normal(size=400)),
            "few": rng.choice(list("xyz"), 400),
            "many": [f"v{i}" for i in rng.integers(0, 80, 400)],
            "b": rng.normal(size=400),
            "flag": rng.random(400) < 0.5,
        }
    )
    frame["target"] = (rng.random(400) < expit(frame["b"] + (frame["few"] == "x"))).astype(int)
    model = training.train(frame, settings)
    order = rng.permutation(400)
    whole = model.prepare(frame)
    names = [*model.feature_names, "a"]
    found = whole.exchanged((name, whole.reordered(order)) for name in names)
    for name, probability in zip(names, found, strict=True):
        mixed = frame.assign(**{name: frame[name].to_numpy()[order]})
        assert probability == pytest.approx(model.predict_proba(mixed), abs=1e-12)
        assert np.abs(probability - model.predict_proba(frame)).max() > 1e-6
