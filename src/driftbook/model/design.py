"""How rows become numbers for a fit: the one imputation, scaling and one-hot encoding."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from driftbook.data.arrays import Floats, Ints
from driftbook.data.cells import Kind, to_kind, to_numbers
from driftbook.data.columns import Feature
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
    return pd.DataFrame({f.name: _input(frame[f.name], f.kind) for f in features}, frame.index)


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


def fit_preparation(features: tuple[Feature, ...], inputs: pd.DataFrame) -> ColumnTransformer:
    """Return :func:`build_preparation` fitted on ``inputs``; missing numbers have no part in it.

    Without text it learns its medians from NumPy, whose are scikit-learn's in a quarter of the
    time: a replay prepares thousands of tables.
    """
    names, text = split_names(features)
    if text or inputs.empty:
        return build_preparation(features).fit(inputs)
    preparation = deepcopy(_fit_on_zeros(features))
    step = preparation.named_transformers_["numeric"]
    impute, scale = step.named_steps["impute"], step.named_steps["scale"]
    impute.statistics_ = np.array([_find_median(inputs[name].to_numpy()) for name in names])
    scale.fit(_fill_numbers(inputs, names, impute.statistics_))
    return preparation


@lru_cache(maxsize=8)
def _fit_on_zeros(features: tuple[Feature, ...]) -> ColumnTransformer:
    """Return the preparation of numbers that knows its columns and nothing else yet."""
    return build_preparation(features).fit(pd.DataFrame({f.name: [0.0] for f in features}))


def _find_median(values: Floats) -> float:
    known = values[~np.isnan(values)]
    return float(np.median(known)) if len(known) else 0.0


def _fill_numbers(inputs: pd.DataFrame, names: Sequence[str], fill: Floats) -> Floats:
    """Return columns of numbers, (n, names), in the order in memory that scikit-learn has."""
    found = np.empty((len(inputs), len(names)), order="F")
    for k, name in enumerate(names):
        values = inputs[name].to_numpy(dtype=np.float64)
        found[:, k] = np.where(np.isnan(values), fill[k], values)
    return found


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


Table = Floats | pd.DataFrame


@dataclass(frozen=True)
class PreparedRows:
    """Rows as a pipeline's last step takes them, and which columns of them a feature fills.

    Preparing treats every row and every feature by itself, so a feature may be exchanged after it:
    a model of a hundred features prepares its rows once, not once a feature. ``table``: shape
    (rows, width), an array, or a data frame where the last step takes the features themselves.
    """

    predict: Callable[[Table], Floats]
    table: Table
    places: Mapping[str, slice]

    def reordered(self, order: Ints) -> Table:
        """Return the table with its rows in another order."""
        return self.table.iloc[order] if isinstance(self.table, pd.DataFrame) else self.table[order]

    def exchanged(self, others: Iterable[tuple[str, Table]]) -> Floats:
        """Return the prediction of each row with one feature exchanged, shape (others, rows, …).

        ``others``: a feature and the prepared table, shape (rows, width), whose columns of it are
        taken; all other features stay as they are here.
        """
        tables, found = [], []
        for name, other in others:
            tables.append(self._exchange(name, other))
            if (len(tables) + 1) * self.table.size > _MOST_CELLS:
                found.append(self._predicted(tables))
                tables = []
        return np.concatenate([*found, self._predicted(tables)] if tables or not found else found)

    def _exchange(self, name: str, other: Table) -> Table:
        table = self.table.copy()
        place = self.places[name]
        if isinstance(table, pd.DataFrame) and isinstance(other, pd.DataFrame):
            column = table.columns[place.start]
            return table.assign(**{column: other[column].array})
        table[:, place] = other[:, place]
        return table

    def _predicted(self, tables: list[Table]) -> Floats:
        if not tables:
            return np.empty((0, len(self.table)))
        frames = [table for table in tables if isinstance(table, pd.DataFrame)]
        whole = pd.concat(frames, ignore_index=True) if frames else np.vstack(tables)
        found = self.predict(whole)
        return found.reshape(len(tables), len(self.table), *found.shape[1:])


def prepare_rows(
    pipeline: Pipeline, inputs: pd.DataFrame, predict: Callable[[Table], Floats]
) -> PreparedRows:
    """Return ``inputs`` as a fitted pipeline prepares them; ``predict`` is its last step."""
    preparation = pipeline[0]
    table = transform_inputs(preparation, inputs)
    if isinstance(table, pd.DataFrame):
        places = {str(name): slice(k, k + 1) for k, name in enumerate(inputs.columns)}
        return PreparedRows(predict, table, places)
    return PreparedRows(predict, table, feature_places(preparation))


def transform_inputs(preparation: Any, inputs: pd.DataFrame) -> Table:
    """Return what a pipeline's fitted first step makes of :func:`model_inputs`."""
    if isinstance(preparation, ColumnTransformer):
        return encode_inputs(preparation, inputs)
    found = preparation.transform(inputs)
    return found if isinstance(found, pd.DataFrame) else np.asarray(found, dtype=np.float64)


