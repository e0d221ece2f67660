"""The prediction log on SQLite and on a real PostgreSQL: writing, feedback, reading, retention."""

from __future__ import annotations

import asyncio
import json
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from driftbook.api.log import ids, retention, rows, writer
from driftbook.api.log.rows import FeedbackResult, GivenLabel, PredictionRow
from driftbook.api.log.writer import LogWriter
from driftbook.api.process import running_server
from driftbook.data import prediction_log
from driftbook.data.prediction_log import LogUnavailableError
from driftbook.errors import UsageError
from driftbook.settings import LogSettings, Settings
from serving_models import enthrone, numeric_model, settings_of

DAY_MS = 86_400_000
NO_LIMITS = LogSettings(max_age_days=None, max_mb=None)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Return the URL of an empty log, on either kind of database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'log' / 'predictions.sqlite'}"
        return
    found = request.getfixturevalue("postgres")
    yield found
    engine = prediction_log.connect_prediction_log(found)
    prediction_log.feedback_table.metadata.drop_all(engine)
    engine.dispose()


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    engine = prediction_log.connect_prediction_log(url)
    rows.create_log_tables(engine)
    yield engine
    engine.dispose()


def entry(number: int, *, time_ms: int | None = None, name: str = "small") -> PredictionRow:
    """Return a logged prediction whose feature ``x`` is ``number``."""
    at = 1_700_000_000_000 + number if time_ms is None else time_ms
    text = f'{{"x": {number}, "city": "Kōbe\\u0000", "member": null}}'
    return PredictionRow(ids.first_id_at(at), at * 1000, name, "m1", text, 0.25)


def store(engine: Engine, *entries: PredictionRow) -> None:
    with engine.begin() as connection:
        rows.insert_predictions(connection, entries)


def label(engine: Engine, *labels: tuple[str, int], own: bool = False) -> FeedbackResult:
    given = [GivenLabel(one, f"{value}", own) for one, value in labels]
    with engine.connect() as connection:
        result = rows.insert_feedback(connection, given, "small")
        if result.refused:
            connection.rollback()
        else:
            connection.commit()
    return result


def count(engine: Engine, table: sa.Table) -> int:
    with engine.connect() as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()


def reading(url: str, **data: object) -> Settings:
    """Return settings that read the log of the model ``small``."""
    chosen = {"source": "predictions", "target": "y", "timestamp": "at", "window": "day", **data}
    return Settings.parse({"data": chosen, "model": {"name": "small"}, "log": {"url": url}})


def test_ids_are_uuids_of_version_7_in_order_of_time(monkeypatch: pytest.MonkeyPatch) -> None:
    later = ids.time.time_ns() // 1_000_000 + 3_600_000
    with monkeypatch.context() as patch:
        clock = iter(range(later, later + 1000))
        patch.setattr(ids.time, "time_ns", lambda: next(clock) * 1_000_000)
        made = [ids.new_prediction_id() for _ in range(1000)]
    assert made == sorted(made)
    assert len(set(made)) == 1000
    assert all(len(i) == 36 and i[14] == "7" and i[19] in "89ab" for i in made)
    assert ids.first_id_at(later) <= made[0]
    assert made[0] < ids.first_id_at(later + 1) <= made[1]
    at_once = [ids.new_prediction_id() for _ in range(20_000)]
    assert len(set(at_once)) == 20_000
    assert at_once == sorted(at_once)


def test_what_is_written_is_read_back_with_its_label(url: str, engine: Engine) -> None:
    entries = [entry(number) for number in range(4)]
    # Written out of order; read in order of time.
    store(engine, entries[2], entries[0])
    store(engine, entries[3], entries[1], entry(9, name="other"))
    label(engine, (entries[1].id, "1"), (entries[3].id, "0"))
    frame = prediction_log.read_logged_predictions(reading(url), Path("unused"))
    assert list(frame.columns) == ["x", "city", "member", "at", "y"]
    assert frame["x"].tolist() == [0, 1, 2, 3]
    assert frame["city"].tolist() == ["Kōbe\x00"] * 4
    assert frame["member"].isna().all()
    np.testing.assert_array_equal(frame["y"], [np.nan, 1.0, np.nan, 0.0])
    expected = pd.Timestamp("2023-11-14 22:13:20") + pd.to_timedelta([0, 1, 2, 3], unit="ms")
    assert frame["at"].tolist() == expected.tolist()


