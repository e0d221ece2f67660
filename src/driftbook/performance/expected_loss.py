"""Expected losses without labels, for several classes and for values: what the window's rows cost.

Several classes: the champion's chances, calibrated on rows that trained no fit, say how likely each
outcome is. Values: a loss is learnt from inputs and prediction on such rows, out of fold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingRegressor

from driftbook.data.arrays import Floats
from driftbook.model import class_scores, threads
from driftbook.model.calibrated import fit_score_calibration
from driftbook.model.model_side import ModelSide, keep_while_model_lives
from driftbook.model.row_sums import block_standard_error
from driftbook.model.tasks import Task
from driftbook.model.training import Model
from driftbook.performance.baseline import bend_inputs
from driftbook.performance.expected_auc import expect_auc, rank_distinct
from driftbook.performance.outcome_chance import weigh_resemblance

# Of more rows every k-th one is taken: more make an estimate no better than its assumptions.
MOST_EVIDENCE = 5000
# Contiguous parts of the evidence: each is left out once, for an error that dependence in time
# does not fool.
PARTS = 8


@dataclass(frozen=True)
class GradedRows:
    """Rows that trained no fit, in time order: outcomes, predictions and bent inputs."""

    y: Floats
    p: Floats
    inputs: Floats
    recent: bool

    def without(self, part: int) -> GradedRows:
        """Return the rows without one of the contiguous parts."""
        kept = np.arange(len(self.y)) * PARTS // len(self.y) != part
        return GradedRows(self.y[kept], self.p[kept], self.inputs[kept], self.recent)


class GradedSide(ModelSide):
    """A model's own graded rows, made when first used."""

    @cached_property
    def rows(self) -> GradedRows:
        """Return the holdout's rows with the predictions of the fit that never saw them."""
        return grade_rows(self.model, self.model.holdout, self.model.holdout_scores, recent=False)


@keep_while_model_lives
def find_graded_rows(model: Model) -> GradedSide:
    """Return the rows of the reference on which expectations rest."""
    return GradedSide(model)


@dataclass(frozen=True)
class RowExpectation:
    """What a metric of a window is expected to be, row by row.

    ``value``: the metric; ``rows``: mean 0, the share of each row's inputs in it; ``outcome``: the
    variance that outcomes add to it; ``fit``: that of what it rests on.
    """

    value: float
    rows: Floats
    outcome: float
    fit: float


