"""The check of the serving step: a real server process against the run's own model."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import httpx
import numpy as np

from driftbook.api.process import running_server
from driftbook.errors import DriftbookError
from driftbook.model.compilation import to_wire_rows
from driftbook.settings import LogSettings, ServingSettings, Settings
from driftbook.store import temporary

if TYPE_CHECKING:
    from driftbook.model.training import Model

KNOWN_ROWS = 50
SCORE_TOLERANCE = 1e-9


class ServingCheckError(DriftbookError):
    """The server did not answer as the run expects."""


class ServedRun(Protocol):
    """What the checks need of a run; see :class:`driftbook.runbook.run.Run`."""

    @property
    def run_id(self) -> str:
        """Return the run's name."""

    @property
    def settings(self) -> Settings:
        """Return the run's settings."""

    @property
    def champion(self) -> Model:
        """Return the version that the run is about."""

    def registry_of(self, version: str) -> Path:
        """Return the registry folder that holds ``version``."""


@dataclass(frozen=True)
class ServingCheck:
    """One question to the running server, the answer that is right, and the answer given."""

    name: str
    expected: str
    found: str
    passed: bool


def check_serving(run: ServedRun) -> dict[str, Any]:
    """Return what a real server answered about the run's champion, check by check.

    The server runs on a free port, against the registry that holds the run's champion and a
    prediction log of its own, which is thrown away. A check that fails is recorded as failed, with
    what was expected and found;
    :func:`require_passed` turns that into an error.

    Raises:
        ServerError: the server did not start at all.
    """
    model = run.champion
    if model.prediction:
        return {
            "passed": True,
            "model_version": model.version,
            "served_elsewhere": True,
            "checks": [],
        }
    artifacts = run.registry_of(model.version).parent
    with temporary.hold_temporary_folder("driftbook-server-") as folder:
        log = LogSettings(url=f"sqlite:///{folder / 'predictions.sqlite'}")
        settings = run.settings.model_copy(update={"log": log})
        with running_server(settings, artifacts) as server:
            checks = [*ask_server(server.url, model, settings.serving.max_body_bytes)]
    return {
        "passed": all(one.passed for one in checks),
        "model_version": model.version,
        "run_id": run.run_id,
        "checks": [vars(one) for one in checks],
    }


def require_passed(results: Mapping[str, Any]) -> None:
    """Return if every check passed; call it after the results are written.

    Raises:
        ServingCheckError: the message names the failed checks.
    """
    failed = [one for one in results["checks"] if not one["passed"]]
    if failed:
        shown = "; ".join(
            f"{c['name']}: expected {c['expected']}, found {c['found']}" for c in failed
        )
        raise ServingCheckError(f"{len(failed)} serving check(s) failed: {shown}")


def ask_server(
    url: str, model: Model, most_bytes: int = ServingSettings().max_body_bytes
) -> Iterator[ServingCheck]:
    """Yield the checks of a server at ``url`` that should serve ``model``.

    ``most_bytes``: the largest body that it takes.
    """
    with httpx.Client(base_url=url, timeout=30.0, trust_env=False) as client:
        yield _status("alive", client.get("/health"), 200)
        yield _status("ready", client.get("/ready"), 200)
        yield _card(client.get("/model"), model)
        yield from _known_rows(client, model, most_bytes)
        yield from _refusals(client, model)


def _status(name: str, response: httpx.Response, status: int) -> ServingCheck:
    found = response.status_code
    return ServingCheck(name, f"status {status}", f"status {found}", found == status)


def _card(response: httpx.Response, model: Model) -> ServingCheck:
    version = _field(response, "version")
    return ServingCheck("model card", model.version, str(version), version == model.version)


def _body(response: httpx.Response) -> dict[str, Any]:
    try:
        values = response.json()
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}


def _field(response: httpx.Response, key: str) -> Any:
    return _body(response).get(key)


def _numbers(answer: Mapping[str, Any]) -> list[float]:
    """Return the numbers of one answered prediction, whatever the task."""
    several = answer.get("probabilities")
    one = answer.get("value", answer.get("probability"))
    found = list(several.values()) if isinstance(several, dict) else [one]
    return [number for number in found if isinstance(number, float | int)]


