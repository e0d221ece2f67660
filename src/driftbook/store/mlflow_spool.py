"""Runs on their way to MLflow: a record a run, sent by a child process with a time limit.

A run never talks to MLflow itself. It leaves a record in ``tracking/spool``;
:mod:`driftbook.store.mlflow_child` sends what lies there and points the aliases of the registered
model where the registry points. What can't be sent stays for the next run.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from driftbook.errors import UsageError
from driftbook.settings import Settings
from driftbook.store.runs_table import DECISION_FILE, find_card, read_json

SPOOL = Path("tracking", "spool")
STORE = Path("tracking", "mlflow.db")
GAIN = ("gain", "gain_low", "gain_high")
_NOT_IN_A_METRIC = re.compile(r"[^\w\-. /]")


@dataclass(frozen=True)
class Delivery:
    """What became of the spool: how many runs were sent, how many wait, and why."""

    sent: int
    waiting: int
    uri: str
    problem: str | None = None

    def __str__(self) -> str:
        """Return one sentence for the user."""
        if self.problem is None:
            taken = f"{_runs(self.sent)} more and " if self.sent else ""
            return f"MLflow at {self.uri} has {taken}the registry's aliases"
        kept = f"{_runs(self.waiting)} and the aliases" if self.waiting else "the aliases"
        return f"MLflow at {self.uri}: {self.problem}; the next run with tracking sends {kept}"


def _runs(count: int) -> str:
    return f"{count} run" if count == 1 else f"{count} runs"


def require() -> None:
    """Return nothing where MLflow is installed.

    Raises:
        UsageError: it is not.
    """
    if importlib.util.find_spec("mlflow") is None:
        raise UsageError("MLflow is not installed; run `make sync-tracking` first")


def store_uri(artifacts: Path, settings: Settings) -> str:
    """Return where MLflow keeps things: the setting, else the environment, else a SQLite file."""
    given = settings.tracking.uri or os.environ.get("MLFLOW_TRACKING_URI")
    return given or f"sqlite:///{(artifacts / STORE).resolve()}"


def add(artifacts: Path, folder: Path, run_name: str) -> Path:
    """Leave the record of the run in ``folder`` for MLflow; return its path.

    Writing it twice is the same as once. A record whose run never was committed is dropped when
    the spool is sent.
    """
    note, settings = read_json(folder / "run.json"), Settings.load(folder / "settings.yaml")
    decision = read_json(folder / DECISION_FILE)
    card = find_card(artifacts, folder, decision["model_version"])
    record = {
        "run_id": note["run_id"],
        "run_name": run_name,
        "experiment": settings.tracking.experiment or settings.model_name,
        "started_ms": _milliseconds(note["started_utc"]),
        "params": dict(flatten(settings.model_dump(mode="json"))),
        "metrics": dict(metrics_of(card, decision)),
        "tags": {
            "driftbook.run_id": note["run_id"],
            "driftbook.model_version": decision["model_version"],
            "driftbook.window": str(decision["window"]),
            "driftbook.action": decision["action"],
            "driftbook.notes": note["notes"],
            "mlflow.note.content": f"{decision['action']}: {decision['reason']}",
        },
    }
    path = artifacts / SPOOL / f"{note['run_id']}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(record, indent=2), encoding="utf-8")
    partial.replace(path)
    return path


def _milliseconds(timestamp: str) -> int:
    moment = datetime.fromisoformat(timestamp)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)


def flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield nested settings as dotted names with values as text.

    >>> dict(flatten({"data": {"source": "flights", "reference": 2}, "note": None}))
    {'data.source': 'flights', 'data.reference': '2', 'note': 'None'}
    """
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", str(value)


def metrics_of(card: Mapping[str, Any], decision: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield what a run measured, by name: holdout, window and drift, with interval bounds.

    ``roc_auc``, ``roc_auc_ci_low`` and ``roc_auc_ci_high`` are the model's holdout,
    ``realised/…`` and ``estimated/…`` the window's, ``psi/<feature>`` its drift. A value that
    does not exist is left out: MLflow has no missing metric.
    """
    evidence = decision["evidence"]
    yield from _with_bounds(card["metrics"], lambda row: row["metric"])
    judged = [
        row
        for row in evidence.get("performance") or []
        if row.get("status") == "ok" and row.get("basis") != "alternative"
    ]
    yield from _with_bounds(judged, lambda row: f"{row['basis']}/{row['metric']}")
    for row in evidence.get("drift") or []:
        yield from _numbers({f"psi/{row['feature']}": row.get("psi")})
    gain = evidence.get("challenger") or {}
    yield from _numbers({f"challenger/{name}": gain.get(name) for name in GAIN})
    yield from _numbers({"drift_ratio": decision.get("drift_ratio")})


NameOf = Callable[[Mapping[str, Any]], str]


def _with_bounds(rows: Iterable[Mapping[str, Any]], name_of: NameOf) -> Iterator[tuple[str, float]]:
    for row in rows:
        name = name_of(row)
        bounds = {f"{name}_{bound}": row.get(bound) for bound in ("ci_low", "ci_high")}
        yield from _numbers({name: row["value"], **bounds})


def _numbers(values: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for name, value in values.items():
        if isinstance(value, int | float) and value == value:
            yield _NOT_IN_A_METRIC.sub("_", name), float(value)


def in_use(artifacts: Path) -> bool:
    """Tell whether a run with these artifacts was ever meant for MLflow."""
    return (artifacts / SPOOL).is_dir()


def deliver(artifacts: Path, settings: Settings) -> Delivery:
    """Send the spool to MLflow and let its aliases follow the registry, within a time limit.

    Never raises for a store that is lost, slow or broken: what could not be sent stays.
    """
    before, uri = _waiting(artifacts), store_uri(artifacts, settings)
    problem = _send(artifacts, uri, settings)
    after = _waiting(artifacts)
    return Delivery(len(before - after), len(after), _without_password(uri), problem)


def _without_password(uri: str) -> str:
    return re.sub(r"(?<=://)[^/@\s]*@", "", uri)


def follow_aliases(artifacts: Path, settings: Settings) -> Delivery | None:
    """Send the registry's aliases after a promotion or rollback; None where MLflow is not used."""
    if not in_use(artifacts) or importlib.util.find_spec("mlflow") is None:
        return None
    return deliver(artifacts, settings)


def _waiting(artifacts: Path) -> set[str]:
    return {path.stem for path in (artifacts / SPOOL).glob("*.json")}


def _send(artifacts: Path, uri: str, settings: Settings) -> str | None:
    """Return why not everything was sent, or None."""
    command = [sys.executable, "-m", "driftbook.store.mlflow_child", str(artifacts.resolve()), uri]
    limit = settings.tracking.timeout_s
    try:
        # A process of its own, because nothing inside a process bounds a library's retries.
        done = subprocess.run(
            command, env=environment(), capture_output=True, text=True, timeout=limit, check=False
        )
    except subprocess.TimeoutExpired:
        return f"no end after {limit:g} s"
    if done.returncode == 0:
        return None
    lines = done.stderr.strip().splitlines()
    return _without_password(lines[-1][:300]) if lines else f"exit code {done.returncode}"


def environment() -> dict[str, str]:
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
