"""Rows of a query: the same table as from Parquet, batch by batch, and no password anywhere."""

from __future__ import annotations

import datetime as dt
import json
import os
import socket
import sqlite3
import subprocess
import sys
import time
import uuid
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

from driftbook.data import databases, windows
from driftbook.errors import UsageError
from driftbook.settings import Settings

duckdb = pytest.importorskip("duckdb", reason="needs the extra `duckdb`")

SECRET = "Tr0ub4dor"
QUERY = "SELECT * FROM cases ORDER BY place"


def _settings(source: str, query: str | None = QUERY, **values: Any) -> Settings:
    about = {"source": source, "query": query, "window": 100, "exclude": ["place"], **values}
    return Settings.parse({"data": {k: v for k, v in about.items() if v is not None}})


def _frame(rows: int = 600) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    x = rng.normal(size=rows)
    return pd.DataFrame(
        {
            "place": np.arange(rows),
            "at": pd.date_range("2024-01-01", periods=rows, freq="h")[rng.permutation(rows)],
            "x": np.where(rng.random(rows) < 0.1, np.nan, x),
            "price": [Decimal(f"{value:.2f}") for value in rng.uniform(0, 99, rows)],
            "colour": rng.choice(["red", "blue"], rows),
            "target": (rng.random(rows) < 1 / (1 + np.exp(-x))).astype("int64"),
        }
    )


def _parquet(folder: Path, frame: pd.DataFrame) -> str:
    path = folder / "cases.parquet"
    frame.astype({"at": "datetime64[us]"}).to_parquet(path, index=False)
    return str(path)


def _duckdb(folder: Path, parquet: str, name: str = "cases.duckdb") -> str:
    with duckdb.connect(str(folder / name)) as connection:
        connection.execute(f"CREATE TABLE cases AS SELECT * FROM read_parquet('{parquet}')")
    return f"duckdb:{folder / name}"


def _postgres(url: str, frame: pd.DataFrame) -> str:
    """Fill a table and return its address, with a password, which a trusting server ignores."""
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE IF EXISTS cases")
        connection.exec_driver_sql(
            "CREATE TABLE cases (place bigint, at timestamp, x double precision, "
            "price numeric, colour text, target bigint)"
        )
        rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
        connection.execute(
            sa.text("INSERT INTO cases VALUES (:place, :at, :x, :price, :colour, :target)"), rows
        )
    engine.dispose()
    return url.replace("driftbook@", f"driftbook:{SECRET}@")


def _refused(settings: Settings) -> str:
    with pytest.raises(UsageError) as caught:
        windows.load_dataset(settings)
    text = str(caught.value)
    assert "\n" not in text and SECRET not in text
    return text