def test_the_log_is_read_in_batches_also_where_a_later_version_has_other_features(
    url: str, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prediction_log, "ROWS_A_FETCH", 2)
    texts = ['{"x": 0}', '{"x": 1}', '{"x": 2}', '{"z": 3, "x": null}', '{"z": 4}']
    entries = [entry(n)._replace(features=text) for n, text in enumerate(texts)]
    store(engine, *entries)
    frame = prediction_log.read_logged_predictions(reading(url), Path("unused"))
    nan = np.nan
    np.testing.assert_array_equal(frame["x"].astype(float), [0, 1, 2, nan, nan])
    np.testing.assert_array_equal(frame["z"].astype(float), [nan, nan, nan, 3, 4])


MIXED = [
    {"a": 1, "b": 1, "c": "x", "d": True, "e": None, "g": 1, "h": None},
    {"a": 2, "b": None, "c": "y", "d": False, "e": None, "g": "one", "h": None},
    {"a": 3, "b": None, "c": None, "d": True, "e": 0.5, "g": 0.5, "h": None},
    {"a": 4, "b": None, "c": None, "d": None, "e": None, "g": None, "h": None},
    {"a": 5, "b": 7, "c": "x", "d": True, "e": 1, "g": None, "f": "late", "h": None},
]


@pytest.mark.parametrize("rows_a_fetch", [1, 2, 3])
def test_batches_make_the_table_that_all_rows_at_once_make(
    url: str, engine: Engine, monkeypatch: pytest.MonkeyPatch, rows_a_fetch: int
) -> None:
    entries = [entry(n)._replace(features=json.dumps(one)) for n, one in enumerate(MIXED)]
    store(engine, *entries)
    label(engine, (entries[1].id, "1"), (entries[4].id, "0.5"))
    whole = prediction_log.read_logged_predictions(reading(url), Path("unused"))
    monkeypatch.setattr(prediction_log, "ROWS_A_FETCH", rows_a_fetch)
    found = prediction_log.read_logged_predictions(reading(url), Path("unused"))
    pd.testing.assert_frame_equal(found, whole)
    expected = pd.DataFrame(MIXED)
    pd.testing.assert_frame_equal(whole[list(expected)], expected)


def test_rows_are_packed_batch_by_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prediction_log, "ROWS_A_FETCH", 500)
    url = f"sqlite:///{tmp_path / 'log.sqlite'}"
    engine = prediction_log.connect_prediction_log(url)
    rows.create_log_tables(engine)
    text = json.dumps({f"f{number}": number + 0.5 for number in range(20)})
    store(engine, *(entry(number)._replace(features=text) for number in range(10_000)))
    engine.dispose()
    tracemalloc.start()
    frame = prediction_log.read_logged_predictions(reading(url), Path("unused"))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    table = int(frame.memory_usage(deep=True).sum())
    assert table > 10_000 * 20 * 8
    # As Python's objects the values alone would be four times the table.
    assert peak < 3 * table


def test_feedback_is_idempotent_and_the_first_label_stands(engine: Engine) -> None:
    first, second, third = entry(1), entry(2), entry(3)
    store(engine, first, second, third)
    assert label(engine, (first.id, "1"), (second.id, "0")) == FeedbackResult(stored=2)
    assert label(engine, (first.id, "1")) == FeedbackResult(known=1)
    # One contradiction refuses the batch as a whole.
    refused = label(engine, (third.id, "1"), (first.id, "0"))
    assert refused.contradicting_ids == (first.id,)
    assert refused.stored == 0
    assert count(engine, prediction_log.feedback_table) == 2
    assert label(engine, (third.id, "1"), (first.id, "1")) == FeedbackResult(stored=1, known=1)


