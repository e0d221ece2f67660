"""What is forgotten from the prediction log, and when SQLite's files are tidied."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from driftbook.api.log.ids import first_id_at
from driftbook.data.prediction_log import feedback_table, log_unavailable, predictions_table

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

    from driftbook.settings import LogSettings


def delete_old_predictions(
    engine: Engine, limits: LogSettings, now_ms: int | None = None, step: int = 500
) -> int:
    """Delete the oldest predictions, with their feedback, beyond the limits; return how many.

    ``max_age_days`` counts from the prediction's time, ``max_mb`` are megabytes of stored rows,
    without the database's own overhead. Works in short transactions, so that writers never wait
    long.

    Raises:
        LogUnavailableError: the database cannot be reached or written.
    """
    now = time.time_ns() // 1_000_000 if now_ms is None else now_ms
    deleted = 0
    try:
        if limits.max_age_days is not None:
            cutoff = first_id_at(now - round(limits.max_age_days * 86_400_000))
            deleted += _delete_before(engine, cutoff, step)
        if limits.max_mb is not None:
            cutoff_id = _size_cutoff(engine, limits.max_mb * 1e6)
            deleted += _delete_before(engine, cutoff_id, step) if cutoff_id else 0
        if engine.dialect.name == "sqlite":
            with engine.connect() as connection:
                # Gives back a page a step; of the driver's calls only this takes all the steps.
                cursor: Any = connection.connection.cursor()
                cursor.executescript("PRAGMA incremental_vacuum(2000)")
                cursor.close()
    except SQLAlchemyError as error:
        raise log_unavailable(error) from error
    return deleted


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


def _size_cutoff(engine: Engine, max_bytes: float) -> str | None:
    """Return the id of the oldest prediction that may stay; ``None`` where all may."""
    size = sa.func.length(predictions_table.c.features) + 100
    with engine.connect() as connection:
        rows, total = connection.execute(sa.select(sa.func.count(), sa.func.sum(size))).one()
        if not rows or total <= max_bytes:
            return None
        excess = min(int(rows) - 1, int(rows * (1 - max_bytes / float(total))) + 1)
        ids = sa.select(predictions_table.c.id).order_by(predictions_table.c.id)
        return connection.scalar(ids.offset(excess).limit(1))


def _delete_before(engine: Engine, cutoff: str, step: int) -> int:
    deleted = 0
    oldest = sa.select(predictions_table.c.id).where(predictions_table.c.id < cutoff)
    while True:
        with engine.begin() as connection:
            ids = list(connection.scalars(oldest.order_by(predictions_table.c.id).limit(step)))
            if not ids:
                return deleted
            connection.execute(
                sa.delete(feedback_table).where(feedback_table.c.prediction_id.in_(ids))
            )
            connection.execute(sa.delete(predictions_table).where(predictions_table.c.id.in_(ids)))
        deleted += len(ids)
