"""What a running API process holds: the champion, the prediction log, and how it follows both."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic_core import to_json

from driftbook import champion as champions
from driftbook import prediction_ids
from driftbook.champion import Champion
from driftbook.data import prediction_log
from driftbook.data.prediction_log import Entry, LogUnavailableError
from driftbook.errors import DriftbookError
from driftbook.log_writer import LogWriter
from driftbook.model.scoring import WireRow
from driftbook.prediction_request import RequestReader
from driftbook.problems import ProblemError
from driftbook.serving_metrics import RequestMetrics
from driftbook.serving_output import AccessLog
from driftbook.settings import Settings

Scope = MutableMapping[str, Any]

NOTED_IDS = 10
# A champion that could not be loaded is tried again: its files may have been restored.
RETRY_S = 5.0

_logger = logging.getLogger("driftbook.api")


@dataclass(frozen=True)
class Served:
    """A champion and the reader of requests to it; requests hold one from start to end."""

    champion: Champion
    reader: RequestReader
    since: float


@dataclass(frozen=True)
class Scored:
    """One scored and logged row."""

    prediction_id: str
    prediction: int
    probability: float


class Service:
    """Scores with today's champion and logs every answer before it is given."""

    def __init__(
        self, settings: Settings, artifacts: Path, access: AccessLog | None = None
    ) -> None:
        self.settings = settings
        self._access = access
        self.artifacts = artifacts
        self.log = LogWriter(prediction_log.url_of(settings, artifacts), settings.log)
        self.metrics = RequestMetrics()
        self.served: Served | None = None
        self.load_failures = 0
        self._models = artifacts / "models"
        self._tried: tuple[int, int, int] | None = None
        self._retry_at = 0.0

    def refresh(self) -> None:
        """Load the registry's champion if the registry changed since the last look, or that failed.

        A champion that fails its check is not loaded: the last verified one goes on serving, and
        where there is none the service is not ready.
        """
        if not self._due():
            return
        self._tried = _stamp(self._models / "index.json")
        self._retry_at = time.monotonic() + RETRY_S
        try:
            version = champions.champion_version(self._models)
            if version is not None and version != self._version():
                self._adopt(champions.load(self._models, version))
            self._retry_at = float("inf")
        except DriftbookError as error:
            self.load_failures += 1
            _logger.error("champion not loaded: %s", error)  # noqa: TRY400

    def _due(self) -> bool:
        """Return whether the registry changed, or a failed look is to be repeated."""
        changed = _stamp(self._models / "index.json") != self._tried
        return changed or time.monotonic() >= self._retry_at

    def _version(self) -> str | None:
        return None if self.served is None else self.served.champion.version

    def _adopt(self, champion: Champion) -> None:
        reader = RequestReader(champion.features, self.settings.serving.max_batch)
        self.served = Served(champion, reader, time.time())
        _logger.info(
            "serving model %s of %s, scored by the %s scorer, loaded in %.3f s",
            champion.version,
            champion.name,
            champion.scorer.kind,
            champion.load_s,
        )

    def observe(self, scope: Scope, status: int, seconds: float) -> None:
        """Count an answered request, and write its line to the access log."""
        self.metrics.observe(scope["method"], scope["path"], status, seconds)
        if self._access is not None:
            self._access.write(scope, status, seconds)

    def note(
        self, scope: Scope, served: Served, rows: Sequence[WireRow], scored: Sequence[Scored]
    ) -> None:
        """Note a prediction down for its line in the access log, with features only if asked."""
        if self._access is None:
            return
        scope["note"] = {
            "model_version": served.champion.version,
            "rows": len(rows),
            "prediction_ids": [one.prediction_id for one in scored[:NOTED_IDS]],
        }
        if self.settings.serving.log_features:
            names = served.reader.names
            scope["note"]["features"] = [dict(zip(names, row, strict=True)) for row in rows]

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
                await asyncio.to_thread(self.log.probe)

    def ready(self) -> Served:
        """Return what is being served.

        Raises:
            ProblemError: 503, no verified champion is loaded.
        """
        if self.served is None:
            detail = "no verified model is loaded; the server's log says why"
            raise ProblemError("not-ready", detail, headers={"retry-after": "1"})
        return self.served

    async def score(self, served: Served, rows: Sequence[WireRow]) -> list[Scored]:
        """Return one scored row a row, after all of them are in the prediction log.

        Raises:
            ProblemError: 503, the log cannot be written.
        """
        champion = served.champion
        names = served.reader.names
        if len(rows) == 1:
            probabilities = [champion.scorer.one(rows[0])]
        else:
            probabilities = champion.scorer.many(rows)
        threshold = self.settings.serving.threshold
        now_us = time.time_ns() // 1000
        scored, entries = [], []
        for row, probability in zip(rows, probabilities, strict=True):
            prediction_id = prediction_ids.new_id()
            features = to_json(dict(zip(names, row, strict=True))).decode()
            entries.append(
                Entry(prediction_id, now_us, champion.name, champion.version, features, probability)
            )
            scored.append(Scored(prediction_id, int(probability >= threshold), probability))
        try:
            await self.log.store(entries)
        except LogUnavailableError as error:
            raise log_problem() from error
        for one in scored:
            self.metrics.predictions[champion.version, str(one.prediction)] += 1
        return scored


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
