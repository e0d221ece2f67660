"""Cells: columns of any library and spelling, as numbers, booleans or text."""

from __future__ import annotations

import datetime as dt
import decimal
import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftbook.data import cells, windows
from driftbook.data.cells import (
    find_bad_cells,
    find_kind,
    read_numbers,
    to_kind,
    to_numbers,
    to_plain_column,
)
from driftbook.data.files import find_delimiter, read_files
from driftbook.data.windows import Dataset
from driftbook.errors import UsageError
from driftbook.settings import Settings

DAY = dt.date(2024, 1, 2)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([decimal.Decimal("1.5"), None], "numeric"),
        ([1, 2.5, None], "numeric"),
        (["1", "2", "3"], "categorical"),
        (pd.Categorical([1, 2, None]), "categorical"),
        (["1,234", "2,000.5", "7"], "numeric"),
        (["$ 5", "€6", "12 %", "1 000"], "numeric"),
        (["1"] * 30 + ["error"], "numeric"),
        (["1"] * 10 + ["a"], "categorical"),
        (["NA", "EU", None], "categorical"),
        (["1", "NA", "null", "2"], "numeric"),
        (["NA", "None"], "categorical"),
        ([True, False, None], "boolean"),
        (["True", "false", None], "boolean"),
        (["yes", "no"], "categorical"),
        ([b"abc", b"de"], "categorical"),
        ([None, None], "numeric"),
    ],
)
def test_the_kind_is_what_the_values_are(values: Any, kind: str) -> None:
    given = values if isinstance(values, pd.Categorical) else pd.Series(values, dtype=object)
    assert find_kind(pd.Series(given)) == kind


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (DAY, "dates"),
        (pd.Timestamp("2024-01-02"), "dates"),
        (dt.time(3, 4), "times of day"),
        (dt.timedelta(1), "durations"),
        ([1, 2], "lists"),
        (np.array([1, 2]), "lists"),
        ({"a": 1}, "records"),
        (1 + 2j, "complex numbers"),
        (object(), "objects of the kind object"),
    ],
)
def test_what_is_no_feature_is_refused_by_name(value: Any, words: str) -> None:
    with pytest.raises(UsageError, match=f"feature 'k' holds {words}; .*data.exclude"):
        find_kind(pd.Series([value, value], dtype=object, name="k"))


ARROW = {
    pa.int8(): [1, None, 3], pa.uint64(): [1, 2, 3], pa.float32(): [1.5, None, 2.5],
    pa.decimal128(9, 2): [decimal.Decimal("1.25"), None, decimal.Decimal("2.50")],
    pa.bool_(): [True, None, False], pa.string(): ["a", None, "b"],
    pa.large_string(): ["a", "b", "c"],
    pa.dictionary(pa.int8(), pa.string()): ["a", None, "b"], pa.null(): [None, None, None],
}  # fmt: skip


@pytest.mark.parametrize(("kind", "values"), ARROW.items(), ids=map(str, ARROW))
def test_an_arrow_column_is_as_the_plain_one(kind: pa.DataType, values: list[Any]) -> None:
    arrow = pd.Series(pd.array(values, dtype=pd.ArrowDtype(kind)))
    plain = pd.Series(values, dtype=object)
    assert find_kind(arrow) == find_kind(plain)
    pd.testing.assert_series_equal(
        to_kind(arrow, find_kind(arrow)), to_kind(plain, find_kind(plain))
    )


@pytest.mark.parametrize("kind", [pa.timestamp("us", "UTC"), pa.date32(), pa.time64("us"),
                                  pa.duration("s"), pa.list_(pa.int8())])  # fmt: skip
def test_arrow_columns_that_are_no_features_are_refused(kind: pa.DataType) -> None:
    given = {
        "timestamp[us, tz=UTC]": dt.datetime(2024, 1, 2, tzinfo=dt.UTC),
        "date32[day]": DAY,
        "time64[us]": dt.time(1, 2),
        "duration[s]": dt.timedelta(1),
    }
    value = given.get(str(kind), [1, 2])
    column = pd.Series(pd.array([value, value], dtype=pd.ArrowDtype(kind)), name="k")
    with pytest.raises(UsageError, match="feature 'k' holds"):
        find_kind(column)


