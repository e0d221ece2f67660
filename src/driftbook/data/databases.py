"""Tables from databases: the rows of a query, batch by batch, as Arrow holds them.

DuckDB hands over Arrow batches of its own. Any other database is read through SQLAlchemy with a
cursor on the server's side where there is one, so that one batch of rows at most is Python's.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Generator, Sequence
from decimal import Decimal
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pandas as pd
import pyarrow as pa

from driftbook.addresses import DUCKDB, ENVIRONMENT, NOT_SHOWN, is_database
from driftbook.data.files import convert_table, refuse_duplicates
from driftbook.data.spool import spool_rows
from driftbook.errors import UsageError

if TYPE_CHECKING:
    import sqlalchemy as sa

    from driftbook.settings import DataSettings

QUERY_ROWS = 20_000
CONNECT_TIMEOUT_S = 5
# What a driver calls the seconds it waits for a server; some would count the query's time too.
_TIMEOUTS = {"psycopg": "connect_timeout", "psycopg2": "connect_timeout",
             "pymysql": "connect_timeout", "mysqldb": "connect_timeout",
             "pyodbc": "timeout"}  # fmt: skip
# Names that the project has a driver and an extra for.
_DRIVERS = {"postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}
_EXTRAS = {"psycopg": "postgres", "duckdb": "duckdb", "sqlalchemy": "sql"}
_FEWEST_SIGNS = 4  # of an option's value that is taken out of messages; a password always is


def read_database(
    wanted: DataSettings, bases: tuple[Path, ...] = (), spool: Path | None = None
) -> pd.DataFrame | Path:
    """Return the rows of ``data.query``, in the query's order, typed as those of files are.

    Where they are more than ``data.memory_rows`` they are written to a Parquet file in the folder
    ``spool``, batch by batch, and its path is returned; without a folder memory has to take them
    all.

    A relative path of a file of DuckDB or SQLite is looked for under each of ``bases``, without any
    in the working directory. Nothing is written to the database on purpose: DuckDB's file is opened
    read-only, and what a query does elsewhere is never committed.

    Raises:
        UsageError: no such variable, file, package or server, a query that fails or gives no rows,
            two columns of one name, or types that change on the way. No message holds a password.
    """
    address = _find_address(wanted)
    query = str(wanted.query).strip()
    if address.startswith(DUCKDB):
        batches = _stream_duckdb(address, query, wanted.source, bases)
    else:
        batches = _stream_sqlalchemy(address, query, wanted.source, bases)
    with contextlib.closing(batches):
        names = next(batches)
        refuse_duplicates(f"data.query of {wanted.source!r}", names)
        chunks: list[list[pa.Array]] = [[] for _ in names]
        rows = 0
        for batch in batches:
            for column, chunk in zip(chunks, batch, strict=True):
                column.append(chunk)
            rows += len(batch[0])
            if spool is not None and rows > wanted.memory_rows:
                first = pa.table([_unite_chunks(column) for column in chunks], names=names)
                del chunks, column, chunk, batch
                return spool_rows(spool, first, batches, wanted.source)
    if not rows:
        raise UsageError(f"data.query of {wanted.source!r} gives no rows; ask for some that exist")
    table = pa.table([_unite_chunks(column) for column in chunks], names=names)
    del chunks
    return convert_table(table)


def _find_address(wanted: DataSettings) -> str:
    """Return the true address of the database: the settings' own or the environment's."""
    address = wanted.address
    if address.startswith(ENVIRONMENT):
        variable = address.removeprefix(ENVIRONMENT)
        address = os.environ.get(variable, "")
        if not is_database(address) or address.startswith(ENVIRONMENT):
            found = "names no database (it is not shown)" if address else "is not set"
            raise UsageError(
                f"data.source is {wanted.source!r}, but the variable {variable} {found}; set it to "
                "duckdb:FILE or a SQLAlchemy URL such as postgresql+psycopg://…"
            )
    elif NOT_SHOWN in address:
        raise UsageError(
            f"data.source {wanted.source!r} is a copy without user and password; run with the "
            "settings file that has them, or keep the address in the environment as env:NAME"
        )
    return address


def _stream_duckdb(
    address: str, query: str, shown: str, bases: tuple[Path, ...]
) -> Generator[Any, None, None]:
    """Yield the names of the columns, then DuckDB's own batches: one Arrow array a column each."""
    try:
        import duckdb
    except ImportError:
        raise _missing_package("duckdb", shown) from None
    # Also as the URL that SQLAlchemy would take.
    plain = address.removeprefix(DUCKDB).removeprefix("///")
    path = _find_file(plain.partition("?")[0], shown, bases)
    try:
        connection = duckdb.connect(path, read_only=True)
    except duckdb.Error as error:
        raise _unopened(shown, error) from None
    try:
        # A relation's reader streams; the result of `execute` would be copied as a whole.
        relation = connection.sql(query)
        if relation is None:
            raise _without_rows(shown)
        with relation.to_arrow_reader(QUERY_ROWS) as reader:
            yield reader.schema.names
            for batch in reader:
                yield batch.columns
    except (duckdb.Error, pa.ArrowException) as error:
        raise _failed(shown, error) from None
    finally:
        connection.close()


