"""The prediction log: its tables, how to reach it, and its rows as a table to learn from.

Every answered prediction, and the truth once it is known; one SQLite file (WAL) by default, or any
PostgreSQL by URL. The API writes it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from pydantic_core import from_json
from sqlalchemy.exc import SQLAlchemyError

from driftbook import paths
from driftbook.errors import DriftbookError, UsageError

if TYPE_CHECKING:
    import pandas as pd
    from sqlalchemy.engine import Engine

    from driftbook.settings import Settings

URL_VARIABLE = "DRIFTBOOK_LOG_URL"
BUSY_TIMEOUT_S = 2.0
ROWS_A_FETCH = 10_000

DRIVERS = {"sqlite": "sqlite+pysqlite", "postgresql": "postgresql+psycopg"}

log_tables = sa.MetaData()

# Ids sort by time, so that no further index is needed.
predictions_table = sa.Table(
    "predictions",
    log_tables,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("time_us", sa.BigInteger, nullable=False),
    sa.Column("model_name", sa.Text, nullable=False),
    sa.Column("model_version", sa.Text, nullable=False),
    sa.Column("features", sa.Text, nullable=False),
    sa.Column("probability", sa.Double, nullable=False),
    sa.Column("record_id", sa.Text),  # the caller's own id of the row, where it gave one
    sqlite_with_rowid=False,
)
feedback_table = sa.Table(
    "feedback",
    log_tables,
    sa.Column("prediction_id", sa.String(36), primary_key=True),
    sa.Column("label", sa.Text, nullable=False),  # 0 or 1, a class, or a number
    sa.Column("time_us", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)


class LogUnavailableError(DriftbookError):
    """The prediction log cannot be written or read now."""


def has_record_ids(engine: Engine) -> bool:
    """Return whether the log keeps the callers' own ids: one of an earlier release does not yet."""
    columns = sa.inspect(engine).get_columns(predictions_table.name)
    return any(column["name"] == "record_id" for column in columns)


def prediction_log_url(settings: Settings, artifacts: Path) -> str:
    """Return the log's database URL: ``log.url``, else the environment's, else a file's.

    The variable ``DRIFTBOOK_LOG_URL`` keeps a password out of ``runbook.yaml``.
    """
    default = f"sqlite:///{artifacts.absolute() / paths.LOG / 'predictions.sqlite'}"
    return settings.log.url or os.environ.get(URL_VARIABLE) or default


def connect_prediction_log(url: str) -> Engine:
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
                parsed.set(drivername=DRIVERS[backend]),
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


def log_unavailable(error: Exception) -> LogUnavailableError:
    """Return the error that tells the operator why the log cannot be used, without its URL."""
    if isinstance(error, LogUnavailableError):
        return error
    cause = str(getattr(error, "orig", None) or error).strip().splitlines()
    return LogUnavailableError(
        f"the prediction log cannot be used ({cause[0] if cause else type(error).__name__}); "
        "check log.url, the disk's free space and the folder's permissions"
    )


def read_logged_predictions(settings: Settings, artifacts: Path) -> pd.DataFrame:
    """Return the served traffic of this model, oldest first, for ``data.source: predictions``.

    One column a feature, the target (NaN where no feedback came) and, where the settings name
    a timestamp, the time of the answer (naive UTC) under that name; likewise the callers' own ids
    where they name ``data.record_id``.

    Raises:
        UsageError: there is no log yet, or it holds no prediction of this model.
        LogUnavailableError: the database cannot be read.
    """
    import pandas as pd

    engine = connect_prediction_log(prediction_log_url(settings, artifacts))
    file = engine.url.database
    if engine.dialect.name == "sqlite" and not Path(str(file)).exists():
        raise UsageError(
            f"there is no prediction log at {file}; serve predictions first (`make serve`) "
            "or name the log with log.url"
        )
    try:
        columns, times_us, labels, own_ids = _read_columns(engine, settings.model_name)
    except SQLAlchemyError as error:
        raise log_unavailable(error) from error
    finally:
        engine.dispose()
    if not times_us:
        raise UsageError(
            f"the prediction log holds no prediction of model {settings.model_name!r}; "
            "serve predictions first, or set model.name to the name that was served"
        )
    frame = pd.DataFrame(columns)
    if settings.data.timestamp is not None:
        frame[settings.data.timestamp] = pd.to_datetime(pd.Series(times_us), unit="us")
    if settings.data.record_id is not None:
        frame[settings.data.record_id] = pd.Series(own_ids, dtype=object)
    told = pd.Series(labels, dtype=object)
    numbers = pd.to_numeric(told, errors="coerce").astype("float64")
    named = bool(numbers.isna().gt(told.isna()).any())
    frame[settings.data.target] = told if named else numbers
    return frame


def _read_columns(
    engine: Engine, model_name: str
) -> tuple[dict[str, list[Any]], list[int], list[str | int | None], list[str | None]]:
    """Return features by name, times of the answers in microseconds, labels and callers' ids."""
    known = predictions_table.c
    own: Any = known.record_id if has_record_ids(engine) else sa.null()
    query = (
        sa.select(known.features, known.time_us, feedback_table.c.label, own)
        .outerjoin_from(
            predictions_table,
            feedback_table,
            feedback_table.c.prediction_id == predictions_table.c.id,
        )
        .where(predictions_table.c.model_name == model_name)
        .order_by(predictions_table.c.id)
    )
    columns: dict[str, list[Any]] = {}
    times_us: list[int] = []
    labels: list[str | int | None] = []
    own_ids: list[str | None] = []
    with engine.connect() as connection:
        # The texts are many times larger than the numbers in them: never all of them at once.
        rows = connection.execution_options(yield_per=ROWS_A_FETCH).execute(query)
        for text, time_us, label, own_id in rows:
            values = from_json(text)
            # A feature that a version did not have is missing in its rows.
            for name in (name for name in values if name not in columns):
                columns[name] = [None] * len(times_us)
            for name, column in columns.items():
                column.append(values.get(name))
            times_us.append(time_us)
            labels.append(label)
            own_ids.append(own_id)
    return columns, times_us, labels, own_ids
