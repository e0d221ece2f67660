"""The one thread that writes the prediction log; concurrent requests share a transaction."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from driftbook import prediction_log
from driftbook.prediction_log import Entry, FeedbackResult, LogUnavailableError

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from driftbook.settings import LogSettings

MAX_PENDING = 20_000
MAX_GROUP = 1024

_logger = logging.getLogger("driftbook.api")


@dataclass(frozen=True, slots=True)
class _Job:
    """Entries or labels to store, and the future of the request that waits for it."""

    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[FeedbackResult]
    submitted: float
    entries: Sequence[Entry] = ()
    labels: Sequence[tuple[str, int]] = ()


_Answer = tuple[_Job, FeedbackResult | LogUnavailableError]


class LogWriter:
    """Writes predictions and feedback in the order they come, one transaction a group.

    A group is whatever arrived while the last one was being committed, so that a lone request
    waits for nothing and many share the price of a commit.
    """

    def __init__(self, url: str, limits: LogSettings) -> None:
        self._engine = prediction_log.connect(url)
        self._limits = limits
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._pending = 0
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._cleaner: threading.Thread | None = None
        self._stopped = threading.Event()
        self._ready = False
        self.failure: str | None = None
        self.lag_s = 0.0
        self.written = 0
        self.failed = 0
        self.deleted = 0

    @property
    def pending(self) -> int:
        """Return the number of requests whose rows are not committed yet."""
        return self._pending

    def open(self) -> None:
        """Create the tables and start the threads; a log that cannot be used is only noted."""
        with self._lock:
            if self._thread is None:
                self.probe()
                self._thread = threading.Thread(
                    target=self._work, name="prediction-log", daemon=True
                )
                self._cleaner = threading.Thread(target=self._keep_clean, daemon=True)
                self._thread.start()
                self._cleaner.start()

    def probe(self) -> bool:
        """Return whether the log can be used, after trying to create its tables."""
        try:
            prediction_log.create(self._engine)
        except LogUnavailableError as error:
            self._note_failure(error)
            return False
        self._ready, self.failure = True, None
        return True

    def close(self) -> None:
        """Write what is pending and stop the threads."""
        with self._lock:
            self._stopped.set()
            if self._thread is not None and self._cleaner is not None:
                self._jobs.put(None)
                self._thread.join()
                self._cleaner.join()
                self._thread = self._cleaner = None
            self._engine.dispose()

    async def store(self, entries: Sequence[Entry]) -> None:
        """Return once the entries are committed.

        Raises:
            LogUnavailableError: they are not, and must not be answered.
        """
        await self._submit(entries, ())

    async def add_feedback(self, labels: Sequence[tuple[str, int]]) -> FeedbackResult:
        """Return what became of the labels, once that is committed.

        Raises:
            LogUnavailableError: the log cannot be written.
        """
        return await self._submit((), labels)

    def _submit(
        self, entries: Sequence[Entry], labels: Sequence[tuple[str, int]]
    ) -> asyncio.Future[FeedbackResult]:
        if self._thread is None:
            self.open()
        if self._pending >= MAX_PENDING:
            raise LogUnavailableError(
                f"the prediction log is behind by {self._pending} requests; try again later"
            )
        loop = asyncio.get_running_loop()
        job = _Job(loop, loop.create_future(), time.monotonic(), entries, labels)
        self._pending += 1
        self._jobs.put(job)
        return job.done

    def _work(self) -> None:
        connection: Connection | None = None
        while True:
            group, last = self._next_group()
            if group:
                connection = self._commit(group, connection)
            if last:
                break
        if connection is not None:
            connection.close()

    def _next_group(self) -> tuple[list[_Job], bool]:
        """Return all waiting jobs, at least one, and whether the writer shall stop after them."""
        group: list[_Job] = []
        job = self._jobs.get()
        while job is not None:
            group.append(job)
            if len(group) >= MAX_GROUP:
                return group, False
            try:
                job = self._jobs.get_nowait()
            except Empty:
                return group, False
        return group, True

    def _commit(self, group: list[_Job], connection: Connection | None) -> Connection | None:
        """Commit the group and answer it; return the connection to go on with, if any."""
        try:
            if not self._ready:
                prediction_log.create(self._engine)
                self._ready = True
            connection = connection or self._engine.connect()
            results = self._store(group, connection)
        except (SQLAlchemyError, LogUnavailableError) as error:
            failure = (
                error
                if isinstance(error, LogUnavailableError)
                else prediction_log.unavailable(error)
            )
            if connection is not None:
                connection.invalidate()
                connection.close()
            self._ready = False
            self.failed += len(group)
            self._note_failure(failure)
            self._answer(group, [failure] * len(group))
            return None
        self.failure = None
        self.lag_s = time.monotonic() - group[0].submitted
        self._answer(group, results)
        return connection

    def _store(self, group: list[_Job], connection: Connection) -> list[FeedbackResult]:
        """Commit all entries, then the labels job by job, so that a refused one harms no other."""
        results = []
        entries = [entry for job in group for entry in job.entries]
        if entries:
            prediction_log.write(connection, entries)
            connection.commit()
            self.written += len(entries)
        for job in group:
            result = FeedbackResult()
            if job.labels:
                result = prediction_log.add_feedback(connection, job.labels)
                if result.unknown_ids or result.contradicting_ids:
                    connection.rollback()
                else:
                    connection.commit()
            results.append(result)
        return results

    def _answer(
        self, group: list[_Job], results: Sequence[FeedbackResult | LogUnavailableError]
    ) -> None:
        by_loop: dict[asyncio.AbstractEventLoop, list[_Answer]] = {}
        for job, result in zip(group, results, strict=True):
            by_loop.setdefault(job.loop, []).append((job, result))
        for loop, answers in by_loop.items():
            try:
                loop.call_soon_threadsafe(self._settle, answers)
            except RuntimeError:  # that server has stopped; nobody waits any more
                self._pending -= len(answers)

    def _settle(self, answers: list[_Answer]) -> None:
        self._pending -= len(answers)
        for job, result in answers:
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
        while not self._stopped.wait(self._limits.clean_every_s):
            try:
                self.deleted += prediction_log.clean(self._engine, self._limits)
            except LogUnavailableError as error:
                _logger.warning("old predictions were not deleted: %s", error)
