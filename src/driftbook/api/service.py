"""What a running API process holds: the served model, the log, and how it follows the registry."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic_core import to_json

from driftbook import paths
from driftbook.api.log.ids import new_prediction_id
from driftbook.api.log.rows import PredictionRow
from driftbook.api.log.writer import LogWriter
from driftbook.api.metrics import ServiceMetrics
from driftbook.api.problems import ProblemError
from driftbook.api.served import (
    ModelScorer,
    ServedModel,
    find_champion_version,
    load_served_model,
)
from driftbook.data import prediction_log
from driftbook.data.prediction_log import LogUnavailableError
from driftbook.errors import DriftbookError
from driftbook.model.scoring import Scorer, WireRow, WireScore
from driftbook.settings import Settings

# A champion that could not be loaded is tried again: its files may have been restored.
RETRY_S = 5.0

_logger = logging.getLogger("driftbook.api")


@dataclass(frozen=True)
class Scored:
    """One scored and logged row: what it was taken for, and the number or numbers behind that."""

    prediction_id: str
    prediction: int | float | str
    score: WireScore
    own_id: str | int | None = None


class Service:
    """Scores with today's champion and logs every answer before it is given."""

    def __init__(self, settings: Settings, artifacts: Path) -> None:
        self.settings = settings
        self.artifacts = artifacts
        url = prediction_log.prediction_log_url(settings, artifacts)
        self.log = LogWriter(url, settings.log)
        self.served: ServedModel | None = None
        self.load_failures = 0
        self.metrics = ServiceMetrics(
            self.log, artifacts, lambda: (self.served, self.load_failures)
        )
        self._models = artifacts / paths.MODELS
        self._tried: tuple[int, int, int] | None = None
        self._retry_at = 0.0

    def refresh(self) -> None:
        """Load the registry's champion if the registry changed since the last look, or that failed.

        A champion that fails its check is not loaded: the last verified one goes on serving, and
        where there is none the service is not ready.
        """
        if not self._due():
            return
        self._tried = _stamp(self._models / paths.INDEX)
        self._retry_at = time.monotonic() + RETRY_S
        try:
            version = find_champion_version(self._models)
            if version is not None and (self.served is None or version != self.served.version):
                self.served = load_served_model(self._models, version, self.settings.model)
                _logger.info(
                    "serving model %s of %s, scored by the %s scorer, loaded in %.3f s",
                    version,
                    self.served.name,
                    self.served.scorer.kind,
                    self.served.load_s,
                )
            self._retry_at = float("inf")
        except DriftbookError as error:
            self.load_failures += 1
            _logger.error("champion not loaded: %s", error)  # noqa: TRY400

    def _due(self) -> bool:
        """Return whether the registry changed, or a failed look is to be repeated."""
        changed = _stamp(self._models / paths.INDEX) != self._tried
        return changed or time.monotonic() >= self._retry_at

    async def follow(self) -> None:
        """Keep the champion up to date until cancelled."""
        while True:
            await asyncio.sleep(self.settings.serving.poll_s)
            if self._due():
                looking = asyncio.create_task(asyncio.to_thread(self.refresh))
                await asyncio.wait([looking])
                # Whatever went wrong, the next look must not be the last.
                if error := looking.exception():
                    self.load_failures += 1
                    _logger.error("the registry could not be read", exc_info=error)
            if self.log.failure is not None:
                await asyncio.to_thread(self.log.open)

    @property
    def model_name(self) -> str:
        """Return the name that predictions are logged under."""
        return self.settings.model_name if self.served is None else self.served.name

    def require_model(self) -> ServedModel:
        """Return what is being served.

        Raises:
            ProblemError: 503, no verified champion is loaded.
        """
        if self.served is None:
            detail = "no verified model is loaded; the server's log says why"
            raise ProblemError("not-ready", detail, headers={"retry-after": "1"})
        return self.served

    def require_ready(self) -> ServedModel:
        """Return what is being served, where the log can be written too.

        Raises:
            ProblemError: 503.
        """
        served = self.require_model()
        if self.log.failure is not None:
            raise log_problem()
        return served

    async def score_rows(
        self,
        served: ServedModel,
        rows: Sequence[WireRow],
        own_ids: Sequence[str | int | None] | None = None,
    ) -> list[Scored]:
        """Return one scored row a row, after all of them are in the prediction log.

        ``own_ids``: the caller's ids of the rows, which feedback may name.

        Raises:
            ProblemError: 503, the log cannot be written.
        """
        names = served.requests.names
        scorer = served.scorer
        scores = await self._score(scorer, rows)
        threshold = self.settings.serving.threshold
        now_us = time.time_ns() // 1000
        scored, logged = [], []
        given = own_ids or [None] * len(rows)
        for row, score, own in zip(rows, scores, given, strict=True):
            prediction_id = new_prediction_id()
            features = to_json(dict(zip(names, row, strict=True))).decode()
            logged.append(
                PredictionRow(
                    prediction_id, now_us, served.name, served.version, features,
                    max(score) if isinstance(score, list) else score,
                    None if own is None else f"{own}",
                )
            )  # fmt: skip
            chosen = served.task.choose(score, threshold)
            scored.append(Scored(prediction_id, chosen, score, own))
        try:
            await self.log.store(logged)
        except LogUnavailableError as error:
            raise log_problem() from error
        taken = ["value"] * len(scored)
        if served.task.classes:
            taken = [str(one.prediction) for one in scored]
        self.metrics.count_predictions(served.version, taken)
        return scored

    async def _score(self, scorer: Scorer, rows: Sequence[WireRow]) -> Sequence[WireScore]:
        """Return a score a row; an estimator itself takes its time, so it does that in a thread."""
        if scorer.kind == ModelScorer.kind:
            return await asyncio.to_thread(scorer.many, rows)
        return [scorer.one(rows[0])] if len(rows) == 1 else scorer.many(rows)


def log_problem() -> ProblemError:
    """Return the problem of an answer that could not be logged."""
    detail = "the answer could not be logged and is not given; try again later"
    return ProblemError("log-unavailable", detail, headers={"retry-after": "1"})


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """Return what changes when the file is replaced; ``None`` where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size
