"""The only place that talks to MLflow: ``python -m driftbook.store.mlflow_child ARTIFACTS URI``.

Runs as a child of :mod:`driftbook.store.mlflow_spool`, which bounds its time. All of it can be
interrupted and repeated: runs are found again by their run id, model versions by their version.
"""

from __future__ import annotations

import fcntl
import json
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import mlflow
import mlflow.sklearn
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.models import infer_signature
from sqlalchemy.exc import SQLAlchemyError

from driftbook.errors import DriftbookError
from driftbook.model import design
from driftbook.model.training import Model
from driftbook.store import mlflow_spool, registry, runs_table

RUN_TAG = "driftbook.run_id"
VERSION_TAG = "driftbook.version"
ALIASES = ("champion", "challenger")
LONGEST_PARAM = 6000
PARAMS_A_CALL = 100
EXAMPLE_ROWS = 5
REQUIREMENTS = ("numpy", "pandas", "scikit-learn", "skops")
FAILURES = (MlflowException, DriftbookError, SQLAlchemyError, OSError)


def send(artifacts: Path, uri: str) -> list[str]:
    """Send every spooled run and the aliases; return a sentence for each thing that failed."""
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    client = MlflowClient(uri, uri)
    try:
        client.search_experiments(max_results=1)  # a lost server ends it here, once for all runs
    except FAILURES as error:
        return [_first_line(error)]
    problems = []
    for path in sorted((artifacts / mlflow_spool.SPOOL).glob("*.json")):
        try:
            send_run(client, artifacts, path)
        except FAILURES as error:
            problems.append(f"{path.stem}: {_first_line(error)}")
    try:
        sync_aliases(client, artifacts)
    except FAILURES as error:
        problems.append(f"aliases: {_first_line(error)}")
    return problems


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    if "ConnectionPool(" in text:  # the whole story of its retries would hide the one fact
        return "the server does not answer"
    return text.splitlines()[0] if text else type(error).__name__


def send_run(client: MlflowClient, artifacts: Path, path: Path) -> None:
    """Send one spooled record and remove it.

    A run still at work keeps its record; one that never was committed has it removed unsent.
    """
    record = json.loads(path.read_text(encoding="utf-8"))
    run_id = record["run_id"]
    if (artifacts / ".staging" / run_id).is_dir():
        return
    folder = artifacts / "runs" / run_id
    known = set(runs_table.read_runs(artifacts / runs_table.RUNS_FILE)["run_id"])
    if folder.is_dir() or run_id in known:
        log_run(client, artifacts, folder, record)
    path.unlink()


def log_run(client: MlflowClient, artifacts: Path, folder: Path, record: dict[str, Any]) -> str:
    """Return the MLflow id of the run, logged with parameters, metrics, artifacts and model."""
    experiment = experiment_of(client, artifacts, record["experiment"])
    found = client.search_runs([experiment], f"tags.`{RUN_TAG}` = '{record['run_id']}'")
    if found and found[0].info.status == "FINISHED":
        return str(found[0].info.run_id)
    started = record["started_ms"]
    run = (
        found[0]
        if found
        else client.create_run(experiment, started, record["tags"], record["run_name"])
    )
    run_id = str(run.info.run_id)
    params = [Param(name, value[:LONGEST_PARAM]) for name, value in record["params"].items()]
    for start in range(0, len(params), PARAMS_A_CALL):
        client.log_batch(run_id, params=params[start : start + PARAMS_A_CALL])
    # One time stamp for all: MLflow then takes a repeated metric for the same one.
    metrics = [Metric(name, value, started, 0) for name, value in record["metrics"].items()]
    client.log_batch(run_id, metrics=metrics)
    _log_files(client, run_id, folder)
    version = record["tags"]["driftbook.model_version"]
    number = register(client, artifacts, version, run_id)
    client.log_batch(run_id, tags=[RunTag("driftbook.registered_version", number)])
    client.set_terminated(run_id, "FINISHED")
    return run_id


def _log_files(client: MlflowClient, run_id: str, folder: Path) -> None:
    """Log the run's files but its models, which the model registry holds."""
    if not folder.is_dir():
        return
    for entry in sorted(folder.iterdir()):
        if entry.name == "models" or entry.name.startswith("."):
            continue
        if entry.is_dir():
            client.log_artifacts(run_id, str(entry), entry.name)
        else:
            client.log_artifact(run_id, str(entry))


def experiment_of(client: MlflowClient, artifacts: Path, name: str) -> str:
    """Return the id of the experiment, made where there is none.

    Files go beside a SQLite store; a server says itself where its files go.
    """
    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    local = str(mlflow.get_tracking_uri()).startswith("sqlite:")
    place = (artifacts / mlflow_spool.STORE.parent / "mlflow-files").resolve().as_uri()
    return str(client.create_experiment(name, place if local else None))


def register(client: MlflowClient, artifacts: Path, version: str, run_id: str | None = None) -> str:
    """Return the number of a Driftbook version in MLflow's registry, logged there if need be."""
    name = runs_table.find_card(artifacts, artifacts, version)["name"]
    for known in client.search_model_versions(f"name = '{name}'"):
        if known.tags.get(VERSION_TAG) == version:
            return str(known.version)
    if run_id is None:  # the registry knew it before MLflow was used
        mlflow.set_experiment(experiment_id=experiment_of(client, artifacts, name))
    else:
        mlflow.set_experiment(experiment_id=client.get_run(run_id).info.experiment_id)
    logged = log_model(registry.load_model(artifacts / "models", version), run_id)
    made = mlflow.register_model(
        logged, name, await_registration_for=30, tags={VERSION_TAG: version}
    )
    return str(made.version)


def log_model(model: Model, run_id: str | None = None) -> str:
    """Return the address of the model logged without pickle, with signature and example."""
    rows = design.model_inputs(model.holdout.head(EXAMPLE_ROWS), model.features)
    info = mlflow.sklearn.log_model(
        model.estimator,
        name=model.name,
        serialization_format="skops",
        skops_trusted_types=list(registry.TRUSTED_TYPES),
        pyfunc_predict_fn="predict_proba",
        signature=infer_signature(rows, model.estimator.predict_proba(rows)),
        input_example=rows,
        pip_requirements=[f"{name}=={metadata.version(name)}" for name in REQUIREMENTS],
        tags={VERSION_TAG: model.version},
        run_id=run_id,
    )
    return str(info.model_uri)


def sync_aliases(client: MlflowClient, artifacts: Path) -> None:
    """Make MLflow's aliases champion and challenger point where the registry's do."""
    aliases = registry.read_index(artifacts / "models").aliases
    champion = aliases.get("champion")
    if champion is None:
        return
    name = runs_table.find_card(artifacts, artifacts, champion)["name"]
    for alias in ALIASES:
        version = aliases.get(alias)
        now = _numbers_by_alias(client, name).get(alias)
        if version is None:
            if now is not None:
                client.delete_registered_model_alias(name, alias)
            continue
        number = register(client, artifacts, version)
        if number != now:
            client.set_registered_model_alias(name, alias, number)


def _numbers_by_alias(client: MlflowClient, name: str) -> dict[str, str]:
    found = client.search_registered_models(f"name = '{name}'")
    return {alias: str(number) for alias, number in found[0].aliases.items()} if found else {}


def main(artifacts: Path, uri: str) -> int:
    """Return 0 when everything was sent, 1 with a sentence on standard error otherwise."""
    folder = artifacts / mlflow_spool.SPOOL
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.stderr.write("another command is sending the spool\n")
            return 1
        problems = send(artifacts, uri)
    sys.stderr.write("\n".join(problems))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
