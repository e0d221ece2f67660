"""Runs in MLflow: a SQLite store, a real server, and a server that is lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from driftbook import paths
from driftbook.data import synthetic
from driftbook.errors import UsageError
from driftbook.model import design, training
from driftbook.settings import Settings
from driftbook.store import mlflow as tracking
from driftbook.store import registry, registry_models, runs_table

pytest.importorskip("mlflow", reason="the tracking extra is not installed")

# MLflow's own mappings use what SQLAlchemy 2.1 deprecates.
pytestmark = [
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*type hint:UserWarning"),
]
RUN_ID = "20260101T000000Z-0001"


@pytest.fixture(scope="module")
def models() -> tuple[training.Model, training.Model]:
    settings = Settings.parse({"data": {"source": "synthetic:none"}, "model": {"name": "demo"}})
    rows = synthetic.make_scenario("none", rows=800, seed=3)
    return (
        training.train(rows.iloc[:600], settings),
        training.train(rows.iloc[200:], settings, recipe="recent"),
    )


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a fresh MLflow database to copy, because its seventy migrations take seconds."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    client_of(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def artifacts(
    tmp_path: Path, empty_store: Path, models: tuple[training.Model, training.Model]
) -> Path:
    """Return an artifacts folder with one committed run, a champion and a challenger."""
    champion, challenger = models
    folder = tmp_path / "artifacts"
    registry_models.save_model(folder / "models", champion)
    registry.set_first_champion(folder / "models", champion.version)
    registry_models.save_model(folder / "models", challenger)
    registry.nominate_challenger(folder / "models", challenger.version)
    commit_run(folder, RUN_ID, champion.version)
    shutil.copy(empty_store, folder / "tracking" / "mlflow.db")
    return folder


def commit_run(artifacts: Path, run_id: str, version: str) -> Path:
    folder = artifacts / "runs" / run_id
    (folder / "policy").mkdir(parents=True)
    (folder / paths.RUN_SETTINGS).write_text(settings_for().to_yaml(), encoding="utf-8")
    note = {"run_id": run_id, "started_utc": "2026-01-01T00:00:00+00:00", "notes": "a note"}
    (folder / "run.json").write_text(json.dumps(note), encoding="utf-8")
    (folder / "policy" / "retrain_recommendation.json").write_text(
        json.dumps(decision(version)), encoding="utf-8"
    )
    runs_table.record_run(artifacts, folder, "demo")
    (artifacts / "tracking").mkdir(exist_ok=True)
    shutil.copy(folder / "tracking" / "runs.csv", artifacts / "tracking")
    return folder


def decision(version: str) -> dict[str, Any]:
    performance = [
        {"metric": "brier", "basis": "realised", "status": "ok", "value": 0.2, "ci_low": 0.1},
        {"metric": "auc", "basis": "realised", "status": "insufficient", "value": None},
    ]
    return {
        "action": "monitor",
        "reason": "drift that matters (x1)",
        "window": "rows-0007",
        "model_version": version,
        "drifted_features": ["x 1"],
        "drift_ratio": 0.125,
        "evidence": {
            "performance": performance,
            "drift": [{"feature": "x (°C)", "psi": 0.3}, {"feature": "x2", "psi": None}],
            "challenger": None,
        },
    }


def settings_for(uri: str | None = None, timeout_s: float = 300.0) -> Settings:
    return Settings.parse(
        {
            "data": {"source": "synthetic:none"},
            "model": {"name": "demo"},
            "tracking": {"uri": uri, "timeout_s": timeout_s},
        }
    )


def client_of(uri: str) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(uri, uri)


def check_run(client: Any, model: training.Model) -> None:
    """Check the one run in the store against the model's card and the decision."""
    experiment = client.get_experiment_by_name("demo")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "demo rows-0007"
    assert run.info.start_time == 1767225600000
    assert run.data.params["data.source"] == "synthetic:none"
    assert run.data.params["model.name"] == "demo"
    auc = model.metrics.set_index("metric").loc["roc_auc"]
    assert run.data.metrics["roc_auc"] == pytest.approx(auc["value"])
    assert run.data.metrics["roc_auc_ci_low"] == pytest.approx(auc["ci_low"])
    assert run.data.metrics["roc_auc_ci_high"] == pytest.approx(auc["ci_high"])
    assert run.data.metrics["realised/brier"] == 0.2
    assert run.data.metrics["psi/x __C_"] == 0.3
    assert "realised/auc" not in run.data.metrics
    assert run.data.tags["driftbook.run_id"] == RUN_ID
    assert run.data.tags["driftbook.model_version"] == model.version
    paths = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert {"policy", "tracking", "settings.yaml"} <= paths


def aliases_of(client: Any) -> dict[str, str]:
    """Return the Driftbook version behind each alias of the registered model."""
    found = client.get_registered_model("demo").aliases
    return {
        alias: client.get_model_version("demo", number).tags["driftbook.version"]
        for alias, number in found.items()
    }