def _stream_sqlalchemy(
    address: str, query: str, shown: str, bases: tuple[Path, ...]
) -> Generator[Any, None, None]:
    """Yield the names of the columns, then batches of a cursor's rows: one Arrow array a column."""
    try:
        from sqlalchemy.exc import SQLAlchemyError
    except ImportError:
        raise _missing_package("sqlalchemy", shown) from None
    engine, secrets = _make_engine(address, shown, bases)
    # Without parameters, so that a driver leaves each % and : of the query alone.
    options = {"stream_results": True, "no_parameters": True}
    # A driver's own errors, such as one for a sign that it cannot decode, are not wrapped.
    wrong = (SQLAlchemyError, OSError, ValueError)
    try:
        connection = engine.connect().execution_options(**options)
    except wrong as error:
        raise _unopened(shown, error, secrets) from None
    try:
        # A cursor on the server's side has to be closed, also where not all rows were read.
        with contextlib.closing(connection.exec_driver_sql(query.rstrip("; \n"))) as result:
            if not result.returns_rows:
                raise _without_rows(shown)
            yield list(result.keys())
            # The option of that name is not heeded where the driver gets the query as it is.
            for rows in result.yield_per(QUERY_ROWS).partitions():
                yield [_to_array(values) for values in zip(*rows, strict=True)]
    except wrong as error:
        raise _failed(shown, error, secrets) from None
    finally:
        with contextlib.suppress(*wrong):
            connection.close()
        engine.dispose()


def _make_engine(
    address: str, shown: str, bases: tuple[Path, ...]
) -> tuple[sa.Engine, tuple[str, ...]]:
    """Return the engine of an address, and all of it that no message may hold."""
    import sqlalchemy as sa

    try:
        scheme, _, rest = address.partition("://")
        url = sa.make_url(f"{_DRIVERS.get(scheme, scheme)}://{rest}")
        if url.get_backend_name() == "sqlite" and url.database not in (None, "", ":memory:"):
            # SQLite would make a file that is not there.
            url = url.set(database=_find_file(str(url.database), shown, bases))
        waits = _TIMEOUTS.get(url.get_driver_name())
        known = waits is None or waits in url.query
        patience = {} if known else {waits: CONNECT_TIMEOUT_S}
        engine = sa.create_engine(url, connect_args=patience, poolclass=sa.NullPool)
    except ModuleNotFoundError as error:
        raise _missing_package(str(error.name), shown) from None
    except (sa.exc.ArgumentError, ValueError, TypeError) as error:
        unknown = isinstance(error, sa.exc.NoSuchModuleError)
        kind = "no known kind of database" if unknown else "no address that SQLAlchemy can read"
        raise UsageError(
            f"data.source {shown!r} is {kind}; write DIALECT+DRIVER://USER:PASSWORD@HOST/DATABASE, "
            "signs such as @ and / in a password as %40 and %2F"
        ) from None
    options = itertools.chain(*map(_list_values, url.query.values()))
    secrets = [one for one in options if len(one) >= _FEWEST_SIGNS]
    if url.password:
        secrets += [str(url.password), quote(str(url.password), safe="")]
    return engine, tuple(secrets)


