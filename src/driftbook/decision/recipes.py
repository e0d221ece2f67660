"""What a retrain learns from: which rows, and how much each of them counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd
from pandas.api.types import is_datetime64_any_dtype
from scipy import special
from sklearn.pipeline import Pipeline

from driftbook.data.arrays import Floats
from driftbook.errors import UsageError
from driftbook.model import logistic
from driftbook.model.calibrated import (
    apply_pipeline,
    fit_score_calibration,
    read_scores,
    rows_before_holdout,
    weights_before,
)
from driftbook.model.design import BlockScaling, BlockTable, fit_block_scaling
from driftbook.model.estimators import build_estimator
from driftbook.model.fitting import TrainingRows, fit_twice
from driftbook.model.imported import ENCODED, FeatureForm
from driftbook.model.score_calibration import ScoreCalibration
from driftbook.model.tasks import Task
from driftbook.model.training import Model
from driftbook.settings import ModelSettings

BASE_RECIPE = "recent"
# Half-lives of the fading recipes as shares of the block: they count about as much as the newest
# three quarters, half and quarter of it.
FADING = {"fading_slow": 1 / 3, "fading": 1 / 6, "fading_fast": 1 / 12}
# What the season was: older rows up to so many days of the year from the newest one.
SEASON, SEASON_DAYS, YEAR_DAYS = "season", 45, 366
MAX_ODDS = 20.0
# More rows of the same kind change a linear fit by less than a trial can see.
MOST_TRIAL_ROWS = 50_000
MOST_WEIGHED_ROWS = 10_000


class BlockFit(Protocol):
    """A fitted recipe."""

    def predict(self, table: BlockTable, rows: slice) -> Floats:
        """Return the prediction for the table's ``rows``."""


@dataclass(frozen=True)
class PipelineFit:
    """A fitted pipeline with its calibration, for an estimator of the owner's own."""

    pipeline: Pipeline
    task: Task

    def predict(self, table: BlockTable, rows: slice) -> Floats:
        """Return the prediction for the table's ``rows``."""
        return apply_pipeline(self.pipeline, table.inputs.iloc[rows], self.task)


@dataclass(frozen=True)
class DesignFit:
    """A fitted recipe: how it scales a table's rows, how it scores them, and its calibration."""

    scaling: BlockScaling
    score: Callable[[Floats], Floats]
    calibration: ScoreCalibration
    task: Task

    def predict(self, table: BlockTable, rows: slice) -> Floats:
        """Return the prediction for the table's ``rows``."""
        found = self.score(self.scaling.design(table, rows))
        return self.task.from_scores(self.calibration.moved(found))


def count_block_rows(model: Model) -> int:
    """Return how many rows the sliding block holds: as many as the first model's reference."""
    return int(model.origin.get("block_rows", len(model.reference)))


def plan_rows(
    recipe: str, stop: int, block: int, stamps: pd.DatetimeIndex | None = None
) -> tuple[slice, Floats | None]:
    """Return the rows before ``stop`` that ``recipe`` learns from, and their weights.

    ``stamps``: the time of each row, for the recipe of the season; rows of weight 0 are left out.
    """
    if recipe == SEASON and stamps is not None:
        return slice(0, stop), weigh_season(stamps[:stop], block)
    if recipe in ("everything", "weighted"):
        return slice(max(0, stop - max(block, MOST_TRIAL_ROWS)), stop), None
    rows = slice(max(0, stop - block), stop)
    share = FADING.get(recipe)
    return rows, None if share is None else weigh_fading(stop - rows.start, share * block)


