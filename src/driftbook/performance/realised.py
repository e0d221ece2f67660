"""How well the champion does on the current rows, against its own temporal holdout."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from driftbook.drift.reference import find_reference
from driftbook.model import scores, threads
from driftbook.model.blocks import (
    FALSE_WORSE_RATE,
    block_standard_error,
    difference_half_width,
    find_worse_confidence,
)
from driftbook.model.training import Model
from driftbook.performance import estimated as estimate
from driftbook.performance.baseline import find_baseline
from driftbook.settings import Settings

Floats = npt.NDArray[np.float64]

PERFORMANCE_COLUMNS = (
    "metric", "basis", "method", "status", "n", "value", "ci_low", "ci_high",
    "baseline", "baseline_low", "baseline_high", "change", "change_low", "change_high", "worse",
)  # fmt: skip


@dataclass(frozen=True)
class ScoredRows:
    """What the champion said about rows and what came true: ``y`` is NaN where not known yet."""

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

    ``value`` and ``baseline`` (the champion's temporal holdout) come with 95% intervals; that of
    an estimate holds for what comes true in the window. The interval of ``change`` is wider: all
    metrics together call a window without any change ``worse`` in at most 1% of cases
    (Bonferroni), and ``worse`` says that it lies wholly on the bad side. ``basis``: ``realised``,
    ``estimated`` (one method a metric, named by ``method``), or ``alternative`` (what other
    methods say; shown, never worse). ``history``: mature labelled rows since the reference, which
    calibrate the estimate where there are enough; ``scored``: the rows of ``current`` where they
    are scored already. ``status``: ``ok``, ``insufficient`` (fewer
    labelled rows than ``policy.min_rows``, or an AUC with fewer than 10 rows of a class),
    ``one_class`` (an AUC without a pair to rank), ``undefined`` (the estimate has no value),
    ``not_scored`` (a feature column is absent). Values that cannot be had are NaN.

    Source: standard errors from means of contiguous blocks, Ibragimov and Müller (2010), JBES 28,
    which stay valid where neighbouring rows depend on each other; Welch (1947) for two samples.
    """
    rows = score_if_complete(model, current) if scored is None else scored
    if rows is None:
        return _unscored(len(current))
    known = find_baseline(model)
    slack = find_reference(model).mean_slack(settings.drift.min_effect)
    realised = judge_realised(model, rows, settings.policy.min_rows, slack)
    evidence = known.calibration_rows
    if history is not None and set(model.feature_names) <= set(history.columns):
        recent = estimate.take_mature_rows(history, model.target, len(current))
        past = score_outcomes(model, recent)
        evidence = estimate.choose_evidence(evidence, past.y, past.p, recent)
    estimated = estimate.estimate_performance(
        evidence, known.baselines, rows.p, current, settings.policy.min_rows
    )
    return pd.concat(
        [realised, pd.DataFrame(estimated, columns=list(PERFORMANCE_COLUMNS))], ignore_index=True
    )


def find_worse_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows called worse: realised ones, or estimated ones where no label is known."""
    judged = table[table["status"] == "ok"]
    realised = judged[judged["basis"] == "realised"]
    basis = realised if len(realised) else judged[judged["basis"] == "estimated"]
    return basis[basis["worse"].astype(bool)]


def judge_realised(
    model: Model, rows: ScoredRows, min_rows: int, slack: float = 0.0
) -> pd.DataFrame:
    """Return the realised part of :func:`judge_performance`'s table for rows scored already.

    ``slack``: how far harmless moves of the columns may move the mean probability.
    """
    reference = score_holdout(model)
    table = [_realised(metric, reference, rows, min_rows) for metric in scores.METRICS]
    table.append(_calibration(reference, rows, min_rows, slack))
    return pd.DataFrame(table, columns=list(PERFORMANCE_COLUMNS))


def score_outcomes(model: Model, frame: pd.DataFrame) -> ScoredRows:
    """Return the champion's probabilities with the outcomes; a label besides 0, 1 is unknown."""
    p = model.predict_proba(frame)
    if model.target not in frame.columns:
        return ScoredRows(np.full(len(p), np.nan), p)
    y = pd.to_numeric(frame[model.target], errors="coerce").to_numpy(
        dtype=np.float64, na_value=np.nan
    )
    return ScoredRows(np.where(np.isin(y, (0.0, 1.0)), y, np.nan), p)