def encode_inputs(preparation: ColumnTransformer, inputs: pd.DataFrame) -> Floats:
    """Return the design, (n, width), that a fitted :func:`build_preparation` makes of ``inputs``.

    The same numbers, in the same order in memory, as its own ``transform``, whose checks cost ten
    times as much for a window of a few thousand rows.
    """
    parts = [
        _scale_numbers(step, inputs, columns)
        if name == "numeric"
        else np.asarray(step.transform(inputs[columns]), dtype=np.float64)
        for name, step, columns in preparation.transformers_
    ]
    return parts[0] if len(parts) == 1 else np.hstack(parts)


def _scale_numbers(step: Pipeline, inputs: pd.DataFrame, columns: list[str]) -> Floats:
    impute, scale = step.named_steps["impute"], step.named_steps["scale"]
    found = _fill_numbers(inputs, columns, impute.statistics_)
    found -= scale.mean_
    found /= scale.scale_
    return found


@dataclass(frozen=True)
class BlockTable:
    """Features and target as arrays: numbers (n, a) with NaN, one-hot text (n, b), outcomes (n,).

    ``vocabulary`` names the text values that ``flags`` stands for.
    """

    numbers: Floats
    flags: Floats
    y: Floats
    vocabulary: tuple[str, ...]
    features: tuple[Feature, ...]
    inputs: pd.DataFrame  # the same rows as an estimator takes them that prepares them itself
    weights: Floats | None = None  # the owner's, (n,)

    def taken(self, rows: slice, kept: NDArray[np.bool_]) -> BlockTable:
        """Return those of the ``rows`` that are ``kept``."""
        chosen = np.arange(len(self.y))[rows][kept]
        return replace(
            self,
            numbers=self.numbers[chosen],
            flags=self.flags[chosen],
            y=self.y[chosen],
            inputs=self.inputs.iloc[chosen],
            weights=None if self.weights is None else self.weights[chosen],
        )


def tabulate_rows(
    frame: pd.DataFrame,
    features: tuple[Feature, ...],
    y: Floats,
    weights: Floats | None = None,
) -> BlockTable:
    """Return ``frame`` with its outcomes ``y`` as arrays, encoded once for all fits of a trial.

    A text value that a block has not seen gets no weight there. No label is used. Missing numbers
    stay NaN, because each block fills them by its own median.
    """
    given = model_inputs(frame, features)
    names, text = split_names(features)
    flags, vocabulary = np.empty((len(frame), 0)), ()
    if text:
        one_hot = build_one_hot().fit(given[text])
        flags, vocabulary = one_hot.transform(given[text]), tuple(one_hot.get_feature_names_out())
    numbers = given[names].to_numpy(dtype=np.float64)
    return BlockTable(numbers, flags, y, vocabulary, features, given, weights)


@dataclass(frozen=True)
class BlockScaling:
    """What ``build_preparation`` learns of numbers, for the many small fits of a trial."""

    fill: Floats
    shift: Floats
    scale: Floats

    def design(self, table: BlockTable, rows: slice) -> Floats:
        """Return the ``rows`` of a table as a linear fit takes them, its constant column last."""
        numbers = table.numbers[rows]
        filled = np.where(np.isnan(numbers), self.fill, numbers)
        filled -= self.shift
        filled /= self.scale
        return np.hstack([filled, table.flags[rows], np.ones((len(filled), 1))])


def fit_block_scaling(numbers: Floats) -> BlockScaling:
    """Return median, mean and spread of a block's numbers (n, a); scikit-learn's take ten times."""
    fill, filled = np.zeros(numbers.shape[1]), numbers
    known = ~np.isnan(numbers)
    if not known.all():
        for column in np.flatnonzero(known.any(axis=0) & ~known.all(axis=0)):
            fill[column] = np.median(numbers[known[:, column], column])
        filled = np.where(known, numbers, fill)
    scale = filled.std(axis=0)
    return BlockScaling(fill, filled.mean(axis=0), np.where(scale > 0, scale, 1.0))


def _input(values: pd.Series, kind: Kind) -> pd.Series | Floats:
    if kind == "categorical":
        return to_kind(values, kind).fillna("").astype(object)
    numbers = to_numbers(to_kind(values, kind) if kind == "boolean" else values)
    return np.where(np.isfinite(numbers), numbers, np.nan)


def _widths(encoder: OneHotEncoder) -> list[int]:
    """Return how many columns each feature fills; all infrequent values of it share one."""
    rare = encoder.infrequent_categories_
    return [
        len(known) - (0 if few is None else len(few) - 1)
        for known, few in zip(encoder.categories_, rare, strict=True)
    ]
