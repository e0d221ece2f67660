"""The table of runs: columns grow, rows stay, a run is there once."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftbook.errors import UsageError
from driftbook.store import runs_table

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=12)
CELLS = st.one_of(TEXT, st.integers(), st.floats(allow_nan=False), st.none())
ROWS = st.lists(
    st.dictionaries(st.sampled_from(["notes", "roc_auc", "brier", "window", "new"]), CELLS),
    min_size=1,
    max_size=6,
)


@settings(max_examples=25)
@given(ROWS)
def test_rows_survive_every_later_row_and_every_later_column(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, object]]
) -> None:
    path = tmp_path_factory.mktemp("runs") / "runs.csv"
    written: list[dict[str, str]] = []
    for number, row in enumerate(rows):
        values = {"run_id": f"r{number}", **row}
        table = runs_table.append_run_row(runs_table.read_runs(path), values)
        table.to_csv(path, index=False, lineterminator="\n")
        written.append({k: "" if v is None else str(v) for k, v in values.items()})
        found = runs_table.read_runs(path).to_dict("records")
        assert len(found) == number + 1
        for expected, cells in zip(written, found, strict=True):
            assert {name: cells[name] for name in expected} == expected
            assert all(cells[name] == "" for name in cells.keys() - expected.keys())


def test_an_older_file_with_fewer_and_with_other_columns(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_text("run_id,roc_auc,legacy\na,0.70,x\n", encoding="utf-8")
    grown = runs_table.append_run_row(runs_table.read_runs(path), {"run_id": "b", "brier": 0.2})
    assert list(grown.columns) == ["run_id", "roc_auc", "legacy", "brier"]
    assert grown.to_numpy().tolist() == [["a", "0.70", "x", ""], ["b", "", "", "0.2"]]


def test_the_same_run_twice_is_one_row_and_the_first_stands() -> None:
    table = runs_table.append_run_row(pd.DataFrame(), {"run_id": "a", "brier": 0.1})
    again = runs_table.append_run_row(table, {"run_id": "a", "brier": 0.9})
    assert again.to_numpy().tolist() == [["a", "0.1"]]


def test_missing_values_are_empty_cells() -> None:
    row = {"run_id": "a", "gain": None, "auc": float("nan"), "notes": "NA"}
    table = runs_table.append_run_row(pd.DataFrame(), row)
    assert table.to_numpy().tolist() == [["a", "", "", "NA"]]


def test_a_new_file_opens_with_the_columns_that_users_rely_on(tmp_path: Path) -> None:
    relied = ["run_id", "run_name", "timestamp_utc", "notes", "model_version", "roc_auc"]
    assert list(runs_table.read_runs(tmp_path / "none.csv").columns)[: len(relied)] == relied


@pytest.mark.parametrize(
    ("content", "message"), [(b"", "can't be read"), (b"a,b\n1,2\n", "no column run_id")]
)
def test_a_file_that_is_no_table_of_runs_is_named(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "runs.csv"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=rf"runs\.csv.*{message}"):
        runs_table.read_runs(path)


def test_a_row_without_a_run_is_refused() -> None:
    with pytest.raises(UsageError, match="needs a run_id"):
        runs_table.append_run_row(pd.DataFrame(), {"brier": 0.1})
