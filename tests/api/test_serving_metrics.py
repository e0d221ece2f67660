"""The metrics: what they count, their names by promtool, and a real Prometheus scraping them."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from pathlib import Path

import httpx
import pytest

from driftbook.api.app import create_app
from driftbook.api.process import Server, running_server
from serving_models import TestClient, enthrone, numeric_model, settings_of

EIGHT = [0.2, 0.1, 0.4, 0.0, 0.7, 0.3, 0.1, 0.9]


@pytest.fixture
def artifacts(tmp_path: Path) -> Path:
    """Return an artifacts folder with a champion and the recommendation of a run."""
    enthrone(tmp_path, numeric_model())
    (tmp_path / "policy").mkdir()
    recommendation = tmp_path / "policy" / "retrain_recommendation.json"
    recommendation.write_text(json.dumps({"action": "monitor"}))
    return tmp_path


def samples(text: str) -> dict[str, float]:
    """Return the value of every sample by its name and labels."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_metrics_count_what_happened(artifacts: Path) -> None:
    version = numeric_model().version
    with TestClient(create_app(settings_of(), artifacts)) as client:
        record = {f"f{i}": value for i, value in enumerate(EIGHT)}
        first = client.post("/predict", json={"features": EIGHT}).json()
        client.post("/predict", json={"records": [record, record]})
        client.post("/predict", json={"features": []})
        label = {"prediction_id": first["prediction_id"], "label": 1}
        client.post("/feedback", json=label)
        client.post("/feedback", json=label)
        client.post("/feedback", json={**label, "label": 0})
        client.get("/wp-login.php")
        client.get(f"/v2/models/small/versions/{version}/ready")
        found = samples(client.get("/metrics").text)
    predicted = f'model_version="{version}",prediction="{first["prediction"]}"'
    assert found[f"driftbook_predictions_total{{{predicted}}}"] == 3
    requests = "driftbook_http_requests_total"
    assert found[f'{requests}{{method="POST",path="/predict",status="200"}}'] == 2
    assert found[f'{requests}{{method="POST",path="/predict",status="422"}}'] == 1
    assert found[f'{requests}{{method="GET",path="other",status="404"}}'] == 1
    assert found[f'{requests}{{method="GET",path="/v2/models/{{name}}/ready",status="200"}}'] == 1
    latency = "driftbook_http_request_duration_seconds"
    assert found[f'{latency}_count{{path="/predict"}}'] == 3
    assert found[f'{latency}_bucket{{le="+Inf",path="/predict"}}'] == 3
    assert found[f'{latency}_sum{{path="/predict"}}'] > 0
    for result in ("stored", "known", "contradicting"):
        assert found[f'driftbook_feedback_total{{result="{result}"}}'] == 1
    assert found["driftbook_prediction_log_rows_total"] == 3
    assert found["driftbook_prediction_log_up"] == 1
    assert found["driftbook_prediction_log_lag_seconds"] >= 0
    assert found["driftbook_ready"] == 1
    assert found[f'driftbook_model_info{{name="small",scorer="linear",version="{version}"}}'] == 1
    assert found['driftbook_last_run_action{action="monitor"}'] == 1
    assert found['driftbook_last_run_action{action="retrain"}'] == 0
    published = (artifacts / "policy" / "retrain_recommendation.json").stat().st_mtime
    assert found["driftbook_last_run_timestamp_seconds"] == pytest.approx(published, abs=0.01)


def test_what_the_guard_refuses_counts_for_its_path(artifacts: Path) -> None:
    with TestClient(create_app(settings_of(), artifacts, token="t")) as client:
        client.post("/predict", json={"features": EIGHT})
        found = samples(client.get("/metrics", headers={"authorization": "Bearer t"}).text)
    counted = 'driftbook_http_requests_total{method="POST",path="/predict",status="401"}'
    assert found[counted] == 1


def test_without_a_model_or_a_run_the_metrics_say_so(tmp_path: Path) -> None:
    with TestClient(create_app(settings_of(), tmp_path)) as client:
        found = samples(client.get("/metrics").text)
    assert found["driftbook_ready"] == 0
    assert not [name for name in found if "last_run" in name or "model_info" in name]


def test_promtool_finds_nothing_wrong(artifacts: Path) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("needs promtool of Debian's package prometheus")
    with TestClient(create_app(settings_of(), artifacts)) as client:
        client.post("/predict", json={"features": EIGHT})
        response = client.get("/metrics")
    assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    command = ["promtool", "check", "metrics"]
    done = subprocess.run(command, input=response.content, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def scraped(server: Server, folder: Path) -> dict[str, str]:
    """Return what a real Prometheus stores of the server's metrics: the value by query."""
    target = server.url.removeprefix("http://")
    config = {
        "global": {"scrape_interval": "1s"},
        "scrape_configs": [
            {
                "job_name": "driftbook",
                "authorization": {"credentials": "s3cret"},
                "static_configs": [{"targets": [target]}],
            }
        ],
    }
    (folder / "prometheus.yml").write_text(json.dumps(config))
    url = f"http://127.0.0.1:{free_port()}"
    command = ["prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=data"]
    command += [f"--web.listen-address={url.removeprefix('http://')}"]
    queries = ("up", "driftbook_ready", "sum(driftbook_predictions_total)")
    found: dict[str, str] = {}
    with (folder / "prometheus.log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
        try:
            end = time.monotonic() + 30.0
            while time.monotonic() < end and len(found) < len(queries):
                time.sleep(0.2)
                found = {q: value for q in queries if (value := _query(url, q)) is not None}
        finally:
            process.terminate()
            process.wait(timeout=20)
    return found


def _query(url: str, query: str) -> str | None:
    try:
        answer = httpx.get(f"{url}/api/v1/query", params={"query": query}, trust_env=False)
        result = answer.json()["data"]["result"]
    except (httpx.TransportError, ValueError, KeyError):  # it is still starting
        return None
    return str(result[0]["value"][1]) if result else None


@pytest.mark.network
def test_a_real_prometheus_scrapes_the_metrics(artifacts: Path) -> None:
    if shutil.which("prometheus") is None:
        pytest.skip("needs Debian's package prometheus")
    folder = artifacts / "prometheus"
    folder.mkdir()
    token = {"DRIFTBOOK_API_TOKEN": "s3cret"}
    with running_server(settings_of(), artifacts, token) as server:
        headers = {"authorization": "Bearer s3cret"}
        for _ in range(3):
            httpx.post(
                f"{server.url}/predict",
                json={"features": EIGHT},
                headers=headers,
                trust_env=False,
            )
        found = scraped(server, folder)
    log = (folder / "prometheus.log").read_text()[-2000:]
    expected = {"up": "1", "driftbook_ready": "1", "sum(driftbook_predictions_total)": "3"}
    assert found == expected, log
