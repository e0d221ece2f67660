"""Performance without labels: CBPE and PAPE, with and without the columns, and how each counts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from driftbook.data.arrays import Floats, Ints
from driftbook.data.sampling import draw_rows
from driftbook.model import scores
from driftbook.model.row_sums import block_standard_error, find_worse_confidence
from driftbook.model.tasks import BINARY, BinaryTask, RegressionTask, Task
from driftbook.model.training import Model
from driftbook.performance import outcome_chance
from driftbook.performance.baseline import bend_inputs, find_baseline
from driftbook.performance.estimate_mix import (
    WIDTH,
    Estimate,
    GradedWindow,
    mix_estimates,
    widen_by_others,
)
from driftbook.performance.expected_auc import ExpectedMetric, expect_auc, rank_distinct
from driftbook.performance.expected_loss import (
    GradedRows,
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
# How many windows grade the methods, the newest; what learns with trees takes longer.
MOST_GRADED, FEW_GRADED = 6, 3
# Of larger windows so many rows are drawn: of 200,000 rows that moved estimates by 6% of their half
# intervals and widened those by a tenth to a quarter, in a quarter of the time.
MOST_ESTIMATED = 50_000
COLUMNS, RECENT = " + columns", ", recent labels"

Evidence = CalibrationRows | GradedRows


def expect_metrics(
    p: Floats, chances: Floats, task: BinaryTask = BINARY, ranks: Ints | None = None
) -> dict[str, ExpectedMetric]:
    """Return each metric's expectation for predictions ``p`` (n,) with true ``chances`` (n,).

    ``ranks``: of the predictions, where they are known already.

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
    ranks = rank_distinct(p) if ranks is None else ranks
    return {**found, "roc_auc": expect_auc(ranks, chances)}


def estimate_performance(
    model: Model,
    p: Floats,
    current: pd.DataFrame,
    history: pd.DataFrame | None,
    min_rows: int,
    blind: bool = True,
) -> list[MetricRow]:
    """Return the rows of the performance table for a window whose predictions are ``p``.

    ``history``: mature labelled rows since the reference. The estimate that counts has the basis
    ``estimated``; others follow as ``alternative``, and none of those is ever worse. In a ``blind``
    window, whose own labels are not known, all methods count, weighed by how far they were off in
    earlier windows; before any label has come, and where labels say it all, the one that the rows
    speak for.
    """
    known = find_baseline(model)
    if not {*model.feature_names} <= {*current.columns}:
        return []
    mature = None if history is None else history[~np.isnan(model.outcomes(history))]
    evidence = _find_evidence(model, mature, len(current)) if len(p) >= min_rows else []
    if not evidence:
        return [
            make_metric_row(metric, "estimated", "", len(p), base) | {"status": "insufficient"}
            for metric, base in known.baselines.items()
        ]
    past: dict[str, list[GradedWindow]] = {}
    if blind and mature is not None:
        past = _grade_windows(model, mature, max(min_rows, len(current)))
    found = _expect_each(model, evidence if past else evidence[:1], p, current, bool(past))
    rows: list[MetricRow] = []
    for place in range(max(len(each) for each in found.values()) + 1):
        for metric, base in known.baselines.items():
            each = found[metric]
            if past.get(metric):
                each = [mix_estimates(each, past[metric]), *each]
            elif each:
                each = [widen_by_others(each), *each[1:]]
            if place < len(each):
                rows.append(_tell(model.task, metric, each[place], base, place == 0))
    return rows