@pytest.mark.parametrize("dtype", ["Int64", "Float64", "boolean", "string", "category"])
def test_pandas_own_types_are_as_the_plain_ones(dtype: str) -> None:
    values: list[Any] = {
        "boolean": [True, None],
        "string": ["a", None],
        "category": ["a", None],
    }.get(dtype, [1, None])
    column, plain = pd.Series(values, dtype=dtype), pd.Series(values, dtype=object)
    kind = find_kind(plain)
    assert find_kind(column) == kind
    pd.testing.assert_series_equal(to_kind(column, kind), to_kind(plain, kind))


def test_numbers_are_read_as_people_write_them() -> None:
    assert read_numbers(pd.Series(["1.234,5", "2,25", "7"])).tolist() == [1234.5, 2.25, 7.0]
    assert read_numbers(pd.Series(["1,234", "12,345,678.5"])).tolist() == [1234.0, 12345678.5]
    assert read_numbers(pd.Series(["(5.5)", "\u22123", "1'000"])).tolist() == [-5.5, -3.0, 1000.0]
    assert np.isnan(read_numbers(pd.Series(["", "a1", "1-2", None]))).all()
    assert to_numbers(pd.Series([1e200, -1e101, 1e99])).tolist() == [np.inf, -np.inf, 1e99]
    assert to_numbers(pd.Series(["1e300", decimal.Decimal("1e50")])).tolist() == [np.inf, 1e50]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(-1e15, 1e15).map(lambda v: round(v, 3)), min_size=1, max_size=20))
def test_thousands_separators_change_no_number(numbers: list[float]) -> None:
    spelled = pd.Series([f"{number:,.3f}" for number in numbers])
    np.testing.assert_allclose(read_numbers(spelled), numbers, rtol=1e-12, atol=1e-3)


def test_bad_cells_are_those_that_are_neither_numbers_nor_missing() -> None:
    column = pd.Series(["1", "NA", "oops", None, "3,000"])
    assert find_bad_cells(column).to_dict() == {2: "oops"}
    assert find_bad_cells(pd.Series([1.0, np.nan])).empty


def test_equal_values_have_one_form() -> None:
    whole, gaps = pd.Series([1, 2, 3]), pd.Series([1.0, 2.0, 3.0])
    pd.testing.assert_series_equal(to_kind(whole, "numeric"), to_kind(gaps, "numeric"))
    pd.testing.assert_series_equal(to_kind(whole, "categorical"), to_kind(gaps, "categorical"))
    assert to_kind(pd.Series(["true", "FALSE"]), "boolean").tolist() == [True, False]
    assert to_kind(pd.Series([b"caf\xc3\xa9"]), "categorical").tolist() == ["café"]
    with pytest.raises(UsageError, match="no UTF-8 text"):
        to_kind(pd.Series([b"\xff\xfe"]), "categorical")


def load(folder: Path, name: str, content: bytes | str, **data: Any) -> Dataset:
    """Return what is loaded from one file with this content."""
    raw = content.encode() if isinstance(content, str) else content
    (folder / name).write_bytes(raw)
    given = {"source": str(folder / name), "target": "y", "window": 10, **data}
    return windows.load_dataset(Settings.parse({"data": given}))


def rows(sign: str = ",", **columns: list[Any]) -> str:
    """Return thirty rows of text with a target ``y`` and a number ``x``."""
    table = {"x": np.arange(30) / 4, **columns, "y": np.arange(30) % 2}
    return pd.DataFrame(table).to_csv(index=False, sep=sign)


@pytest.mark.parametrize("sign", [";", "\t", "|", ","])
def test_the_delimiter_is_found(tmp_path: Path, sign: str) -> None:
    found = load(tmp_path, "f.csv", rows(sign, c=["a,b;c|d"] * 30))
    assert [f.name for f in found.features] == ["x", "c"]
    assert found.frame["c"].unique().tolist() == ["a,b;c|d"]
    assert find_delimiter("one\ntwo\n") == ","


def test_a_decimal_comma_is_read_with_its_semicolons(tmp_path: Path) -> None:
    found = load(tmp_path, "f.csv", rows(";").replace(".", ","))
    assert found.frame["x"].tolist() == (np.arange(30) / 4).tolist()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_the_encoding_is_found(tmp_path: Path, encoding: str) -> None:
    found = load(tmp_path, "f.csv", rows(größe=["süß"] * 30).encode(encoding))
    assert found.features[1].name == "größe" and found.frame["größe"][0] == "süß"