def fit_block(
    table: BlockTable,
    rows: slice,
    weights: Floats | None,
    settings: ModelSettings,
    task: Task,
    form: FeatureForm = ENCODED,
) -> BlockFit | None:
    """Return the model's estimator fitted and calibrated on ``rows``; None where all are alike.

    Numbers are imputed, scaled and the scores calibrated as in ``training.train``. ``weights``: one
    a row of the block, times the owner's. ``form``: how an imported estimator takes the features;
    rows that it cannot be fitted on give None too. Of a longer block every k-th row is taken, so
    that at most 10,000 are fitted: a trial compares, the version is trained on all.
    """
    if weights is not None and not weights.all():
        kept = weights > 0.0
        table, rows, weights = table.taken(rows, kept), slice(0, int(kept.sum())), weights[kept]
    step = rows.step or 1
    thinner = 1 + ((rows.stop - rows.start - 1) // step) // MOST_WEIGHED_ROWS
    rows = slice(rows.start, rows.stop, step * thinner)
    weights = None if weights is None else weights[::thinner]
    if table.weights is not None:
        weights = table.weights[rows] * (1.0 if weights is None else weights)
        kept = weights > 0.0
        table, rows, weights = table.taken(rows, kept), slice(0, int(kept.sum())), weights[kept]
    y = table.y[rows]
    if task.count_contrast(y) < 2:
        return None
    if settings.is_imported:
        return _fit_pipeline(table, rows, weights, settings, task, form)
    scaling = fit_block_scaling(table.numbers[rows])
    design = scaling.design(table, rows)
    start = rows_before_holdout(len(y), settings.holdout)
    calibration = ScoreCalibration()
    if task.count_contrast(y[:start]):
        before = weights_before(weights, start)
        older = _fit_scorer(design[:start], y[:start], before, settings, task)
        later = None if weights is None else weights[start:]
        calibration = fit_score_calibration(older(design[start:]), y[start:], later, task)
    return DesignFit(scaling, _fit_scorer(design, y, weights, settings, task), calibration, task)


def _fit_pipeline(
    table: BlockTable,
    rows: slice,
    weights: Floats | None,
    settings: ModelSettings,
    task: Task,
    form: FeatureForm,
) -> PipelineFit | None:
    inputs, y = table.inputs.iloc[rows].reset_index(drop=True), table.y[rows]
    once = settings.model_copy(update={"refit": False})
    given = TrainingRows(inputs, y, weights, table.features, once, task, form)
    try:
        return PipelineFit(fit_twice(given, len(y))[0], task)
    except UsageError:
        return None  # it was fitted on the reference: these rows are odd, not the settings


def _fit_scorer(
    design: Floats, y: Floats, weights: Floats | None, settings: ModelSettings, task: Task
) -> Callable[[Floats], Floats]:
    """Return what turns a design into scores on the task's scale, not calibrated."""
    if settings.estimator == "linear" and task.name == "binary":
        coefficients = logistic.fit_logistic(design, y, weights)
        return lambda other: other @ coefficients
    estimator = build_estimator(settings, task, design.shape[1])
    estimator.fit(design, y.astype(np.int64) if task.classes else y, sample_weight=weights)
    return lambda other: read_scores(estimator, other, task.link, max(2, len(task.classes)))


def weigh_fading(rows: int, half_life: float) -> Floats:
    """Return weights (rows,) that halve every ``half_life`` rows back from the newest, which is 1.

    Source: exponential forgetting, Gama et al. (2014), ACM Computing Surveys 46(4), §3.2.
    """
    weights: Floats = 0.5 ** (np.arange(rows - 1, -1, -1) / half_life)
    return weights


def weigh_season(stamps: pd.DatetimeIndex, block: int) -> Floats:
    """Return 1 for each of the newest ``block`` rows and of those of its season, else 0; (rows,).

    The season: rows whose day of the year is at most 45 from that of the newest one.
    """
    days = stamps.day_of_year.to_numpy()
    apart = np.abs(days - days[-1])
    same = np.minimum(apart, YEAR_DAYS - apart) <= SEASON_DAYS
    same[max(0, len(same) - block) :] = True
    return np.asarray(same, dtype=np.float64)


def read_stamps(rows: pd.DataFrame, column: str | None) -> pd.DatetimeIndex | None:
    """Return the time of each row; None where ``column`` is absent or holds no times."""
    if column is None or column not in rows or not is_datetime64_any_dtype(rows[column]):
        return None
    return pd.DatetimeIndex(rows[column])


def has_season(stamps: pd.DatetimeIndex | None, stop: int, block: int, least: int) -> bool:
    """Return whether at least ``least`` rows older than the block are of the season of ``stop``."""
    if stamps is None or stop <= block:
        return False
    older = weigh_season(stamps[:stop], block)[: stop - block]
    return bool(older.sum() >= least)


def weigh_resembling(table: BlockTable, rows: slice, newest: int) -> Floats:
    """Return weights (rows,) that make the older rows look like the ``newest`` ones.

    A classifier tells newest from older rows; its odds, cut at 20 so that no row rules the fit,
    are the weights. No label is used.

    Source: Bickel et al. (2009), JMLR 10: importance weights by discriminative learning.
    """
    design = fit_block_scaling(table.numbers[rows]).design(table, rows)
    n = len(design)
    is_new = (np.arange(n) >= n - newest).astype(np.float64)
    told = special.expit(design @ logistic.fit_logistic(design, is_new))
    chance = np.clip(told, 1e-9, 1 - 1e-9)
    odds = chance / (1 - chance) * (n - newest) / newest
    weights: Floats = np.clip(np.where(is_new == 1, np.maximum(odds, 1.0), odds), 0.0, MAX_ODDS)
    return weights
