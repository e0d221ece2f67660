"""Sources larger than memory: the same numbers however they are cut, ordered and counted."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from scipy import stats

from dask_cluster import start_cluster
from driftbook.data import csv_blocks, engine, fragments, stream
from driftbook.data.windows import load_dataset
from driftbook.decision.policy import assess
from driftbook.drift.reference import find_reference
from driftbook.drift.window_counts import WindowCounts, count_batches, count_rows, count_window
from driftbook.errors import UsageError
from driftbook.model.training import Model, train
from driftbook.settings import Settings

ROWS, SAMPLE = 200_000, 2000
DAYS = 120


def make_table() -> pd.DataFrame:
    """Return 200,000 rows of four months in time order, with every sort of column and gap."""
    rng = np.random.default_rng(7)
    seconds = np.sort(rng.integers(0, DAYS * 86_400, ROWS))
    x0, x1 = rng.normal(size=ROWS), rng.normal(size=ROWS) + np.linspace(0.0, 1.0, ROWS)
    x1[rng.random(ROWS) < 0.05] = np.nan
    x1[::9999] = np.inf
    words = rng.choice(["a", "b", "late", None], ROWS)
    words[seconds < 3 * 86_400] = "early"
    return pd.DataFrame(
        {
            "time": pd.Timestamp("2024-01-01") + pd.to_timedelta(seconds, unit="s"),
            "x0": x0,
            "x1": x1,
            "word": words,
            "yes": rng.random(ROWS) < 0.3,
            "code": rng.integers(0, 5, ROWS),
            "target": (rng.random(ROWS) < 1.0 / (1.0 + np.exp(-x0))).astype(np.int64),
        }
    )


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return make_table()


@pytest.fixture(scope="module")
def folder(table: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder partitioned by month, as Hive and Spark write it."""
    root = tmp_path_factory.mktemp("months")
    for month, rows in table.groupby(table["time"].dt.strftime("%Y-%m")):
        (root / f"month={month}").mkdir()
        rows.to_parquet(root / f"month={month}" / "part.parquet", row_group_size=7001, index=False)
    return root


def settle(source: Path | str, **changes: Any) -> Settings:
    """Return settings by which a source of so many rows is streamed."""
    chosen = {
        "source": str(source), "timestamp": "time", "window": "month", "target": "target",
        "features": ["x0", "x1", "word", "yes", "code"], "categorical": ["code"],
        "sample_rows": SAMPLE, "memory_rows": 150_000,
    }  # fmt: skip
    return Settings.parse({"data": {**chosen, **changes}})


def in_memory(source: Path | str, **changes: Any) -> Settings:
    """Return settings by which the same source is held in memory."""
    return settle(source, **{"memory_rows": 1_000_000, **changes})


@pytest.fixture(scope="module")
def model(folder: Path) -> Model:
    dataset = load_dataset(in_memory(folder))
    return train(dataset.frame.iloc[: dataset.windows[1].stop], in_memory(folder))


def count_plainly(model: Model, settings: Settings, place: int = -1) -> WindowCounts:
    """Return the counts of a window that is held in memory."""
    dataset = load_dataset(settings)
    assert dataset.stream is None
    return count_rows(model, dataset.rows(dataset.windows[place]))


def count_streamed(model: Model, settings: Settings, place: int = -1) -> WindowCounts:
    dataset = load_dataset(settings)
    found = count_window(model, dataset, dataset.windows[place])
    assert found is not None and len(dataset.frame) <= SAMPLE * len(dataset.windows)
    return found


def list_integers(counts: WindowCounts) -> dict[str, tuple[Any, ...]]:
    """Return by column all that a profile holds."""
    return {
        name: (p.counts.tolist(), p.missing, p.invalid, p.infinite, p.low, p.high)
        for name, p in counts.profiles.items()
    } | {"": (counts.rows, counts.predicted_rows)}


def write_parts(rows: pd.DataFrame, folder: Path, sizes: list[int], group: int) -> Path:
    """Write rows to files of so many rows each, in the order of their names."""
    folder.mkdir()
    for k, stop in enumerate(np.cumsum(sizes)):
        part = rows.iloc[stop - sizes[k] : stop]
        part.to_parquet(folder / f"{k:03d}.parquet", row_group_size=group, index=False)
    return folder


