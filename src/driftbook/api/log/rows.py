"""Rows of the prediction log: predictions as they are answered, and their true labels."""

from __future__ import annotations

import functools
import importlib
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from driftbook.data.prediction_log import (
    feedback_table,
    log_tables,
    log_unavailable,
    predictions_table,
)

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Engine


# SQLite takes 32,766 parameters a statement, PostgreSQL 65,535.
ROWS_A_STATEMENT = 1000


class PredictionRow(NamedTuple):
    """One answered prediction; ``features`` is a JSON object, ``time_us`` microseconds UTC."""

    id: str
    time_us: int
    model_name: str
    model_version: str
    features: str
    probability: float


@dataclass(frozen=True)
class FeedbackResult:
    """What became of a batch of labels; nothing was stored unless both refusals are empty."""

    stored: int = 0
    known: int = 0
    unknown_ids: tuple[str, ...] = ()
    contradicting_ids: tuple[str, ...] = ()

    @property
    def refused(self) -> bool:
        """Return whether the batch was refused as a whole."""
        return bool(self.unknown_ids or self.contradicting_ids)


def create_log_tables(engine: Engine) -> None:
    """Create the log's tables, and an SQLite file's folder, where they are missing.

    Raises:
        LogUnavailableError: the database cannot be reached or written.
    """
    try:
        file = engine.url.database
        if engine.dialect.name == "sqlite" and file not in (None, "", ":memory:"):
            Path(str(file)).parent.mkdir(parents=True, exist_ok=True)
        log_tables.create_all(engine)
        _widen_labels(engine)
    except (OSError, SQLAlchemyError) as error:
        raise log_unavailable(error) from error


def _widen_labels(engine: Engine) -> None:
    """Let a log made by an earlier release, whose labels were 0 and 1, hold any label."""
    # SQLite's columns hold any type as they are.
    if engine.dialect.name != "postgresql":
        return
    known = {c["name"]: c["type"] for c in sa.inspect(engine).get_columns(feedback_table.name)}
    if not isinstance(known["label"], sa.Text):
        with engine.begin() as connection:
            name = feedback_table.name
            connection.exec_driver_sql(
                f"ALTER TABLE {name} ALTER label TYPE text USING label::text"
            )


def insert_predictions(connection: Connection, rows: Sequence[PredictionRow]) -> None:
    """Insert the rows within the connection's transaction."""
    # One statement for many rows, past SQLAlchemy's own parameters: the thread waits for the
    # interpreter's lock once a statement. A logged prediction over HTTP costs 1.13 times the CPU
    # time of a constant; inserted row by row 1.22 times.
    for start in range(0, len(rows), ROWS_A_STATEMENT):
        chunk = rows[start : start + ROWS_A_STATEMENT]
        text = _write_insert(connection.dialect.paramstyle, len(chunk))
        connection.exec_driver_sql(text, tuple(itertools.chain.from_iterable(chunk)))


@functools.cache
def _write_insert(paramstyle: str, rows: int) -> str:
    mark = "?" if paramstyle == "qmark" else "%s"
    row = ", ".join([mark] * len(PredictionRow._fields))
    values = ", ".join([f"({row})"] * rows)
    return f"INSERT INTO predictions ({', '.join(PredictionRow._fields)}) VALUES {values}"  # noqa: S608


def insert_feedback(connection: Connection, labels: Sequence[tuple[str, str]]) -> FeedbackResult:
    """Store true labels by prediction id, all of them or none.

    A label that is known already counts as known; another one for the same prediction
    contradicts. The caller commits, or rolls back where something was refused.
    """
    wanted: dict[str, str] = {}
    contradicting: dict[str, None] = {}
    for prediction_id, label in labels:
        if wanted.setdefault(prediction_id, label) != label:
            contradicting[prediction_id] = None
    ids = list(wanted)
    logged = _existing(connection, predictions_table.c.id, ids)
    unknown = tuple(i for i in ids if i not in logged)
    if unknown:
        return FeedbackResult(unknown_ids=unknown, contradicting_ids=tuple(contradicting))
    before = _existing(connection, feedback_table.c.prediction_id, ids)
    now = time.time_ns() // 1000
    rows = [{"prediction_id": i, "label": label, "time_us": now} for i, label in wanted.items()]
    dialect = importlib.import_module(f"sqlalchemy.dialects.{connection.dialect.name}")
    connection.execute(dialect.insert(feedback_table).on_conflict_do_nothing(), rows)
    for chunk in _chunks(ids):
        found = connection.execute(
            sa.select(feedback_table.c.prediction_id, feedback_table.c.label).where(
                feedback_table.c.prediction_id.in_(chunk)
            )
        )
        contradicting.update({i: None for i, label in found if wanted[i] != str(label)})
    return FeedbackResult(
        stored=0 if contradicting else len(ids) - len(before),
        known=len(before),
        contradicting_ids=tuple(contradicting),
    )


def _existing(connection: Connection, column: sa.Column[str], ids: list[str]) -> set[str]:
    found: set[str] = set()
    for chunk in _chunks(ids):
        found |= set(connection.scalars(sa.select(column).where(column.in_(chunk))))
    return found


def _chunks(ids: list[str], size: int = 500) -> list[list[str]]:
    return [ids[start : start + size] for start in range(0, len(ids), size)]