@pytest.mark.parametrize("timestamp", [None, "at"])
@pytest.mark.parametrize("kind", ["duckdb", "postgres"])
def test_a_query_gives_the_same_data_as_parquet(
    kind: str,
    timestamp: str | None,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    frame = _frame()
    path = _parquet(tmp_path, frame)
    if kind == "duckdb":
        source = _duckdb(tmp_path, path)
    else:
        source = _postgres(request.getfixturevalue("postgres"), frame)
    # Many batches, whose decimals each have a precision of their own.
    monkeypatch.setattr(databases, "QUERY_ROWS", 7)
    roles = {"timestamp": timestamp, "exclude": ["place"] if timestamp else ["place", "at"]}
    stored = windows.load_dataset(_settings(path, None, **roles))
    asked = windows.load_dataset(_settings(source, **roles))
    pd.testing.assert_frame_equal(stored.frame, asked.frame)
    assert (stored.fingerprint, stored.windows) == (asked.fingerprint, asked.windows)
    assert stored.features == asked.features
    if timestamp is None:
        np.testing.assert_array_equal(asked.frame["x"], frame["x"])


def test_rows_without_a_timestamp_keep_the_order_of_the_query(tmp_path: Path) -> None:
    source = _duckdb(tmp_path, _parquet(tmp_path, _frame()))
    roles = {"exclude": ["at"]}
    loaded = windows.load_dataset(
        _settings(source, "SELECT * FROM cases ORDER BY place DESC", **roles)
    )
    assert loaded.frame["place"].tolist() == list(range(599, -1, -1))


def test_sqlite_beside_the_settings_with_its_loose_types(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "shop.sqlite") as connection:
        connection.execute("CREATE TABLE cases (place, at, n, odd, empty, target)")
        connection.executemany(
            "INSERT INTO cases VALUES (?, ?, ?, ?, ?, ?)",
            [
                (k, f"2024-01-{1 + k // 24:02d} {k % 24:02d}:00", k if k % 2 else k + 0.5,
                 "n/a" if k == 299 else k, None, k % 3 == 0)
                for k in range(300)
            ],
        )  # fmt: skip
    connection.close()
    (tmp_path / "mine.yaml").write_text(
        "data: {source: 'sqlite:///shop.sqlite', query: 'SELECT * FROM cases;', timestamp: at,"
        " window: day, exclude: [place]}"
    )
    settings = Settings.load(tmp_path / "mine.yaml")
    loaded = windows.load_dataset(settings)
    assert settings.model_name == "shop"
    assert [(f.name, f.kind) for f in loaded.features] == [
        ("n", "numeric"), ("odd", "numeric"), ("empty", "numeric")
    ]  # fmt: skip
    assert loaded.frame["n"].tolist()[:3] == [0.5, 1.0, 2.5]
    assert np.isnan(loaded.frame["odd"].iloc[299]) and loaded.frame["odd"].iloc[298] == 298
    assert len(loaded.windows) == 13 and loaded.frame["at"].dtype.kind == "M"


def test_batches_of_different_types_become_one_column(monkeypatch: pytest.MonkeyPatch) -> None:
    day, ident = dt.date(2024, 1, 1), uuid.UUID(int=1)
    for parts, wanted in (
        (([None], [1.5]), [None, 1.5]),
        (([1], [2.5]), [1.0, 2.5]),
        (([True], [2]), [1.0, 2.0]),
        (([2**60 + 1], [0.5]), [float(2**60), 0.5]),
        (([1], ["n/a"]), ["1", "n/a"]),
        (([Decimal("1.5")], [Decimal("NaN")]), [1.5, None]),
        (([Decimal("1.5")], [Decimal("1000.25")]), [Decimal("1.50"), Decimal("1000.25")]),
        (([2**70],), [float(2**70)]),
        (([ident],), [str(ident)]),
        (([day], ["soon"]), ["2024-01-01", "soon"]),
    ):
        united = databases._unite_chunks([databases._to_array(part) for part in parts])
        found = [None if value != value else value for value in united.to_pylist()]
        assert found == wanted, parts


class _Watched(sqlite3.Cursor):
    """A cursor that records how many rows were asked for at once; all at once is refused."""

    sizes: list[int] = []  # noqa: RUF012

    def fetchall(self) -> list[Any]:
        raise AssertionError("the whole result was fetched at once")

    def fetchmany(self, size: int | None = 1) -> list[Any]:
        self.sizes.append(int(size or 1))
        return super().fetchmany(size)


class _Connection(sqlite3.Connection):
    def cursor(self, factory: Any = _Watched) -> Any:
        return super().cursor(factory)


def test_no_more_than_a_batch_of_rows_is_python_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with sqlite3.connect(tmp_path / "a.db") as connection:
        connection.execute("CREATE TABLE cases AS WITH RECURSIVE c(place) AS (SELECT 1 UNION ALL "
                           "SELECT place + 1 FROM c LIMIT 1000) "
                           "SELECT place, place % 7 x, place % 2 target FROM c")  # fmt: skip
    connection.close()
    made = sa.create_engine

    def watched(url: Any, connect_args: dict[str, Any], **options: Any) -> Any:
        return made(url, connect_args={**connect_args, "factory": _Connection}, **options)

    monkeypatch.setattr(sa, "create_engine", watched)
    monkeypatch.setattr(databases, "QUERY_ROWS", 64)
    monkeypatch.setattr(_Watched, "sizes", [])
    frame = databases.read_database(_settings(f"sqlite:///{tmp_path / 'a.db'}").data)
    assert len(frame) == 1000
    assert set(_Watched.sizes) == {64} and len(_Watched.sizes) >= 16


def test_postgresql_sends_a_batch_at_a_time(postgres: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import psycopg

    source = _postgres(postgres, _frame())
    sizes: list[int] = []
    fetch = psycopg.ServerCursor.fetchmany

    def recording(self: Any, size: int = 0) -> Any:
        sizes.append(size)
        return fetch(self, size)

    monkeypatch.setattr(psycopg.ServerCursor, "fetchmany", recording)
    monkeypatch.setattr(databases, "QUERY_ROWS", 50)
    assert len(databases.read_database(_settings(source).data)) == 600
    assert max(sizes) == 50 and len(sizes) in range(12, 16)


def test_duckdb_hands_over_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = _duckdb(tmp_path, _parquet(tmp_path, _frame()))
    monkeypatch.setattr(databases, "QUERY_ROWS", 50)
    batches = databases._stream_duckdb(source, QUERY, source, ())
    assert next(batches)[0] == "place"
    sizes = [len(batch[0]) for batch in batches]
    assert sum(sizes) == 600 and max(sizes) <= 50


@pytest.mark.parametrize("source", ["duckdb:cases.duckdb", "duckdb:///cases.duckdb"])
def test_a_duckdb_file_lies_beside_the_settings(tmp_path: Path, source: str) -> None:
    _duckdb(tmp_path, _parquet(tmp_path, _frame()))
    settings = _settings(source, exclude=["place", "at"]).based(tmp_path / "no", tmp_path)
    assert len(windows.load_dataset(settings).frame) == 600
    assert settings.model_name == "cases"


def test_duckdb_is_opened_read_only(tmp_path: Path) -> None:
    source = _duckdb(tmp_path, _parquet(tmp_path, _frame()))
    assert "read-only" in _refused(_settings(source, "DELETE FROM cases"))
    assert len(windows.load_dataset(_settings(source, exclude=["place", "at"])).frame) == 600


def test_percent_and_colon_in_a_query_are_the_databases_own(postgres: str) -> None:
    source = _postgres(postgres, _frame())
    query = (
        "SELECT x, target, ':x 10:30'::text AS t FROM cases WHERE colour LIKE 're%' AND 7 % 2 = 1"
    )
    loaded = windows.load_dataset(_settings(source, query, exclude=["t"]))
    assert len(loaded.frame) == (_frame()["colour"] == "red").sum()


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("SELECT * FROM nowhere", "nowhere"),
        ("SELECT 1/0 AS x", "division by zero"),
        ("SELECT 1 AS a, 2 AS a", "duplicate column names: 'a'"),
        ("SELECT * FROM cases WHERE place < 0", "gives no rows"),
        ("-- nothing", "data.query"),
    ],
)
def test_a_query_that_fails_is_one_sentence(query: str, told: str, postgres: str) -> None:
    assert told in _refused(_settings(_postgres(postgres, _frame(20)), query))


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("SELECT * FROM nowhere", "nowhere"),
        ("SELECT error('boom') AS x", "boom"),
        ("SELECT 1 AS a, 2 AS a", "duplicate column names: 'a'"),
        ("SELECT * FROM cases WHERE place < 0", "gives no rows"),
        ("-- nothing", "gives rows"),
    ],
)
def test_a_query_that_fails_in_duckdb_is_one_sentence(
    query: str, told: str, tmp_path: Path
) -> None:
    assert told in _refused(_settings(_duckdb(tmp_path, _parquet(tmp_path, _frame(20))), query))