def grade_rows(model: Model, frame: pd.DataFrame, p: Floats, recent: bool) -> GradedRows:
    """Return labelled rows of ``frame`` with the predictions ``p`` made for them."""
    every = slice(None, None, 1 + (len(frame) - 1) // MOST_EVIDENCE)
    rows = frame.iloc[every]
    return GradedRows(model.outcomes(rows), p[every], bend_inputs(model, rows), recent)


def expect_classes(
    task: Task, evidence: GradedRows, p: Floats, inputs: Floats
) -> tuple[dict[str, RowExpectation], bool]:
    """Return by metric what is expected of chances ``p`` (n, classes), and whether rows weigh.

    They weigh where a classifier tells the window from the evidence: then rows like the window's
    count more.

    Source: CBPE and PAPE, Białek et al. (2024), arXiv 2401.08348, here a class at a time; the error
    of the calibration by the jackknife over blocks, Künsch (1989), Ann. Stat. 17.
    """
    moved = weigh_resemblance(evidence.inputs, inputs)
    weights = moved.weights if moved.seen else np.ones(len(evidence.y))
    whole = _expect_from(task, evidence, weights, p)
    share = np.arange(len(evidence.y)) * PARTS // len(evidence.y)
    parts = [_expect_from(task, evidence.without(k), weights[share != k], p) for k in range(PARTS)]
    found = {}
    for name, one in whole.items():
        values = np.array([part[name].value for part in parts])
        spread = float(np.square(values - values.mean()).sum() * (PARTS - 1) / PARTS)
        found[name] = RowExpectation(one.value, one.rows, one.outcome, spread)
    return found, moved.seen


def calibrate_classes(task: Task, evidence: GradedRows, weights: Floats, p: Floats) -> Floats:
    """Return the chances (n, classes) that predictions ``p`` stand for on the evidence."""
    found = fit_score_calibration(task.to_scores(evidence.p), evidence.y, weights, task)
    return task.from_scores(found.moved(task.to_scores(p)))


def _expect_from(
    task: Task, evidence: GradedRows, weights: Floats, p: Floats
) -> dict[str, RowExpectation]:
    chances = calibrate_classes(task, evidence, weights, p)
    found = {}
    for metric in task.metrics:
        if metric == "roc_auc":
            found[metric] = _expect_macro_auc(p, chances)
            continue
        losses = list_class_losses(metric, p)
        mean = (chances * losses).sum(axis=1)
        spread = (chances * np.square(losses)).sum(axis=1) - np.square(mean)
        value, n = float(mean.mean()), len(p)
        found[metric] = RowExpectation(value, mean - value, float(spread.sum()) / n**2, 0.0)
    return found


def list_class_losses(metric: str, p: Floats) -> Floats:
    """Return the loss of each row if each class came, shape (n, classes)."""
    n, classes = p.shape
    return np.column_stack(
        [class_scores.measure_class_losses(metric, np.full(n, float(k)), p) for k in range(classes)]
    )


def _expect_macro_auc(p: Floats, chances: Floats) -> RowExpectation:
    each = [expect_auc(rank_distinct(p[:, k]), chances[:, k]) for k in range(p.shape[1])]
    slopes = np.column_stack([one.slope for one in each]) / len(each)
    mean = (chances * slopes).sum(axis=1)
    spread = (chances * np.square(slopes)).sum(axis=1) - np.square(mean)
    value = float(np.mean([one.value for one in each]))
    rows = np.mean([one.influence for one in each], axis=0)
    return RowExpectation(value, rows, float(spread.sum()), 0.0)


@dataclass(frozen=True)
class LossRule:
    """How large a loss is expected to be by inputs and prediction, learnt on graded rows.

    ``said``: out-of-fold expectations of the evidence's own losses (n,); ``useful``: they are
    nearer to them than their mean is, otherwise that mean is all that is said.
    """

    losses: Floats
    said: Floats
    useful: bool
    fitted: HistGradientBoostingRegressor

    def expect(self, table: Floats) -> Floats:
        """Return the expected loss of each row of inputs and prediction, at least 0."""
        mean = float(self.losses.mean())
        if not self.useful:
            return np.full(len(table), mean)
        # The fit's own mean on the evidence is moved to the realised one.
        moved = self.fitted.predict(table) + mean - float(self.said.mean())
        return np.asarray(np.maximum(0.0, moved))


@threads.one_tree_thread()
def fit_loss_rule(losses: Floats, table: Floats) -> LossRule:
    """Return the rule for ``losses`` (n,) of rows of inputs and prediction, ``table`` (n, k).

    Source: direct loss estimation, NannyML (2023), documentation of DLE; folds are contiguous, so
    that neighbours in time do not tell on each other.
    """
    share = np.arange(len(losses)) * PARTS // len(losses)
    said = np.empty(len(losses))
    for k in range(PARTS):
        said[share == k] = (
            _make_regressor().fit(table[share != k], losses[share != k]).predict(table[share == k])
        )
    better = np.square(losses - losses.mean()) - np.square(losses - said)
    error, _ = block_standard_error(better)
    useful = bool(better.mean() > error)
    return LossRule(losses, said, useful, _make_regressor().fit(table, losses))


def _make_regressor() -> HistGradientBoostingRegressor:
    return HistGradientBoostingRegressor(
        max_iter=60, max_leaf_nodes=8, min_samples_leaf=40, learning_rate=0.08, random_state=0
    )


def expect_values(
    evidence: GradedRows, p: Floats, inputs: Floats, variance: float
) -> Mapping[str, RowExpectation]:
    """Return by metric what is expected of predicted values ``p`` (n,); R² from both.

    ``variance``: the target's in the reference. The outcomes' variance in the window is taken as
    that of the predictions plus the expected squared error, as it is where both are unrelated.
    """
    table, past = np.column_stack([inputs, p]), np.column_stack([evidence.inputs, evidence.p])
    errors = evidence.y - evidence.p
    absolute = _expect_mean(fit_loss_rule(np.abs(errors), past), table)
    squared = _expect_mean(fit_loss_rule(np.square(errors), past), table)
    root = float(np.sqrt(squared.value))
    spread = float(p.var()) + squared.value
    return {
        "mae": absolute,
        "rmse": _scale(squared, root, 1.0 / (2.0 * root) if root else 0.0),
        "r2": _scale(squared, 1.0 - squared.value / spread, -float(p.var()) / spread**2),
        "squared_error": _scale(squared, squared.value / variance, 1.0 / variance),
    }


def _expect_mean(rule: LossRule, table: Floats) -> RowExpectation:
    rows = rule.expect(table)
    residual = rule.losses - (rule.said if rule.useful else rule.losses.mean())
    error, _ = block_standard_error(residual)
    # What the window's outcomes add, were they as dependent as the evidence's.
    outcome = error**2 * len(residual) / len(rows)
    value = float(rows.mean())
    return RowExpectation(value, rows - value, outcome, error**2)


def _scale(one: RowExpectation, value: float, slope: float) -> RowExpectation:
    """Return a function of an expected mean: its value and derivative there."""
    square = slope**2
    return RowExpectation(value, slope * one.rows, square * one.outcome, square * one.fit)
