"""What a retrain learns from: which rows, and how much each of them counts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.pipeline import Pipeline

from driftbook.data.columns import Feature
from driftbook.model import logistic, training
from driftbook.settings import ModelSettings

Floats = npt.NDArray[np.float64]

# Half-lives of the fading recipes as shares of the block: they count about as much as the newest
# three quarters, half and quarter of it.
FADING = {"fading_slow": 1 / 3, "fading": 1 / 6, "fading_fast": 1 / 12}
MAX_ODDS = 20.0
MOST_WEIGHED_ROWS = 10_000


@dataclass(frozen=True)
class RecipeTable:
    """Features and target as arrays: numbers (n, a) with NaN, one-hot text (n, b), labels (n,).

    ``vocabulary`` names the text values that ``flags`` stands for, column by column.
    """

    numbers: Floats
    flags: Floats
    y: Floats
    vocabulary: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class RecipeFit:
    """A fitted recipe: where its training rows ended, and how it scores other rows of the table."""

    fill: Floats
    shift: Floats
    scale: Floats
    fitted: logistic.CalibratedLogistic | Pipeline

    def predict(self, table: RecipeTable, rows: slice) -> Floats:
        """Return the probability of the table's ``rows``, shape (rows,)."""
        design = _design(table, rows, self.fill, self.shift, self.scale)
        if isinstance(self.fitted, logistic.CalibratedLogistic):
            return self.fitted.predict(design)
        probability: Floats = self.fitted.predict_proba(design)[:, 1]
        return probability


def tabulate_rows(frame: pd.DataFrame, features: tuple[Feature, ...], target: str) -> RecipeTable:
    """Return ``frame`` as arrays, encoded once for all fits of a trial.

    Text is one-hot over its commonest values, as many as the model's own encoder keeps; a value
    that a block has not seen gets no weight there. No label is used. Missing numbers stay NaN.
    """
    given = training.select_inputs(frame, features)
    text = [f.name for f in features if f.kind == "categorical"]
    numbers = given.drop(columns=text).to_numpy(dtype=np.float64)
    vocabulary = [_commonest(given[name]) for name in text]
    flags = [_one_hot(given[name], kept) for name, kept in zip(text, vocabulary, strict=True)]
    y = frame[target].to_numpy(dtype=np.float64)
    return RecipeTable(
        numbers, np.hstack([np.empty((len(frame), 0)), *flags]), y, tuple(vocabulary)
    )


def fit_recipe(
    table: RecipeTable, rows: slice, weights: Floats | None, settings: ModelSettings
) -> RecipeFit | None:
    """Return the model's estimator fitted and calibrated on ``rows``; None where a class lacks.

    Numbers are imputed by the block's median and scaled by its mean and spread, as in
    ``training.pipeline``. ``weights``: one a row of the block. Of a longer block every k-th row is
    taken, so that at most 10,000 are fitted: a trial compares, the version is trained on all.
    """
    step = rows.step or 1
    thinner = 1 + ((rows.stop - rows.start - 1) // step) // MOST_WEIGHED_ROWS
    rows = slice(rows.start, rows.stop, step * thinner)
    weights = None if weights is None else weights[::thinner]
    y = table.y[rows]
    rarer = int(min(y.sum(), len(y) - y.sum()))
    if rarer < 2:
        return None
    fill, shift, scale = _scaling(table.numbers[rows])
    design = _design(table, rows, fill, shift, scale)
    folds = min(training.FOLDS, rarer)
    if settings.estimator == "logistic_regression":
        return RecipeFit(
            fill, shift, scale, logistic.fit_calibrated_logistic(design, y, weights, folds)
        )
    classifier = training.build_pipeline((), settings, folds).named_steps["classifier"]
    fitting = {} if weights is None else {"sample_weight": weights}
    return RecipeFit(fill, shift, scale, classifier.fit(design, y.astype(np.int64), **fitting))


def weigh_fading(rows: int, half_life: float) -> Floats:
    """Return weights (rows,) that halve every ``half_life`` rows back from the newest, which is 1.

    Source: exponential forgetting, Gama et al. (2014), ACM Computing Surveys 46(4), §3.2.
    """
    weights: Floats = 0.5 ** (np.arange(rows - 1, -1, -1) / half_life)
    return weights


def weigh_resembling(table: RecipeTable, rows: slice, newest: int) -> Floats:
    """Return weights (rows,) that make the older rows look like the ``newest`` ones.

    A classifier tells newest from older rows; its odds, cut at 20 so that no row rules the fit,
    are the weights. No label is used.

    Source: Bickel et al. (2009), JMLR 10: importance weights by discriminative learning.
    """
    fill, shift, scale = _scaling(table.numbers[rows])
    design = _design(table, rows, fill, shift, scale)
    n = len(design)
    is_new = (np.arange(n) >= n - newest).astype(np.float64)
    chance = np.clip(
        logistic.fit_calibrated_logistic(design, is_new, None, folds=0).predict(design),
        1e-9,
        1 - 1e-9,
    )
    odds = chance / (1 - chance) * (n - newest) / newest
    return np.clip(np.where(is_new == 1, np.maximum(odds, 1.0), odds), 0.0, MAX_ODDS)


def _scaling(numbers: Floats) -> tuple[Floats, Floats, Floats]:
    known = ~np.isnan(numbers)
    fill = np.zeros(numbers.shape[1])
    for column in np.flatnonzero(known.any(axis=0) & ~known.all(axis=0)):
        fill[column] = np.median(numbers[known[:, column], column])
    filled = np.where(known, numbers, fill)
    scale = filled.std(axis=0)
    return fill, filled.mean(axis=0), np.where(scale > 0, scale, 1.0)


def _design(table: RecipeTable, rows: slice, fill: Floats, shift: Floats, scale: Floats) -> Floats:
    numbers = table.numbers[rows]
    numbers = (np.where(np.isnan(numbers), fill, numbers) - shift) / scale
    return np.hstack([numbers, table.flags[rows], np.ones((len(numbers), 1))])


def _commonest(values: pd.Series) -> tuple[str, ...]:
    return tuple(sorted(values.value_counts().index[: training.MAX_CATEGORIES]))


def _one_hot(values: pd.Series, kept: tuple[str, ...]) -> Floats:
    known = np.array(kept, dtype=object)
    flags: Floats = (values.to_numpy()[:, None] == known[None, :]).astype(np.float64)
    return flags
