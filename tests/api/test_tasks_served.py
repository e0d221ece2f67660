"""The API for models of several classes and of values, and for any feedback on them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from driftbook import train
from driftbook.api.app import create_app
from driftbook.api.served_task import ServedTask
from driftbook.data import prediction_log
from driftbook.data.synthetic import make_scenario
from driftbook.model import compilation, scoring
from driftbook.model.calibrated import with_calibration
from driftbook.model.score_calibration import ScoreCalibration
from driftbook.model.training import Model
from driftbook.settings import Settings
from serving_models import TestClient, enthrone

TASKS = ("multiclass", "regression")


def settings(task: str, **sections: Any) -> Settings:
    """Return settings of a synthetic stream of the task."""
    data = {"source": f"synthetic:none?task={task}"}
    return Settings.parse({"data": data, "model": {"name": "small"}, **sections})


def rows(task: str, count: int = 1200) -> pd.DataFrame:
    """Return a stream with gaps, text and a flag."""
    frame = make_scenario("none", rows=count, task=task)
    rng = np.random.default_rng(1)
    frame.loc[::17, "f1"] = np.nan
    frame["city"] = rng.choice(["Kōbe", "Linz", None], count)
    frame["member"] = rng.random(count) < 0.5
    return frame[[c for c in frame.columns if c != "target"] + ["target"]]


@pytest.fixture(scope="module", params=TASKS)
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Model, TestClient, Path]]:
    """Return a model of the task, a client of the application that serves it, and its folder."""
    folder = tmp_path_factory.mktemp(request.param)
    wanted = settings(request.param)
    model = train(rows(request.param), wanted)
    enthrone(folder, model)
    with TestClient(create_app(wanted, folder)) as client:
        yield model, client, folder


def test_answers_are_the_models_own(served: tuple[Model, TestClient, Path]) -> None:
    model, client, _ = served
    frame = model.reference.iloc[:20]
    expected = model.predict(frame)
    wire = compilation.to_wire_rows(frame, model.features)
    records = [dict(zip(model.feature_names, row, strict=True)) for row in wire]
    answers = client.post("/predict", json={"records": records}).json()["predictions"]
    single = client.post("/predict", json={"features": wire[0]}).json()
    assert set(single) == set(answers[0])
    for answer, truth in zip(answers, expected, strict=True):
        if model.task.name == "regression":
            assert answer["value"] == pytest.approx(truth, abs=1e-9) == answer["prediction"]
            assert "probability" not in answer and "probabilities" not in answer
        else:
            assert list(answer["probabilities"]) == list(model.task.classes)
            assert list(answer["probabilities"].values()) == pytest.approx(truth, abs=1e-9)
            assert answer["prediction"] == model.task.classes[int(truth.argmax())]
            assert "probability" not in answer and "value" not in answer


def test_feedback_takes_the_tasks_labels_and_no_others(
    served: tuple[Model, TestClient, Path],
) -> None:
    model, client, folder = served
    wire = compilation.to_wire_rows(model.reference.iloc[:1], model.features)[0]
    told = client.post("/predict", json={"features": wire}).json()["prediction_id"]
    right, wrong = ("low", "tall") if model.task.classes else (1.25, "low")
    for label, status in ((wrong, 422), (None, 422), (right, 200), (right, 200)):
        answer = client.post("/feedback", json={"prediction_id": told, "label": label})
        assert answer.status_code == status, answer.text
    refused = client.post("/feedback", json={"prediction_id": told, "label": wrong}).json()
    expected = "one of high, low, middle" if model.task.classes else "a finite number"
    assert refused["errors"][0]["expected"] == expected
    other = "high" if model.task.classes else 1.5
    assert client.post("/feedback", json={"prediction_id": told, "label": other}).status_code == 409
    data = {"source": "predictions", "target": "target", "timestamp": None, "window": 10}
    logged = prediction_log.read_logged_predictions(settings("binary", data=data), folder)
    known = logged["target"].dropna().tolist()
    assert right in known


def test_the_protocol_serves_the_same_scores(served: tuple[Model, TestClient, Path]) -> None:
    model, client, _ = served
    frame = model.reference.iloc[:3]
    wire = compilation.to_wire_rows(frame, model.features)
    kinds = {"numeric": "FP64", "boolean": "BOOL", "categorical": "BYTES"}
    inputs = [
        {"name": f.name, "datatype": kinds[f.kind], "shape": [3, 1], "data": [r[k] for r in wire]}
        for k, f in enumerate(model.features)
    ]
    url = f"/v2/models/{model.name}"
    answer = client.post(f"{url}/infer", json={"inputs": inputs}).json()
    outputs = {o["name"]: o for o in answer["outputs"]}
    shapes = {o["name"]: o["shape"] for o in client.get(url).json()["outputs"]}
    name = "probability" if model.task.classes else "value"
    expected = model.predict(frame)
    assert outputs[name]["shape"] == list(expected.shape)
    assert shapes[name] == [-1, *expected.shape[1:]]
    assert outputs[name]["data"] == pytest.approx(expected.ravel().tolist(), abs=1e-9)
    other = "value" if model.task.classes else "probability"
    odd = {"inputs": inputs, "outputs": [{"name": other}]}
    assert client.post(f"{url}/infer", json=odd).status_code == 422


@pytest.mark.parametrize("slope", [1.0, 0.25, 2.5])
@pytest.mark.parametrize("estimator", ["linear", "hist_gradient_boosting"])
@pytest.mark.parametrize("task", TASKS)
def test_compiled_scorers_are_the_estimators(task: str, estimator: str, slope: float) -> None:
    frame = rows(task, 900)
    model = train(frame, settings(task, model={"estimator": estimator}))
    shifts = (-0.5, 0.25, 1.0) if task == "multiclass" else 0.4
    moved = ScoreCalibration(slope, 0.0 if slope == 1.0 else shifts)
    pipeline = with_calibration(model.estimator, moved, model.task)
    model = replace(model, estimator=pipeline, held_out=None)
    document = json.loads(json.dumps(compilation.compile_model(model), allow_nan=False))
    assert document["kind"] == ("linear" if estimator == "linear" else "trees"), document
    odd = frame.iloc[:40].copy()
    # Chances too small for their logarithms, values far beyond the reference, gaps, new text.
    odd["f0"] = [np.nan, 60.0, -60.0, 1e99] * 10
    odd["f1"] = [1e3, -1e3, np.nan, -1e99] * 10
    odd["city"] = ["never seen", None, "", "Linz"] * 10
    odd["member"] = pd.Series([True, None, False, True] * 10, index=odd.index, dtype=object)
    scorer = scoring.build_scorer(document)
    wire = compilation.to_wire_rows(odd, model.features)
    assert compilation.measure_largest_difference(scorer, wire, model.predict(odd).tolist()) < 1e-9
    np.testing.assert_allclose([scorer.one(row) for row in wire], scorer.many(wire), rtol=1e-12)


def test_a_served_task_chooses() -> None:
    classes = ServedTask("multiclass", ("a", "b"))
    assert classes.choose([0.4, 0.6], 0.9) == "b" and ServedTask().choose(0.4, 0.3) == 1
    assert ServedTask("regression", ()).choose(-2.5, 0.5) == -2.5