def _known_rows(client: httpx.Client, model: Model, most_bytes: int) -> Iterator[ServingCheck]:
    """Yield whether rows of the reference score as the model scores them, alone and in batches.

    A batch is all rows, or of wide ones as many as a body holds.
    """
    chosen = np.unique(np.linspace(0, len(model.reference) - 1, KNOWN_ROWS).astype(int))
    frame = model.reference.iloc[chosen]
    expected = model.predict(frame).reshape(len(frame), -1).tolist()
    rows = to_wire_rows(frame, model.features)
    names = model.feature_names
    single = [client.post("/predict", json={"features": row}) for row in rows]
    yield _scores("known rows, one by one", [_numbers(_body(r)) for r in single], expected)
    records = [dict(zip(names, row, strict=True)) for row in rows]
    batch = max(1, most_bytes // (2 * max(len(json.dumps(record)) for record in records)))
    answer: list[Mapping[str, Any]] = []
    for start in range(0, len(records), batch):
        body = {"records": records[start : start + batch]}
        answer += _field(client.post("/predict", json=body), "predictions") or []
    yield _scores("known rows, as a batch", [_numbers(one) for one in answer], expected)
    versions = {str(_field(response, "model_version")) for response in single}
    ids = {_field(response, "prediction_id") for response in single}
    found = f"{', '.join(sorted(versions))}; {len(ids)} ids"
    wanted = f"{model.version}; {len(rows)} ids"
    yield ServingCheck("version and id in every answer", wanted, found, found == wanted)


def _scores(name: str, found: list[list[float]], expected: list[list[float]]) -> ServingCheck:
    wanted = f"{len(expected)} scores equal to Python's within {SCORE_TOLERANCE:g}"
    if [len(numbers) for numbers in found] != [len(numbers) for numbers in expected]:
        return ServingCheck(name, wanted, f"{sum(map(bool, found))} scores", False)
    truth = np.asarray(expected)
    apart = np.abs(np.subtract(found, truth)) / np.maximum(1.0, np.abs(truth))
    largest = float(apart.max(initial=0.0))
    return ServingCheck(
        name, wanted, f"largest difference {largest:.1e}", largest <= SCORE_TOLERANCE
    )


def _refusals(client: httpx.Client, model: Model) -> Iterator[ServingCheck]:
    """Yield whether requests that are wrong are refused with a problem that names the field."""
    row = to_wire_rows(model.reference.iloc[:1], model.features)[0]
    names = model.feature_names
    record = dict(zip(names, row, strict=True))
    without_first = dict(list(record.items())[1:])
    bodies = {
        "one value too few": (json.dumps({"features": row[:-1]}), "features"),
        "an empty list": ('{"features": []}', "features"),
        "an empty body": ("", "body"),
        "an unknown key": (json.dumps({"records": [{**record, "no_such": 1}]}), "no_such"),
        "a missing key": (json.dumps({"records": [without_first]}), names[0]),
    }
    numbers = [feature.name for feature in model.features if feature.kind == "numeric"]
    for name in numbers[:1]:
        for title, value in {"text": "warm", "NaN": float("nan")}.items():
            changed = json.dumps({"features": [*{**record, name: value}.values()]})
            bodies[f"{title} for a number"] = (changed, name)
    for title, (body, field) in bodies.items():
        headers = {"content-type": "application/json"}
        yield _refused(title, client.post("/predict", content=body, headers=headers), field)


def _refused(title: str, response: httpx.Response, field: str) -> ServingCheck:
    errors = _field(response, "errors") or []
    named = ", ".join(str(error.get("field")) for error in errors)
    media_type = response.headers.get("content-type", "none")
    right = (response.status_code, media_type) == (422, "application/problem+json")
    found = f"{response.status_code}, {media_type}, naming {named or 'nothing'}"
    wanted = f"422, application/problem+json, naming {field}"
    return ServingCheck(f"refuses {title}", wanted, found, right and field in named)
