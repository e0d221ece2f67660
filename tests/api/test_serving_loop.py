"""The whole loop: serve, learn the truth, judge the served traffic, promote, serve the new one."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pandas as pd
import pytest

from driftbook.api.process import running_server
from driftbook.data import synthetic
from driftbook.settings import Settings

WINDOW = 600
MODEL = {"name": "loop"}
TRAINING = {"data": {"source": "synthetic:concept", "window": WINDOW}, "model": MODEL}
SERVED = {
    "data": {"source": "predictions", "target": "target", "timestamp": None, "window": WINDOW},
    "model": MODEL,
    "serving": {"poll_s": 0.1},
}


def driftbook(artifacts: Path, settings: Path, *command: str) -> str:
    """Run the command line; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "driftbook", *command]
        + ["--settings", str(settings), "--artifacts", str(artifacts)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def serve_and_label(client: httpx.Client, rows: pd.DataFrame) -> set[str]:
    """Have the rows predicted, send their true labels, and return the versions that answered."""
    records = rows.drop(columns="target").to_dict("records")
    answers = client.post("/predict", json={"records": records}).json()["predictions"]
    labels = [
        {"prediction_id": answer["prediction_id"], "label": int(label)}
        for answer, label in zip(answers, rows["target"], strict=True)
    ]
    stored = client.post("/feedback", json={"feedback": labels}).json()
    assert stored == {"stored": len(rows), "known": 0}
    return {answer["model_version"] for answer in answers}


def version_of(client: httpx.Client) -> str:
    return str(client.get("/model").json()["version"])


@pytest.mark.network
@pytest.mark.slow
def test_served_traffic_is_judged_and_a_promotion_is_served(tmp_path: Path) -> None:
    artifacts, training, served = (tmp_path / n for n in ("artifacts", "train.yaml", "served.yaml"))
    training.write_text(json.dumps(TRAINING))
    served.write_text(json.dumps(SERVED))
    driftbook(artifacts, training, "run", "--no-render")
    changed = synthetic.make_scenario("concept").tail(3 * WINDOW)
    with (
        running_server(Settings.load(served), artifacts) as server,
        httpx.Client(base_url=server.url, trust_env=False, timeout=60.0) as client,
    ):
        first = version_of(client)
        for start in range(0, 3 * WINDOW, WINDOW):
            assert serve_and_label(client, changed.iloc[start : start + WINDOW]) == {first}
        # Of served traffic nothing is trained, so a run starts with what there is to judge.
        driftbook(artifacts, served, "run", "--no-render")
        path = artifacts / "policy" / "retrain_recommendation.json"
        recommendation = json.loads(path.read_text())
        assert recommendation["action"] == "retrain"
        assert recommendation["model_version"] == first
        assert recommendation["window"] == "rows-0003"
        driftbook(artifacts, served, "promote")
        end = time.monotonic() + 20.0
        while version_of(client) == first and time.monotonic() < end:
            time.sleep(0.05)
        answered = serve_and_label(client, changed.tail(50))
    assert len(answered) == 1
    assert answered != {first}