def score_if_complete(model: Model, frame: pd.DataFrame) -> ScoredRows | None:
    """Return :func:`score_outcomes` of the rows, None where a feature is no column of them."""
    return score_outcomes(model, frame) if set(model.feature_names) <= set(frame.columns) else None


def score_holdout(model: Model) -> ScoredRows:
    """Return the champion's probabilities and outcomes on its temporal holdout."""
    return ScoredRows(model.holdout[model.target].to_numpy(dtype=np.float64), model.holdout_scores)


def _realised(
    metric: str, reference: ScoredRows, rows: ScoredRows, min_rows: int
) -> dict[str, object]:
    base = scores.score_metric(metric, reference.y, reference.p)
    now = scores.score_metric(metric, rows.y, rows.p)
    row = make_blank_row(metric, "realised", "labels", now.n)
    row |= {"baseline": base.value, "baseline_low": base.ci_low, "baseline_high": base.ci_high}
    if now.n < min_rows or now.status != "ok":
        return row | {"status": now.status if now.status == "one_class" else "insufficient"}
    row |= {"status": "ok", "value": now.value, "ci_low": now.ci_low, "ci_high": now.ci_high}
    if base.status != "ok":
        return row
    confidence = find_worse_confidence(len(scores.METRICS) + 1)
    half = difference_half_width(
        block_standard_error(now.influence), block_standard_error(base.influence), confidence
    )
    return row | judge_change(metric, now.value - base.value, half)


def judge_change(metric: str, change: float, half: float) -> dict[str, object]:
    """Return the change with its interval, and whether all of that lies on the bad side."""
    low, high = change - half, change + half
    worse = high < 0 if metric in scores.LARGER_IS_BETTER else low > 0
    return {"change": change, "change_low": low, "change_high": high, "worse": worse}


def _calibration(
    reference: ScoredRows, rows: ScoredRows, min_rows: int, slack: float
) -> dict[str, object]:
    """Return the row of the mean of outcome minus probability, which is worse in both directions.

    Harmless moves of the columns move that mean by up to ``slack``; more than that is worse.

    Source: calibration in the large, Van Calster et al. (2016), J Clin Epidemiol 74.
    """
    known = ~np.isnan(rows.y)
    gap, base = (rows.y - rows.p)[known], reference.y - reference.p
    row = make_blank_row("calibration", "realised", "labels", len(gap))
    row |= _mean_interval(base, "baseline")
    if len(gap) < min_rows:
        return row | {"status": "insufficient"}
    row |= {"status": "ok", **_mean_interval(gap, "value")}
    confidence = 1.0 - FALSE_WORSE_RATE / (len(scores.METRICS) + 1)
    half = difference_half_width(block_standard_error(gap), block_standard_error(base), confidence)
    change = float(gap.mean() - base.mean())
    worse = abs(change) > half + slack and abs(gap.mean()) > abs(base.mean())
    return row | {
        "change": change,
        "change_low": change - half,
        "change_high": change + half,
        "worse": worse,
    }


def _mean_interval(values: Floats, name: str) -> dict[str, object]:
    mean, (se, df) = float(values.mean()), block_standard_error(values)
    half = float(stats.t.ppf(0.975, df)) * se
    prefix = "ci" if name == "value" else name
    return {name: mean, f"{prefix}_low": mean - half, f"{prefix}_high": mean + half}


def make_blank_row(metric: str, basis: str, method: str, n: int) -> dict[str, object]:
    """Return a row of the table with nothing known yet: NaN, and not worse."""
    row: dict[str, object] = dict.fromkeys(PERFORMANCE_COLUMNS, float("nan"))
    return row | {"metric": metric, "basis": basis, "method": method, "n": n, "worse": False}


def _unscored(n: int) -> pd.DataFrame:
    rows = [
        make_blank_row(metric, "estimated", "", n) | {"status": "not_scored"}
        for metric in scores.METRICS
    ]
    return pd.DataFrame(rows, columns=list(PERFORMANCE_COLUMNS))