def note_reading(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return where the label of each fragment goes that is read from now on."""
    read: list[str] = []
    real = fragments.read_batches

    def note(fragment: fragments.Fragment, reading: fragments.BatchReading) -> Any:
        read.append(fragment.label)
        return real(fragment, reading)

    monkeypatch.setattr(stream, "read_batches", note)
    return read


def spoil_group(path: Path, group: int) -> None:
    column = pq.ParquetFile(path).metadata.row_group(group).column(1)
    with path.open("r+b") as opened:
        opened.seek(column.dictionary_page_offset or column.data_page_offset)
        opened.write(b"\xff" * 64)


def test_threads_count_the_same_integers_as_a_frame(folder: Path, model: Model) -> None:
    known = count_plainly(model, in_memory(folder))
    found = count_streamed(model, settle(folder))
    assert list_integers(found) == list_integers(known)
    assert found.profiles["x1"].infinite > 0 and found.profiles["x1"].missing > 0


@pytest.mark.network
def test_a_cluster_counts_the_same_integers(folder: Path, model: Model, dask_cluster: str) -> None:
    known = count_streamed(model, settle(folder))
    found = count_streamed(model, settle(folder, engine=dask_cluster))
    assert list_integers(found) == list_integers(known)
    here, there = load_dataset(settle(folder)), load_dataset(settle(folder, engine=dask_cluster))
    pd.testing.assert_frame_equal(here.frame, there.frame)
    assert here.fingerprint == there.fingerprint


@pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas")
def test_spark_counts_the_same_integers(
    table: pd.DataFrame, folder: Path, model: Model, tmp_path: Path
) -> None:
    pytest.importorskip("pyspark", reason="needs the extra `spark`")
    if shutil.which("java") is None:
        pytest.skip("Spark needs Java")
    known = count_streamed(model, settle(folder))
    spark = settle(folder, engine="spark://local")
    assert list_integers(count_streamed(model, spark)) == list_integers(known)
    here, there = load_dataset(settle(folder)), load_dataset(spark)
    pd.testing.assert_frame_equal(here.frame, there.frame)
    assert here.fingerprint == there.fingerprint
    cut = write_parts(table, tmp_path / "cut", [ROWS], 20_000)
    dataset = load_dataset(settle(cut, engine="spark://local"))
    spoil_group(cut / "000.parquet", 9)
    with pytest.raises(UsageError, match=r"000\.parquet \(row group 9\) cannot be read: .*mend"):
        count_window(model, dataset, dataset.windows[-1])


CUTS = {
    "one file of one row group": ([ROWS], ROWS),
    "small row groups": ([ROWS], 999),
    "several files": ([50_000, 1, 100_000, 49_999], 20_000),
}


@pytest.mark.parametrize("name", CUTS)
def test_files_and_row_groups_change_neither_counts_nor_sample(
    name: str, table: pd.DataFrame, folder: Path, model: Model, tmp_path: Path
) -> None:
    cut = write_parts(table, tmp_path / "cut", *CUTS[name])
    known, found = load_dataset(settle(folder)), load_dataset(settle(cut))
    pd.testing.assert_frame_equal(found.frame, known.frame)
    assert found.windows == known.windows
    for place in (0, 3):
        assert list_integers(count_streamed(model, settle(cut), place)) == list_integers(
            count_plainly(model, in_memory(folder), place)
        )


def test_rows_in_any_order_are_counted_alike(
    table: pd.DataFrame, model: Model, folder: Path, tmp_path: Path
) -> None:
    mixed = table.sample(frac=1.0, random_state=1)
    cut = write_parts(mixed, tmp_path / "mixed", [70_000, 130_000], 10_000)
    dataset = load_dataset(settle(cut))
    assert [w.rows for w in dataset.windows] == [
        w.rows for w in load_dataset(in_memory(folder)).windows
    ]
    assert dataset.frame["time"].is_monotonic_increasing
    found = count_window(model, dataset, dataset.windows[2])
    assert found is not None
    assert list_integers(found) == list_integers(count_plainly(model, in_memory(folder), 2))


@pytest.mark.parametrize("ending", ["csv", "csv.gz"])
def test_csv_files_are_counted_like_parquet(
    ending: str, table: pd.DataFrame, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_blocks, "BLOCK_BYTES", 300_000)
    plain = table.copy()
    plain["word"] = plain["word"].replace({"late": 'la"te,\nvery'})
    plain["x0"] = plain["x0"].map(repr)
    plain.loc[199_000, "x0"] = "lost"
    source = tmp_path / f"rows.{ending}"
    plain.to_csv(source, index=False)
    known = count_plainly(model, in_memory(source))
    assert list_integers(count_streamed(model, settle(source))) == list_integers(known)
    assert known.profiles["x0"].invalid == 1
    here, there = load_dataset(settle(source)), load_dataset(in_memory(source))
    assert [w.rows for w in here.windows] == [w.rows for w in there.windows]
    assert here.features == there.features


@pytest.mark.parametrize("size", [1, 7, 64, 10_000])
def test_blocks_of_csv_end_with_whole_records(size: int, tmp_path: Path) -> None:
    content = b'a,b\n1,"x\ny"\n2,"say ""so""\n\n"\n3,z'
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    with path.open("rb") as opened:
        blocks = list(csv_blocks.cut_blocks(str(path), opened, size))
    assert b"".join(blocks) == content
    dialect = csv_blocks.CsvDialect(("a", "b"), ",", "utf-8")
    parsed = [
        csv_blocks.parse_block(block, dialect, ["a", "b"], frozenset({"a"}), k == 0)
        for k, block in enumerate(blocks)
    ]
    found = pd.concat(parsed, ignore_index=True)
    pd.testing.assert_frame_equal(found, pd.read_csv(path, dtype={"a": "float64"}))


def test_a_sample_is_uniform_reproducible_and_nested(table: pd.DataFrame, folder: Path) -> None:
    few, many = load_dataset(settle(folder)), load_dataset(settle(folder, sample_rows=20_000))
    again = load_dataset(settle(folder))
    pd.testing.assert_frame_equal(few.frame, again.frame)
    assert [w.sampled for w in few.windows] == [SAMPLE] * 4
    key = ["time", "x0"]
    assert len(few.frame.merge(many.frame, on=key)) == len(few.frame)
    # A week's rows lie as evenly in its sample as in the week: by ranks in tenths of it.
    weeks = load_dataset(settle(folder, window="week", sample_rows=1000))
    ranks = pd.Series(np.arange(ROWS), index=pd.MultiIndex.from_frame(table[key]))
    total, first = 0.0, 0
    for week in weeks.windows:
        drawn = ranks[pd.MultiIndex.from_frame(weeks.rows(week)[key])].to_numpy() - first
        tenths = np.bincount(drawn * 10 // week.rows, minlength=10)
        assert len(tenths) == 10 and tenths.sum() == 1000
        total, first = total + stats.chisquare(tenths).statistic, first + week.rows
    assert 1e-3 < stats.chi2.sf(total, 9 * len(weeks.windows)) < 1.0 - 1e-3


def test_priorities_are_those_of_the_published_generator() -> None:
    # Source: the first numbers of SplitMix64 with seed 0, Vigna's reference implementation.
    expected = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert stream.draw_priorities(np.arange(3)).tolist() == expected


def test_windows_of_rows_are_cut_in_row_order(
    table: pd.DataFrame, model: Model, tmp_path: Path
) -> None:
    cut = write_parts(table, tmp_path / "cut", [30_001, 169_999], 8_000)
    changes: dict[str, Any] = {"window": 45_000}
    for timestamp in ("time", None):
        changes["timestamp"] = timestamp
        dataset = load_dataset(settle(cut, **changes))
        assert [(w.name, w.rows, w.complete) for w in dataset.windows] == [
            (w.name, w.rows, w.complete) for w in load_dataset(in_memory(cut, **changes)).windows
        ]
        for place in (0, 2, 4):
            found = count_streamed(model, settle(cut, **changes), place)
            known = count_plainly(model, in_memory(cut, **changes), place)
            assert list_integers(found) == list_integers(known)
    mixed = write_parts(table.iloc[::-1], tmp_path / "mixed", [ROWS], 8_000)
    with pytest.raises(UsageError, match="not in the order of 'time'"):
        load_dataset(settle(mixed, window=45_000))


def test_rows_without_a_date_and_fillers_are_dropped_and_counted(
    table: pd.DataFrame, model: Model, tmp_path: Path
) -> None:
    rows = table.copy()
    rows.loc[::1000, "time"] = pd.NaT
    rows.loc[::3001, "time"] = pd.Timestamp("1970-01-01")
    cut = write_parts(rows, tmp_path / "cut", [ROWS], 5_000)
    found, known = load_dataset(settle(cut)), load_dataset(in_memory(cut))
    assert found.dropped == known.dropped and len(known.dropped) == 2
    assert [(w.name, w.rows) for w in found.windows] == [(w.name, w.rows) for w in known.windows]
    assert list_integers(count_streamed(model, settle(cut))) == list_integers(
        count_plainly(model, in_memory(cut))
    )


def test_dates_as_numbers_and_text_are_read_batch_by_batch(
    table: pd.DataFrame, tmp_path: Path
) -> None:
    known = load_dataset(in_memory(write_parts(table, tmp_path / "known", [ROWS], 50_000)))
    seconds = table["time"].astype("datetime64[s]").astype("int64")
    written = {"seconds": seconds, "text": table["time"].dt.strftime("%Y-%m-%dT%H:%M:%SZ")}
    for name, times in written.items():
        cut = write_parts(table.assign(time=times), tmp_path / name, [ROWS], 50_000)
        found = load_dataset(settle(cut))
        assert [(w.name, w.rows) for w in found.windows] == [
            (w.name, w.rows) for w in known.windows
        ]


def test_a_folders_value_may_be_the_timestamp(table: pd.DataFrame, tmp_path: Path) -> None:
    for day, rows in table.drop(columns="time").groupby(table["time"].dt.date):
        (tmp_path / f"day={day}").mkdir()
        rows.to_parquet(tmp_path / f"day={day}" / "a.parquet", index=False)
    found = load_dataset(settle(tmp_path, timestamp="day"))
    known = load_dataset(in_memory(tmp_path, timestamp="day"))
    assert found.stream is not None
    assert [(w.name, w.rows, bool(w.complete)) for w in found.windows] == [
        (w.name, w.rows, bool(w.complete)) for w in known.windows
    ]


def test_only_the_row_groups_of_a_window_are_read(
    folder: Path, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = load_dataset(settle(folder))
    read = note_reading(monkeypatch)
    count_window(model, dataset, dataset.windows[1])
    assert read and all("month=2024-02" in label for label in read)


def test_a_share_is_the_same_rows_in_counts_and_sample(folder: Path, model: Model) -> None:
    dataset = load_dataset(settle(folder, share=0.1))
    rows = sum(w.rows for w in dataset.windows)
    assert abs(rows - ROWS / 10) < 600
    assert dataset.dropped == {"not in data.share": ROWS - rows}
    for window in dataset.windows:
        counts = count_window(model, dataset, window)
        assert counts is not None and counts.rows == window.rows


def test_small_sources_are_held_in_memory_as_ever(folder: Path) -> None:
    dataset = load_dataset(in_memory(folder))
    assert dataset.stream is None and len(dataset.frame) == dataset.all_rows == ROWS
    assert all(window.counted is None for window in dataset.windows)
    assert load_dataset(Settings.parse({"data": {"source": "synthetic:none"}})).stream is None


def test_the_fingerprint_changes_with_the_data(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    before = load_dataset(settle(copy))
    assert load_dataset(settle(copy)).fingerprint == before.fingerprint
    path = copy / "month=2024-04" / "part.parquet"
    rows = pd.read_parquet(path)
    rows.loc[rows.index[77], "x0"] += 1e-9
    rows.to_parquet(path, row_group_size=7001, index=False)
    after = load_dataset(settle(copy))
    assert after.fingerprint != before.fingerprint
    changed = [a.name for a in after.windows if after.key_window(a) != before.key_window(a)]
    assert changed == ["2024-04"]


def test_a_sample_is_drawn_once_as_long_as_its_files_stay(
    table: pd.DataFrame, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy, artifacts = tmp_path / "copy", tmp_path / "artifacts"
    shutil.copytree(folder, copy)
    known = load_dataset(settle(copy), artifacts)
    read = note_reading(monkeypatch)
    again = load_dataset(settle(copy), artifacts)
    assert not read
    pd.testing.assert_frame_equal(again.frame, known.frame)
    assert again.fingerprint == known.fingerprint
    later = table.iloc[:5000].assign(time=table["time"].iloc[:5000] + pd.Timedelta(days=122))
    (copy / "month=2024-05").mkdir()
    later.to_parquet(copy / "month=2024-05" / "part.parquet", index=False)
    grown = load_dataset(settle(copy), artifacts)
    assert read and all("month=2024-05" in label for label in read)
    pd.testing.assert_frame_equal(grown.rows(grown.windows[2]), known.rows(known.windows[2]))
    next((artifacts / "data" / "samples").iterdir()).write_bytes(b"broken")
    pd.testing.assert_frame_equal(load_dataset(settle(copy), artifacts).frame, grown.frame)


def test_what_only_the_whole_column_could_tell_is_refused(
    table: pd.DataFrame, tmp_path: Path
) -> None:
    cases: dict[str, tuple[pd.DataFrame, dict[str, Any], str]] = {
        "commas": (
            table.assign(x0=[f"{v:.3f}".replace(".", ",") for v in table["x0"]]), {}, "commas"
        ),
        "order": (table.assign(time=table["time"].dt.strftime("%d/%m/%Y")), {}, "ISO 8601"),
        "version": (table, {"model_version": "word"}, "data.model_version"),
        "windows": (table, {"window": 450}, "445 windows; 500 rows of each are more than"),
    }  # fmt: skip
    for name, (rows, changes, words) in cases.items():
        cut = write_parts(rows, tmp_path / name, [ROWS], 50_000)
        with pytest.raises(UsageError, match=words):
            load_dataset(settle(cut, **changes))


def test_files_of_other_columns_or_kinds_are_named(table: pd.DataFrame, tmp_path: Path) -> None:
    cut = write_parts(table, tmp_path / "cut", [100_000, 100_000], 50_000)
    table.iloc[:10].drop(columns="yes").to_parquet(cut / "002.parquet", index=False)
    with pytest.raises(UsageError, match=r"differ in their columns: 'yes'.*one table"):
        load_dataset(settle(cut))
    table.iloc[:10].assign(x1="text").to_parquet(cut / "002.parquet", index=False)
    with pytest.raises(UsageError, match=r"'x1' is number in .*000.parquet and text in .*002"):
        load_dataset(settle(cut))


def test_a_fragment_that_cannot_be_read_is_named(
    table: pd.DataFrame, model: Model, tmp_path: Path
) -> None:
    cut = write_parts(table, tmp_path / "cut", [ROWS], 20_000)
    dataset = load_dataset(settle(cut))
    spoil_group(cut / "000.parquet", 9)
    with pytest.raises(UsageError, match=r"000\.parquet \(row group 9\) cannot be read: .*mend"):
        count_window(model, dataset, dataset.windows[-1])


@pytest.mark.network
def test_a_killed_worker_changes_nothing(table: pd.DataFrame, model: Model, tmp_path: Path) -> None:
    cut = write_parts(table, tmp_path / "cut", [ROWS], 1000)
    known = count_streamed(model, settle(cut))
    with start_cluster(tmp_path) as cluster:
        dataset = load_dataset(settle(cut, engine=cluster.address))
        assert dataset.stream is not None
        bins = {name: p.bins for name, p in find_reference(model).profiles.items()}
        work = partial(count_batches, bins, [])
        parts = dataset.stream.map_window(3, list(bins), work)
        found = next(parts)
        cluster.workers[0].kill()
        cluster.workers[0].wait()
        for part in parts:
            found += part
        assert cluster.workers[1].poll() is None
    assert list_integers(found) == list_integers(known)


@pytest.mark.network
def test_a_worker_of_another_version_is_refused(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / "driftbook-0.0.9.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: driftbook\nVersion: 0.0.9\n")
    variables = {"PYTHONPATH": str(other.parent)}
    words = r"driftbook 0\.0\.9, but this run has driftbook \d"
    with (
        start_cluster(tmp_path, 1, variables) as cluster,
        pytest.raises(UsageError, match=words),
    ):
        load_dataset(settle(folder, engine=cluster.address))


@pytest.mark.network
def test_a_scheduler_that_is_not_there_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "_CONNECT_TIMEOUT_S", 1)
    pytest.importorskip("distributed", reason="needs the extra `scale`")
    with pytest.raises(UsageError, match=r"data.engine 'tcp://127.0.0.1:9' does not answer"):
        load_dataset(settle(folder, engine="tcp://127.0.0.1:9"))


@pytest.mark.network
def test_drift_is_that_of_memory_where_all_fits_in_the_sample(
    folder: Path, model: Model, dask_cluster: str
) -> None:
    chosen = in_memory(folder, sample_rows=ROWS)
    known = load_dataset(chosen)
    found = load_dataset(in_memory(folder, sample_rows=ROWS, engine=dask_cluster))
    assert found.stream is not None
    pd.testing.assert_frame_equal(found.frame, known.frame)
    window = found.windows[-1]
    counted = count_window(model, found, window)
    rows = found.rows(window).iloc[::10]  # the rest of an assessment is no matter here
    assert counted is not None
    streamed = assess(model, found.rows(window), chosen, counted=counted)
    plain = assess(model, known.rows(known.windows[-1]), chosen)
    pd.testing.assert_frame_equal(streamed.drift, plain.drift)
    pd.testing.assert_frame_equal(streamed.quality, plain.quality)
    few = assess(model, rows, chosen, counted=counted)
    columns = ~few.drift["kind"].isin(["prediction", "joint"])
    pd.testing.assert_series_equal(few.drift["ks_stat"][columns], plain.drift["ks_stat"][columns])
    assert few.n_current == plain.n_current == window.rows


def test_a_model_served_elsewhere_counts_rows_with_a_prediction(
    table: pd.DataFrame, tmp_path: Path
) -> None:
    score = pd.Series(1.0 / (1.0 + np.exp(-table["x0"])))
    score[::50] = np.nan
    cut = write_parts(table.assign(score=score), tmp_path / "cut", [ROWS], 9_000)
    data = settle(cut).data.model_dump() | {"prediction": "score"}
    plain = {"data": data, "model": {"estimator": "external"}}
    whole = Settings.parse({**plain, "data": {**data, "memory_rows": 1_000_000}})
    known = load_dataset(whole)
    external = train(known.frame.iloc[: known.windows[1].stop], whole)
    dataset = load_dataset(Settings.parse(plain))
    found = count_window(external, dataset, dataset.windows[2])
    expected = count_rows(external, known.rows(known.windows[2]))
    assert found is not None and found.predicted_rows < found.rows
    assert list_integers(found) == list_integers(expected)
    assert {n: p.counts.tolist() for n, p in found.predicted.items()} == {
        n: p.counts.tolist() for n, p in expected.predicted.items()
    }


@pytest.mark.network
def test_object_storage_is_streamed_by_its_url(
    folder: Path, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("s3fs", reason="needs the extra `s3`")
    from moto.server import ThreadedMotoServer

    for name, value in {"ACCESS_KEY_ID": "someone", "SECRET_ACCESS_KEY": "something"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        import s3fs

        store = s3fs.S3FileSystem(skip_instance_cache=True)
        store.mkdir("rows")
        store.put(str(folder), "rows/months", recursive=True)
        found = count_streamed(model, settle("s3://rows/months"))
    finally:
        server.stop()
    assert list_integers(found) == list_integers(count_streamed(model, settle(folder)))
