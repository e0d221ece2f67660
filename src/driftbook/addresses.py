"""Addresses of databases: which sources are one, and what of them may be shown."""

from __future__ import annotations

import re

# An address that is the name of a variable of the environment, which holds the true one.
ENVIRONMENT = "env:"
DUCKDB = "duckdb:"
# What stands in an address for a part that is not shown.
NOT_SHOWN = "…"
# SQLAlchemy's dialects, its own and well-known others; any other one is told by its driver,
# as in name+driver://. All other schemes are fsspec's: files.
_DIALECTS = frozenset(
    ("sqlite", "postgresql", "postgres", "mysql", "mariadb", "mssql", "oracle", "access",
     "awsathena", "bigquery", "clickhouse", "clickhousedb", "cockroachdb", "crate", "databricks",
     "db2", "dremio", "druid", "duckdb", "exa", "firebird", "hana", "hive", "impala", "presto",
     "redshift", "snowflake", "teradatasql", "trino", "vertica")
)  # fmt: skip


def is_database(source: str) -> bool:
    """Return whether a source is a database that a query is put to, and no files.

    >>> [is_database(one) for one in ("duckdb:a.duckdb", "sqlite:///a.db", "env:MY_DATABASE")]
    [True, True, True]
    >>> [is_database(one) for one in ("flights", "data/a.csv", "s3://bucket/a.parquet")]
    [False, False, False]
    """
    if source.startswith((ENVIRONMENT, DUCKDB)):
        return True
    scheme, found, _ = source.partition("://")
    name, driver, _ = scheme.partition("+")
    return bool(found) and name.isidentifier() and (bool(driver) or name in _DIALECTS)


def hide_secrets(source: str) -> str:
    """Return what may be shown of a source: a database's without user, password and options.

    Of any other URL user and password are hidden where it has both. Equal where nothing is hidden;
    hiding twice is hiding once.

    >>> hide_secrets("postgresql+psycopg://me:secret@db.example.org:5432/shop?sslmode=require")
    'postgresql+psycopg://…@db.example.org:5432/shop?…'
    >>> hide_secrets("duckdb:data/shop.duckdb"), hide_secrets("sqlite:///data/shop.sqlite")
    ('duckdb:data/shop.duckdb', 'sqlite:///data/shop.sqlite')
    >>> hide_secrets("ftp://me:secret@host/a.csv"), hide_secrets("s3://bucket/at@noon.csv")
    ('ftp://…@host/a.csv', 's3://bucket/at@noon.csv')
    """
    if source.startswith(ENVIRONMENT):
        return source if re.fullmatch(rf"{ENVIRONMENT}\w+", source) else f"{ENVIRONMENT}{NOT_SHOWN}"
    if not is_database(source):
        return re.sub(r"://[^/@]*:[^@]*@", f"://{NOT_SHOWN}@", source)
    if "://" not in source or source.startswith(("sqlite:", "sqlite+")):
        path, options, _ = source.partition("?")
        return f"{path}?{NOT_SHOWN}" if options else path
    scheme, _, rest = source.partition("://")
    found = re.fullmatch(r"(?:([^@?]*)@)?([^@?]*)(\?[^@]*)?", rest)
    # A password with one of these signs in it ends too early: then nothing more is shown.
    if found is None:
        return f"{scheme}://{NOT_SHOWN}"
    user = "" if found[1] is None else f"{NOT_SHOWN}@"
    tail = "" if found[3] is None else f"?{NOT_SHOWN}"
    return f"{scheme}://{user}{found[2]}{tail}"


def name_database(source: str) -> str:
    """Return the name of the file or database that an address ends in; empty where it has none.

    >>> name_database("postgresql://…@host:5432/shop?…"), name_database("duckdb:data/shop.duckdb")
    ('shop', 'shop')
    >>> name_database("postgresql://…@host"), name_database("env:MY_DATABASE")
    ('', '')
    """
    if source.startswith(ENVIRONMENT):
        return ""
    where = re.sub(r"^\w+(\+\w+)?://[^/]*|^duckdb:", "", source.partition("?")[0])
    name = re.split(r"[/\\]", where)[-1].replace(NOT_SHOWN, "").replace(":memory:", "")
    return re.sub(r"\.(db|db3|sqlite|sqlite3|duckdb|ddb)$", "", name, flags=re.IGNORECASE)