def _list_values(values: str | tuple[str, ...]) -> tuple[str, ...]:
    return (values,) if isinstance(values, str) else values


def _find_file(path: str, shown: str, bases: tuple[Path, ...]) -> str:
    places = [base / path for base in bases or (Path.cwd(),)]
    for place in places:
        if place.is_file():
            return str(place)
    looked = ", ".join(dict.fromkeys(str(place.parent) for place in places))
    raise UsageError(
        f"data.source {shown!r} names no file (looked in {looked}); give the path of an existing "
        "database, relative to the settings file or absolute"
    )


def _to_array(values: Sequence[Any]) -> pa.Array:
    """Return one column of a batch as Arrow; numbers of several kinds are floats, all else text."""
    try:
        array = pa.array(values)
        if not isinstance(array.type, pa.BaseExtensionType):
            return array
    except (pa.ArrowException, OverflowError):
        pass
    return _to_floats(values) if _is_numbers(values) else _to_text(values)


def _unite_chunks(chunks: list[pa.Array]) -> pa.ChunkedArray:
    """Return the batches of one column as one type: a batch without any value had to guess its own.

    Numbers of several kinds are floats; where others meet, as SQLite allows, all are text.
    """
    kinds = {chunk.type for chunk in chunks if not pa.types.is_null(chunk.type)}
    if len(kinds) <= 1:
        kind = next(iter(kinds), pa.null())
        return pa.chunked_array([chunk.cast(kind) for chunk in chunks], kind)
    try:
        tables = [pa.table([chunk], names=["values"]) for chunk in chunks]
        return pa.concat_tables(tables, promote_options="permissive").column(0)
    except pa.ArrowException:
        lists = [chunk.to_pylist() for chunk in chunks]
        write = _to_floats if all(map(_is_numbers, lists)) else _to_text
        return pa.chunked_array([write(values) for values in lists])


def _is_numbers(values: Sequence[Any]) -> bool:
    return all(value is None or isinstance(value, Real | Decimal) for value in values)


def _to_floats(values: Sequence[Any]) -> pa.Array:
    return pa.array([None if value is None else float(value) for value in values], pa.float64())


def _to_text(values: Sequence[Any]) -> pa.Array:
    return pa.array([None if value is None else str(value) for value in values], pa.string())


def _missing_package(name: str, shown: str) -> UsageError:
    extra = _EXTRAS.get(name)
    wanted = f"'driftbook[{extra}]'" if extra else name
    return UsageError(
        f"data.source {shown!r} needs the package {name}, which is not installed; "
        f"pip install {wanted}"
    )


def _without_rows(shown: str) -> UsageError:
    return UsageError(f"data.query of {shown!r} is no query that gives rows; write SELECT …")


def _unopened(shown: str, error: Exception, secrets: tuple[str, ...] = ()) -> UsageError:
    return UsageError(
        f"data.source {shown!r} cannot be opened: {_tell_cause(error, secrets)}; check that the "
        "database is there, running and open to you"
    )


def _failed(shown: str, error: Exception, secrets: tuple[str, ...] = ()) -> UsageError:
    return UsageError(
        f"data.query fails in {shown!r}: {_tell_cause(error, secrets)}; mend data.query"
    )


def _tell_cause(error: Exception, secrets: tuple[str, ...]) -> str:
    """Return the first line of a database's message, without anything secret."""
    message = str(getattr(error, "orig", None) or error)
    for secret in secrets:
        message = message.replace(secret, NOT_SHOWN)
    lines = message.strip().splitlines()
    return lines[0].strip()[:300] if lines else type(error).__name__
