"""Runs in MLflow: what is sent, and the one bounded child process that sends it.

``python -m driftbook.store.mlflow ARTIFACTS URI MODEL [RUN_ID]`` is that child (MODEL: what the
settings say of loading one, as JSON) and the only place that
talks to MLflow. It can be interrupted and repeated: runs are found again by their run id, model
versions by their version. A run that a server did not take waits in its folder.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from driftbook import paths
from driftbook.errors import DriftbookError, UsageError
from driftbook.settings import Settings
from driftbook.store import files, registry
from driftbook.store.tracked_record import RUN_TAG, describe_tracked_run

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from driftbook.model.training import Model

VERSION_TAG = "driftbook.version"
EXAMPLE_ROWS = 5
REQUIREMENTS = ("numpy", "pandas", "scikit-learn", "skops")


@dataclass(frozen=True)
class TrackingResult:
    """Whether MLflow took a run (none: the aliases alone), and why not."""

    uri: str
    run_id: str | None
    problem: str | None = None

    def tell(self, options: str = "") -> str:
        """Return one sentence; ``options`` lead a command line back to the project."""
        if self.problem is None:
            taken = "" if self.run_id is None else f"run {self.run_id} and "
            return f"MLflow at {self.uri} has {taken}the registry's aliases"
        later = (
            "the next run that is tracked sends the aliases"
            if self.run_id is None
            else f"send the run later with 'driftbook track {self.run_id}{options}'"
        )
        return f"MLflow at {self.uri}: {self.problem}; {later}"


def require_mlflow() -> None:
    """Return nothing where MLflow is installed.

    Raises:
        UsageError: it is not.
    """
    if importlib.util.find_spec("mlflow") is None:
        raise UsageError("MLflow is not installed; run `make sync-tracking` first")


def find_tracking_uri(artifacts: Path, settings: Settings) -> str:
    """Return where MLflow keeps things: the setting, else the environment, else a SQLite file."""
    given = settings.tracking.uri or os.environ.get("MLFLOW_TRACKING_URI")
    return given or f"sqlite:///{(artifacts / paths.MLFLOW_STORE).resolve()}"


def track_run(artifacts: Path, settings: Settings, run_id: str) -> TrackingResult:
    """Send a finished run and the registry's aliases to MLflow, within a time limit.

    What is sent is written to ``tracking.json`` in the run's folder first. Never raises for a
    store that is lost, slow or broken.

    Raises:
        UsageError: there is no such run, or it made no decision.
    """
    folder = artifacts / paths.RUNS / run_id
    if Path(run_id).name != run_id or not (folder / paths.RECOMMENDATION).is_file():
        raise UsageError(f"no finished run {run_id!r} with a decision under {artifacts}")
    record = describe_tracked_run(artifacts, folder)
    files.write_whole(folder / paths.RUN_TRACKING, files.format_json(record))
    return _send(artifacts, settings, run_id)


def track_aliases(artifacts: Path, settings: Settings) -> TrackingResult | None:
    """Send the registry's aliases after a promotion or rollback; None where MLflow is not used."""
    used = any((artifacts / paths.RUNS).glob(f"*/{paths.RUN_TRACKING}"))
    if not used or importlib.util.find_spec("mlflow") is None:
        return None
    return _send(artifacts, settings, None)


def _send(artifacts: Path, settings: Settings, run_id: str | None) -> TrackingResult:
    uri, limit = find_tracking_uri(artifacts, settings), settings.tracking.timeout_s
    chosen = settings.model
    loading = {"trusted": chosen.trusted, "folders": [str(folder) for folder in chosen.folders]}
    command = [sys.executable, "-m", __name__, str(artifacts.resolve()), uri, json.dumps(loading)]
    problem = None
    try:
        # A process of its own, because nothing inside a process bounds a library's retries.
        done = subprocess.run(
            [*command, *([run_id] if run_id else [])],
            env=child_environment(),
            capture_output=True,
            text=True,
            timeout=limit,
            check=False,
        )
        if done.returncode != 0:
            lines = done.stderr.strip().splitlines()
            problem = lines[-1][:300] if lines else f"exit code {done.returncode}"
    except subprocess.TimeoutExpired:
        problem = f"no end after {limit:g} s"
    return TrackingResult(_hide_password(uri), run_id, problem and _hide_password(problem))


def _hide_password(text: str) -> str:
    return re.sub(r"(?<=://)[^/@\s]*@", "", text)


def child_environment() -> dict[str, str]:
    """Return the child's environment: short waits, no telemetry, no bars; the user's own win."""
    quiet = {
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_LOGGING_LEVEL": "ERROR",
        "GIT_PYTHON_REFRESH": "quiet",
        "PYTHONWARNINGS": "ignore",
    }
    return {**quiet, **os.environ}