def _find_evidence(model: Model, mature: pd.DataFrame | None, window: int) -> list[Evidence]:
    """Return the rows that estimates rest on: of newer labels where these are enough, then own."""
    binary = isinstance(model.task, BinaryTask)
    own = find_baseline(model).calibration_rows if binary else find_graded_rows(model).rows
    found: list[Evidence] = [own] if binary or len(own.y) >= MIN_HISTORY else []
    if mature is None:
        return found
    recent = mature.tail(max(NEWEST, window))
    if isinstance(own, CalibrationRows):
        newer = choose_evidence(own, model, recent)
        return found if newer is own else [newer, *found]
    recent = recent[model.outcomes(recent) >= 0] if model.task.classes else recent
    enough = len(recent) >= MIN_HISTORY and model.task.count_contrast(model.outcomes(recent)) > 1
    graded = [grade_rows(model, recent, model.predict(recent), recent=True)] if enough else []
    return [*graded, *found]


def _grade_windows(model: Model, mature: pd.DataFrame, size: int) -> dict[str, list[GradedWindow]]:
    """Return by metric what the methods said of the newest windows before their labels came.

    A window is ``size`` rows; each is estimated from what was known before it.
    """
    most = MOST_GRADED if isinstance(model.task, BinaryTask) else FEW_GRADED
    count = min(most, len(mature) // size)
    found: dict[str, list[GradedWindow]] = {metric: [] for metric in model.task.metrics}
    now = max(1, len(_find_evidence(model, mature, size)))
    for k in range(count, 0, -1):
        start = len(mature) - k * size
        rows = mature.iloc[start : start + size].reset_index(drop=True)
        before = _find_evidence(model, mature.iloc[:start], size)[-now:]
        if not before:
            continue
        y, p = model.outcomes(rows), model.predict(rows)
        said = _expect_each(model, before, p, rows, every=True)
        for metric, each in said.items():
            came = model.task.score_metric(metric, y, p)
            values = np.array([one.value for one in each])
            if came.status == "ok" and np.isfinite(values).all():
                # Methods that ask for newer labels had no say before there were any.
                silent = np.full(max(0, len(each) * now // len(before) - len(each)), np.nan)
                luck = float(came.influence.std()) / np.sqrt(came.n)
                found[metric].append(GradedWindow(np.append(silent, values), came.value, luck))
    return found if any(found.values()) else {}


def _expect_each(
    model: Model, evidence: Sequence[Evidence], p: Floats, frame: pd.DataFrame, every: bool
) -> dict[str, list[Estimate]]:
    """Return by metric what each method expects; of each evidence the one to choose comes first.

    ``every``: methods that the rows do not speak for are asked too. Of more than ``MOST_ESTIMATED``
    rows so many are drawn, and the estimate holds for what comes true on those, which only widens.
    """
    if len(p) > MOST_ESTIMATED:
        drawn = draw_rows(len(p), MOST_ESTIMATED)
        p, frame = p[drawn], frame.iloc[drawn]
    found: dict[str, list[Estimate]] = {metric: [] for metric in model.task.metrics}
    for one in evidence:
        if isinstance(one, CalibrationRows):
            part = expect_binary(model, one, p, frame, every)
        else:
            part = _expect_rows(model, one, p, frame)
        for metric, each in part.items():
            found[metric] += each
    return found


def _expect_rows(
    model: Model, evidence: GradedRows, p: Floats, frame: pd.DataFrame
) -> dict[str, list[Estimate]]:
    """Return what is expected of several classes or of values; see ``expected_loss``."""
    task, inputs = model.task, bend_inputs(model, frame)
    if isinstance(task, RegressionTask):
        method, found = "DLE", expect_values(evidence, p, inputs, task.variance)
    else:
        found, weighted = expect_classes(task, evidence, p, inputs)
        method = "PAPE" if weighted else "CBPE"
    method += RECENT * evidence.recent
    baselines = find_baseline(model).baselines
    return {
        metric: [
            Estimate(
                method, one.value, one.outcome * baselines[metric].inflation + one.fit, one.rows
            )
        ]
        for metric, one in found.items()
    }


def choose_evidence(base: CalibrationRows, model: Model, recent: pd.DataFrame) -> CalibrationRows:
    """Return what ``recent`` labelled rows say; ``base`` where it is little.

    That is with fewer than 200 rows or fewer than 10 of a class.
    """
    y = model.outcomes(recent)
    if len(y) < MIN_HISTORY or min(y.sum(), (1 - y).sum()) < scores.MIN_CLASS:
        return base
    return outcome_chance.gather_recent_rows(base, y, model.predict(recent), recent)


def expect_binary(
    model: Model, evidence: CalibrationRows, p: Floats, frame: pd.DataFrame, every: bool
) -> dict[str, list[Estimate]]:
    """Return what each method expects of a binary model's window, by each row's chance.

    First comes ``+ columns`` where the columns say more of the outcome than the score does, and
    PAPE where a classifier also sees the window's inputs differ. Where the score says all that the
    columns do, what it means cannot move with the inputs: CBPE, and nothing with columns. Where
    ``every`` method is asked, they come in one order whatever the rows say.
    """
    inputs = evidence.window(p, frame)
    told = evidence.encoding.bent(frame.iloc[outcome_chance.thin_rows(len(frame))])
    moved = outcome_chance.weigh_resemblance(evidence.design, told)
    found: dict[str, list[Estimate]] = {metric: [] for metric in model.task.metrics}
    ranks = rank_distinct(p)
    matters = every or (moved.seen and evidence.informative)
    for weighted in (matters, not matters):
        for columns in (True, False) if every or evidence.informative else (False,):
            fitted = outcome_chance.calibrate_chances(
                evidence, moved.weights if weighted else None, columns
            )
            method = name_method(weighted, columns, evidence.recent)
            for metric, one in _expect_from(model, fitted, inputs, p, ranks, method).items():
                found[metric].append(one)
    return found


def name_method(weighted: bool, columns: bool, recent: bool) -> str:
    """Return how the table names a method.

    >>> name_method(True, True, False)
    'PAPE + columns'
    """
    return ("PAPE" if weighted else "CBPE") + COLUMNS * columns + RECENT * recent


def _expect_from(
    model: Model,
    fitted: ChanceCalibration,
    inputs: Floats,
    p: Floats,
    ranks: Ints,
    method: str,
) -> dict[str, Estimate]:
    chances = fitted.chances(inputs)
    spread = chances * (1 - chances)
    found = {}
    task = model.task if isinstance(model.task, BinaryTask) else BINARY
    for metric, one in expect_metrics(p, chances, task, ranks).items():
        gradient = (one.slope * spread) @ inputs[:, fitted.used]
        calibration = float(gradient @ fitted.covariance @ gradient)
        inflation = find_baseline(model).baselines[metric].inflation
        outcomes = float(np.square(one.slope) @ spread) * inflation
        found[metric] = Estimate(method, one.value, outcomes + calibration, one.influence)
    return found


def _tell(
    task: Task, metric: str, one: Estimate, known: HoldoutBaseline, counts: bool
) -> MetricRow:
    """Return an estimate as a row of the table, its value and change with their intervals.

    The value's holds for what comes true on the window's rows; the change's adds which rows came
    and the holdout's own error, as if it and the calibration were independent, which only widens.
    """
    row = make_metric_row(
        metric, "estimated" if counts else "alternative", one.method, len(one.rows), known
    )
    if known.score.status != "ok":
        return row | {"status": "insufficient"}
    if not np.isfinite(one.value):
        return row | {"status": "undefined"}
    half = WIDTH * float(np.sqrt(one.variance))
    rows_came, df = block_standard_error(one.rows)
    change = one.value - known.score.value
    error = float(np.hypot(np.sqrt(one.variance), rows_came)), df
    confidence = find_worse_confidence(1 if metric == task.loss else len(task.metrics) - 1)
    judged = judge_change(metric, change, error, (known.error, known.df), confidence)
    found = {
        "status": "ok",
        "value": one.value,
        "ci_low": one.value - half,
        "ci_high": one.value + half,
        **judged,
    }
    return row | (found if counts else found | {"worse": False})
