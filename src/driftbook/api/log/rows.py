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
    has_record_ids,
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
    record_id: str | None = None  # the caller's own id of the row


class GivenLabel(NamedTuple):
    """A true label by the id it came with: a prediction's, or the caller's ``own`` of its row."""

    id: str
    label: str
    own: bool = False


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
        _add_record_ids(engine)
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


def _add_record_ids(engine: Engine) -> None:
    """Let a log made by an earlier release keep the callers' own ids, and find rows by them."""
    table = predictions_table.name
    if not has_record_ids(engine):
        try:
            with engine.begin() as connection:
                connection.exec_driver_sql(f"ALTER TABLE {table} ADD COLUMN record_id TEXT")
        except SQLAlchemyError:
            if not has_record_ids(engine):  # another replica was faster
                raise
    with engine.begin() as connection:
        # Rows without such an id, which may be all of them, cost nothing.
        connection.exec_driver_sql(
            f"CREATE INDEX IF NOT EXISTS {table}_by_record_id ON {table} "
            "(model_name, record_id, id) WHERE record_id IS NOT NULL"
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


def insert_feedback(
    connection: Connection, labels: Sequence[GivenLabel], model_name: str
) -> FeedbackResult:
    """Store true labels of a model's predictions, all of them or none.

    A label that is known already counts as known; another one for the same prediction
    contradicts. The caller commits, or rolls back where something was refused.
    """
    meant = _find_predictions(connection, labels, model_name)
    unknown = dict.fromkeys(one.id for one in labels if one not in meant)
    wanted: dict[str, str] = {}
    given: dict[str, str] = {}
    contradicting: dict[str, None] = {}
    for one, prediction_id in meant.items():
        given.setdefault(prediction_id, one.id)
        if wanted.setdefault(prediction_id, one.label) != one.label:
            contradicting[given[prediction_id]] = None
    ids = list(wanted)
    if unknown:
        return FeedbackResult(unknown_ids=tuple(unknown), contradicting_ids=tuple(contradicting))
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
        contradicting.update({given[i]: None for i, label in found if wanted[i] != str(label)})
    return FeedbackResult(
        stored=0 if contradicting else len(ids) - len(before),
        known=len(before),
        contradicting_ids=tuple(contradicting),
    )


def _find_predictions(
    connection: Connection, labels: Sequence[GivenLabel], model_name: str
) -> dict[GivenLabel, str]:
    """Return by label the id of its prediction; without those whose id is nobody's.

    An id is looked for as what it was given as, then as the other kind.
    """
    every = list({one.id: None for one in labels})
    predictions = _existing(connection, predictions_table.c.id, every)
    others = [one.id for one in labels if one.own or one.id not in predictions]
    newest = _find_newest(connection, list(dict.fromkeys(others)), model_name)
    found = {}
    for one in labels:
        direct = one.id if one.id in predictions else None
        by_record = newest.get(one.id)
        meant = (by_record or direct) if one.own else (direct or by_record)
        if meant is not None:
            found[one] = meant
    return found


def _find_newest(connection: Connection, record_ids: list[str], model_name: str) -> dict[str, str]:
    """Return by the callers' own ids the newest prediction of each."""
    columns = predictions_table.c
    found: dict[str, str] = {}
    for chunk in _chunks(record_ids):
        rows = connection.execute(
            sa.select(columns.record_id, sa.func.max(columns.id))
            .where(columns.model_name == model_name, columns.record_id.in_(chunk))
            .group_by(columns.record_id)
        )
        found.update({str(record_id): str(newest) for record_id, newest in rows})
    return found


def _existing(connection: Connection, column: sa.Column[str], ids: list[str]) -> set[str]:
    found: set[str] = set()
    for chunk in _chunks(ids):
        found |= set(connection.scalars(sa.select(column).where(column.in_(chunk))))
    return found


def _chunks(ids: list[str], size: int = 500) -> list[list[str]]:
    return [ids[start : start + size] for start in range(0, len(ids), size)]
