"""How rows become numbers for a fit: the one imputation, scaling and one-hot encoding."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from driftbook.data.arrays import Floats
from driftbook.data.columns import Feature, to_numbers
from driftbook.errors import UsageError

MAX_CATEGORIES = 50  # the rarer values of a column share the last place
# Exchanged tables are scored together as long as they hold no more numbers than this (16 MB).
_MOST_CELLS = 2_000_000


def model_inputs(frame: pd.DataFrame, features: tuple[Feature, ...]) -> pd.DataFrame:
    """Return the model's input columns: float64 numbers with NaN, or text with "" for missing.

    Raises:
        UsageError: a feature is no column of ``frame``.
    """
    absent = [f.name for f in features if f.name not in frame.columns]
    if absent:
        names = ", ".join(map(repr, absent))
        raise UsageError(f"the rows lack the feature column(s) {names} that the model needs")
    columns = {
        f.name: _text(frame[f.name]) if f.kind == "categorical" else _numbers(frame[f.name])
        for f in features
    }
    return pd.DataFrame(columns, index=frame.index)


def split_names(features: tuple[Feature, ...]) -> tuple[list[str], list[str]]:
    """Return the names of the features that are numbers (or booleans), and of those that are text.

    A design holds the columns of the numbers first.
    """
    text = [f.name for f in features if f.kind == "categorical"]
    return [f.name for f in features if f.kind != "categorical"], text


def build_preparation(features: tuple[Feature, ...]) -> ColumnTransformer:
    """Return the unfitted first step of a model: impute and scale numbers, one-hot text."""
    impute = SimpleImputer(strategy="median", keep_empty_features=True)
    numbers = Pipeline([("impute", impute), ("scale", StandardScaler())])
    names, text = split_names(features)
    parts = [("numeric", numbers, names), ("categorical", build_one_hot(), text)]
    return ColumnTransformer([part for part in parts if part[2]])


def build_one_hot() -> OneHotEncoder:
    """Return the unfitted encoder of text: the commonest values, one place for all rarer ones."""
    return OneHotEncoder(
        handle_unknown="infrequent_if_exist",
        max_categories=MAX_CATEGORIES,
        sparse_output=False,
        dtype=np.float64,
    )


def feature_places(preparation: ColumnTransformer) -> dict[str, slice]:
    """Return which columns of a fitted preparation's output each feature fills."""
    places, start = {}, 0
    for part, step, columns in preparation.transformers_:
        widths = _widths(step) if part == "categorical" else [1] * len(columns)
        for column, width in zip(columns, widths, strict=True):
            places[str(column)] = slice(start, start + width)
            start += width
    return places


@dataclass(frozen=True)
class PreparedRows:
    """Imputed, scaled and one-hot rows, shape (rows, width), and which columns a feature fills.

    Preparing treats every row and every feature by itself, so a feature may be exchanged after it:
    a model of a hundred features prepares its rows once, not once a feature.
    """

    pipeline: Pipeline
    table: Floats
    places: Mapping[str, slice]

    def exchanged(self, others: Iterable[tuple[str, Floats]]) -> Floats:
        """Return the probability of each row with one feature exchanged, shape (others, rows).

        ``others``: a feature and the prepared table, shape (rows, width), whose columns of it are
        taken; all other features stay as they are here.
        """
        tables, found = [], []
        for name, other in others:
            table = self.table.copy()
            table[:, self.places[name]] = other[:, self.places[name]]
            tables.append(table)
            if (len(tables) + 1) * self.table.size > _MOST_CELLS:
                found.append(self._scored(tables))
                tables = []
        return np.vstack([*found, self._scored(tables)])

    def _scored(self, tables: list[Floats]) -> Floats:
        if not tables:
            return np.empty((0, len(self.table)))
        probability = self.pipeline[-1].predict_proba(np.vstack(tables))[:, 1]
        return np.asarray(probability, dtype=np.float64).reshape(len(tables), -1)


def prepare_rows(pipeline: Pipeline, inputs: pd.DataFrame) -> PreparedRows:
    """Return ``inputs`` as a fitted model's pipeline prepares them for its last step."""
    preparation = pipeline.named_steps["prepare"]
    table = np.asarray(preparation.transform(inputs), dtype=np.float64)
    return PreparedRows(pipeline, table, feature_places(preparation))


@dataclass(frozen=True)
class BlockTable:
    """Features and target as arrays: numbers (n, a) with NaN, one-hot text (n, b), labels (n,).

    ``vocabulary`` names the text values that ``flags`` stands for.
    """

    numbers: Floats
    flags: Floats
    y: Floats
    vocabulary: tuple[str, ...]


def tabulate_rows(frame: pd.DataFrame, features: tuple[Feature, ...], target: str) -> BlockTable:
    """Return ``frame`` as arrays, encoded once for all fits of a trial.

    A text value that a block has not seen gets no weight there. No label is used. Missing numbers
    stay NaN, because each block fills them by its own median.
    """
    given = model_inputs(frame, features)
    names, text = split_names(features)
    y = frame[target].to_numpy(dtype=np.float64)
    flags, vocabulary = np.empty((len(frame), 0)), ()
    if text:
        one_hot = build_one_hot().fit(given[text])
        flags, vocabulary = one_hot.transform(given[text]), tuple(one_hot.get_feature_names_out())
    return BlockTable(given[names].to_numpy(dtype=np.float64), flags, y, vocabulary)


@dataclass(frozen=True)
class BlockScaling:
    """What ``build_preparation`` learns of numbers, for the many small fits of a trial."""

    fill: Floats
    shift: Floats
    scale: Floats

    def design(self, table: BlockTable, rows: slice) -> Floats:
        """Return the ``rows`` of a table as a linear fit takes them, its constant column last."""
        numbers = table.numbers[rows]
        numbers = (np.where(np.isnan(numbers), self.fill, numbers) - self.shift) / self.scale
        return np.hstack([numbers, table.flags[rows], np.ones((len(numbers), 1))])


def fit_block_scaling(numbers: Floats) -> BlockScaling:
    """Return median, mean and spread of a block's numbers (n, a); scikit-learn's take ten times."""
    known = ~np.isnan(numbers)
    fill = np.zeros(numbers.shape[1])
    for column in np.flatnonzero(known.any(axis=0) & ~known.all(axis=0)):
        fill[column] = np.median(numbers[known[:, column], column])
    filled = np.where(known, numbers, fill)
    scale = filled.std(axis=0)
    return BlockScaling(fill, filled.mean(axis=0), np.where(scale > 0, scale, 1.0))


def _numbers(values: pd.Series) -> Floats:
    numbers = to_numbers(values)
    return np.where(np.isfinite(numbers), numbers, np.nan)


def _text(values: pd.Series) -> pd.Series:
    return values.astype(object).where(values.notna(), "").map(str).astype(object)


def _widths(encoder: OneHotEncoder) -> list[int]:
    """Return how many columns each feature fills; all infrequent values of it share one."""
    rare = encoder.infrequent_categories_
    return [
        len(known) - (0 if few is None else len(few) - 1)
        for known, few in zip(encoder.categories_, rare, strict=True)
    ]