def test_a_server_that_is_down_or_silent_is_told_within_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(databases, "CONNECT_TIMEOUT_S", 2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        address = f"postgresql://me:{SECRET}@127.0.0.1:{port}/shop"
        assert "cannot be opened" in _refused(_settings(address))
        silent.listen()
        began = time.monotonic()
        assert "timeout" in _refused(_settings(address))
        assert time.monotonic() - began < 10


def test_a_missing_file_stays_missing(tmp_path: Path) -> None:
    for source in (f"duckdb:{tmp_path}/no.duckdb", f"sqlite:///{tmp_path}/no.sqlite"):
        assert "names no file" in _refused(_settings(source))
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_told_with_its_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = _duckdb(tmp_path, _parquet(tmp_path, _frame(20)))
    for module in ("duckdb", "psycopg", "pymysql"):
        monkeypatch.setitem(sys.modules, module, None)
    assert "pip install 'driftbook[duckdb]'" in _refused(_settings(source))
    server = f"me:{SECRET}@127.0.0.1/shop"
    assert "pip install 'driftbook[postgres]'" in _refused(_settings(f"postgresql://{server}"))
    assert "pip install pymysql" in _refused(_settings(f"mysql+pymysql://{server}"))
    assert "no known kind" in _refused(_settings(f"odd+odder://{server}"))


def test_the_environment_may_hold_the_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = _settings("env:CASES_DATABASE", exclude=["place", "at"])
    monkeypatch.delenv("CASES_DATABASE", raising=False)
    assert "CASES_DATABASE is not set" in _refused(settings)
    monkeypatch.setenv("CASES_DATABASE", f"{SECRET}.parquet")
    assert "names no database" in _refused(settings)
    monkeypatch.setenv("CASES_DATABASE", _duckdb(tmp_path, _parquet(tmp_path, _frame())))
    assert len(windows.load_dataset(settings).frame) == 600
    assert settings.data.source == "env:CASES_DATABASE" and settings.model_name == "target"


@pytest.mark.parametrize(
    ("source", "shown", "name"),
    [
        (f"mysql+pymysql://me:{SECRET}@host:3306/shop", "mysql+pymysql://…@host:3306/shop", "shop"),
        (f"mysql+pymysql://me:{SECRET}@host", "mysql+pymysql://…@host", "target"),
        (f"postgresql://host/shop?password={SECRET}", "postgresql://host/shop?…", "shop"),
        (f"postgresql://me:a/{SECRET}@host/shop", "postgresql://…@host/shop", "shop"),
        (f"postgresql://me:a@{SECRET}@host/shop", "postgresql://…", "target"),
        (f"postgresql://me:a?{SECRET}@host/shop", "postgresql://…", "target"),
        (f"mssql+pyodbc:///?odbc_connect=PWD%3D{SECRET}", "mssql+pyodbc:///?…", "target"),
    ],
)  # fmt: skip
def test_settings_never_show_a_password(source: str, shown: str, name: str) -> None:
    settings = _settings(source)
    assert settings.data.source == shown and settings.data.address == source
    assert SECRET not in f"{settings!r}{settings}{settings.to_yaml()}{settings.model_dump()}"
    assert settings.model_name == name
    copy = Settings.parse(settings.model_dump(mode="json"))
    assert copy.data.source == shown
    assert "is a copy without" in _refused(copy)
    for other in (settings.for_learning(), settings.for_window(9), copy.addressed_as(settings)):
        assert other.data.address == source


@pytest.mark.parametrize(
    "data",
    [
        {"source": f"postgresql://me:{SECRET}@host/shop"},
        {"source": f"postgre://me:{SECRET}@host/shop", "query": QUERY},
        {"source": f"env:postgresql://me:{SECRET}@host/shop", "query": QUERY},
        {"source": [f"postgresql://me:{SECRET}@host/shop"]},
        {"target": {"x": f"postgresql://me:{SECRET}@host/shop"}},
        f"postgresql://me:{SECRET}@host/shop",
        {"source": "table.parquet", "query": QUERY},
        {"source": "flights", "query": QUERY},
        {"source": "duckdb:a.duckdb", "query": "  "},
    ],
)
def test_wrong_settings_are_refused_without_a_password(data: Any) -> None:
    with pytest.raises(UsageError) as caught:
        Settings.parse({"data": data})
    assert SECRET not in str(caught.value) and SECRET not in str(caught.value.__cause__)


def test_files_behind_a_password_do_not_show_it_either() -> None:
    text = _refused(_settings(f"nothing://me:{SECRET}@host/a.parquet", None))
    assert "nothing://…@host/a.parquet" in text


def _run(
    folder: Path, data: dict[str, Any], *options: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    folder.mkdir()
    about = {"exclude": ["place"], "timestamp": "at", "window": 500, "reference": 2, **data}
    document = {"data": about, "model": {"name": "cases"}}
    (folder / "runbook.yaml").write_text(json.dumps(document), encoding="utf-8")
    return subprocess.run(
        [sys.executable, "-m", "driftbook", "run", "--quick", *options],
        cwd=folder, capture_output=True, text=True, check=False, timeout=300,
        env={**os.environ, **environment},
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["duckdb", "postgresql"])
def test_more_rows_than_memory_takes_are_streamed_from_a_file(
    kind: str, tmp_path: Path, postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(databases, "QUERY_ROWS", 500)
    frame = _frame(6000)
    parquet = _parquet(tmp_path, frame)
    source = _duckdb(tmp_path, parquet) if kind == "duckdb" else _postgres(postgres, frame)
    about = {"timestamp": "at", "window": "month", "memory_rows": 5000, "sample_rows": 1000}
    asked = _settings(source, **about)
    stored = windows.load_dataset(_settings(parquet, None, **{**about, "memory_rows": 10**6}))
    first = windows.load_dataset(asked, tmp_path / "artifacts")
    assert first.stream is not None and first.all_rows == 6000 == stored.all_rows
    assert [w.rows for w in first.windows] == [w.rows for w in stored.windows]
    rows = stored.frame.set_index("at").loc[first.frame["at"]]
    assert (rows["x"].to_numpy() == first.frame["x"].to_numpy())[rows["x"].notna()].all()
    kept = list((tmp_path / "artifacts" / "data" / "queries").iterdir())
    again = windows.load_dataset(asked, tmp_path / "artifacts")
    assert again.fingerprint == first.fingerprint
    assert again.source == first.source == asked.data.source
    assert kept == list((tmp_path / "artifacts" / "data" / "queries").iterdir()) and len(kept) == 1


def test_a_type_that_changes_on_the_way_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(databases, "QUERY_ROWS", 500)
    path = tmp_path / "loose.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE cases (place, at, x, target)")
        rows = [(k, f"2024-01-{1 + k // 100:02d}", float(k), k % 2) for k in range(2500)]
        rows[2400] = (2400, "2024-01-25", "a word", 0)
        connection.executemany("INSERT INTO cases VALUES (?, ?, ?, ?)", rows)
    settings = _settings(f"sqlite:///{path}", timestamp="at", memory_rows=1000)
    with pytest.raises(UsageError, match=r"column .x. of data.query .*CAST it"):
        windows.load_dataset(settings, tmp_path / "artifacts")
    assert not list((tmp_path / "artifacts" / "data" / "queries").iterdir())


@pytest.mark.slow
def test_a_whole_run_is_that_of_the_same_parquet(tmp_path: Path, postgres: str) -> None:
    frame = _frame(5000)
    stored = _run(tmp_path / "stored", {"source": _parquet(tmp_path, frame)}, "--no-render")
    source = _postgres(postgres, frame)
    asked = _run(tmp_path / "asked", {"source": source, "query": QUERY})
    assert (stored.returncode, asked.returncode) == (0, 0), stored.stderr + asked.stderr
    assert SECRET not in asked.stdout + asked.stderr
    made = [tmp_path / name / "artifacts" / "quick" for name in ("stored", "asked")]
    one, two = (json.loads((folder / "manifest.json").read_text("utf-8")) for folder in made)
    assert one["data"]["sha256"] == two["data"]["sha256"]
    assert one["model_version"] == two["model_version"]
    assert two["data"]["source"].startswith("postgresql://…@/postgres")
    assert two["settings"]["data"]["query"] == QUERY
    reports = [pd.read_csv(folder / "drift" / "drift_report.csv") for folder in made]
    pd.testing.assert_frame_equal(*(report.drop(columns="run_id") for report in reports))
    decisions = [
        json.loads((folder / "policy" / "retrain_recommendation.json").read_text("utf-8"))
        for folder in made
    ]
    assert decisions[0]["action"] == decisions[1]["action"]
    assert decisions[0]["evidence"] == decisions[1]["evidence"]
    kept = [path for path in (tmp_path / "asked").rglob("*") if path.is_file()]
    leaks = [path for path in kept if SECRET.encode() in path.read_bytes()]
    assert [path.name for path in leaks] == ["runbook.yaml"] and len(kept) > 20


def test_a_run_that_cannot_read_its_database_writes_nothing(tmp_path: Path) -> None:
    address = f"postgresql://me:{SECRET}@127.0.0.1:1/shop"
    done = _run(tmp_path / "down", {"source": "env:CASES", "query": QUERY}, CASES=address)
    assert done.returncode == 2, done.stderr
    assert "cannot be opened" in done.stderr and "Traceback" not in done.stderr
    assert SECRET not in done.stdout + done.stderr
    found = [path for path in (tmp_path / "down").rglob("*") if path.is_file()]
    assert not [path for path in found if SECRET.encode() in path.read_bytes()]
    assert not list((tmp_path / "down").glob("artifacts/**/manifest.json"))
