"""Sources, features, windows and what is known at a window."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from driftbook.data import flights, windows
from driftbook.data.columns import Feature
from driftbook.errors import UsageError
from driftbook.settings import Settings


def _settings(source: str, **values: Any) -> Settings:
    return Settings.parse({"data": {"source": source, "window": 10, **values}})


def _frame(rows: int = 60) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "when": pd.date_range("2024-01-01", periods=rows, freq="D"),
            "x": rng.normal(size=rows),
            "colour": rng.choice(["red", "blue"], rows),
            "member": rng.random(rows) < 0.5,
            "target": rng.integers(0, 2, rows),
        }
    )


def test_flights_are_the_known_table(tmp_path: Path) -> None:
    first = windows.load_dataset(Settings(), tmp_path)
    assert len(first.frame) + sum(first.dropped.values()) == 336_776
    assert first.dropped == {"no arrival": 9430, "no weather": 1527}
    assert [f.name for f in first.features] == list(flights.FLIGHT_FEATURES)
    assert {f.kind for f in first.features} == {"numeric"}
    assert [w.name for w in first.windows] == [f"2013-{m:02d}" for m in range(1, 13)]
    assert all(w.complete for w in first.windows)
    assert first.frame["time_hour"].is_monotonic_increasing
    assert set(first.frame["delayed"].unique()) == {0, 1}
    cached = windows.load_dataset(Settings(), tmp_path)
    pd.testing.assert_frame_equal(first.frame, cached.frame)
    assert cached.dropped == first.dropped and cached.fingerprint == first.fingerprint


def test_a_broken_flights_cache_is_made_again(tmp_path: Path) -> None:
    first, _ = flights.load_flights(tmp_path)
    (tmp_path / "flights.parquet").write_bytes(b"half a file")
    again, _ = flights.load_flights(tmp_path)
    pd.testing.assert_frame_equal(first, again)
    assert (tmp_path / "flights.parquet").stat().st_size > 100_000


@pytest.mark.parametrize("ending", ["csv", "parquet", "csv.gz"])
def test_files_of_each_format_give_the_same_rows(tmp_path: Path, ending: str) -> None:
    frame, path = _frame(), tmp_path / f"rows.{ending}"
    frame.to_parquet(path) if ending == "parquet" else frame.to_csv(path, index=False)
    loaded = windows.load_dataset(_settings(str(path), timestamp="when"))
    assert [(f.name, f.kind) for f in loaded.features] == [
        ("x", "numeric"),
        ("colour", "categorical"),
        ("member", "boolean"),
    ]
    np.testing.assert_allclose(loaded.frame["x"], frame["x"])
    assert loaded.frame["when"].tolist() == frame["when"].tolist()


def test_globs_folders_and_urls(tmp_path: Path) -> None:
    frame = _frame()
    frame.iloc[:30].to_csv(tmp_path / "a.csv", index=False)
    frame.iloc[30:].to_csv(tmp_path / "b.csv", index=False)
    for source in (str(tmp_path / "*.csv"), str(tmp_path), f"file://{tmp_path}/*.csv"):
        assert windows.load_dataset(_settings(source, timestamp="when")).frame[
            "x"
        ].tolist() == pytest.approx(frame["x"].tolist())


def test_a_relative_path_is_found_beside_the_settings_file(tmp_path: Path) -> None:
    _frame().to_csv(tmp_path / "mine.csv", index=False)
    path = tmp_path / "s.yaml"
    path.write_text("data: {source: mine.csv, timestamp: when, window: 10}\n", encoding="utf-8")
    assert len(windows.load_dataset(Settings.load(path)).frame) == 60


def test_missing_values_anywhere_are_kept(tmp_path: Path) -> None:
    frame = _frame()
    frame["target"] = frame["target"].astype(float)
    frame.loc[3, ["x", "colour", "target"]] = [np.nan, None, np.nan]
    frame["empty"] = np.nan
    frame.to_parquet(tmp_path / "f.parquet")
    loaded = windows.load_dataset(_settings(str(tmp_path / "f.parquet"), timestamp="when"))
    assert loaded.frame.loc[3, ["x", "colour", "target"]].isna().all()
    assert len(loaded.frame) == 60 and loaded.features[-1] == Feature("empty", "numeric")


def test_rows_without_a_timestamp_are_dropped_and_counted(tmp_path: Path) -> None:
    frame = _frame()
    frame.loc[[5, 9], "when"] = pd.NaT
    frame.to_csv(tmp_path / "f.csv", index=False)
    loaded = windows.load_dataset(_settings(str(tmp_path / "f.csv"), timestamp="when"))
    assert loaded.dropped == {"no timestamp": 2} and len(loaded.frame) == 58


def _write(folder: Path, **changes: Any) -> str:
    frame = _frame()
    for name, values in changes.items():
        frame[name] = values
    frame.to_csv(folder / "f.csv", index=False)
    return str(folder / "f.csv")


@pytest.mark.parametrize(
    ("changes", "options", "words"),
    [
        ({}, {"target": "tarp"}, ["data.target 'tarp'", "'colour'"]),
        ({}, {"timestamp": "then"}, ["data.timestamp 'then'", "'when'"]),
        ({}, {"features": ["x", "y"]}, ["'y'", "'colour'"]),
        ({}, {"features": ["x", "target"]}, ["'target'"]),
        ({"target": [0, 1] * 29 + [0, 9]}, {}, ["is 0 or 1 in 98.3%", "9", "model.task"]),
        ({"target": ["yes", "no"] * 29 + ["no", "?"]}, {}, ["is 0 or 1 in 98.3%", "'?'"]),
        ({"target": np.nan}, {}, ["no value"]),
        ({"when": "soon"}, {}, ["cannot be read as a date", "'soon'"]),
        (
            {"when": ["2024-01-01T00:00:00Z", "2024-01-01T00:00:00+02:00"] * 30},
            {},
            ["mixes time zones", "+02:00"],
        ),
        (
            {"when": ["2024-01-01T00:00:00Z", "2024-01-01T00:00:00"] * 30},
            {},
            ["mixes time zones", "none"],
        ),
        ({"when": range(60)}, {"window": "day"}, ["holds numbers"]),
    ],
)
def test_bad_input_is_one_sentence(
    tmp_path: Path, changes: dict[str, Any], options: dict[str, Any], words: list[str]
) -> None:
    settings = _settings(_write(tmp_path, **changes), **{"timestamp": "when", **options})
    with pytest.raises(UsageError) as caught:
        windows.load_dataset(settings)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("name", ["gone.csv", "gone-*.parquet", "notes.txt", "memory://x/gone.csv"])
def test_no_such_file(tmp_path: Path, name: str) -> None:
    (tmp_path / "notes.txt").write_text("hello", encoding="utf-8")
    source = name if "://" in name else str(tmp_path / name)
    with pytest.raises(UsageError, match=r"names no file|neither Parquet nor CSV"):
        windows.load_dataset(_settings(source))


def test_an_unknown_protocol_is_refused() -> None:
    with pytest.raises(UsageError, match="cannot be opened"):
        windows.load_dataset(_settings("nosuch://bucket/f.csv"))


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "f.parquet").write_bytes(b"PAR1 but not really")
    with pytest.raises(UsageError, match=r"f\.parquet cannot be read as parquet"):
        windows.load_dataset(_settings(str(tmp_path / "f.parquet")))


def test_duplicate_column_names_are_refused(tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_text("x,x,target\n1,2,0\n", encoding="utf-8")
    with pytest.raises(UsageError, match="duplicate column names: 'x'"):
        windows.load_dataset(_settings(str(tmp_path / "f.csv")))


def test_text_in_one_file_and_number_in_another_is_refused(tmp_path: Path) -> None:
    _frame().to_csv(tmp_path / "a.csv", index=False)
    _frame().assign(x="many").to_csv(tmp_path / "b.csv", index=False)
    with pytest.raises(UsageError, match=r"'x' is number in .*a\.csv and text in .*b\.csv"):
        windows.load_dataset(_settings(str(tmp_path / "*.csv")))


def test_an_empty_column_agrees_with_any_type(tmp_path: Path) -> None:
    _frame().assign(x="many").to_csv(tmp_path / "a.csv", index=False)
    _frame().assign(x=np.nan).to_csv(tmp_path / "b.csv", index=False)
    loaded = windows.load_dataset(_settings(str(tmp_path / "*.csv"), timestamp="when"))
    assert loaded.features[0] == Feature("x", "categorical")


def test_files_with_other_columns_are_refused(tmp_path: Path) -> None:
    _frame().to_csv(tmp_path / "a.csv", index=False)
    _frame().drop(columns="x").to_csv(tmp_path / "b.csv", index=False)
    with pytest.raises(UsageError, match="same columns: 'x'"):
        windows.load_dataset(_settings(str(tmp_path / "*.csv")))


def test_a_date_as_feature_is_refused(tmp_path: Path) -> None:
    _frame().to_parquet(tmp_path / "f.parquet")
    with pytest.raises(UsageError, match="feature 'when' holds dates"):
        windows.load_dataset(_settings(str(tmp_path / "f.parquet")))


def test_row_windows(tmp_path: Path) -> None:
    _frame(25).to_csv(tmp_path / "f.csv", index=False)
    loaded = windows.load_dataset(_settings(str(tmp_path / "f.csv"), timestamp="when"))
    assert [(w.name, w.start, w.stop, w.complete) for w in loaded.windows] == [
        ("rows-0001", 0, 10, True),
        ("rows-0002", 10, 20, True),
        ("rows-0003", 20, 25, False),
    ]


@pytest.mark.parametrize(
    ("size", "names"),
    [
        ("day", ["2020-12-30", "2020-12-31", "2021-01-01", "2021-01-04"]),
        ("week", ["2020-W53", "2021-W01"]),
        ("month", ["2020-12", "2021-01"]),
    ],
)
def test_calendar_windows_skip_gaps_and_follow_iso_weeks(
    tmp_path: Path, size: str, names: list[str]
) -> None:
    frame = _frame(4).assign(when=["2020-12-30", "2020-12-31", "2021-01-01", "2021-01-04"])
    frame.to_csv(tmp_path / "f.csv", index=False)
    loaded = windows.load_dataset(_settings(str(tmp_path / "f.csv"), timestamp="when", window=size))
    assert [w.name for w in loaded.windows] == names
    # A date without a time ends its day, and no week or month before its last.
    whole = [*[True] * (len(names) - 1), size == "day"]
    assert [w.complete for w in loaded.windows] == whole


def test_rows_are_put_in_time_order_and_ties_keep_theirs(tmp_path: Path) -> None:
    frame = _frame(6).assign(when=["2024-01-02", "2024-01-01"] * 3, x=range(6))
    frame.to_csv(tmp_path / "f.csv", index=False)
    loaded = windows.load_dataset(_settings(str(tmp_path / "f.csv"), timestamp="when"))
    assert loaded.frame["x"].tolist() == [1, 3, 5, 0, 2, 4]


def test_a_zone_kept_throughout_gives_wall_time(tmp_path: Path) -> None:
    when = [f"2024-01-01T{h:02d}:30:00+02:00" for h in range(6)]
    _frame(6).assign(when=when).to_csv(tmp_path / "f.csv", index=False)
    loaded = windows.load_dataset(_settings(str(tmp_path / "f.csv"), timestamp="when"))
    assert loaded.frame["when"].iloc[0] == pd.Timestamp("2024-01-01T00:30:00")


def _loaded(tmp_path: Path, **options: Any) -> tuple[windows.Dataset, Settings]:
    _frame(65).to_parquet(tmp_path / "f.parquet")
    settings = _settings(str(tmp_path / "f.parquet"), timestamp="when", **options)
    return windows.load_dataset(settings), settings


def test_history_ends_before_current_and_starts_after_the_reference(tmp_path: Path) -> None:
    loaded, settings = _loaded(tmp_path)
    split = windows.split_at_window(loaded, settings, "rows-0005", after=20)
    assert split.window.start == 40 and len(split.current) == 10
    assert split.history["x"].tolist() == loaded.frame["x"].iloc[20:40].tolist()
    assert "target" in split.current


@pytest.mark.parametrize(("delay", "known"), [(1, 20), (2, 10), (3, 0), (9, 0)])
def test_label_delay_hides_immature_labels(tmp_path: Path, delay: int, known: int) -> None:
    loaded, settings = _loaded(tmp_path, label_delay=delay)
    split = windows.split_at_window(loaded, settings, "rows-0005", after=20)
    assert "target" not in split.current
    # at the end of window 5 the labels of windows up to 5 - delay are known; 3 and 4 are history
    assert len(split.history) == {1: 20, 2: 10, 3: 0, 9: 0}[delay] == known


def test_the_default_window_is_the_latest_complete_one(tmp_path: Path) -> None:
    loaded, settings = _loaded(tmp_path)
    assert windows.split_at_window(loaded, settings, None, after=20).window.name == "rows-0006"


@pytest.mark.parametrize("name", ["2013-06", "rows-0002", "rows-0099"])
def test_an_unknown_window_lists_the_known_ones(tmp_path: Path, name: str) -> None:
    loaded, settings = _loaded(tmp_path)
    with pytest.raises(UsageError, match=r"known windows: rows-0003, rows-0004, rows-0005"):
        windows.split_at_window(loaded, settings, name, after=20)


def test_too_few_rows_for_the_windows(tmp_path: Path) -> None:
    loaded, settings = _loaded(tmp_path, window=30)
    with pytest.raises(UsageError, match="makes 2 complete window"):
        windows.find_reference_windows(loaded, settings)


def test_fingerprint_follows_values_names_and_order() -> None:
    frame = _frame(5)
    changed = frame.copy()
    changed.loc[2, "x"] += 1e-12
    prints = {
        windows.hash_frame(f)
        for f in (frame, changed, frame.rename(columns={"x": "z"}), frame.iloc[::-1])
    }
    assert len(prints) == 4 and windows.hash_frame(frame.copy()) in prints


def test_a_relative_path_is_found_in_the_folder_the_command_ran_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _frame().to_csv(tmp_path / "mine.csv", index=False)
    (tmp_path / "conf").mkdir()
    path = tmp_path / "conf" / "s.yaml"
    path.write_text("data: {source: mine.csv, timestamp: when, window: 10}\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    settings = Settings.load(path)
    monkeypatch.chdir("/")
    assert len(windows.load_dataset(settings).frame) == 60