def test_only_an_empty_cell_is_missing_in_text(tmp_path: Path) -> None:
    region = ["NA", "None", "", "null", "EU"] * 6
    found = load(tmp_path, "f.csv", rows(region=region, z=["1", "NA", "", "null", "2"] * 6))
    assert [f.kind for f in found.features] == ["numeric", "categorical", "numeric"]
    assert found.frame["region"].isna().sum() == 6
    assert set(found.frame["region"].dropna()) == {"NA", "None", "null", "EU"}
    assert found.frame["z"].dtype == "float64" and found.frame["z"].isna().sum() == 18


def test_one_bad_cell_is_a_note_and_no_other_column(tmp_path: Path) -> None:
    z = [f"{v}" for v in range(29)] + ["error"]
    found = load(tmp_path, "f.csv", rows(z=z))
    assert found.features[1].kind == "numeric"
    (note,) = (n for n in found.notes if "'z'" in n and "text instead" in n)
    assert "1 row(s), first in row 29: 'error'" in note
    assert find_kind(found.frame["z"].iloc[:20]) == "numeric"
    assert found.frame["z"].iloc[29] == "error" and found.frame["z"].iloc[3] == 3.0


def test_a_column_is_numeric_however_its_thousands_are_written(tmp_path: Path) -> None:
    z = [f"{v:,}" for v in range(900, 30_900, 1000)]
    found = load(tmp_path, "f.csv", rows(z=z))
    assert found.frame["z"].tolist() == list(range(900, 30_900, 1000))


def test_numbers_beyond_measure_are_noted(tmp_path: Path) -> None:
    found = load(tmp_path, "f.csv", rows(z=[1.7e308] + [1.0] * 29))
    assert any("'z' is infinite" in note for note in found.notes)


def test_hidden_files_are_no_data_and_hive_folders_are_columns(tmp_path: Path) -> None:
    for year in (2023, 2024):
        part = tmp_path / f"year={year}" / "kind=a b"
        part.mkdir(parents=True)
        (part / "x.csv").write_text(rows())
    for name in ("_SUCCESS.csv", ".x.csv", "._x.csv"):
        (tmp_path / name).write_text("no data at all")
    (tmp_path / "_temporary").mkdir()
    (tmp_path / "_temporary" / "x.csv").write_text(rows())
    frame = read_files(str(tmp_path))
    assert len(frame) == 60
    assert frame["year"].value_counts().to_dict() == {"2023": 30, "2024": 30}
    assert set(frame["kind"]) == {"a b"}


def test_an_index_that_pandas_stored_comes_back(tmp_path: Path) -> None:
    frame = pd.read_csv(io.StringIO(rows())).assign(ts=pd.date_range("2024-01-01", periods=30))
    frame.set_index("ts").to_parquet(tmp_path / "f.parquet")
    given = {"source": str(tmp_path / "f.parquet"), "target": "y", "timestamp": "ts", "window": 10}
    found = windows.load_dataset(Settings.parse({"data": given}))
    assert [f.name for f in found.features] == ["x"] and found.frame["ts"].notna().all()


def test_one_file_of_several_may_write_the_same_values_otherwise(tmp_path: Path) -> None:
    table = pd.read_csv(io.StringIO(rows())).assign(ts=pd.date_range("2024-01-01", periods=30))
    table.to_parquet(tmp_path / "a.parquet")
    table.assign(x=table["x"].map(str), ts=table["ts"].map(str)).to_parquet(tmp_path / "b.parquet")
    frame = read_files(str(tmp_path / "*.parquet"))
    assert frame["x"].dtype == "float64" and len(frame) == 60


@pytest.mark.parametrize("first", ["", "Unnamed: 0"])
@pytest.mark.parametrize("start", [0, 1])
def test_an_unnamed_row_number_is_left_out_with_a_note(
    tmp_path: Path, first: str, start: int
) -> None:
    frame = pd.read_csv(io.StringIO(rows()))
    frame.insert(0, first, range(start, start + 30))
    found = load(tmp_path, "f.csv", frame.to_csv(index=False))
    assert [f.name for f in found.features] == ["x"]
    assert "only numbers the rows" in found.notes[0]


