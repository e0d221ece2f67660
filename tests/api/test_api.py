"""The API in process: answers, refusals, readiness, feedback."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from driftbook.api import server, service
from driftbook.api.app import create_app
from driftbook.errors import UsageError
from driftbook.model.compilation import to_wire_rows
from driftbook.model.training import Model
from driftbook.store import registry, registry_models
from serving_models import (
    TestClient,
    enthrone,
    mixed_model,
    mixed_rows,
    numeric_model,
    settings_of,
)

JSON = {"content-type": "application/json"}
EIGHT = [0.2, 0.1, 0.4, 0.0, 0.7, 0.3, 0.1, 0.9]


@pytest.fixture(scope="module")
def numeric(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Model]:
    artifacts = tmp_path_factory.mktemp("numeric")
    return artifacts, enthrone(artifacts, numeric_model())


@pytest.fixture(scope="module")
def client(numeric: tuple[Path, Model]) -> Iterator[TestClient]:
    with TestClient(create_app(settings_of(), numeric[0])) as client:
        yield client


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TestClient, Model]]:
    artifacts = tmp_path_factory.mktemp("mixed")
    model = enthrone(artifacts, mixed_model())
    with TestClient(create_app(settings_of(), artifacts)) as client:
        yield client, model


def problem_of(response: Any, status: int) -> dict[str, Any]:
    """Return the problem document of a refusal, after checking its form."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = response.json()
    assert document["status"] == status
    assert {"type", "title", "detail", "instance"} <= document.keys()
    assert document["instance"].endswith(response.headers["x-request-id"])
    return document


def test_the_documented_request_is_answered(client: TestClient, numeric: Any) -> None:
    response = client.post("/predict", json={"features": EIGHT})
    assert response.status_code == 200
    answer = response.json()
    frame = pd.DataFrame([EIGHT], columns=[f"f{i}" for i in range(8)])
    assert answer["probability"] == pytest.approx(numeric[1].predict_proba(frame)[0], abs=1e-12)
    assert answer["prediction"] == int(answer["probability"] >= 0.5)
    assert answer["model_version"] == numeric[1].version
    assert len(answer["prediction_id"]) == 36


def test_records_score_as_the_model_scores_them(mixed: tuple[TestClient, Model]) -> None:
    client, model = mixed
    rows = mixed_rows(50, seed=3)
    wire = to_wire_rows(rows, model.features)
    records = [dict(zip(model.feature_names, row, strict=True)) for row in wire]
    answer = client.post("/predict", json={"records": records}).json()
    found = [one["probability"] for one in answer["predictions"]]
    assert found == pytest.approx(model.predict_proba(rows), abs=1e-12)
    assert len({one["prediction_id"] for one in answer["predictions"]}) == 50
    assert {one["model_version"] for one in answer["predictions"]} == {model.version}


def test_null_is_a_missing_value_and_a_new_category_is_none_of_the_known(
    mixed: tuple[TestClient, Model],
) -> None:
    client, model = mixed
    row = [None, 1e6, None, "Atlantis", None]
    frame = pd.DataFrame([row], columns=model.feature_names)
    answer = client.post("/predict", json={"features": row})
    assert answer.json()["probability"] == pytest.approx(model.predict_proba(frame)[0], abs=1e-12)


