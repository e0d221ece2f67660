"""How well the champion does on the current rows, against its own temporal holdout."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from driftbook.data.arrays import Floats
from driftbook.drift.reference import find_reference
from driftbook.model import threads
from driftbook.model.row_sums import (
    FALSE_WORSE_RATE,
    block_standard_error,
    difference_half_width,
    find_worse_confidence,
    window_standard_errors,
)
from driftbook.model.task_curves import score_no_skill
from driftbook.model.tasks import Task
from driftbook.model.training import Model
from driftbook.performance import estimated
from driftbook.performance.baseline import find_baseline
from driftbook.performance.metric_rows import (
    HoldoutBaseline,
    MetricRow,
    judge_change,
    make_metric_row,
    tabulate_metric_rows,
)
from driftbook.performance.own_metrics import check_metrics, judge_own_metrics, load_metrics
from driftbook.performance.verdicts import (
    INTERVAL,
    TOLERATED_SHARE,
    add_verdicts,
    name_verdict,
)
from driftbook.settings import Settings


@dataclass(frozen=True)
class ScoredRows:
    """What the champion said about rows and what came true, as ``model.tasks`` writes both.

    ``y`` is NaN where the outcome is not known yet.
    """

    y: Floats
    p: Floats


@threads.one_blas_thread()
def judge_performance(
    model: Model,
    current: pd.DataFrame,
    settings: Settings,
    history: pd.DataFrame | None = None,
    scored: ScoredRows | None = None,
) -> pd.DataFrame:
    """Return a row a metric and basis: realised where labels are known, estimated for all rows.

    ``value``, ``baseline`` (the champion's temporal holdout) and ``change`` come with 95%
    intervals, two-sided; that of an estimated value holds for what comes true in the window.
    ``no_skill``: what always saying what is usual in the training rows would score on the labels.
    ``verdict``: ``worse`` (the interval of the change lies wholly on the bad side), ``no worse``
    (it excludes a change that matters: ``policy.tolerance``), or ``can't tell yet``. ``worse``:
    sure enough to act on, where the loss is: at most 1% of windows without any change are, and 1%
    in any other metric (Bonferroni). ``basis``: ``realised``,
    ``estimated`` (one method a metric, named by ``method``), ``alternative`` (what other methods
    say; shown, never worse), or ``own`` (the owner's metrics, without a verdict). ``history``:
    mature labelled rows since the reference, which calibrate the estimate where there are enough;
    ``scored``: the rows of ``current`` where they are scored already. ``status``: ``ok``,
    ``insufficient`` (fewer labelled rows than ``policy.min_rows``, or an AUC with fewer than 10
    rows of a class), ``one_class`` (an AUC without a pair to rank), ``undefined`` (the estimate has
    no value), ``not_scored`` (a feature column is absent). Values that cannot be had are NaN.

    Source: standard errors from means of contiguous blocks, Ibragimov and Müller (2010), JBES 28,
    which stay valid where neighbouring rows depend on each other; Welch (1947) for two samples.
    """
    rows = score_if_complete(model, current) if scored is None else scored
    if rows is None:
        blank = [make_metric_row(m, "estimated", "", len(current)) for m in model.task.metrics]
        return tabulate_metric_rows(blank).assign(status="not_scored")
    with_labels = _judge_labels(model, rows, settings)
    past = None
    needed = {*model.feature_names, *model.input_names}
    if history is not None and needed <= set(history.columns):
        past = model.keep_predicted(history)
    without_labels = estimated.estimate_performance(
        model,
        rows.p,
        current,
        past,
        settings.policy.min_rows,
        blind=int((~np.isnan(rows.y)).sum()) < settings.policy.min_rows,
    )
    own = _judge_own(model, rows, settings)
    table = pd.concat(
        [with_labels, tabulate_metric_rows([*own, *without_labels])], ignore_index=True
    )
    return add_verdicts(table, model.task.loss, settings.policy.tolerance)


def judge_what_counts(
    model: Model,
    current: pd.DataFrame,
    settings: Settings,
    history: pd.DataFrame | None = None,
    scored: ScoredRows | None = None,
) -> pd.DataFrame:
    """Return a table of whose rows the same count as in :func:`judge_performance`'s.

    What would not count is not looked for: an estimate beside labels takes ten times as long as
    they do.
    """
    rows = score_if_complete(model, current) if scored is None else scored
    if rows is not None:
        with_labels = _judge_labels(model, rows, settings)
        if len(find_counting_rows(with_labels)):
            return with_labels
    return judge_performance(model, current, settings, history, rows)


def _judge_labels(model: Model, rows: ScoredRows, settings: Settings) -> pd.DataFrame:
    slack = find_reference(model).mean_slack(settings.drift.min_effect)
    return judge_realised(model, rows, settings.policy.min_rows, slack)


def _judge_own(model: Model, rows: ScoredRows, settings: Settings) -> list[MetricRow]:
    metrics = load_metrics(settings)
    holdout = score_holdout(model)
    check_metrics(metrics, holdout.y, holdout.p)
    now, before = (rows.y, rows.p), (holdout.y, holdout.p)
    return list(judge_own_metrics(metrics, now, before, settings.policy.min_rows))


def find_counting_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Return the judged rows that count: realised ones, estimated ones where no label is known."""
    judged = table[table["status"] == "ok"]
    realised = judged[judged["basis"] == "realised"]
    return realised if len(realised) else judged[judged["basis"] == "estimated"]


def find_worse_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that count and are called worse."""
    counting = find_counting_rows(table)
    return counting[counting["worse"].astype(bool)]


def judge_realised(
    model: Model, rows: ScoredRows, min_rows: int, slack: Floats | float = 0.0
) -> pd.DataFrame:
    """Return the realised part of :func:`judge_performance`'s table for rows scored already.

    ``slack``: by output how far harmless moves of the columns may move the mean prediction.
    """
    side = find_baseline(model)
    table = [
        _judge_metric(model.task, metric, base, rows, min_rows)
        for metric, base in side.baselines.items()
    ]
    if side.usual_outcome is not None:
        bare = score_no_skill(model.task, side.usual_outcome, rows.y)
        table = [row | {"no_skill": bare[str(row["metric"])]} for row in table]
    table.append(_judge_calibration(model, rows, min_rows, slack))
    return tabulate_metric_rows(table)


def score_outcomes(model: Model, frame: pd.DataFrame) -> ScoredRows:
    """Return the champion's predictions with the outcomes; what is no label is unknown."""
    return ScoredRows(model.outcomes(frame), model.predict(frame))


def score_if_complete(model: Model, frame: pd.DataFrame) -> ScoredRows | None:
    """Return :func:`score_outcomes` of the rows, None where a feature is no column of them."""
    return score_outcomes(model, frame) if set(model.input_names) <= set(frame.columns) else None


def score_holdout(model: Model) -> ScoredRows:
    """Return the champion's predictions and outcomes on its temporal holdout."""
    return ScoredRows(model.holdout_outcomes, model.holdout_scores)


def _judge_metric(
    task: Task, metric: str, base: HoldoutBaseline, rows: ScoredRows, min_rows: int
) -> MetricRow:
    now = task.score_metric(metric, rows.y, rows.p)
    row = make_metric_row(metric, "realised", "labels", now.n, base)
    if now.n < min_rows or now.status != "ok":
        undefined = now.status in ("one_class", "constant")
        return row | {"status": now.status if undefined else "insufficient"}
    row |= {"status": "ok", "value": now.value, "ci_low": now.ci_low, "ci_high": now.ci_high}
    if base.score.status != "ok":
        return row
    # The loss that decisions rest on spends a budget of its own, all else another.
    confidence = find_worse_confidence(1 if metric == task.loss else len(task.metrics))
    change = now.value - base.score.value
    errors = window_standard_errors(now.influence, base.score.influence)
    return row | judge_change(metric, change, *errors, confidence)


def _judge_calibration(
    model: Model, rows: ScoredRows, min_rows: int, slack: Floats | float
) -> MetricRow:
    """Return the row of the mean of outcome minus prediction, which is worse in both directions.

    Harmless moves of the columns move that mean by up to ``slack``; more than that is worse. Of
    several classes, each tested at its share of the level, the row is about the one that moved
    most.

    Source: calibration in the large, Van Calster et al. (2016), J Clin Epidemiol 74.
    """
    task, known = model.task, ~np.isnan(rows.y)
    now = task.residuals(rows.y[known], rows.p[known])
    before = task.residuals(model.holdout_outcomes, model.holdout_scores)
    confidence = 1.0 - FALSE_WORSE_RATE / len(task.metrics) / now.shape[1]
    slacks = np.broadcast_to(slack, now.shape[1])
    judged = [
        _judge_bias(now[:, k], before[:, k], min_rows, float(slacks[k]), confidence)
        | {"method": f"labels, class {name}" if name else "labels"}
        for k, name in enumerate(task.outputs)
    ]
    return max(judged, key=lambda row: (bool(row["worse"]), _excess(row)))


def _excess(row: MetricRow) -> float:
    """Return how far a change reaches beyond its interval's half width; little where unknown."""
    change, low = (float(str(row[name])) for name in ("change", "change_low"))
    return abs(change) - (change - low) if np.isfinite(change) else -np.inf


def _judge_bias(
    gap: Floats, base: Floats, min_rows: int, slack: float, confidence: float
) -> MetricRow:
    row = make_metric_row("calibration", "realised", "labels", len(gap))
    row |= _mean_interval(base, ("baseline", "baseline_low", "baseline_high"))
    if len(gap) < min_rows:
        return row | {"status": "insufficient"}
    row |= {"status": "ok", **_mean_interval(gap, ("value", "ci_low", "ci_high"))}
    errors = window_standard_errors(gap, base)
    change = float(gap.mean() - base.mean())
    row |= judge_change("calibration", change, *errors, confidence)
    asked, half = (difference_half_width(*errors, level) for level in (confidence, INTERVAL))
    # A mean that comes nearer to 0 is no worse, however far it moves.
    beyond = (abs(change) if abs(gap.mean()) > abs(base.mean()) else -np.inf) - slack
    tolerated = TOLERATED_SHARE * float(np.abs(base).mean())
    return row | {
        "worse": bool(beyond > asked),
        "verdict": name_verdict(beyond - half, beyond + half, tolerated),
    }


def _mean_interval(values: Floats, names: tuple[str, str, str]) -> MetricRow:
    mean, (se, df) = float(values.mean()), block_standard_error(values)
    half = float(stats.t.ppf(0.975, df)) * se
    return dict(zip(names, (mean, mean - half, mean + half), strict=True))
