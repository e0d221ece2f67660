"""A real server process: limits, token, logs, hot swaps, a lost log, and sudden death."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest

from driftbook.api.process import Server, running_server
from driftbook.data import prediction_log
from driftbook.store import registry, registry_models
from serving_load import EIGHT, ask_under_load, read_logged
from serving_models import enthrone, mixed_model, numeric_model, settings_of

pytestmark = pytest.mark.network

LIMITS = {"max_batch": 3, "max_body_bytes": 4096, "timeout_s": 3.0, "poll_s": 0.1}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    artifacts = tmp_path_factory.mktemp("guarded")
    enthrone(artifacts, numeric_model())
    settings = settings_of(serving=LIMITS)
    with running_server(settings, artifacts, {"DRIFTBOOK_API_TOKEN": "s3cret"}) as server:
        yield server


@pytest.fixture(scope="module")
def client(guarded: Server) -> Iterator[httpx.Client]:
    headers = {"authorization": "Bearer s3cret"}
    with httpx.Client(base_url=guarded.url, headers=headers, trust_env=False) as client:
        yield client


def eventually(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    """Return whether the condition came true in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return condition()


def lines_of(server: Server) -> list[dict[str, Any]]:
    return [json.loads(line) for line in server.log.read_text().splitlines()]


@pytest.mark.parametrize("path", ["/predict", "/model", "/metrics", "/openapi.json", "/v2"])
@pytest.mark.parametrize("token", [None, "Bearer s3cre", "Bearer s3crett", "s3cret"])
def test_without_the_right_token_nothing_is_told(
    guarded: Server, path: str, token: str | None
) -> None:
    headers = {} if token is None else {"authorization": token}
    response = httpx.get(f"{guarded.url}{path}", headers=headers, trust_env=False)
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert response.json()["type"] == "urn:driftbook:problem:unauthorised"


def test_the_right_token_opens_and_health_needs_none(guarded: Server, client: httpx.Client) -> None:
    assert client.post("/predict", json={"features": EIGHT}).status_code == 200
    for path in ("/health", "/ready", "/v2/health/live", "/v2/health/ready"):
        assert httpx.get(f"{guarded.url}{path}", trust_env=False).status_code == 200


def test_large_bodies_are_refused_with_and_without_a_length(client: httpx.Client) -> None:
    headers = {"content-type": "application/json"}
    body = b'{"features": [' + b" " * 5000 + b"]}"
    declared = client.post("/predict", content=body, headers=headers)
    chunked = client.post("/predict", content=iter([body[:3000], body[3000:]]), headers=headers)
    for response in (declared, chunked):
        assert response.status_code == 413
        assert response.json()["detail"] == "the body may have at most 4096 bytes"


def test_large_batches_are_refused(client: httpx.Client) -> None:
    record = {f"f{i}": value for i, value in enumerate(EIGHT)}
    assert client.post("/predict", json={"records": [record] * 3}).status_code == 200
    refused = client.post("/predict", json={"records": [record] * 4})
    assert refused.status_code == 413
    assert refused.json()["detail"] == "records: at most 3 rows a request, found 4"
    labels = [{"prediction_id": "x", "label": 1}] * 4
    assert client.post("/feedback", json={"feedback": labels}).status_code == 413
    tensor = {"name": "rows", "shape": [4, 8], "datatype": "FP64", "data": EIGHT * 4}
    assert client.post("/v2/models/small/infer", json={"inputs": [tensor]}).status_code == 413


def exchange(server: Server, sent: bytes) -> bytes:
    """Return all that the server says to raw bytes until it closes or falls silent."""
    host, _, port = server.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=30.0) as connection:
        connection.sendall(sent)
        received = b""
        while b"\r\n\r\n" not in received or not received.rstrip().endswith(b"}"):
            part = connection.recv(65536)
            if not part:
                break
            received += part
    return received


def test_a_body_that_never_ends_runs_out_of_time(guarded: Server) -> None:
    head = b"POST /predict HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer s3cret\r\n"
    head += b"content-type: application/json\r\ncontent-length: 100\r\n\r\n{"
    answer = exchange(guarded, head)
    assert answer.startswith(b"HTTP/1.1 503")
    assert b"urn:driftbook:problem:timeout" in answer