def test_a_run_in_the_sqlite_store(
    artifacts: Path, models: tuple[training.Model, training.Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    champion, challenger = models
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    done = tracking.track_run(artifacts, settings_for(), RUN_ID)
    address = f"sqlite:///{artifacts}/tracking/mlflow.db"
    assert done == tracking.TrackingResult(address, RUN_ID, None)
    assert done.tell() == f"MLflow at {address} has run {RUN_ID} and the registry's aliases"
    client = client_of(address)
    check_run(client, champion)
    assert aliases_of(client) == {
        "champion": champion.version,
        "challenger": challenger.version,
    }
    check_model(client, champion)

    # The same run again, as after a crash between sending and hearing that it was taken.
    assert tracking.track_run(artifacts, settings_for(), RUN_ID).problem is None
    check_run(client, champion)
    assert len(client.search_model_versions("name = 'demo'")) == 2

    registry.promote_version(artifacts / "models", challenger.version, "test", None)
    moved = tracking.track_aliases(artifacts, settings_for())
    assert moved == tracking.TrackingResult(address, None, None)
    assert aliases_of(client) == {"champion": challenger.version}
    registry.roll_back(artifacts / "models", None, "test")
    tracking.sync_aliases(client, artifacts)
    assert aliases_of(client) == {"champion": champion.version}


def test_an_estimator_of_the_owners_own_is_sent(
    tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    code = "from sklearn.neighbors import KNeighborsClassifier\n"
    code += "class Near(KNeighborsClassifier): pass\n"
    (tmp_path / "own_sent.py").write_text(code, encoding="utf-8")
    trusted = ["own_sent.*", "sklearn.*"]
    model = {"name": "demo", "estimator": "own_sent:Near", "trusted": trusted}
    settings = Settings.parse({"data": {"source": "synthetic:none"}, "model": model})
    settings = settings.based(tmp_path)
    made = training.train(synthetic.make_scenario("none", rows=600, seed=3), settings)
    folder = tmp_path / "artifacts"
    registry_models.save_model(folder / "models", made, trusted)
    registry.set_first_champion(folder / "models", made.version)
    commit_run(folder, RUN_ID, made.version)
    store = shutil.copy(empty_store, folder / "tracking" / "mlflow.db")
    done = tracking.track_run(folder, settings, RUN_ID)
    assert done.problem is None
    assert aliases_of(client_of(f"sqlite:///{store}")) == {"champion": made.version}


def check_model(client: Any, model: training.Model) -> None:
    """Check the champion in MLflow: scores, signature, example, and no pickle in it."""
    import mlflow

    mlflow.set_tracking_uri(client.tracking_uri)
    mlflow.set_registry_uri(client.tracking_uri)
    loaded = mlflow.pyfunc.load_model("models:/demo@champion")
    rows = design.model_inputs(model.holdout, model.features)
    np.testing.assert_allclose(loaded.predict(rows)[:, 1], model.predict_proba(model.holdout))
    assert loaded.metadata.signature.inputs.input_names() == model.feature_names
    folder = Path(mlflow.artifacts.download_artifacts("models:/demo@champion"))
    assert loaded.metadata.load_input_example(str(folder)).shape == (5, len(model.features))
    kinds = {path.suffix for path in folder.rglob("*") if path.is_file()}
    assert ".skops" in kinds
    assert not kinds & {".pkl", ".pickle", ".joblib"}


@dataclass
class Server:
    """A real MLflow server on a loopback port."""

    process: subprocess.Popen[bytes]
    port: int

    def address(self) -> str:
        """Return the server's address once it answers."""
        for _ in range(900):
            assert self.process.poll() is None, "the MLflow server ended by itself"
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return f"http://127.0.0.1:{self.port}"
            time.sleep(0.1)
        pytest.fail("the MLflow server did not open its port within 90 s")


@pytest.fixture
def server(tmp_path: Path, empty_store: Path) -> Iterator[Server]:
    store, files = shutil.copy(empty_store, tmp_path / "server.db"), tmp_path / "server-files"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{store}", "--artifacts-destination", str(files)]
    environment = {**tracking.child_environment(), "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (tmp_path / "server.log").open("w") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, env=environment, start_new_session=True
        )
        try:
            yield Server(process, port)
        finally:
            stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.network
def test_a_lost_server_keeps_the_run_and_a_found_one_gets_it(
    artifacts: Path, models: tuple[training.Model, training.Model], server: Server
) -> None:
    champion, challenger = models
    with socket.socket() as silent:  # takes connections and never answers
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        lost = f"http://user:secret@127.0.0.1:{silent.getsockname()[1]}"
        started = time.monotonic()
        done = tracking.track_run(artifacts, settings_for(lost, timeout_s=4), RUN_ID)
        assert 4 <= time.monotonic() - started < 30
        moved = tracking.track_aliases(artifacts, settings_for(lost, timeout_s=0.5))
    address = lost.replace("user:secret@", "")
    assert done.tell(" --settings b.yaml") == (
        f"MLflow at {address}: no end after 4 s; "
        f"send the run later with 'driftbook track {RUN_ID} --settings b.yaml'"
    )
    assert moved is not None
    assert moved.tell() == (
        f"MLflow at {address}: no end after 0.5 s; the next run that is tracked sends the aliases"
    )
    waiting = json.loads((artifacts / "runs" / RUN_ID / "tracking.json").read_text())
    assert (waiting["run_id"], waiting["metrics"]["realised/brier"]) == (RUN_ID, 0.2)

    refused = tracking.track_run(artifacts, settings_for(lost), RUN_ID)
    assert refused.problem == "the server does not answer"
    assert "secret" not in refused.tell()

    address = server.address()
    assert tracking.track_run(artifacts, settings_for(address), RUN_ID).problem is None
    check_run(client_of(address), champion)
    check_model(client_of(address), champion)
    assert aliases_of(client_of(address)) == {
        "champion": champion.version,
        "challenger": challenger.version,
    }


def test_a_problem_of_mlflow_is_one_line(artifacts: Path) -> None:
    done = tracking.track_run(artifacts, settings_for("nonsense://host"), RUN_ID)
    assert done.problem is not None
    assert "nonsense" in done.problem
    assert "\n" not in done.problem
    assert "Traceback" not in done.problem


@pytest.mark.parametrize("run_id", ["gone", "..", "../runs"])
def test_only_a_finished_run_is_sent(artifacts: Path, run_id: str) -> None:
    with pytest.raises(UsageError, match=f"no finished run '{run_id}' with a decision under"):
        tracking.track_run(artifacts, settings_for(), run_id)


@pytest.mark.parametrize("problem", [None, "the server does not answer"])
def test_the_command_line_says_what_became_of_a_run(
    artifacts: Path, monkeypatch: pytest.MonkeyPatch, problem: str | None
) -> None:
    from click.testing import CliRunner

    from driftbook.runbook.cli import main

    def send(_artifacts: Path, _settings: Settings, run_id: str | None) -> tracking.TrackingResult:
        return tracking.TrackingResult("http://a", run_id, problem)

    (artifacts.parent / "runbook.yaml").write_text(settings_for().to_yaml(), encoding="utf-8")
    here = ["--settings", str(artifacts.parent / "runbook.yaml"), "--artifacts", str(artifacts)]
    unknown = CliRunner().invoke(main, ["track", "gone", *here])
    assert (unknown.exit_code, unknown.stdout) == (2, "")
    assert "driftbook: no finished run 'gone'" in unknown.stderr

    monkeypatch.setattr(tracking, "_send", send)
    sent = CliRunner().invoke(main, ["track", RUN_ID, *here, "--json"])
    promoted = CliRunner().invoke(main, ["promote", "--force", "--why", "because", *here])
    assert promoted.exit_code == 0, promoted.stderr
    if problem is None:
        assert sent.exit_code == 0, sent.stderr
        assert json.loads(sent.stdout) == {"run_id": RUN_ID, "uri": "http://a"}
        assert "MLflow at http://a has the registry's aliases" in promoted.stderr
    else:
        assert (sent.exit_code, sent.stdout) == (1, "")
        assert f"send the run later with 'driftbook track {RUN_ID} --settings" in sent.stderr
        assert f"{problem}; the next run that is tracked sends the aliases" in promoted.stderr


def test_without_a_tracked_run_a_promotion_leaves_mlflow_alone(tmp_path: Path) -> None:
    assert tracking.track_aliases(tmp_path, settings_for()) is None
    assert list(tmp_path.iterdir()) == []


def test_the_store_is_the_setting_then_the_environment_then_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://b")
    assert tracking.find_tracking_uri(tmp_path, settings_for("http://a")) == "http://a"
    assert tracking.find_tracking_uri(tmp_path, settings_for()) == "http://b"
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    expected = f"sqlite:///{tmp_path}/tracking/mlflow.db"
    assert tracking.find_tracking_uri(tmp_path, settings_for()) == expected


def test_the_row_of_a_run_tells_model_and_decision(
    artifacts: Path, models: tuple[training.Model, training.Model]
) -> None:
    (row,) = runs_table.read_runs(artifacts / "tracking" / "runs.csv").to_dict("records")
    value = models[0].metrics.set_index("metric").loc["brier", "value"]
    assert float(row["brier"]) == pytest.approx(value)
    assert row["run_id"] == RUN_ID
    assert row["action"] == "monitor"
    assert (row["drifted_features"], row["drift_ratio"], row["n_train"]) == ("1", "0.125", "450")
