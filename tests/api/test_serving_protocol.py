"""The Open Inference Protocol through a standard client, and by hand where it must refuse."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from driftbook.api.app import create_app
from driftbook.api.process import running_server
from driftbook.model.training import Model
from serving_models import TestClient, enthrone, mixed_model, mixed_rows, numeric_model, settings_of

pytestmark = pytest.mark.network

# The client names no media type of its own.
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[triton.InferenceServerClient]:
    artifacts = tmp_path_factory.mktemp("mixed")
    enthrone(artifacts, mixed_model())
    with (
        running_server(settings_of(), artifacts) as server,
        triton.InferenceServerClient(server.url.removeprefix("http://")) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    artifacts = tmp_path_factory.mktemp("plain")
    enthrone(artifacts, numeric_model())
    with TestClient(create_app(settings_of(), artifacts)) as client:
        yield client


def tensors_of(rows: pd.DataFrame, model: Model) -> list[triton.InferInput]:
    """Return the rows as one tensor a feature, as a client sends them."""
    inputs = []
    for feature in model.features:
        if feature.kind == "categorical":
            values = rows[feature.name].fillna("").to_numpy(dtype=object)[:, None]
            datatype = "BYTES"
        elif feature.kind == "boolean":
            values, datatype = rows[feature.name].to_numpy(dtype=bool)[:, None], "BOOL"
        else:
            values, datatype = rows[feature.name].to_numpy(dtype=np.float64)[:, None], "FP64"
        tensor = triton.InferInput(feature.name, list(values.shape), datatype)
        tensor.set_data_from_numpy(values, binary_data=False)
        inputs.append(tensor)
    return inputs


def test_server_and_model_tell_what_they_are(mixed: triton.InferenceServerClient) -> None:
    model = mixed_model()
    assert mixed.is_server_live()
    assert mixed.is_server_ready()
    assert mixed.is_model_ready("small")
    assert mixed.is_model_ready("small", model.version)
    assert not mixed.is_model_ready("small", "m000000000000")
    assert mixed.get_server_metadata()["extensions"] == []
    metadata = mixed.get_model_metadata("small", model.version)
    assert metadata["versions"] == [model.version]
    assert [(i["name"], i["datatype"]) for i in metadata["inputs"]] == [
        ("age", "FP64"),
        ("far", "FP64"),
        ("member", "BOOL"),
        ("city", "BYTES"),
        ("code", "BYTES"),
    ]


@pytest.mark.parametrize("version", ["", "named"])
def test_a_batch_scores_as_the_model_scores_it(
    mixed: triton.InferenceServerClient, version: str
) -> None:
    model = mixed_model()
    rows = mixed_rows(40, seed=8).dropna()
    named = model.version if version else ""
    result = mixed.infer("small", tensors_of(rows, model), named, headers=JSON)
    assert result.as_numpy("probability") == pytest.approx(model.predict_proba(rows), abs=1e-12)
    assert result.get_response()["model_version"] == model.version
    assert len(set(result.as_numpy("prediction_id").tolist())) == len(rows)


def test_outputs_are_those_asked_for(mixed: triton.InferenceServerClient) -> None:
    model = mixed_model()
    rows = mixed_rows(60, seed=9).dropna()
    outputs = [triton.InferRequestedOutput("probability", binary_data=False)]
    inputs = tensors_of(rows, model)
    result = mixed.infer("small", inputs, outputs=outputs, request_id="mine", headers=JSON)
    assert result.as_numpy("probability") == pytest.approx(model.predict_proba(rows), abs=1e-12)
    assert result.get_response()["id"] == "mine"
    assert [output["name"] for output in result.get_response()["outputs"]] == ["probability"]


def test_an_unknown_model_is_an_error_that_the_client_can_read(
    mixed: triton.InferenceServerClient,
) -> None:
    inputs = tensors_of(mixed_rows(2), mixed_model())
    with pytest.raises(InferenceServerException, match="no such model") as error:
        mixed.infer("large", inputs, headers=JSON)
    assert error.value.status() == "404"


def test_a_missing_tensor_is_named(mixed: triton.InferenceServerClient) -> None:
    inputs = tensors_of(mixed_rows(2), mixed_model())
    with pytest.raises(InferenceServerException, match="also for code"):
        mixed.infer("small", inputs[:-1], headers=JSON)


def test_numbers_may_come_as_one_tensor(plain: TestClient) -> None:
    model = numeric_model()
    values = np.random.default_rng(1).normal(size=(3, 8)).round(3)
    frame = pd.DataFrame(values, columns=model.feature_names)
    tensor = {"name": "rows", "shape": [3, 8], "datatype": "FP64", "data": values.tolist()}
    answer = plain.post("/v2/models/small/infer", json={"inputs": [tensor]}).json()
    assert answer["outputs"][0]["data"] == pytest.approx(model.predict_proba(frame), abs=1e-12)
    assert answer["outputs"][0]["shape"] == [3]
    assert plain.get("/v2/models/small/versions").json()["versions"] == [model.version]


def one_tensor(**changes: Any) -> dict[str, Any]:
    """Return a request of one row of eight numbers in one tensor, with changes to the tensor."""
    tensor = {"name": "rows", "shape": [1, 8], "datatype": "FP64", "data": [0.5] * 8}
    return {"inputs": [{**tensor, **changes}]}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (one_tensor(shape=[1, 7]), "inputs[0].shape"),
        (one_tensor(data=[0.5] * 7), "inputs[0]"),
        (one_tensor(shape=[-1, 8]), "inputs[0].shape"),
        (one_tensor(shape=[True, 8]), "inputs[0].shape"),
        (one_tensor(shape=[1, 8, 1]), "inputs[0].shape"),
        (one_tensor(shape=None), "inputs[0].shape"),
        (one_tensor(shape=[8], data=[0.5] * 8), "inputs[0].name"),
        (one_tensor(shape=[4, 2]), "inputs[0].shape"),
        (one_tensor(datatype="FP128"), "inputs[0].datatype"),
        (one_tensor(datatype="BYTES"), "inputs[0].datatype"),
        (one_tensor(data=["x"] * 8), "row 0.f0"),
        (one_tensor(data="x"), "inputs[0].data"),
        (one_tensor(parameters=7), "inputs[0].parameters"),
        ({**one_tensor(), "id": 7}, "id"),
        (one_tensor(name=7), "inputs[0].name"),
        (one_tensor(extra=1), "inputs[0].extra"),
        ({**one_tensor(), "outputs": [{"name": "shap"}]}, "outputs[0].name"),
        ({**one_tensor(), "outputs": []}, "outputs"),
        ({**one_tensor(), "more": 1}, "more"),
        ({"inputs": []}, "inputs"),
        ([], "body"),
    ],
)
def test_a_wrong_request_is_refused_by_field(plain: TestClient, body: Any, field: str) -> None:
    response = plain.post("/v2/models/small/infer", json=body)
    assert response.status_code == 422, response.text
    document = response.json()
    assert document["errors"][0]["field"] == field
    assert document["error"] == document["detail"]


def test_binary_tensors_are_refused_with_the_way_out(mixed: triton.InferenceServerClient) -> None:
    tensor = triton.InferInput("age", [1, 1], "FP64")
    tensor.set_data_from_numpy(np.ones((1, 1)), binary_data=True)
    with pytest.raises(InferenceServerException, match="send JSON") as error:
        mixed.infer("small", [tensor], headers=JSON)
    assert error.value.status() == "415"


def test_the_health_checks_follow_the_model(tmp_path: Path) -> None:
    with TestClient(create_app(settings_of(), tmp_path)) as client:
        assert client.get("/v2/health/live").status_code == 200
        assert client.get("/v2/health/ready").status_code == 503
        assert client.get("/v2/models/small").status_code == 503
