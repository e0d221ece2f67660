"""The one thread that writes the prediction log; concurrent requests share a transaction."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Sequence
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

from driftbook.api.log import retention, rows
from driftbook.api.log.rows import FeedbackResult, PredictionRow
from driftbook.data.prediction_log import (
    LogUnavailableError,
    connect_prediction_log,
    log_unavailable,
)

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from driftbook.settings import LogSettings

MAX_PENDING = 20_000
CHECKPOINT_EVERY_S = 1.0

_logger = logging.getLogger("driftbook.api")

# What the database, or its driver, says of values that it cannot store.
_BAD_VALUES = (DataError, IntegrityError, ValueError)

Result = FeedbackResult | LogUnavailableError


class _Job(NamedTuple):
    """Predictions or labels to store, and the future of the request that waits for it."""

    done: asyncio.Future[FeedbackResult]
    predictions: Sequence[PredictionRow]
    labels: Sequence[tuple[str, int]]


class _Batch(NamedTuple):
    """The jobs of one turn of the event loop."""

    loop: asyncio.AbstractEventLoop
    submitted: float
    jobs: list[_Job]


class LogWriter:
    """Writes predictions and feedback in the order they come, one transaction a group.

    A group is whatever arrived while the last one was being committed, so that a lone request
    waits for nothing and many share the price of a commit. Requests come from one event loop.
    """

    def __init__(self, url: str, limits: LogSettings) -> None:
        self._engine = connect_prediction_log(url)
        self._limits = limits
        self._turn: list[_Job] = []
        self._batches: SimpleQueue[_Batch | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._stopped = threading.Event()
        self._created = False
        self.pending = 0
        self.failure: str | None = None
        self._last_lag_s = 0.0
        self._waiting_since: float | None = None
        self.written = 0
        self.failed = 0
        self.deleted = 0

    def open(self) -> None:
        """Create the tables and start the threads; a log that cannot be used is only noted."""
        with self._lock:
            if not self._threads:
                self.probe()
                self._threads = [
                    threading.Thread(target=self._work, name="prediction-log", daemon=True),
                    threading.Thread(target=self._keep_clean, name="log-cleaning", daemon=True),
                ]
                for thread in self._threads:
                    thread.start()

    def probe(self) -> bool:
        """Return whether the log can be used, after trying to create its tables."""
        try:
            rows.create_log_tables(self._engine)
        except LogUnavailableError as error:
            self._note_failure(error)
            return False
        self._created, self.failure = True, None
        return True

    def close(self) -> None:
        """Write what is pending and stop the threads."""
        with self._lock:
            self._stopped.set()
            self._batches.put(None)
            for thread in self._threads:
                thread.join()
            self._threads = []
            self._engine.dispose()

    def lag(self) -> float:
        """Return the seconds that the last rows, or those still waiting, took to be committed."""
        since = self._waiting_since
        return self._last_lag_s if since is None else max(0.0, time.monotonic() - since)

    async def store(self, predictions: Sequence[PredictionRow]) -> None:
        """Return once the predictions are committed.

        Raises:
            LogUnavailableError: they are not, and must not be answered.
        """
        await self._submit(predictions, ())

    async def add_feedback(self, labels: Sequence[tuple[str, int]]) -> FeedbackResult:
        """Return what became of the labels, once that is committed.

        Raises:
            LogUnavailableError: the log cannot be written.
        """
        return await self._submit((), labels)

    def _submit(
        self, predictions: Sequence[PredictionRow], labels: Sequence[tuple[str, int]]
    ) -> asyncio.Future[FeedbackResult]:
        if self.pending >= MAX_PENDING:
            raise LogUnavailableError(
                f"the prediction log is behind by {self.pending} requests; try again later"
            )
        if not self._threads:
            self.open()
        loop = asyncio.get_running_loop()
        job = _Job(loop.create_future(), predictions, labels)
        if not self._turn:
            loop.call_soon(self._hand_over, loop)
        self._turn.append(job)
        self.pending += 1
        return job.done

    def _hand_over(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wake the thread once for all requests of this turn of the loop."""
        turn, self._turn = self._turn, []
        self._batches.put(_Batch(loop, time.monotonic(), turn))

    def _work(self) -> None:
        connection: Connection | None = None
        last = False
        while not last:
            batches, last = self._next_batches()
            if batches:
                connection = self._commit(batches, connection)
        if connection is not None:
            connection.close()

    def _next_batches(self) -> tuple[list[_Batch], bool]:
        """Return all waiting batches, at least one, and whether they are the last ones."""
        found: list[_Batch] = []
        batch = self._batches.get()
        while batch is not None:
            found.append(batch)
            try:
                batch = self._batches.get_nowait()
            except Empty:
                return found, False
        return found, True

    def _commit(self, batches: list[_Batch], connection: Connection | None) -> Connection | None:
        """Commit the batches and answer them; return the connection to go on with, if any."""
        jobs = [job for batch in batches for job in batch.jobs]
        self._waiting_since = batches[0].submitted
        results: Sequence[Result]
        try:
            if not self._created:
                rows.create_log_tables(self._engine)
                self._created = True
            connection = connection or self._engine.connect()
            results = self._store(jobs, connection)
            self.failure = None
        except (SQLAlchemyError, LogUnavailableError) as error:
            failure = log_unavailable(error)
            if connection is not None:
                connection.invalidate()
                connection.close()
                connection = None
            self._created = False
            self.failed += len(jobs)
            self._note_failure(failure)
            results = [failure] * len(jobs)
        self._last_lag_s = time.monotonic() - batches[0].submitted
        self._waiting_since = None
        self._answer(batches, results)
        return connection

    def _store(self, jobs: list[_Job], connection: Connection) -> list[Result]:
        """Commit all predictions, then the labels job by job, so that no job harms another."""
        refused: dict[int, LogUnavailableError] = {}
        try:
            self._insert(jobs, connection)
        except _BAD_VALUES:
            connection.rollback()
            refused = self._insert_one_by_one(jobs, connection)
        return [
            refused[number] if number in refused else self._add_labels(job.labels, connection)
            for number, job in enumerate(jobs)
        ]

    def _insert(self, jobs: Sequence[_Job], connection: Connection) -> None:
        predictions = [row for job in jobs for row in job.predictions]
        if predictions:
            rows.insert_predictions(connection, predictions)
            connection.commit()
            self.written += len(predictions)

    def _insert_one_by_one(
        self, jobs: list[_Job], connection: Connection
    ) -> dict[int, LogUnavailableError]:
        """Commit each job's predictions by themselves; return the jobs that cannot be stored."""
        refused = {}
        for number, job in enumerate(jobs):
            try:
                self._insert([job], connection)
            except _BAD_VALUES as error:
                connection.rollback()
                refused[number] = self._refuse(error)
        return refused

    def _add_labels(self, labels: Sequence[tuple[str, int]], connection: Connection) -> Result:
        if not labels:
            return FeedbackResult()
        try:
            result = rows.insert_feedback(connection, labels)
        except _BAD_VALUES as error:
            connection.rollback()
            return self._refuse(error)
        if result.refused:
            connection.rollback()
        else:
            connection.commit()
        return result

    def _refuse(self, error: Exception) -> LogUnavailableError:
        self.failed += 1
        _logger.error("a request's values cannot be stored: %s", type(error).__name__)
        return log_unavailable(error)

    def _answer(self, batches: list[_Batch], results: Sequence[Result]) -> None:
        start = 0
        for loop, _, jobs in batches:
            part = results[start : start + len(jobs)]
            start += len(jobs)
            try:
                loop.call_soon_threadsafe(self._settle, jobs, part)
            except RuntimeError:  # that loop is closed; nobody waits any more
                self.pending -= len(jobs)

    def _settle(self, jobs: list[_Job], results: Sequence[Result]) -> None:
        self.pending -= len(jobs)
        for job, result in zip(jobs, results, strict=True):
            if job.done.done():  # the request ran out of time; its rows stay in the log
                continue
            if isinstance(result, LogUnavailableError):
                job.done.set_exception(result)
            else:
                job.done.set_result(result)

    def _note_failure(self, error: LogUnavailableError) -> None:
        if self.failure is None:
            _logger.error("%s", error)
        self.failure = str(error)

    def _keep_clean(self) -> None:
        cleaned = time.monotonic()
        while not self._stopped.wait(CHECKPOINT_EVERY_S):
            try:
                retention.checkpoint_sqlite(self._engine)
                if time.monotonic() - cleaned >= self._limits.clean_every_s:
                    cleaned = time.monotonic()
                    self.deleted += retention.delete_old_predictions(self._engine, self._limits)
            except LogUnavailableError as error:
                _logger.warning("the prediction log was not cleaned: %s", error)