def test_feedback_for_an_unknown_id_stores_nothing(engine: Engine) -> None:
    known = entry(1)
    store(engine, known)
    result = label(engine, (known.id, "1"), ("no-such-id", 1))
    assert result.unknown_ids == ("no-such-id",)
    assert count(engine, prediction_log.feedback_table) == 0


def test_a_batch_may_repeat_a_label_but_not_contradict_itself(engine: Engine) -> None:
    one = entry(1)
    store(engine, one)
    assert label(engine, (one.id, "1"), (one.id, "0")).contradicting_ids == (one.id,)
    assert count(engine, prediction_log.feedback_table) == 0
    assert label(engine, (one.id, "1"), (one.id, "1")) == FeedbackResult(stored=1)


def test_feedback_in_large_batches(engine: Engine) -> None:
    entries = [entry(number) for number in range(1200)]
    store(engine, *entries)
    labels = [(one.id, str(number % 2)) for number, one in enumerate(entries)]
    assert label(engine, *labels) == FeedbackResult(stored=1200)
    assert label(engine, *labels) == FeedbackResult(known=1200)


def test_retention_by_age_takes_the_feedback_along(engine: Engine) -> None:
    now = 1_700_000_000_000
    old = [entry(n, time_ms=now - 10 * DAY_MS - n) for n in range(7)]
    kept = [entry(n, time_ms=now - 9 * DAY_MS - n) for n in range(3)]
    store(engine, *old, *kept)
    label(engine, (old[0].id, "1"), (kept[0].id, "1"))
    limits = LogSettings(max_age_days=9.5, max_mb=None)
    assert sum(retention.delete_old_predictions(engine, limits, now_ms=now, step=2)) == 7
    assert count(engine, prediction_log.predictions_table) == 3
    assert count(engine, prediction_log.feedback_table) == 1
    assert sum(retention.delete_old_predictions(engine, limits, now_ms=now)) == 0


def test_retention_by_size_drops_the_oldest(url: str, engine: Engine) -> None:
    store(engine, *(entry(number) for number in range(1000, 2000)))
    size = 100 + len(entry(1000).features)
    limits = LogSettings(max_age_days=None, max_mb=250 * size / 1e6)
    deleted = sum(retention.delete_old_predictions(engine, limits))
    assert 750 <= deleted <= 752
    assert prediction_log.read_logged_predictions(reading(url), Path())["x"].tolist() == list(
        range(1000 + deleted, 2000)
    )
    assert sum(retention.delete_old_predictions(engine, limits)) == 0


def test_deleting_gives_the_space_back(tmp_path: Path) -> None:
    file = tmp_path / "log.sqlite"
    engine = prediction_log.connect_prediction_log(f"sqlite:///{file}")
    rows.create_log_tables(engine)
    store(engine, *(entry(number) for number in range(5000)))
    retention.checkpoint_sqlite(engine)
    before = file.stat().st_size
    assert sum(retention.delete_old_predictions(engine, LogSettings(max_age_days=1.0))) == 5000
    retention.checkpoint_sqlite(engine)
    assert file.stat().st_size < before / 4
    engine.dispose()


def clean(log: LogWriter, watch: Callable[[], bool]) -> None:
    """Clean from now on until ``watch`` has seen enough."""

    async def go() -> None:
        cleaning = asyncio.create_task(log.keep_clean())
        while not cleaning.done() and not watch():
            await asyncio.sleep(0)
        cleaning.cancel()

    asyncio.run(go())