def test_bytes_that_are_no_http_are_refused(guarded: Server, client: httpx.Client) -> None:
    answer = exchange(guarded, b"NONSENSE\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"urn:driftbook:problem:not-http" in answer
    assert client.get("/health").status_code == 200


def test_feedback_over_http(client: httpx.Client) -> None:
    ids = [
        client.post("/predict", json={"features": EIGHT}).json()["prediction_id"] for _ in range(3)
    ]
    one = {"prediction_id": ids[0], "label": 1}
    assert client.post("/feedback", json=one).json() == {"stored": 1, "known": 0}
    assert client.post("/feedback", json=one).json() == {"stored": 0, "known": 1}
    batch = {"feedback": [{"prediction_id": i, "label": 0} for i in ids[1:]]}
    assert client.post("/feedback", json=batch).json() == {"stored": 2, "known": 0}
    other = client.post("/feedback", json={**one, "label": 0})
    assert other.status_code == 409
    assert other.json()["errors"][0]["field"] == f"prediction_id {ids[0]}"
    unknown = client.post("/feedback", json={**one, "prediction_id": "nobody"})
    assert unknown.status_code == 404
    wrong_bodies: list[Any] = [{}, [], {**one, "label": 2}, {**one, "label": True}, {**one, "x": 1}]
    for wrong in wrong_bodies:
        assert client.post("/feedback", json=wrong).status_code == 422


def test_log_lines_are_json_without_feature_values(guarded: Server, client: httpx.Client) -> None:
    values = [123.456789, *EIGHT[1:]]
    headers = {"x-request-id": "look-for-me"}
    answer = client.post("/predict", json={"features": values}, headers=headers).json()
    assert eventually(lambda: "look-for-me" in guarded.log.read_text())
    text = guarded.log.read_text()
    assert "123.456789" not in text
    assert "s3cret" not in text
    line = next(one for one in lines_of(guarded) if one.get("request_id") == "look-for-me")
    assert line["message"] == "POST /predict 200"
    assert line["prediction_ids"] == [answer["prediction_id"]]
    assert line["model_version"] == numeric_model().version
    assert line["duration_ms"] > 0


def test_feature_values_are_logged_where_asked(tmp_path: Path) -> None:
    enthrone(tmp_path, mixed_model())
    record = {"age": 41.5, "far": 1.0, "member": None, "city": "Lima", "code": "c1"}
    with running_server(settings_of(serving={"log_features": True}), tmp_path) as server:
        httpx.post(f"{server.url}/predict", json={"records": [record]}, trust_env=False)
        assert eventually(lambda: "features" in server.log.read_text())
        assert [one["features"] for one in lines_of(server) if "features" in one] == [[record]]


def test_a_killed_server_has_logged_every_answer(tmp_path: Path) -> None:
    enthrone(tmp_path, numeric_model())
    with running_server(settings_of(), tmp_path) as server:

        def kill(_answers: list[dict[str, Any]]) -> None:
            os.kill(server.process.pid, signal.SIGKILL)

        answers = asyncio.run(ask_under_load(server.url, kill, at_end=False))
    assert server.process.returncode == -signal.SIGKILL
    found = read_logged(settings_of(), tmp_path)
    assert len(answers) >= 200
    for answer in answers:
        assert found[answer["prediction_id"]] == (answer["model_version"], answer["probability"])


def test_a_promotion_is_taken_up_under_load_without_a_failed_request(tmp_path: Path) -> None:
    first, second = numeric_model(), numeric_model(seed=1)
    enthrone(tmp_path, first)
    frame = pd.DataFrame([EIGHT], columns=first.feature_names)
    expected = {m.version: m.predict_proba(frame)[0] for m in (first, second)}
    taken_up = False

    with running_server(settings_of(serving={"poll_s": 0.2}), tmp_path) as server:

        def promote(answers: list[dict[str, Any]]) -> None:
            nonlocal taken_up
            registry_models.save_model(tmp_path / "models", second)
            registry.promote_version(tmp_path / "models", second.version, "better", None)
            # Ten times what is promised, so that a slow machine does not decide the outcome.
            taken_up = eventually(lambda: answers[-1]["model_version"] == second.version, 20.0)

        answers = asyncio.run(ask_under_load(server.url, promote, at_end=True))
    assert taken_up
    assert {answer["status"] for answer in answers} == {200}
    for answer in answers:
        assert answer["probability"] == pytest.approx(expected[answer["model_version"]], abs=1e-12)
    assert {answer["model_version"] for answer in answers} == {first.version, second.version}


def test_a_broken_champion_does_not_replace_a_sound_one(tmp_path: Path) -> None:
    first, second = numeric_model(), numeric_model(seed=1)
    enthrone(tmp_path, first)
    registry_models.save_model(tmp_path / "models", second)
    (tmp_path / "models" / second.version / "scorer.json").write_text("{}")
    index = tmp_path / "models" / "index.json"
    with (
        running_server(settings_of(serving={"poll_s": 0.1}), tmp_path) as server,
        httpx.Client(base_url=server.url, trust_env=False) as client,
    ):
        # A promotion would refuse the altered files itself.
        changed = json.loads(index.read_text())
        changed["aliases"]["champion"] = second.version
        index.write_text(json.dumps(changed))
        failed = "driftbook_model_load_failures_total 1.0"
        assert eventually(lambda: failed in client.get("/metrics").text)
        answer = client.post("/predict", json={"features": EIGHT})
        assert answer.json()["model_version"] == first.version


def test_an_answer_that_cannot_be_logged_is_not_given(tmp_path: Path) -> None:
    enthrone(tmp_path, numeric_model())
    settings = settings_of(serving={"poll_s": 0.1})
    other = prediction_log.connect_prediction_log(
        prediction_log.prediction_log_url(settings, tmp_path)
    )
    with (
        running_server(settings, tmp_path) as server,
        httpx.Client(base_url=server.url, trust_env=False, timeout=20.0) as client,
    ):
        assert client.post("/predict", json={"features": EIGHT}).status_code == 200
        with other.connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            refused = client.post("/predict", json={"features": EIGHT})
        assert refused.status_code == 503
        assert refused.json()["type"] == "urn:driftbook:problem:log-unavailable"
        assert "probability" not in refused.text
        assert str(tmp_path) not in refused.text
        assert eventually(lambda: client.get("/ready").status_code == 200)
        assert client.post("/predict", json={"features": EIGHT}).status_code == 200
    other.dispose()
    assert len(read_logged(settings_of(), tmp_path)) == 2


def test_a_log_that_cannot_be_made_means_not_ready(tmp_path: Path) -> None:
    enthrone(tmp_path, numeric_model())
    (tmp_path / "log").write_text("a file where the folder should be")
    with (
        running_server(settings_of(serving={"poll_s": 0.1}), tmp_path) as server,
        httpx.Client(base_url=server.url, trust_env=False) as client,
    ):
        assert client.get("/health").status_code == 200
        assert client.get("/ready").json()["type"] == "urn:driftbook:problem:log-unavailable"
        assert client.post("/predict", json={"features": EIGHT}).status_code == 503
        (tmp_path / "log").unlink()
        assert eventually(lambda: client.get("/ready").status_code == 200)


@pytest.mark.parametrize(("told", "code"), [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, 0)])
def test_the_last_lines_of_a_server_that_is_told_to_stop_are_written(
    tmp_path: Path, told: signal.Signals, code: int
) -> None:
    enthrone(tmp_path, numeric_model())
    with running_server(settings_of(), tmp_path) as server:
        answer = httpx.get(f"{server.url}/health", trust_env=False)
        server.process.send_signal(told)
        server.process.wait(timeout=20)
        lines = [json.loads(line) for line in server.log.read_text().splitlines()]
    assert answer.headers["x-request-id"] in {line.get("request_id") for line in lines}
    assert any("Finished server process" in line["message"] for line in lines)
    assert server.process.returncode == code  # whoever started it learns what ended it


