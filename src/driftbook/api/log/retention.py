"""What is forgotten from the prediction log, and when SQLite's files are tidied."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from driftbook.api.log.ids import first_id_at
from driftbook.data.prediction_log import feedback_table, log_unavailable, predictions_table

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

    from driftbook.settings import LogSettings

ROWS_A_LOOK = 2_000


def delete_old_predictions(
    engine: Engine, limits: LogSettings, now_ms: int | None = None, step: int = 500
) -> Iterator[int]:
    """Delete the oldest predictions, with their feedback, beyond the limits; yield how many.

    ``max_age_days`` counts from the prediction's time, ``max_mb`` are megabytes of stored rows,
    without the database's own overhead. Each step is one short statement or transaction: a caller
    that rests between them leaves the database to those who answer.

    Raises:
        LogUnavailableError: the database cannot be reached or written.
    """
    now = time.time_ns() // 1_000_000 if now_ms is None else now_ms
    try:
        if limits.max_age_days is not None:
            cutoff = first_id_at(now - round(limits.max_age_days * 86_400_000))
            yield from _delete_before(engine, cutoff, step)
        if limits.max_mb is not None:
            oldest = yield from _find_oldest_kept(engine, limits.max_mb * 1e6)
            if oldest is not None:
                yield from _delete_before(engine, oldest, step)
        if engine.dialect.name == "sqlite":
            yield from _give_back_pages(engine)
    except SQLAlchemyError as error:
        raise log_unavailable(error) from error


def checkpoint_sqlite(engine: Engine, restart_pages: int = 16_384) -> None:
    """Move what SQLite's write-ahead log holds into the database file; nothing elsewhere.

    Writers go on meanwhile; only when the write-ahead log has grown to ``restart_pages`` they are
    held up for a moment, so that it starts again from the front.

    Raises:
        LogUnavailableError: the database cannot be written.
    """
    if engine.dialect.name != "sqlite":
        return
    try:
        with engine.connect() as connection:
            _, pages, _ = connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)").one()
            if pages >= restart_pages:
                connection.exec_driver_sql("PRAGMA wal_checkpoint(RESTART)").all()
    except SQLAlchemyError as error:
        raise log_unavailable(error) from error


def _find_oldest_kept(engine: Engine, max_bytes: float) -> Generator[int, None, str | None]:
    """Return the oldest prediction that may stay, from the newest back; ``None`` where all may."""
    known, oldest, room = predictions_table.c, None, max_bytes
    size = (sa.func.length(known.features) + 100).label("size")
    while True:
        newest = sa.select(known.id, size).order_by(known.id.desc()).limit(ROWS_A_LOOK)
        part = (newest if oldest is None else newest.where(known.id < oldest)).subquery()
        counted = sa.select(sa.func.min(part.c.id), sa.func.sum(part.c.size))
        with engine.connect() as connection:
            first, total = connection.execute(counted).one()
            if first is None:
                return None
            if total > room:
                up_to = sa.func.sum(part.c.size).over(order_by=part.c.id.desc()).label("up_to")
                sums = sa.select(part.c.id, up_to).subquery()
                fits = sa.select(sa.func.min(sums.c.id)).where(sums.c.up_to <= room)
                last = sa.select(sa.func.max(part.c.id))  # the newest stays, whatever its size
                return str(connection.scalar(fits) or oldest or connection.scalar(last))
        oldest, room = str(first), room - float(total)
        yield 0


def _delete_before(engine: Engine, cutoff: str, step: int) -> Iterator[int]:
    predictions, feedback = predictions_table.c.id, feedback_table.c.prediction_id
    some = sa.select(predictions).where(predictions < cutoff).order_by(predictions).limit(step)
    while True:
        with engine.begin() as connection:
            last = connection.scalar(sa.select(sa.func.max(some.subquery().c.id)))
            if last is None:
                return
            connection.execute(sa.delete(feedback_table).where(feedback <= last))
            done = connection.execute(sa.delete(predictions_table).where(predictions <= last))
        yield done.rowcount


def _give_back_pages(engine: Engine) -> Iterator[int]:
    """Give free pages of SQLite's file back to the file system, few at a time and not all."""
    for _ in range(20):
        with engine.connect() as connection:
            # Gives back a page a step; of the driver's calls only this takes all the steps.
            cursor: Any = connection.connection.cursor()
            cursor.executescript("PRAGMA incremental_vacuum(100)")
            cursor.close()
        yield 0