@pytest.mark.parametrize(
    ("body", "field", "expected", "found"),
    [
        ('{"features": [1, 2]}', "features", "a list of 8 values", "2 values"),
        ('{"features": []}', "features", "a list of 8 values", "an empty list"),
        ('{"features": "warm"}', "features", "a list of 8 values", "text"),
        ('{"features": [0,0,NaN,0,0,0,0,0]}', "features[2] (f2)", "a finite number", "NaN"),
        ('{"features": [0,0,0,"x",0,0,0,0]}', "features[3] (f3)", "a finite number", "text"),
        ('{"features": [0,0,0,true,0,0,0,0]}', "features[3] (f3)", "a finite number", "a boolean"),
        ('{"features": [Infinity,0,0,0,0,0,0,0]}', "features[0] (f0)", "a finite", "an infinite"),
        ('{"features": [1e999,0,0,0,0,0,0,0]}', "features[0] (f0)", "a finite", "an infinite"),
        ('{"features": [1e101,0,0,0,0,0,0,0]}', "features[0] (f0)", "within ±1e+100", "a number"),
        ('{"features": [[1],0,0,0,0,0,0,0]}', "features[0] (f0)", "a finite number", "a list"),
        ("", "body", "a JSON object", "an empty body"),
        ("{}", "body", "exactly one of features and records", "an empty object"),
        ("[]", "body", "an object", "an empty list"),
        ('{"features": [1,]}', "body", "a JSON object", "no valid JSON"),
        ('{"features": [], "records": []}', "body", "exactly one", "both"),
        ('{"rows": []}', "rows", "exactly one", "an unknown key"),
        ('{"records": []}', "records", "at least one", "an empty list"),
        ('{"records": [3]}', "records[0]", "an object with the keys f0", "a number"),
        ('{"records": [{"f0": 1}]}', "records[0].f1", "a finite number", "no such key"),
    ],
)
def test_a_wrong_body_is_refused_by_field(
    client: TestClient, body: str, field: str, expected: str, found: str
) -> None:
    document = problem_of(client.post("/predict", content=body, headers=JSON), 422)
    error = document["errors"][0]
    assert error["field"] == field
    assert expected in error["expected"]
    assert found in error["found"]
    assert field in document["detail"]


def test_wrong_kinds_of_value_are_all_named(mixed: tuple[TestClient, Model]) -> None:
    client, _ = mixed
    record = {"age": "old", "far": 1.0, "member": 1, "city": 7, "code": "c1"}
    document = problem_of(client.post("/predict", json={"records": [record]}), 422)
    assert [(e["field"], e["expected"]) for e in document["errors"]] == [
        ("records[0].age", "a finite number or null, within ±1e+100"),
        ("records[0].member", "true, false or null"),
        ("records[0].city", "text or null"),
    ]


def test_a_problem_never_repeats_what_was_sent(mixed: tuple[TestClient, Model]) -> None:
    client, _ = mixed
    record = {"age": "my secret", "far": 1.0, "member": True, "city": "Lima", "code": "c1"}
    assert "secret" not in client.post("/predict", json={"records": [record]}).text


def test_an_unknown_key_is_refused(mixed: tuple[TestClient, Model]) -> None:
    client, _ = mixed
    record = {"age": 1, "far": 1, "member": True, "city": "Lima", "code": "c1", "extra": 1}
    document = problem_of(client.post("/predict", json={"records": [record]}), 422)
    assert [error["field"] for error in document["errors"]] == ["records[0].extra"]


def test_other_media_types_paths_and_methods_are_problems(client: TestClient) -> None:
    form = {"content-type": "application/x-www-form-urlencoded"}
    problem_of(client.post("/predict", content="features=1", headers=form), 415)
    problem_of(client.get("/nowhere"), 404)
    refused = client.get("/predict")
    problem_of(refused, 405)
    assert refused.headers["allow"] == "POST"


@pytest.mark.parametrize(
    ("body", "field", "found"),
    [
        ("", "body", "an empty body"),
        ("{x", "body", "text that is no valid JSON"),
        ("[]", "body", "an empty list"),
        ('{"feedback": []}', "feedback", "an empty list"),
        ('{"feedback": [{"prediction_id": "a", "label": 2}]}', "feedback[0].label", "a number"),
        ('{"prediction_id": 1, "label": 1}', "prediction_id", "a number"),
        ('{"prediction_id": "a\\u0000", "label": 1}', "prediction_id", "text"),
        ('{"prediction_id": "\\ud800", "label": 1}', "body", "text that is no valid JSON"),
        ('{"prediction_id": "a"}', "label", "no such key"),
    ],
)
def test_wrong_feedback_is_refused_by_field(
    client: TestClient, body: str, field: str, found: str
) -> None:
    document = problem_of(client.post("/feedback", content=body, headers=JSON), 422)
    assert [(one["field"], one["found"]) for one in document["errors"]] == [(field, found)]


