"""Tables as nobody wants them: a sound one, and what is done to its columns one after the other."""

from __future__ import annotations

import datetime as dt
import decimal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import strategies as st

TARGET, STAMP = "y", "ts"
FEATURES = ("a", "b", "c", "flag")
DAY = dt.date(2024, 1, 2)


@dataclass(frozen=True)
class Plan:
    """A table: its rows, and what is done to which column from which share of the rows on."""

    rows: int
    spoiled: tuple[tuple[str, str, float], ...]

    def build(self) -> pd.DataFrame:
        """Return the table."""
        frame = make_sound(self.rows)
        for name, how, share in self.spoiled:
            if how in WHOLE:
                frame = WHOLE[how](frame, name)
            elif name in frame.columns and frame.columns.is_unique:
                frame[name] = spoil(frame[name], how, int(share * len(frame)))
        return frame


def make_sound(rows: int, seed: int = 0) -> pd.DataFrame:
    """Return numbers, text and booleans with a 0/1 target and a time, in order."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"a": rng.normal(size=rows), "b": rng.normal(50.0, 9.0, rows)})
    frame["c"] = rng.choice(["north", "south", "west"], rows)
    frame["flag"] = rng.random(rows) < 0.5
    frame[TARGET] = (rng.random(rows) < 1 / (1 + np.exp(-2 * frame["a"]))).astype(int)
    frame[STAMP] = pd.date_range("2024-01-01", periods=rows, freq="6h")
    return frame


def spoil(column: pd.Series, how: str, start: int) -> pd.Series:
    """Return a column whose cells from row ``start`` on are spoiled; the whole one, if it must."""
    if how in TYPES:
        try:
            return TYPES[how](column)
        except (TypeError, ValueError, ArithmeticError):
            return column  # what this type cannot hold
    cells = column.astype(object).tolist()
    for row in range(start, len(cells)):
        cells[row] = CELLS[how](row, cells[row])
    plain = pd.Series(cells, index=column.index, dtype=object)
    return plain if how in OBJECTS else plain.infer_objects()


def _duplicate(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    copied = frame.iloc[:, [0]].copy()
    copied.columns = [name]
    return pd.concat([frame, copied], axis=1)


# A cell by its row and what it was.
CELLS: Mapping[str, Callable[[int, Any], Any]] = {
    "missing": lambda _row, _old: None,
    "nan": lambda _row, _old: float("nan"),
    "constant": lambda _row, _old: 7,
    "infinite": lambda row, old: (np.inf, -np.inf, old)[row % 3],
    "mixed": lambda row, old: (old, "text", 3, None, True)[row % 5],
    "huge": lambda row, _old: (1.7e308, -1.7e308, 5e-324)[row % 3],
    "huge_int": lambda row, _old: 10 ** (30 + row % 3),
    "large_int": lambda row, _old: 2**63 - 1 - row,
    "denormal": lambda _row, _old: 5e-324,
    "date": lambda row, _old: DAY + dt.timedelta(days=row),
    "stamp": lambda row, _old: pd.Timestamp("2024-01-01", tz="UTC") + pd.Timedelta(hours=row),
    "far_date": lambda _row, _old: dt.datetime(9999, 12, 31, tzinfo=dt.UTC),
    "duration": lambda row, _old: pd.Timedelta(seconds=row),
    "list": lambda row, _old: [row],
    "dict": lambda row, _old: {"k": row},
    "set": lambda row, _old: {row},
    "array": lambda row, _old: np.arange(row % 3),
    "empty": lambda _row, _old: "",
    "blank": lambda row, old: ("  ", "\t", old)[row % 3],
    "emoji": lambda row, _old: ("😀", "é", "日本", "\u202e", "\x00")[row % 5],
    "surrogate": lambda _row, _old: "\ud800",
    "long": lambda row, _old: "x" * (row % 9) * 9999,
    "formula": lambda _row, _old: "=cmd|' /C calc'!A0",
    "lines": lambda row, old: ('a\n"b', "a,b;c", old)[row % 3],
    "numbers_as_text": lambda row, old: (str(old), "1,234.5", "NA", "$ 5")[row % 4],
    "one_bad_cell": lambda row, old: "oops" if row == 3 else old,
    "bool_gaps": lambda row, _old: (True, False, None)[row % 3],
    "bool_text": lambda row, _old: ("True", "false", "", "yes")[row % 4],
    "decimal": lambda row, _old: decimal.Decimal(row) / 7 if row % 5 else None,
    "decimal_nan": lambda row, _old: decimal.Decimal(("NaN", "Infinity", "1e999")[row % 3]),
    "bytes": lambda row, _old: bytes([row % 256, 255]),
    "complex": lambda row, _old: complex(row, 1),
    "unique": lambda row, _old: f"id-{row}",
    "interval": lambda row, _old: pd.Interval(row, row + 1),
    "nat": lambda _row, _old: pd.NaT,
    "na": lambda row, old: (pd.NA, old)[row % 2],
    "object": lambda _row, _old: object,
    "negative": lambda row, _old: -row,
    "third_class": lambda row, old: 2 if row % 3 else old,
    "two_words": lambda row, _old: ("yes", "no")[row % 2],
}  # fmt: skip
OBJECTS = {"mixed", "bool_gaps", "na", "decimal", "huge_int", "surrogate"}
TYPES: Mapping[str, Callable[[pd.Series], pd.Series]] = {
    "as_category": lambda c: c.astype("category"),
    "as_category_na": lambda c: c.where(np.arange(len(c)) % 4 > 0).astype("category"),
    "as_empty_category": lambda c: pd.Series(pd.Categorical([None] * len(c)), index=c.index),
    "as_arrow": lambda c: c.convert_dtypes(dtype_backend="pyarrow"),
    "as_nullable": lambda c: c.convert_dtypes().where(np.arange(len(c)) % 4 > 0),
    "as_float16": lambda c: c.astype("float16"),
    "as_uint8": lambda c: c.astype("float64").abs().astype("uint8"),
    "as_complex": lambda c: c.astype(complex),
    "as_sparse": lambda c: c.astype("float64").astype(pd.SparseDtype("float64")),
    "as_text": lambda c: c.astype("string"),
    "as_period": lambda c: pd.Series(
        pd.period_range("2024-01", periods=len(c), freq="M"), index=c.index
    ),
}
WHOLE: Mapping[str, Callable[[pd.DataFrame, str], pd.DataFrame]] = {
    "gone": lambda frame, name: frame.drop(columns=[name], errors="ignore"),
    "twice": _duplicate,
    "renamed_blank": lambda frame, name: frame.rename(columns={name: " "}),
    "renamed_number": lambda frame, name: frame.rename(columns={name: 0}),
    "renamed_emoji": lambda frame, name: frame.rename(columns={name: "😀 | <b>"}),
    "extra": lambda frame, _name: frame.assign(model_version="m1"),
    "odd_index": lambda frame, _name: frame.set_index(pd.Index([7] * len(frame))),
    "shuffled": lambda frame, _name: frame.sample(frac=1.0, random_state=0),
    "no_rows": lambda frame, _name: frame.iloc[:0],
    "one_row": lambda frame, _name: frame.iloc[:1],
    "rows_twice": lambda frame, _name: pd.concat([frame, frame]),
    "no_features": lambda frame, _name: frame.drop(columns=list(FEATURES), errors="ignore"),
}

_names = st.sampled_from([*FEATURES, *FEATURES, TARGET, STAMP])
_hows = st.sampled_from([*CELLS, *TYPES, *WHOLE])
plans = st.builds(
    Plan,
    rows=st.sampled_from([1, 2, 29, 60, 150, 240]),
    spoiled=st.lists(
        st.tuples(_names, _hows, st.sampled_from([0.0, 0.5, 0.9])), min_size=1, max_size=3
    ).map(tuple),
)
# Each way once, to a number and, where it may hurt more, to the target: what was found so far.
SEEDS = (
    *(Plan(150, (("a", how, 0.5),)) for how in CELLS),
    *(Plan(150, (("c", how, 0.0),)) for how in TYPES),
    *(Plan(150, (("b", how, 0.0),)) for how in WHOLE),
    *(Plan(150, ((TARGET, how, 0.5),)) for how in ("missing", "third_class", "two_words", "list")),
    *(Plan(150, ((STAMP, how, 0.5),)) for how in ("missing", "mixed", "far_date", "as_period")),
    *(Plan(240, (("b", how, 0.0),)) for how in ("bytes", "list", "array", "complex", "object")),
    Plan(60, (("a", "twice", 0.0), ("b", "twice", 0.0))),
)
