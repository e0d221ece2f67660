"""The one thread that writes the prediction log; concurrent requests share a transaction."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

from driftbook.api.log import retention, rows
from driftbook.api.log.rows import FeedbackResult, GivenLabel, PredictionRow
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
# Between two steps of cleaning, which take about a millisecond.
REST_S, RESTS_A_STEP = 0.1, 9.0

_logger = logging.getLogger("driftbook.api")

# What the database, or its driver, says of values that it cannot store.
_BAD_VALUES = (DataError, IntegrityError, ValueError)


class _Job(NamedTuple):
    """Predictions or labels to store, and the future of the request that waits for it."""

    done: asyncio.Future[FeedbackResult]
    predictions: Sequence[PredictionRow]
    labels: Sequence[GivenLabel]
    model_name: str


_Results = list[FeedbackResult | LogUnavailableError]


class LogWriter:
    """Writes predictions and feedback in the order they come, one transaction a group.

    A group is whatever arrived while the last one was being committed, so that a lone request
    waits for nothing and many share the price of a commit. Requests come from one event loop.
    """

    def __init__(self, url: str, limits: LogSettings) -> None:
        self._engine = connect_prediction_log(url)
        self._limits = limits
        self._thread = ThreadPoolExecutor(1, "prediction-log")
        self._waiting: list[_Job] = []
        self._writing_since: float | None = None
        self._connection: Connection | None = None  # of the writing thread alone
        self._created = False
        self._last_lag_s = 0.0
        self.pending = 0
        self.failure: str | None = None
        self.written = 0
        self.failed = 0
        self.deleted = 0

    def open(self) -> None:
        """Create the tables where they are missing; a log that cannot be used is only noted."""
        try:
            rows.create_log_tables(self._engine)
        except LogUnavailableError as error:
            self._note_failure(error)
        else:
            self._created, self.failure = True, None

    def close(self) -> None:
        """Finish what is being written and let go of the database."""
        self._thread.submit(self._disconnect)
        self._thread.shutdown()
        self._engine.dispose()

    def lag(self) -> float:
        """Return the seconds that the last rows, or those still waiting, took to be committed."""
        since = self._writing_since
        return self._last_lag_s if since is None else time.monotonic() - since

    async def store(self, predictions: Sequence[PredictionRow]) -> None:
        """Return once the predictions are committed.

        Raises:
            LogUnavailableError: they are not, and must not be answered.
        """
        await self._submit(predictions, (), "")

    async def add_feedback(self, labels: Sequence[GivenLabel], model_name: str) -> FeedbackResult:
        """Return what became of the labels of a model's predictions, once that is committed.

        Raises:
            LogUnavailableError: the log cannot be written.
        """
        return await self._submit((), labels, model_name)

    def _submit(
        self,
        predictions: Sequence[PredictionRow],
        labels: Sequence[GivenLabel],
        model_name: str,
    ) -> asyncio.Future[FeedbackResult]:
        if self.pending >= MAX_PENDING:
            raise LogUnavailableError(
                f"the prediction log is behind by {self.pending} requests; try again later"
            )
        loop = asyncio.get_running_loop()
        job = _Job(loop.create_future(), predictions, labels, model_name)
        self._waiting.append(job)
        self.pending += 1
        if self._writing_since is None:
            self._writing_since = time.monotonic()
            loop.call_soon(self._write_waiting, loop)
        return job.done

    def _write_waiting(self, loop: asyncio.AbstractEventLoop) -> None:
        """Hand what waits over to the thread as one group, if anything does."""
        jobs, self._waiting = self._waiting, []
        if not jobs:
            self._writing_since = None
            return
        # A plain callback: a task and a wrapped future a group cost an answer 5 µs of 165.
        self._thread.submit(self._write, jobs).add_done_callback(
            lambda written: loop.call_soon_threadsafe(self._finish, loop, jobs, written)
        )

    def _finish(
        self, loop: asyncio.AbstractEventLoop, jobs: Sequence[_Job], written: Future[_Results]
    ) -> None:
        """Answer the jobs of a group, and start the next one."""
        now = time.monotonic()
        self._last_lag_s, self._writing_since = now - (self._writing_since or now), now
        self.pending -= len(jobs)
        # Whatever went wrong, nobody may wait for ever, nor the next group not be written.
        error = written.exception()
        _settle(jobs, [error] * len(jobs) if error else written.result())
        self._write_waiting(loop)

    def _write(self, jobs: Sequence[_Job]) -> _Results:
        """Return what became of each job: all predictions at once, then the labels job by job."""
        try:
            if not self._created:
                rows.create_log_tables(self._engine)
                self._created = True
            # Kept between groups: a connection of its own costs a small group as much as its rows.
            connection = self._connection = self._connection or self._engine.connect()
            refused = self._insert_predictions(jobs, connection)
            results = [
                refused.get(number) or self._insert_labels(job.labels, job.model_name, connection)
                for number, job in enumerate(jobs)
            ]
        except (SQLAlchemyError, LogUnavailableError) as error:
            self._created = False
            self._disconnect()
            self.failed += len(jobs)
            self._note_failure(failure := log_unavailable(error))
            return [failure] * len(jobs)
        self.failure = None
        return results

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.invalidate()
            connection.close()

    def _insert_predictions(
        self, jobs: Sequence[_Job], connection: Connection
    ) -> dict[int, LogUnavailableError]:
        """Commit the predictions of all jobs; return the jobs that cannot be stored."""
        predictions = [row for job in jobs for row in job.predictions]
        if not predictions:
            return {}
        try:
            rows.insert_predictions(connection, predictions)
            connection.commit()
        except _BAD_VALUES as error:
            connection.rollback()
            if len(jobs) == 1:
                return {0: self._refuse(error)}
            # One by one, so that no job harms another.
            return {
                number: refusal
                for number, job in enumerate(jobs)
                for refusal in self._insert_predictions([job], connection).values()
            }
        self.written += len(predictions)
        return {}

    def _insert_labels(
        self, labels: Sequence[GivenLabel], model_name: str, connection: Connection
    ) -> FeedbackResult | LogUnavailableError:
        if not labels:
            return FeedbackResult()
        try:
            result = rows.insert_feedback(connection, labels, model_name)
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

    def _note_failure(self, error: LogUnavailableError) -> None:
        if self.failure is None:
            _logger.error("%s", error)
        self.failure = str(error)

    async def keep_clean(self) -> None:
        """Tidy SQLite's files and delete what is past its retention, until cancelled."""
        cleaned = time.monotonic()
        while True:
            await asyncio.sleep(CHECKPOINT_EVERY_S)
            try:
                await asyncio.to_thread(retention.checkpoint_sqlite, self._engine)
                if time.monotonic() - cleaned >= self._limits.clean_every_s:
                    await self._clean()
                    cleaned = time.monotonic()
            except LogUnavailableError as error:
                _logger.warning("the prediction log was not cleaned: %s", error)

    async def _clean(self) -> None:
        """Delete step by step, on the thread that writes: no answer ever waits for SQLite's lock.

        Rests let answers go first, checkpoints meanwhile keep the write-ahead log small.
        """
        steps = retention.delete_old_predictions(self._engine, self._limits)
        checked = time.monotonic()
        while True:
            began = time.monotonic()
            deleted = await asyncio.wrap_future(self._thread.submit(next, steps, None))
            if deleted is None:
                return
            self.deleted += deleted
            rest_s = max(REST_S, RESTS_A_STEP * (time.monotonic() - began))
            if time.monotonic() - checked >= CHECKPOINT_EVERY_S:
                await asyncio.to_thread(retention.checkpoint_sqlite, self._engine)
                checked = time.monotonic()
            await asyncio.sleep(rest_s)


def _settle(jobs: Sequence[_Job], results: Sequence[FeedbackResult | BaseException]) -> None:
    for job, result in zip(jobs, results, strict=True):
        if job.done.done():  # the request ran out of time; its rows stay in the log
            continue
        if isinstance(result, BaseException):
            job.done.set_exception(result)
        else:
            job.done.set_result(result)
