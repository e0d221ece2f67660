"""The prediction log: its tables, how to reach it, and its rows as a table to learn from.

Every answered prediction, and the truth once it is known; one SQLite file (WAL) by default, or any
PostgreSQL by URL. The API writes it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from pydantic_core import from_json
from sqlalchemy.exc import SQLAlchemyError

from driftbook import paths
from driftbook.errors import DriftbookError, UsageError

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray
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
    name, timestamp, record_id = settings.model_name, settings.data.timestamp, None
    if settings.data.record_id is not None and has_record_ids(engine):
        record_id = settings.data.record_id
    features, others = _Columns(), _Columns()
    try:
        for rows in _read_batches(engine, name, record_id is not None):
            features.add([from_json(text) for _, text, *_ in rows])
            others.add([{"time": at, "label": label, "own": own} for _, _, at, label, own in rows])
    except SQLAlchemyError as error:
        raise log_unavailable(error) from error
    finally:
        engine.dispose()
    if not others.rows:
        raise UsageError(
            f"the prediction log holds no prediction of model {name!r}; "
            "serve predictions first, or set model.name to the name that was served"
        )
    frame = pd.DataFrame(features.unite(), copy=False)
    told = others.unite()
    if timestamp is not None:
        frame[timestamp] = pd.to_datetime(pd.Series(told["time"]), unit="us")
    if settings.data.record_id is not None:
        frame[settings.data.record_id] = pd.Series(told["own"], dtype=object)
    frame[settings.data.target] = _to_labels(pd.Series(told["label"], dtype=object))
    return frame


def _to_labels(told: pd.Series) -> pd.Series:
    """Return labels as numbers where all of them are, else as they were given."""
    import pandas as pd

    numbers = pd.to_numeric(told, errors="coerce").astype("float64")
    return told if bool(numbers.isna().gt(told.isna()).any()) else numbers


def _read_batches(
    engine: Engine, model_name: str, with_own_ids: bool
) -> Iterator[Sequence[tuple[str, str, int, str | int | None, str | None]]]:
    """Yield the rows of a model by id, oldest first: id, features, time, label, caller's own id.

    Each batch is a statement of its own: a reader that stays for the whole log would keep SQLite's
    write-ahead log from starting again.
    """
    known, columns = predictions_table.c, feedback_table.c
    own: Any = known.record_id if with_own_ids else sa.null()
    query = (
        sa.select(known.id, known.features, known.time_us, columns.label, own)
        .outerjoin_from(predictions_table, feedback_table, columns.prediction_id == known.id)
        .where(known.model_name == model_name)
        .order_by(known.id)
        .limit(ROWS_A_FETCH)
    )
    with engine.connect() as connection:
        newest = connection.scalar(sa.select(sa.func.max(known.id)))
    last = ""
    while newest is not None:
        with engine.connect() as connection:
            rows = connection.execute(query.where(known.id > last, known.id <= newest)).all()
        if not rows:
            return
        yield rows
        last = str(rows[-1][0])


class _Columns:
    """Grows columns batch by batch: of every batch but the newest only packed arrays are left.

    A value that a row does not have is missing there. Whole numbers, numbers, and booleans stay
    such where all rows have one; a missing number is NaN; whatever is mixed stays Python's.
    """

    def __init__(self) -> None:
        self.rows = 0
        self._chunks: dict[str, list[tuple[int, NDArray[Any]]]] = {}

    def add(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Add rows, each with its values by name."""
        for name in dict.fromkeys(name for record in records for name in record):
            values = [record.get(name) for record in records]
            chunks = self._chunks.setdefault(name, [])
            if any(value is not None for value in values):  # others tell nothing of the kind
                chunks.append((self.rows, _pack(values)))
        self.rows += len(records)

    def unite(self) -> dict[str, NDArray[Any]]:
        """Return the columns, and forget them here."""
        found = {}
        for name in list(self._chunks):
            found[name] = self._unite_chunks(self._chunks.pop(name))
        return found

    def _unite_chunks(self, chunks: Sequence[tuple[int, NDArray[Any]]]) -> NDArray[Any]:
        import numpy as np

        kinds = {values.dtype.kind for _, values in chunks}
        whole = sum(len(values) for _, values in chunks) == self.rows
        if len(kinds) == 1 and whole and kinds != {"O"}:
            return np.concatenate([values for _, values in chunks])
        numeric = kinds <= {"i", "f"} and bool(kinds)
        column = np.full(self.rows, np.nan if numeric else None, dtype=float if numeric else object)
        for start, values in chunks:
            place = column[start : start + len(values)]
            place[:] = values
            if not numeric and values.dtype.kind == "f":
                place[np.isnan(values)] = None
        return column


def _pack(values: Sequence[Any]) -> NDArray[Any]:
    """Return values of a column as an array; each text once, however many rows repeat it."""
    import numpy as np
    import pandas as pd

    if any(isinstance(value, str) for value in values):
        kept = [sys.intern(value) if isinstance(value, str) else value for value in values]
        return np.array(kept, dtype=object)
    return pd.Series(list(values)).to_numpy()
