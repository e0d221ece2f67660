"""The prediction log: every answered prediction, and the truth once it is known.

One SQLite file (WAL) by default, or any PostgreSQL by URL. Rows are written before their answer is
sent; concurrent requests share a transaction.
"""

from __future__ import annotations

import functools
import importlib
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa
from pydantic_core import from_json
from sqlalchemy.exc import SQLAlchemyError

from driftbook.errors import DriftbookError, UsageError

if TYPE_CHECKING:
    import pandas as pd
    from sqlalchemy.engine import Connection, Engine

    from driftbook.settings import Settings

URL_VARIABLE = "DRIFTBOOK_LOG_URL"
BUSY_TIMEOUT_S = 2.0
_READ_ROWS = 10_000

_DRIVERS = {"sqlite": "sqlite+pysqlite", "postgresql": "postgresql+psycopg"}

_metadata = sa.MetaData()

# Ids sort by time, so that no further index is needed.
predictions = sa.Table(
    "predictions",
    _metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("time_us", sa.BigInteger, nullable=False),
    sa.Column("model_name", sa.Text, nullable=False),
    sa.Column("model_version", sa.Text, nullable=False),
    sa.Column("features", sa.Text, nullable=False),
    sa.Column("probability", sa.Double, nullable=False),
    sqlite_with_rowid=False,
)
feedback = sa.Table(
    "feedback",
    _metadata,
    sa.Column("prediction_id", sa.String(36), primary_key=True),
    sa.Column("label", sa.SmallInteger, nullable=False),
    sa.Column("time_us", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)


class LogUnavailableError(DriftbookError):
    """The prediction log cannot be written or read now."""


class Entry(NamedTuple):
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


def url_of(settings: Settings, artifacts: Path) -> str:
    """Return the log's database URL: ``log.url``, else the environment's, else a file's.

    The variable ``DRIFTBOOK_LOG_URL`` keeps a password out of ``runbook.yaml``.
    """
    default = f"sqlite:///{Path(artifacts).absolute() / 'log' / 'predictions.sqlite'}"
    return settings.log.url or os.environ.get(URL_VARIABLE) or default


def connect(url: str) -> Engine:
    """Return an engine for the log; the database is touched at the first connection.

    Raises:
        UsageError: the URL names no database that Driftbook can use.
    """
    try:
        parsed = sa.make_url(url)
        backend = parsed.get_backend_name()
        if backend == "sqlite":
            return _sqlite(parsed)
        if backend == "postgresql":
            return sa.create_engine(
                parsed.set(drivername=_DRIVERS[backend]),
                pool_pre_ping=True,
                connect_args={"connect_timeout": 5},
            )
    except (sa.exc.ArgumentError, ImportError) as error:
        raise UsageError(
            f"log.url cannot be used ({type(error).__name__}); give sqlite:///FILE or "
            "postgresql://USER@HOST/DATABASE (needs the extra `postgres`)"
        ) from error
    raise UsageError(
        f"log.url is of the kind {backend!r}; known kinds: sqlite:///FILE, postgresql://…"
    )


def _sqlite(url: sa.URL) -> Engine:
    engine = sa.create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S})

    @sa.event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        # Freed pages go back to the file system in small steps; must precede the first table.
        cursor.execute("PRAGMA auto_vacuum=INCREMENTAL")
        cursor.execute("PRAGMA journal_mode=WAL")
        # A killed process loses nothing; only a power cut may lose the last moments.
        cursor.execute("PRAGMA synchronous=NORMAL")
        # Left to `checkpoint`, so that no answer waits for the disk.
        cursor.execute("PRAGMA wal_autocheckpoint=0")
        cursor.close()

    return engine


def create(engine: Engine) -> None:
    """Create the log's tables, and an SQLite file's folder, where they are missing.

    Raises:
        LogUnavailableError: the database cannot be reached or written.
    """
    try:
        file = engine.url.database
        if engine.dialect.name == "sqlite" and file not in (None, "", ":memory:"):
            Path(str(file)).parent.mkdir(parents=True, exist_ok=True)
        _metadata.create_all(engine)
    except (OSError, SQLAlchemyError) as error:
        raise unavailable(error) from error


def unavailable(error: Exception) -> LogUnavailableError:
    """Return the error that tells the operator why the log cannot be used, without its URL."""
    if isinstance(error, LogUnavailableError):
        return error
    cause = str(getattr(error, "orig", None) or error).strip().splitlines()
    return LogUnavailableError(
        f"the prediction log cannot be used ({cause[0] if cause else type(error).__name__}); "
        "check log.url, the disk's free space and the folder's permissions"
    )