def log_run(
    client: MlflowClient, artifacts: Path, folder: Path, trusted: Sequence[str] = ()
) -> None:
    """Log what the run's record says, its files and its model, unless all is there already."""
    from mlflow.entities import Metric, Param

    record = files.read_json_object(folder / paths.RUN_TRACKING)
    started, tags = record["started_ms"], record["tags"]
    experiment = find_experiment(client, artifacts, record["experiment"])
    found = client.search_runs([experiment], f"tags.`{RUN_TAG}` = '{record['run_id']}'")
    if found and found[0].info.status == "FINISHED":
        return
    run = found[0] if found else client.create_run(experiment, started, tags, record["run_name"])
    run_id = str(run.info.run_id)
    # One time stamp for all: MLflow then takes a repeated metric for the same one.
    metrics = [Metric(name, value, started, 0) for name, value in record["metrics"].items()]
    params = [Param(name, value) for name, value in record["params"].items()]
    client.log_batch(run_id, metrics, params)
    client.log_artifacts(run_id, str(folder))
    version = tags["driftbook.model_version"]
    number = register_in_mlflow(client, artifacts, version, run_id, trusted)
    client.set_tag(run_id, "driftbook.registered_version", number)
    client.set_terminated(run_id, "FINISHED")


def find_experiment(client: MlflowClient, artifacts: Path, name: str) -> str:
    """Return the id of the experiment, made where there is none.

    Files go beside a SQLite store; a server says itself where its files go.
    """
    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    local = client.tracking_uri.startswith("sqlite:")
    place = (artifacts / paths.MLFLOW_FILES).resolve().as_uri()
    return str(client.create_experiment(name, place if local else None))


def register_in_mlflow(
    client: MlflowClient,
    artifacts: Path,
    version: str,
    run_id: str | None = None,
    trusted: Sequence[str] = (),
) -> str:
    """Return the number of a Driftbook version in MLflow's registry, logged there if need be."""
    import mlflow

    from driftbook.store import registry_models

    name = registry.read_card(version, artifacts / paths.MODELS)["name"]
    for known in client.search_model_versions(f"name = '{name}'"):
        if known.tags.get(VERSION_TAG) == version:
            return str(known.version)
    if run_id is None:  # the registry knew it before MLflow was used
        experiment = find_experiment(client, artifacts, name)
    else:
        experiment = client.get_run(run_id).info.experiment_id
    mlflow.set_experiment(experiment_id=experiment)
    model = registry_models.load_model(artifacts / paths.MODELS, version, trusted)
    made = mlflow.register_model(
        _log_model(model, run_id), name, await_registration_for=30, tags={VERSION_TAG: version}
    )
    return str(made.version)


def _log_model(model: Model, run_id: str | None) -> str:
    """Return the address of the model logged without pickle, with signature and example."""
    import mlflow.sklearn

    from driftbook.model import design
    from driftbook.store import registry_models

    rows = design.model_inputs(model.holdout.head(EXAMPLE_ROWS), model.features)
    predict = "predict_proba" if model.task.classes else "predict"
    info = mlflow.sklearn.log_model(
        model.estimator,
        name=model.name,
        serialization_format="skops",
        skops_trusted_types=registry_models.list_types(model.estimator),
        pyfunc_predict_fn=predict,
        signature=mlflow.models.infer_signature(rows, getattr(model.estimator, predict)(rows)),
        input_example=rows,
        pip_requirements=[f"{name}=={metadata.version(name)}" for name in _requirements(model)],
        tags={VERSION_TAG: model.version},
        run_id=run_id,
    )
    return str(info.model_uri)


def _requirements(model: Model) -> list[str]:
    """Return the packages that a model needs, its own estimator's among them."""
    module = model.origin.get("estimator", "").partition(":")[0].partition(".")[0]
    return sorted({*REQUIREMENTS, *metadata.packages_distributions().get(module, ())})


def sync_aliases(client: MlflowClient, artifacts: Path, trusted: Sequence[str] = ()) -> None:
    """Make MLflow's aliases champion and challenger point where the registry's do."""
    aliases = registry.read_index(artifacts / paths.MODELS).aliases
    if aliases["champion"] is None:
        return
    name = registry.read_card(aliases["champion"], artifacts / paths.MODELS)["name"]
    found = client.search_registered_models(f"name = '{name}'")
    before = found[0].aliases if found else {}
    for alias, version in aliases.items():
        if version is not None:
            number = register_in_mlflow(client, artifacts, version, None, trusted)
            client.set_registered_model_alias(name, alias, number)
        elif alias in before:
            client.delete_registered_model_alias(name, alias)


def send_from_child(
    artifacts_dir: str, uri: str, loading: str = "{}", run_id: str | None = None
) -> None:
    """Send a run, where one is given, and the aliases; end with a sentence where that fails."""
    import mlflow
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    from driftbook.model.importing import import_from

    artifacts, given = Path(artifacts_dir), json.loads(loading)
    trusted, folders = given.get("trusted", ()), tuple(map(Path, given.get("folders", ())))
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    client = mlflow.MlflowClient(uri, uri)
    try:
        lock = files.hold_lock(artifacts / paths.MLFLOW_STORE.with_name(".lock"))
        with lock, import_from(folders):
            if run_id is not None:
                log_run(client, artifacts, artifacts / paths.RUNS / run_id, trusted)
            sync_aliases(client, artifacts, trusted)
    except (MlflowException, DriftbookError, SQLAlchemyError, OSError) as error:
        text = str(error).strip() or type(error).__name__
        # The whole story of a lost server's retries would hide the one fact.
        lost = "ConnectionPool(" in text
        sys.exit("the server does not answer" if lost else text.splitlines()[0])


if __name__ == "__main__":
    send_from_child(*sys.argv[1:])
