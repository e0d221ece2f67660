"""The model that the API serves: loaded only after every file's hash was checked."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from driftbook.api.requests import RequestModels, build_request_models
from driftbook.api.served_task import ServedTask, read_served_task
from driftbook.api.tensors import InferRequest, build_infer_request
from driftbook.api.value_limits import ValueLimits, read_limits
from driftbook.errors import UsageError
from driftbook.model import scoring
from driftbook.model.scoring import Scorer, WireRow, WireScore
from driftbook.settings import ModelSettings
from driftbook.store import registry

if TYPE_CHECKING:
    from driftbook.model.training import Model

PROBE_TOLERANCE = 1e-6

_logger = logging.getLogger("driftbook.api")


@dataclass(frozen=True)
class ServedModel:
    """A verified version, ready to score; requests hold one from start to end."""

    version: str
    name: str
    features: tuple[tuple[str, str], ...]
    card: Mapping[str, Any]
    task: ServedTask
    scorer: Scorer
    requests: RequestModels
    infer_request: type[InferRequest]
    limits: tuple[ValueLimits, ...]
    loaded_at: float
    load_s: float


class ModelScorer:
    """scikit-learn itself: some hundred times slower, for models that have no compiled form."""

    kind = "scikit-learn"

    def __init__(self, model: Model) -> None:
        self._model = model

    def one(self, row: WireRow) -> WireScore:
        """Return the prediction for one row."""
        return self.many([row])[0]

    def many(self, rows: Sequence[WireRow]) -> list[WireScore]:
        """Return one prediction a row."""
        import pandas as pd

        frame = pd.DataFrame([list(row) for row in rows], columns=self._model.feature_names)
        predictions: list[WireScore] = self._model.predict(frame).tolist()
        return predictions


def find_champion_version(models: Path) -> str | None:
    """Return the version that the registry's alias ``champion`` names; ``None`` without one.

    Raises:
        IntegrityError: the registry's index cannot be read.
    """
    return registry.read_index(models).aliases.get("champion")


def load_served_model(
    models: Path, version: str, settings: ModelSettings | None = None
) -> ServedModel:
    """Return a version of the registry with its compiled scorer and its request models.

    The scorer is proven on the stored probe rows to 1e-6 against the probabilities that
    scikit-learn gave for them; where it fails, scikit-learn serves, with a warning in the log.

    Raises:
        IntegrityError: a file is missing or is not the one that was registered.
        UsageError: no such version.
    """
    started = time.perf_counter()
    contents = registry.read_verified_files(models, version)
    card = json.loads(contents["card.json"])
    if card.get("prediction"):
        raise UsageError(
            f"model {version} is served elsewhere: its predictions are columns of the data, and "
            "there is nothing here to serve"
        )
    compiled = json.loads(contents["scorer.json"])
    scorer = _compiled(compiled, version)
    features = tuple((feature["name"], feature["kind"]) for feature in card["features"])
    task = read_served_task(card)
    return ServedModel(
        version=version,
        name=card["name"],
        features=features,
        card=card,
        task=task,
        requests=build_request_models(features, task),
        infer_request=build_infer_request(features, task),
        limits=read_limits(compiled, features),
        loaded_at=time.time(),
        scorer=scorer or _load_model_scorer(models, version, settings or ModelSettings()),
        load_s=time.perf_counter() - started,
    )


def _load_model_scorer(models: Path, version: str, settings: ModelSettings) -> ModelScorer:
    from driftbook.model.importing import import_from
    from driftbook.store import registry_models

    with import_from(settings.folders):
        return ModelScorer(registry_models.load_model(models, version, settings.trusted))


def list_numbers(scores: Sequence[WireScore]) -> list[float]:
    """Return the numbers of predictions one after another."""
    return [number for one in scores for number in (one if isinstance(one, list) else [one])]


def _compiled(document: Mapping[str, Any], version: str) -> Scorer | None:
    try:
        scorer = scoring.build_scorer(document)
    except ValueError:
        reason = str(document.get("reason", "unknown format"))
        _logger.warning("model %s is served by scikit-learn: %s", version, reason)
        return None
    probe = document["probe"]
    found = scorer.many(probe["rows"])
    differences = [
        abs(a - b) / max(1.0, abs(b))
        for a, b in zip(list_numbers(found), list_numbers(probe["probabilities"]), strict=True)
    ]
    if not all(difference <= PROBE_TOLERANCE for difference in differences):
        _logger.warning(
            "model %s is served by scikit-learn: its compiled scorer is off by up to %.1e",
            version,
            max(differences),
        )
        return None
    return scorer