def write(connection: Connection, entries: Sequence[Entry]) -> None:
    """Insert the entries within the connection's transaction."""
    text, positional = _insert_text(connection.dialect.name)
    # Past SQLAlchemy's own parameter handling, which costs as much as the insert itself.
    rows: list[Any] = list(entries) if positional else [entry._asdict() for entry in entries]
    connection.exec_driver_sql(text, rows)


@functools.cache
def _insert_text(dialect: str) -> tuple[str, bool]:
    compiled = sa.insert(predictions).compile(
        dialect=sa.make_url(f"{_DRIVERS[dialect]}://").get_dialect()()
    )
    return str(compiled), bool(getattr(compiled, "positional", False))


def add_feedback(connection: Connection, labels: Sequence[tuple[str, int]]) -> FeedbackResult:
    """Store true labels by prediction id, all of them or none.

    A label that is known already counts as known; another one for the same prediction
    contradicts. The caller commits, or rolls back where something was refused.
    """
    wanted: dict[str, int] = {}
    contradicting: dict[str, None] = {}
    for prediction_id, label in labels:
        if wanted.setdefault(prediction_id, label) != label:
            contradicting[prediction_id] = None
    ids = list(wanted)
    logged = _existing(connection, predictions.c.id, ids)
    unknown = tuple(i for i in ids if i not in logged)
    if unknown:
        return FeedbackResult(unknown_ids=unknown, contradicting_ids=tuple(contradicting))
    before = _existing(connection, feedback.c.prediction_id, ids)
    now = time.time_ns() // 1000
    rows = [{"prediction_id": i, "label": label, "time_us": now} for i, label in wanted.items()]
    dialect = importlib.import_module(f"sqlalchemy.dialects.{connection.dialect.name}")
    connection.execute(dialect.insert(feedback).on_conflict_do_nothing(), rows)
    for chunk in _chunks(ids):
        found = connection.execute(
            sa.select(feedback.c.prediction_id, feedback.c.label).where(
                feedback.c.prediction_id.in_(chunk)
            )
        )
        contradicting.update({i: None for i, label in found if wanted[i] != label})
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


def read_frame(settings: Settings, artifacts: Path) -> pd.DataFrame:
    """Return the served traffic of this model, oldest first, for ``data.source: predictions``.

    One column a feature, the target (NaN where no feedback came) and, where the settings name
    a timestamp, the time of the answer (naive UTC) under that name.

    Raises:
        UsageError: there is no log yet, or it holds no prediction of this model.
        LogUnavailableError: the database cannot be read.
    """
    import pandas as pd

    engine = connect(url_of(settings, artifacts))
    file = engine.url.database
    if engine.dialect.name == "sqlite" and not Path(str(file)).exists():
        raise UsageError(
            f"there is no prediction log at {file}; serve predictions first (`make serve`) "
            "or name the log with log.url"
        )
    try:
        traffic = _read(engine, settings.model_name)
    except SQLAlchemyError as error:
        raise unavailable(error) from error
    finally:
        engine.dispose()
    if not traffic.times_us:
        raise UsageError(
            f"the prediction log holds no prediction of model {settings.model_name!r}; "
            "serve predictions first, or set model.name to the name that was served"
        )
    frame = pd.DataFrame(traffic.columns)
    if settings.data.timestamp is not None:
        frame[settings.data.timestamp] = pd.to_datetime(traffic.times_us, unit="us")
    frame[settings.data.target] = pd.Series(traffic.labels, dtype="float64")
    return frame


class _Traffic:
    """Logged rows by column; a feature that a version did not have is missing in its rows."""

    def __init__(self) -> None:
        self.columns: dict[str, list[Any]] = {}
        self.times_us: list[int] = []
        self.labels: list[int | None] = []

    def add(self, features: Mapping[str, Any], time_us: int, label: int | None) -> None:
        for name in [name for name in features if name not in self.columns]:
            self.columns[name] = [None] * len(self.times_us)
        for name, values in self.columns.items():
            values.append(features.get(name))
        self.times_us.append(time_us)
        self.labels.append(label)


def _read(engine: Engine, model_name: str) -> _Traffic:
    query = (
        sa.select(predictions.c.features, predictions.c.time_us, feedback.c.label)
        .outerjoin_from(predictions, feedback, feedback.c.prediction_id == predictions.c.id)
        .where(predictions.c.model_name == model_name)
        .order_by(predictions.c.id)
    )
    traffic = _Traffic()
    with engine.connect().execution_options(yield_per=_READ_ROWS) as connection:
        for features, time_us, label in connection.execute(query):
            traffic.add(from_json(features), time_us, label)
    return traffic
