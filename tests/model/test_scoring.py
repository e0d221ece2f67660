"""Compiled scorers against scikit-learn and hand-computed values."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest

from driftbook.api.served import ModelScorer
from driftbook.model import compilation, scoring, training
from serving_models import mixed_rows, numeric_rows, settings_of

ESTIMATORS = ("logistic_regression", "hist_gradient_boosting")


@pytest.fixture(scope="module", params=ESTIMATORS)
def compiled(request: pytest.FixtureRequest) -> tuple[training.Model, scoring.Scorer]:
    model = training.train(mixed_rows(), settings_of(request.param))
    document = compilation.compile_model(model)
    # A registry stores text, so what is tested has been through it.
    return model, scoring.build_scorer(json.loads(json.dumps(document, allow_nan=False)))


def wild_rows(rows: int = 300) -> pd.DataFrame:
    """Rows beyond the reference: huge, tiny, missing and unseen values."""
    rng = np.random.default_rng(9)
    frame = pd.DataFrame(
        {
            "age": rng.normal(size=rows) * 10.0 ** rng.integers(-8, 30, rows),
            "far": rng.normal(1e6, 1e3, rows),
            "member": rng.random(rows) < 0.5,
            "city": rng.choice(["Lima", "Atlantis", ""], rows),
            "code": rng.choice(["c1", "c89", "never"], rows),
        }
    )
    frame.loc[::7, "age"] = None
    return frame


@pytest.mark.parametrize("rows", [mixed_rows(200, seed=5), wild_rows()], ids=["usual", "wild"])
def test_compiled_scores_are_scikit_learns(
    compiled: tuple[training.Model, scoring.Scorer], rows: pd.DataFrame
) -> None:
    model, scorer = compiled
    expected = model.predict_proba(rows)
    wire = compilation.to_wire_rows(rows, model.features)
    assert scorer.many(wire) == pytest.approx(expected, abs=1e-12)
    assert [scorer.one(row) for row in wire[:20]] == pytest.approx(expected[:20], abs=1e-12)


def test_scikit_learn_itself_scores_wire_rows_alike(
    compiled: tuple[training.Model, scoring.Scorer],
) -> None:
    model, _ = compiled
    rows = mixed_rows(40, seed=6)
    wire = compilation.to_wire_rows(rows, model.features)
    slow = ModelScorer(model)
    assert slow.many(wire) == pytest.approx(model.predict_proba(rows), abs=1e-15)
    nothing_known = [None] * len(model.features)
    assert 0.0 < slow.one(nothing_known) < 1.0


def test_a_linear_scorer_by_hand() -> None:
    document = {
        "format": 1,
        "kind": "linear",
        "columns": [
            {"start": 0, "fill": 3.0, "mean": 1.0, "scale": 2.0},
            {"start": 1, "codes": {"red": 0, "blue": 1}, "other": None},
        ],
        "coefficients": [4.0, 0.5, -0.5],
        "intercept": 0.25,
        "calibration": [-2.0, 1.0],
    }
    scorer = scoring.build_scorer(document)
    # (5 - 1) / 2 * 4 + 0.5 + 0.25 = 8.75; -( -2 * 8.75 + 1) = 16.5
    assert scorer.one([5.0, "red"]) == pytest.approx(1 / (1 + math.exp(-16.5)), abs=1e-15)
    # the fill of a missing number; no column for an unseen category: 4 + 0.25 = 4.25 -> 7.5
    assert scorer.one([None, "green"]) == pytest.approx(1 / (1 + math.exp(-7.5)), abs=1e-15)


def test_a_tree_scorer_by_hand() -> None:
    # x <= 1 -> 10, else (y <= 5 -> 20, else 30); and a tree of one leaf
    tree = {
        "feature": [0, 0, 1, 0, 0],
        "threshold": [1.0, 0.0, 5.0, 0.0, 0.0],
        "left": [1, -1, 3, -1, -1],
        "right": [2, -1, 4, -1, -1],
        "value": [0.0, 10.0, 0.0, 20.0, 30.0],
    }
    leaf = {"feature": [0], "threshold": [0.0], "left": [-1], "right": [-1], "value": [1.0]}
    column = {"fill": 0.0, "mean": 0.0, "scale": 1.0}
    document = {
        "format": 1,
        "kind": "trees",
        "columns": [{"start": 0, **column}, {"start": 1, **column}],
        "width": 2,
        "baseline": 0.5,
        "trees": [tree, leaf],
        "calibration": [-0.1, 0.0],
    }
    scorer = scoring.build_scorer(document)
    rows = [[1.0, 99.0], [1.5, 5.0], [1.5, 5.1]]
    expected = [1 / (1 + math.exp(-0.1 * raw)) for raw in (11.5, 21.5, 31.5)]
    assert scorer.many(rows) == pytest.approx(expected, abs=1e-15)


def test_what_cannot_be_compiled_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    model = training.train(numeric_rows(), settings_of())
    monkeypatch.setattr(compilation, "measure_largest_difference", lambda *_: 0.01)
    document = compilation.compile_model(model)
    assert document["kind"] == "none"
    assert document["reason"] == "differs from scikit-learn by 1.0e-02"
    with pytest.raises(ValueError, match="no compiled scorer of kind 'none'"):
        scoring.build_scorer(document)


def test_a_score_that_is_no_number_is_no_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    model = training.train(numeric_rows(), settings_of())
    monkeypatch.setattr(compilation, "measure_largest_difference", lambda *_: math.nan)
    assert compilation.compile_model(model)["kind"] == "none"


def test_the_proof_covers_the_whole_reference() -> None:
    model = training.train(numeric_rows(), settings_of())
    document = compilation.compile_model(model)
    assert document["proof"]["rows"] == len(model.reference)
    assert document["proof"]["largest_difference"] < 1e-12
    assert len(document["probe"]["rows"]) == 256
