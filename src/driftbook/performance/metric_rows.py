"""Rows of the performance table: a metric beside its baseline, and whether it is worse."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from driftbook.data.arrays import Floats
from driftbook.model import scores
from driftbook.model.row_sums import block_standard_error, difference_half_width
from driftbook.model.tasks import Task
from driftbook.performance.verdicts import INTERVAL

PERFORMANCE_COLUMNS = (
    "metric", "basis", "method", "status", "n", "value", "ci_low", "ci_high",
    "baseline", "baseline_low", "baseline_high", "change", "change_low", "change_high",
    "verdict", "worse", "no_skill",
)  # fmt: skip
MetricRow = dict[str, object]


@dataclass(frozen=True)
class HoldoutBaseline:
    """The champion's realised score on its holdout, with the standard error of blocks in time.

    ``inflation``: how much larger the variance is than that of independent rows, at least 1.
    """

    score: scores.MetricScore
    error: float
    df: int
    inflation: float


def measure_baselines(task: Task, y: Floats, p: Floats) -> dict[str, HoldoutBaseline]:
    """Return by metric how the champion did on its holdout: outcomes ``y``, predictions ``p``."""
    found = {}
    for metric in task.metrics:
        score = task.score_metric(metric, y, p)
        error, df = block_standard_error(score.influence)
        naive = float(score.influence.std()) / max(1.0, np.sqrt(score.n))
        inflation = (error / naive) ** 2 if naive > 0 and np.isfinite(error) else 1.0
        found[metric] = HoldoutBaseline(score, error, df, max(1.0, inflation))
    return found


def make_metric_row(
    metric: str, basis: str, method: str, n: int, known: HoldoutBaseline | None = None
) -> MetricRow:
    """Return a row with nothing but its baseline known yet: all else is NaN, and not worse."""
    row: MetricRow = dict.fromkeys(PERFORMANCE_COLUMNS, float("nan"))
    row |= {"metric": metric, "basis": basis, "method": method, "n": n}
    row |= {"verdict": None, "worse": False}
    if known is None:
        return row
    base = known.score
    return row | {
        "baseline": base.value, "baseline_low": base.ci_low, "baseline_high": base.ci_high
    }  # fmt: skip


def judge_change(
    metric: str,
    change: float,
    current: tuple[float, int],
    reference: tuple[float, int],
    confidence: float,
) -> MetricRow:
    """Return the change with its 95% interval, and whether it is worse with more ``confidence``.

    ``current`` and ``reference``: standard error and degrees of freedom of both sides.
    ``confidence``: two-sided; the interval of that confidence lies wholly on the bad side.
    """
    half = difference_half_width(current, reference, INTERVAL)
    asked = difference_half_width(current, reference, confidence)
    rise = -change if metric in scores.LARGER_IS_BETTER else change
    return {
        "change": change,
        "change_low": change - half,
        "change_high": change + half,
        "worse": rise > asked,
    }


def tabulate_metric_rows(rows: Sequence[MetricRow] = ()) -> pd.DataFrame:
    """Return rows as a performance table, with all of its columns even where there is no row."""
    return pd.DataFrame(rows, columns=list(PERFORMANCE_COLUMNS))