def test_a_failure_of_the_server_tells_nothing_of_its_cause(
    numeric: tuple[Path, Model], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*_: Any) -> None:
        raise RuntimeError("the secret at /some/path")

    monkeypatch.setattr(service.Service, "score_rows", fail)
    app = create_app(settings_of(), numeric[0])
    with TestClient(app, raise_server_exceptions=False) as client:
        response = client.post("/predict", json={"features": EIGHT})
        assert problem_of(response, 500)["type"] == "urn:driftbook:problem:internal-error"
        assert "secret" not in response.text
        assert response.headers["x-request-id"] in caplog.text
        assert 'path="/predict",status="500"} 1.0' in client.get("/metrics").text


def test_request_ids_go_in_and_out(client: TestClient) -> None:
    given = client.get("/health", headers={"x-request-id": "abc-1"})
    assert given.headers["x-request-id"] == "abc-1"
    forged = client.get("/health", headers={"x-request-id": 'a "quoted" one'})
    assert len(forged.headers["x-request-id"]) == 36


def test_without_a_champion_the_api_lives_but_is_not_ready(tmp_path: Path) -> None:
    with TestClient(create_app(settings_of(), tmp_path)) as client:
        assert client.get("/health").status_code == 200
        for response in (
            client.get("/ready"),
            client.get("/model"),
            client.post("/predict", json={"features": EIGHT}),
        ):
            assert problem_of(response, 503)["type"] == "urn:driftbook:problem:not-ready"


@pytest.mark.parametrize("name", ["model.skops", "scorer.json", "card.json", "reference.parquet"])
def test_a_changed_file_is_never_served(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    model = enthrone(tmp_path, numeric_model())
    file = tmp_path / "models" / model.version / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with TestClient(create_app(settings_of(), tmp_path)) as client:
        for response in (client.get("/ready"), client.post("/predict", json={"features": EIGHT})):
            document = problem_of(response, 503)
            assert document["type"] == "urn:driftbook:problem:not-ready"
            assert str(tmp_path) not in response.text
    assert name in caplog.text


def test_a_restored_file_is_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "RETRY_S", 0.0)
    model = enthrone(tmp_path, numeric_model())
    scorer = tmp_path / "models" / model.version / "scorer.json"
    sound = scorer.read_bytes()
    scorer.write_bytes(b"{}")
    found = service.Service(settings_of(), tmp_path)
    found.refresh()
    assert (found.served, found.load_failures) == (None, 1)
    scorer.write_bytes(sound)
    found.refresh()
    found.refresh()
    assert found.served is not None
    assert (found.served.version, found.load_failures) == (model.version, 1)


def test_the_card_names_version_features_and_metrics(client: TestClient, numeric: Any) -> None:
    card = client.get("/model").json()
    assert card["version"] == numeric[1].version
    assert card["name"] == "small"
    assert [f["name"] for f in card["features"]] == [f"f{i}" for i in range(8)]
    assert {"roc_auc", "brier", "n_train"} <= {row["metric"] for row in card["metrics"]}


def test_a_scorer_that_fails_its_proof_gives_way_to_scikit_learn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model = enthrone(tmp_path, numeric_model())
    file = tmp_path / "models" / model.version / "scorer.json"
    document = json.loads(file.read_text())
    document["intercept"] += 0.01
    file.write_text(json.dumps(document))
    registered = registry.read_index(tmp_path / "models").versions[model.version]["files"]
    monkeypatch.setattr(
        registry,
        "read_verified_files",
        lambda *_: {n: (file.parent / n).read_bytes() for n in registered},
    )
    monkeypatch.setattr(registry_models, "load_model", lambda *_: model)
    with TestClient(create_app(settings_of(), tmp_path)) as client:
        assert client.get("/model").json()["scorer"] == "scikit-learn"
        answer = client.post("/predict", json={"features": EIGHT}).json()
    frame = pd.DataFrame([EIGHT], columns=model.feature_names)
    assert answer["probability"] == pytest.approx(model.predict_proba(frame)[0], abs=1e-15)
    assert "compiled scorer is off by up to" in caplog.text


def test_a_host_that_others_reach_needs_a_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(server.TOKEN_VARIABLE, raising=False)
    with pytest.raises(UsageError, match="no token is set"):
        server.serve_champion(settings_of(), tmp_path, host="0.0.0.0", port=0)


def test_a_port_that_is_taken_is_a_usage_error(tmp_path: Path) -> None:
    with server.listen_on("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"port {port}"):
            server.serve_champion(settings_of(), tmp_path, port=port)