@pytest.fixture
def old_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a log whose rows are all past their age, to be cleaned without rests."""
    monkeypatch.setattr(writer, "CHECKPOINT_EVERY_S", 0.02)
    monkeypatch.setattr(writer, "REST_S", 0.0)
    monkeypatch.setattr(writer, "RESTS_A_STEP", 0.0)
    file = tmp_path / "log.sqlite"
    engine = prediction_log.connect_prediction_log(f"sqlite:///{file}")
    rows.create_log_tables(engine)
    store(engine, *(entry(number) for number in range(60_000)))
    engine.dispose()
    return file


def test_cleaning_keeps_the_write_ahead_log_small(old_rows: Path) -> None:
    limits = LogSettings(max_age_days=1.0, max_mb=None, clean_every_s=0.01)
    log = LogWriter(f"sqlite:///{old_rows}", limits)
    wal, largest = old_rows.with_name("log.sqlite-wal"), 0

    def watch() -> bool:
        nonlocal largest
        largest = max(largest, wal.stat().st_size if wal.exists() else 0)
        return log.deleted == 60_000

    log.open()
    retention.checkpoint_sqlite(log._engine)
    whole = old_rows.stat().st_size
    clean(log, watch)
    log.close()
    assert largest < whole / 2


def test_cleaning_stops_between_two_steps(old_rows: Path) -> None:
    limits = LogSettings(max_age_days=1.0, max_mb=None, clean_every_s=0.01)
    log = LogWriter(f"sqlite:///{old_rows}", limits)
    log.open()
    clean(log, lambda: log.deleted >= 1000)
    log.close()
    assert 1000 <= log.deleted < 10_000
    engine = prediction_log.connect_prediction_log(f"sqlite:///{old_rows}")
    assert count(engine, prediction_log.predictions_table) > 40_000
    engine.dispose()


def test_without_limits_nothing_is_deleted(engine: Engine) -> None:
    store(engine, entry(1, time_ms=0))
    assert sum(retention.delete_old_predictions(engine, NO_LIMITS)) == 0
    assert count(engine, prediction_log.predictions_table) == 1


def test_reading_without_a_log_says_what_to_do(tmp_path: Path) -> None:
    settings = reading("").model_copy(update={"log": LogSettings()})
    with pytest.raises(UsageError, match="make serve"):
        prediction_log.read_logged_predictions(settings, tmp_path)
    assert not list(tmp_path.iterdir()), "asking must not create a log"


def test_reading_another_models_log_says_so(url: str, engine: Engine) -> None:
    store(engine, entry(1, name="other"))
    with pytest.raises(UsageError, match="no prediction of model 'small'"):
        prediction_log.read_logged_predictions(reading(url), Path())


@pytest.mark.parametrize("wrong", ["oracle://host/db", "not a url"])
def test_an_unknown_database_is_a_usage_error(wrong: str) -> None:
    with pytest.raises(UsageError, match=r"log\.url"):
        prediction_log.connect_prediction_log(wrong)


def test_the_environment_names_the_log_where_settings_do_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(prediction_log.URL_VARIABLE, "postgresql://secret@host/db")
    assert (
        prediction_log.prediction_log_url(settings_of(), tmp_path) == "postgresql://secret@host/db"
    )
    chosen = settings_of(log={"url": "sqlite:///mine"})
    assert prediction_log.prediction_log_url(chosen, tmp_path) == "sqlite:///mine"
    monkeypatch.delenv(prediction_log.URL_VARIABLE)
    assert prediction_log.prediction_log_url(settings_of(), tmp_path).endswith(
        "log/predictions.sqlite"
    )


def test_concurrent_requests_share_a_transaction(
    url: str, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = LogWriter(url, NO_LIMITS)
    groups: list[int] = []
    write = rows.insert_predictions

    def counting(connection: sa.Connection, entries: list[PredictionRow]) -> None:
        groups.append(len(entries))
        time.sleep(0.02)
        write(connection, entries)

    monkeypatch.setattr(rows, "insert_predictions", counting)

    async def many() -> None:
        await asyncio.gather(*(writer.store([entry(number)]) for number in range(200)))
        await asyncio.gather(*(writer.store([entry(number)]) for number in range(200, 205)))

    writer.open()
    asyncio.run(many())
    writer.close()
    assert sum(groups) == 205
    assert len(groups) < 10
    assert count(engine, prediction_log.predictions_table) == 205
    assert writer.written == 205
    assert writer.pending == 0


def test_an_answer_waits_for_the_commit(url: str, engine: Engine) -> None:
    writer = LogWriter(url, NO_LIMITS)

    async def one() -> int:
        await writer.store([entry(1)])
        # Seen from another connection as soon as the writer says so.
        return count(engine, prediction_log.predictions_table)

    assert asyncio.run(one()) == 1
    writer.close()


def test_a_lost_log_is_reported_and_found_again(url: str, engine: Engine) -> None:
    writer = LogWriter(url, NO_LIMITS)

    async def go() -> None:
        await writer.store([entry(1)])
        prediction_log.predictions_table.drop(engine)
        with pytest.raises(LogUnavailableError, match="cannot be used"):
            await writer.store([entry(2)])
        assert writer.failure is not None
        await writer.store([entry(3)])  # the table is made again
        assert writer.failure is None

    asyncio.run(go())
    writer.close()
    assert count(engine, prediction_log.predictions_table) == 1


def test_a_refused_label_harms_no_other_request(url: str, engine: Engine) -> None:
    writer = LogWriter(url, NO_LIMITS)
    known = entry(1)

    async def go() -> tuple[FeedbackResult, None, FeedbackResult, FeedbackResult]:
        await writer.store([known])
        return await asyncio.gather(
            writer.add_feedback([GivenLabel("nobody", "1")], "small"),
            writer.store([entry(2)]),
            writer.add_feedback([GivenLabel(known.id, "1")], "small"),
            writer.add_feedback([GivenLabel(known.id, "0")], "small"),
        )

    refused, _, stored, contradicting = asyncio.run(go())
    writer.close()
    assert refused == FeedbackResult(unknown_ids=("nobody",))
    assert stored == FeedbackResult(stored=1)
    assert contradicting == FeedbackResult(known=1, contradicting_ids=(known.id,))
    assert count(engine, prediction_log.predictions_table) == 2


def test_one_bad_row_harms_no_other_request(url: str, engine: Engine) -> None:
    writer = LogWriter(url, NO_LIMITS)
    known = entry(1)

    async def go() -> list[object]:
        await writer.store([known])
        return await asyncio.gather(
            writer.store([entry(2)]),
            writer.store([known]),  # its id is taken
            writer.store([entry(3), entry(4)._replace(model_name="\ud800")]),  # no UTF-8 text
            writer.add_feedback([GivenLabel("\ud800", "1")], "small"),
            writer.add_feedback([GivenLabel(known.id, "1")], "small"),
            return_exceptions=True,
        )

    stored, taken, no_text, no_id, labelled = asyncio.run(go())
    assert writer.failure is None, "the log itself can be used"
    writer.close()
    assert (stored, labelled) == (None, FeedbackResult(stored=1))
    assert [type(one) for one in (taken, no_text, no_id)] == [LogUnavailableError] * 3
    assert count(engine, prediction_log.predictions_table) == 2
    assert (writer.written, writer.failed) == (2, 3)


def test_a_fault_of_the_writer_leaves_nobody_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = LogWriter(f"sqlite:///{tmp_path / 'log.sqlite'}", NO_LIMITS)

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    async def go() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(rows, "insert_predictions", fail)
            with pytest.raises(ZeroDivisionError):
                await asyncio.wait_for(writer.store([entry(1)]), 10.0)
        await writer.store([entry(2)])

    asyncio.run(go())
    writer.close()
    assert (writer.pending, writer.written) == (0, 1)


def test_a_nul_in_one_request_harms_no_other_on_postgresql(postgres: str) -> None:
    engine = prediction_log.connect_prediction_log(postgres)
    rows.create_log_tables(engine)
    writer = LogWriter(postgres, NO_LIMITS)

    async def go() -> list[object]:
        return await asyncio.gather(
            writer.store([entry(1)]),
            writer.store([entry(2)._replace(model_version="m\x00")]),
            writer.add_feedback([GivenLabel("a\x00b", "1")], "small"),
            return_exceptions=True,
        )

    stored, refused, unlabelled = asyncio.run(go())
    assert writer.failure is None
    writer.close()
    assert stored is None
    assert [type(one) for one in (refused, unlabelled)] == [LogUnavailableError] * 2
    assert count(engine, prediction_log.predictions_table) == 1
    prediction_log.feedback_table.metadata.drop_all(engine)
    engine.dispose()


@pytest.mark.network
def test_an_id_with_a_nul_is_refused_and_the_server_stays_ready(
    postgres: str, tmp_path: Path
) -> None:
    enthrone(tmp_path, numeric_model())
    with (
        running_server(settings_of(log={"url": postgres}), tmp_path) as server,
        httpx.Client(base_url=server.url, trust_env=False) as client,
    ):
        answer = client.post("/predict", json={"features": [0.5] * 8}).json()
        refused = client.post("/feedback", json={"prediction_id": "a\x00b", "label": 1})
        assert refused.status_code == 422
        assert refused.headers["content-type"] == "application/problem+json"
        assert refused.json()["errors"] == [
            {
                "field": "prediction_id",
                "expected": "the id of an answered prediction",
                "found": "text",
            }
        ]
        assert client.get("/ready").status_code == 200
        told = {"prediction_id": answer["prediction_id"], "label": 1}
        assert client.post("/feedback", json=told).json() == {"stored": 1, "known": 0}
    engine = prediction_log.connect_prediction_log(postgres)
    prediction_log.feedback_table.metadata.drop_all(engine)
    engine.dispose()


def test_a_locked_file_is_reported_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prediction_log, "BUSY_TIMEOUT_S", 0.05)
    url = f"sqlite:///{tmp_path / 'log.sqlite'}"
    writer = LogWriter(url, NO_LIMITS)
    writer.open()
    other = prediction_log.connect_prediction_log(url)

    async def go() -> None:
        with other.connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            with pytest.raises(LogUnavailableError, match="database is locked"):
                await writer.store([entry(1)])
        await writer.store([entry(2)])

    asyncio.run(go())
    writer.close()
    assert count(other, prediction_log.predictions_table) == 1
    other.dispose()


@pytest.mark.network
def test_replicas_share_one_log(postgres: str, tmp_path: Path) -> None:
    enthrone(tmp_path, numeric_model())
    settings = settings_of(log={"url": postgres})
    row = {"features": [0.5] * 8}
    with running_server(settings, tmp_path) as first, running_server(settings, tmp_path) as second:
        answers = [
            httpx.post(f"{server.url}/predict", json=row, trust_env=False).json()
            for server in (first, second, first)
        ]
        # A label may come in at another replica than the one that predicted.
        told = {"prediction_id": answers[0]["prediction_id"], "label": 1}
        stored = httpx.post(f"{second.url}/feedback", json=told, trust_env=False).json()
        assert stored == {"stored": 1, "known": 0}
        against = httpx.post(f"{first.url}/feedback", json={**told, "label": 0}, trust_env=False)
        assert against.status_code == 409
    frame = prediction_log.read_logged_predictions(reading(postgres), tmp_path)
    assert len(frame) == 3
    np.testing.assert_array_equal(frame["y"], [1.0, np.nan, np.nan])
    engine = prediction_log.connect_prediction_log(postgres)
    prediction_log.feedback_table.metadata.drop_all(engine)
    engine.dispose()


def test_the_write_ahead_log_moves_into_the_file(tmp_path: Path) -> None:
    file = tmp_path / "log.sqlite"
    engine = prediction_log.connect_prediction_log(f"sqlite:///{file}")
    rows.create_log_tables(engine)
    for round_ in range(3):
        store(engine, *(entry(number) for number in range(round_ * 2000, round_ * 2000 + 2000)))
        retention.checkpoint_sqlite(engine, restart_pages=1)
    ahead = file.with_name("log.sqlite-wal").stat().st_size
    assert file.stat().st_size > 2 * ahead, "the write-ahead log must start again from the front"
    engine.dispose()


def test_versions_with_other_features_share_a_log(url: str, engine: Engine) -> None:
    old, new = entry(1), entry(2)._replace(features='{"x": 2, "z": 0.5}')
    store(engine, old, new)
    frame = prediction_log.read_logged_predictions(reading(url), Path())
    assert list(frame.columns) == ["x", "city", "member", "z", "at", "y"]
    np.testing.assert_array_equal(frame["z"], [np.nan, 0.5])
    assert frame["city"].tolist()[0] == "Kōbe\x00"
    assert frame["city"].isna().tolist() == [False, True]