def test_ids_and_years_are_noted_with_the_setting(tmp_path: Path) -> None:
    table = {"id": range(1000, 1060), "code": [f"c{k}" for k in range(60)],
             "year": [2023, 2024] * 30, "y": [0, 1] * 30,
             "x": np.random.default_rng(0).normal(size=60)}  # fmt: skip
    text = pd.DataFrame(table).to_csv(index=False)
    found = load(tmp_path, "f.csv", text)
    assert [n.split("'")[1] for n in found.notes] == ["id", "code", "year"]
    assert all("data.exclude: [" in n for n in found.notes)
    without = load(tmp_path, "f.csv", text, exclude=["id", "code", "year"])
    assert without.notes == () and [f.name for f in without.features] == ["x"]


def test_roles_are_no_features_and_categorical_numbers_are_names(tmp_path: Path) -> None:
    table = {"id": range(30), "w": [1.0] * 30, "store": [1, 2, 3] * 10, "part": list("ab") * 15}
    given = {"record_id": "id", "weight": "w", "categorical": ["store"], "segments": ["part"]}
    found = load(tmp_path, "f.csv", rows(**{k: list(v) for k, v in table.items()}), **given)
    assert [(f.name, f.kind) for f in found.features] == [
        ("x", "numeric"),
        ("store", "categorical"),
    ]
    assert {"id", "w", "part"} <= set(found.frame.columns)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"exclude": ["nope"]}, "data.exclude names 'nope', which is no column"),
        ({"segments": ["nope"]}, "data.segments names 'nope'"),
        ({"weight": "nope"}, "data.weight 'nope' is no column"),
        ({"features": ["x", "c"], "record_id": "c"}, "'c', which is the column of data.record_id"),
    ],
)
def test_a_role_of_no_column_is_refused(tmp_path: Path, data: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        load(tmp_path, "f.csv", rows(c=["a"] * 30), **data)


NAMES = [
    "device_model_version",
    "(held out)",
    "[x](y)",
    "a|b",
    "=cmd",
    'q"uote',
    "new\nline",
    "probability",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_column_may_have_any_name(tmp_path: Path, name: str) -> None:
    found = load(tmp_path, "f.csv", rows(**{name: list(range(30))}))
    assert name in [f.name for f in found.features]


WILD = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=5),
    st.decimals(allow_nan=False), st.dates(), st.binary(max_size=3),
    st.sampled_from(["NA", "1,234", "5 %", "-", "1e999", "0x1", "inf"]),
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(WILD, max_size=12))
def test_any_column_is_read_or_refused_in_one_sentence(values: list[Any]) -> None:
    column = pd.Series(values, dtype=object, name="k")
    try:
        kind = find_kind(column)
        found = to_kind(column, kind)
    except UsageError as error:
        kept = str(error)
        if "\n" in kept or "numpy" in kept:
            raise
        return
    assert len(found) == len(column)
    pd.testing.assert_series_equal(to_kind(found, kind), found)
    assert cells.find_kind(found) in (kind, "numeric") or kind == "categorical"


@pytest.mark.parametrize("kind", ["text", "numbers"])
def test_arrow_columns_keep_their_rows_whatever_their_index(kind: str) -> None:
    dtype = pd.ArrowDtype(pa.string() if kind == "text" else pa.int64())
    whole = pd.Series(["4", "5", None, "7"] if kind == "text" else [4, 5, None, 7], dtype=dtype)
    window = whole[1:]
    found = to_plain_column(window.rename("x"))
    assert list(found.index) == [1, 2, 3] and found.name == "x"
    assert found.dropna().astype(int).tolist() == [5, 7]


def test_bytes_are_their_text_or_are_refused_by_name() -> None:
    words = pd.Series(["né".encode(), None, b"old"], name="origin")
    assert find_kind(words) == "categorical"
    assert to_kind(words, "categorical").tolist()[::2] == ["né", "old"]
    packed = pd.Series([b"ok", b"\x00\xff"], name="packed")
    for read in (find_kind, lambda column: to_kind(column, "categorical")):
        with pytest.raises(UsageError, match=r"column 'packed' holds bytes .*data\.exclude"):
            read(packed)
