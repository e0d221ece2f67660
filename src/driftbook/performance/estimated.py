"""Performance without labels: CBPE and PAPE, with and without the columns, and which one counts."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy import stats

from driftbook.data.arrays import Floats
from driftbook.model import scores
from driftbook.model.row_sums import (
    BLOCKS,
    block_standard_error,
    find_worse_confidence,
)
from driftbook.model.tasks import BINARY, BinaryTask, RegressionTask
from driftbook.model.training import Model
from driftbook.performance import outcome_chance
from driftbook.performance.baseline import BaselineSide, bend_inputs, find_baseline
from driftbook.performance.expected_auc import ExpectedMetric, expect_auc
from driftbook.performance.expected_loss import (
    expect_classes,
    expect_values,
    find_graded_rows,
    grade_rows,
)
from driftbook.performance.metric_rows import (
    HoldoutBaseline,
    MetricRow,
    judge_change,
    make_metric_row,
)
from driftbook.performance.outcome_chance import CalibrationRows, ChanceCalibration

# Fewer newer labelled rows than this do not replace the reference's; of many the newest count.
MIN_HISTORY, NEWEST = 200, 2000
ESTIMATE_CONFIDENCE = 0.95
COLUMNS, RECENT = " + columns", ", recent labels"


def expect_metrics(
    p: Floats, chances: Floats, task: BinaryTask = BINARY
) -> dict[str, ExpectedMetric]:
    """Return each metric's expectation for predictions ``p`` (n,) with true ``chances`` (n,).

    Source: CBPE, NannyML (2022), and Białek et al. (2024), arXiv 2401.08348, §3; the AUC is the
    ratio of expected won pairs to expected pairs, a row never paired with itself.
    """
    found = {}
    for name in task.metrics:
        if name == "roc_auc":
            continue
        per_row = task.per_row(name)
        one, zero = per_row(np.ones_like(p), p), per_row(np.zeros_like(p), p)
        losses = chances * one + (1 - chances) * zero
        value = float(losses.mean())
        found[name] = ExpectedMetric(value, (one - zero) / len(p), losses - value)
    return {**found, "roc_auc": expect_auc(p, chances)}


def estimate_performance(
    model: Model, p: Floats, current: pd.DataFrame, history: pd.DataFrame | None, min_rows: int
) -> list[MetricRow]:
    """Return the rows of the performance table for a window whose predictions are ``p``.

    ``history``: mature labelled rows since the reference. The method that counts has the basis
    ``estimated``; others follow as ``alternative``, and none of those is ever worse.
    """
    known = find_baseline(model)
    if len(p) < min_rows:
        return [
            make_metric_row(metric, "estimated", "", len(p), base) | {"status": "insufficient"}
            for metric, base in known.baselines.items()
        ]
    if not isinstance(model.task, BinaryTask):
        return _estimate_expected(model, known, p, current, history)
    evidence = known.calibration_rows
    if history is not None:
        evidence = choose_evidence(evidence, model, take_mature_rows(model, history, len(current)))
    return estimate_binary(evidence, known.baselines, p, current, model.task)


def _estimate_expected(
    model: Model,
    known: BaselineSide,
    p: Floats,
    current: pd.DataFrame,
    history: pd.DataFrame | None,
) -> list[MetricRow]:
    """Return the rows of a window of several classes or of values; see ``expected_loss``."""
    if not set(model.feature_names) <= set(current.columns):
        return []
    evidence, task, inputs = find_graded_rows(model).rows, model.task, bend_inputs(model, current)
    if history is not None:
        recent = take_mature_rows(model, history, len(current))
        recent = recent[model.outcomes(recent) >= 0] if task.classes else recent
        if len(recent) >= MIN_HISTORY and task.count_contrast(model.outcomes(recent)) > 1:
            evidence = grade_rows(model, recent, model.predict(recent), recent=True)
    if len(evidence.y) < MIN_HISTORY:
        return [
            make_metric_row(metric, "estimated", "", len(p), base) | {"status": "insufficient"}
            for metric, base in known.baselines.items()
        ]
    if isinstance(task, RegressionTask):
        method, found = "DLE", expect_values(evidence, p, inputs, task.variance)
    else:
        found, weighted = expect_classes(task, evidence, p, inputs)
        method = "PAPE" if weighted else "CBPE"
    method += RECENT * evidence.recent
    rows: list[MetricRow] = []
    for metric, one in found.items():
        base = known.baselines[metric]
        row = make_metric_row(metric, "estimated", method, len(p), base)
        if base.score.status != "ok" or not np.isfinite(one.value):
            rows.append(row | {"status": "insufficient"})
            continue
        variance = one.outcome * base.inflation + one.fit
        whole = ExpectedMetric(one.value, np.zeros(0), one.rows)
        tests = 1 if metric == task.loss else len(task.metrics) - 1
        rows.append(row | _intervals(metric, whole, base, variance, "estimated", tests))
    return rows


def take_mature_rows(model: Model, history: pd.DataFrame, window: int) -> pd.DataFrame:
    """Return the newest labelled rows of ``history``: as many as the window, 2,000 at least."""
    return history[~np.isnan(model.outcomes(history))].tail(max(NEWEST, window))


def choose_evidence(base: CalibrationRows, model: Model, recent: pd.DataFrame) -> CalibrationRows:
    """Return what ``recent`` labelled rows say; ``base`` where it is little.

    That is with fewer than 200 rows or fewer than 10 of a class.
    """
    y = model.outcomes(recent)
    if len(y) < MIN_HISTORY or min(y.sum(), (1 - y).sum()) < scores.MIN_CLASS:
        return base
    return outcome_chance.gather_recent_rows(base, y, model.predict(recent), recent)


def estimate_binary(
    evidence: CalibrationRows,
    base: Mapping[str, HoldoutBaseline],
    p: Floats,
    current: pd.DataFrame,
    task: BinaryTask = BINARY,
) -> list[MetricRow]:
    """Return the rows of a binary model's window, by the chance of each row's outcome.

    ``+ columns`` counts where the columns say more of the outcome than the score does; PAPE where
    a classifier also sees the window's inputs differ. Where the score says all that the columns
    do, what it means cannot move with the inputs: CBPE.
    """
    design = evidence.encoding.bent(current)
    inputs = evidence.window(p, design)
    moved = outcome_chance.weigh_resemblance(evidence.design, design)
    rows: list[MetricRow] = []
    matters = moved.seen and evidence.informative
    for weighted in (matters, not matters):
        for columns in (True, False) if evidence.informative else (False,):
            fitted = outcome_chance.calibrate_chances(
                evidence, moved.weights if weighted else None, columns
            )
            method = name_method(weighted, columns, evidence.recent)
            basis = "alternative" if rows else "estimated"
            rows += _judged(task, fitted, inputs, p, base, method, basis)
    return rows


def name_method(weighted: bool, columns: bool, recent: bool) -> str:
    """Return how the table names a method.

    >>> name_method(True, True, False)
    'PAPE + columns'
    """
    return ("PAPE" if weighted else "CBPE") + COLUMNS * columns + RECENT * recent


def _judged(
    task: BinaryTask,
    fitted: ChanceCalibration,
    inputs: Floats,
    p: Floats,
    base: Mapping[str, HoldoutBaseline],
    method: str,
    basis: str,
) -> list[MetricRow]:
    chances = fitted.chances(inputs)
    found = expect_metrics(p, chances, task)
    spread = chances * (1 - chances)
    rows = []
    for metric in task.metrics:
        one, known = found[metric], base[metric]
        row = make_metric_row(metric, basis, method, len(p), known)
        if not np.isfinite(one.value) or known.score.status != "ok":
            undefined = known.score.status == "ok"
            rows.append(row | {"status": "undefined" if undefined else "insufficient"})
            continue
        gradient = (one.slope * spread) @ inputs[:, fitted.used]
        calibration = float(gradient @ fitted.covariance @ gradient)
        outcomes = float(np.square(one.slope) @ spread) * known.inflation
        tests = 1 if metric == task.loss else len(task.metrics) - 1
        rows.append(row | _intervals(metric, one, known, outcomes + calibration, basis, tests))
    return rows


def _intervals(
    metric: str,
    one: ExpectedMetric,
    known: HoldoutBaseline,
    variance: float,
    basis: str,
    tests: int,
) -> MetricRow:
    """Return value and change with their intervals.

    The value's holds for what comes true on the window's rows; the change's adds which rows came
    and the holdout's own error, as if it and the calibration were independent, which only widens.
    """
    half = float(stats.t.ppf(0.5 + ESTIMATE_CONFIDENCE / 2, BLOCKS - 1) * np.sqrt(variance))
    rows_came, df = block_standard_error(one.influence)
    change = one.value - known.score.value
    error = float(np.hypot(np.sqrt(variance), rows_came)), df
    confidence = find_worse_confidence(tests)
    judged = judge_change(metric, change, error, (known.error, known.df), confidence)
    found = {
        "status": "ok",
        "value": one.value,
        "ci_low": one.value - half,
        "ci_high": one.value + half,
        **judged,
    }
    return found if basis == "estimated" else found | {"worse": False}