def test_a_server_whose_log_nobody_reads_still_stops(tmp_path: Path) -> None:
    """Its lines fill the pipe; neither its answers nor its end may wait for a reader."""
    enthrone(tmp_path, numeric_model())
    settings = tmp_path / "settings.yaml"
    settings.write_text(settings_of().to_yaml())
    command = [sys.executable, "-m", "driftbook", "serve", "--port", "0"]
    command += ["--settings", str(settings), "--artifacts", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as server:
        try:
            assert server.stdout is not None
            url = json.loads(server.stdout.readline())["url"]
            with httpx.Client(base_url=url, trust_env=False) as client:
                # A pipe holds 65,536 bytes.
                longest = {"x-request-id": "x" * 128}
                statuses = {client.get("/health", headers=longest).status_code for _ in range(400)}
                time.sleep(1.0)
            server.send_signal(signal.SIGTERM)
            server.wait(timeout=20)
        finally:
            server.kill()
    assert statuses == {200}


def test_the_server_needs_no_scientific_library_to_start(tmp_path: Path) -> None:
    enthrone(tmp_path, numeric_model())
    program = """
import sys
from driftbook.api.app import create_app
from driftbook.settings import Settings
app = create_app(Settings.parse({"model": {"name": "small"}}), sys.argv[1])
assert app.state.service.served.scorer.kind == "linear"
print([name for name in ("pandas", "sklearn", "skops", "scipy", "numpy") if name in sys.modules])
"""
    command = [sys.executable, "-c", program, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
