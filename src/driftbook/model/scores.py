"""Log loss, Brier score, ROC AUC and accuracy of predicted probabilities, each with an interval."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import special, stats

from driftbook.data.arrays import Floats
from driftbook.data.ranks import rank_values
from driftbook.words import METRIC_DIRECTIONS

METRICS = ("roc_auc", "accuracy", "log_loss", "brier")
# Metrics where a larger value is better; of the others a smaller one is.
LARGER_IS_BETTER = frozenset(name for name, way in METRIC_DIRECTIONS.items() if way > 0)
CLASS_THRESHOLD = 0.5
MIN_CLASS = 10  # fewer rows of a class leave the normal theory of an AUC behind (DeLong 1988, §3)
_CLIP = float(np.finfo(np.float64).eps)  # as scikit-learn's log_loss for float64


@dataclass(frozen=True)
class MetricScore:
    """One metric on one sample: the value, its interval, and how it was reached.

    ``influence`` holds one number a row with mean 0: the score is its value plus their mean, to
    first order, so standard errors, differences and blocks in time all follow from it.
    """

    metric: str
    status: str
    value: float
    ci_low: float
    ci_high: float
    n: int
    influence: Floats


def keep_labelled(y: npt.ArrayLike, p: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Return target and probability, each (n,), of the rows whose label is known.

    Raises:
        ValueError: lengths differ, a label other than 0 and 1, or a probability outside [0, 1]
            or missing: a prediction that failed must not shrink the sample silently.
    """
    truth = np.asarray(y, dtype=np.float64)
    chance = np.asarray(p, dtype=np.float64)
    if truth.shape != chance.shape or truth.ndim != 1:
        raise ValueError(f"target is {truth.shape} and probability {chance.shape}; both are (n,)")
    known = ~np.isnan(truth)
    truth, chance = truth[known], chance[known]
    if not np.isin(truth, (0.0, 1.0)).all():
        raise ValueError("the target holds values besides 0 and 1; recode it")
    if not ((chance >= 0.0) & (chance <= 1.0)).all():
        raise ValueError("a probability is missing or outside [0, 1]; check the model's output")
    return truth, chance


def to_log_odds(probability: Floats, cut: float = 1e-9) -> Floats:
    """Return the log odds of probabilities, cut that far from 0 and 1 so that they stay finite."""
    return np.asarray(special.logit(np.clip(probability, cut, 1.0 - cut)), dtype=np.float64)


def roc_auc(y: npt.ArrayLike, p: npt.ArrayLike) -> float:
    """Return the chance that a positive outranks a negative, ties half; NaN with one class.

    Source: Hanley and McNeil (1982), Radiology 143(1): the Mann-Whitney statistic.
    """
    return measure_ranking(*keep_labelled(y, p))


def measure_ranking(y: Floats, score: Floats) -> float:
    """Return the ROC AUC of any score, whatever its scale; nothing may be missing."""
    positives = int((y == 1).sum())
    negatives = len(y) - positives
    if not positives or not negatives:
        return float("nan")
    won = rank_values(score)[y == 1].sum() - positives * (positives + 1) / 2
    return float(won / positives / negatives)


def score_metric(
    metric: str, y: npt.ArrayLike, p: npt.ArrayLike, confidence: float = 0.95
) -> MetricScore:
    """Return ``metric`` (one of ``METRICS``) with an analytic interval.

    Rows without a label are left out. ``status`` is ``ok``, ``no_rows``, ``one_class`` (AUC is
    undefined) or ``few_of_a_class`` (fewer than 10 rows of a class: the AUC is given, its interval
    is rough). An undefined value is NaN.

    Source: Student's t for means; Wilson (1927), JASA 22 for accuracy; DeLong et al. (1988),
    Biometrics 44 through midranks (Sun and Xu 2014, IEEE SPL 21), on the logit scale (Pepe 2003,
    §5.2.5) for the AUC.
    """
    truth, chance = keep_labelled(y, p)
    if metric == "roc_auc":
        return score_auc(truth, chance, confidence)
    values = PER_ROW_LOSSES[metric](truth, chance)
    if metric == "accuracy":
        return score_share(metric, values, confidence)
    return score_mean(metric, values, confidence, 1.0 if metric == "brier" else np.inf)


def score_mean(
    metric: str, values: Floats, confidence: float = 0.95, ceiling: float = np.inf
) -> MetricScore:
    """Return the mean of one loss a row, from 0 to ``ceiling``, with Student's interval."""
    n = len(values)
    if n == 0:
        return MetricScore(metric, "no_rows", np.nan, np.nan, np.nan, 0, np.empty(0))
    mean = float(values.mean())
    low, high = _student(values, confidence, 0.0, ceiling)
    return MetricScore(metric, "ok", mean, low, high, n, values - mean)


def score_share(metric: str, hits: Floats, confidence: float = 0.95) -> MetricScore:
    """Return the share of ``hits`` (n,), each 0 or 1, with Wilson's interval."""
    found = score_mean(metric, hits, confidence, 1.0)
    if not found.n:
        return found
    both = stats.binomtest(int(hits.sum()), found.n).proportion_ci(confidence, method="wilson")
    return replace(found, ci_low=float(both.low), ci_high=float(both.high))


def find_backward_ranking(metrics: pd.DataFrame) -> bool:
    """Return whether a model is surely worse than none on its holdout.

    It puts the wrong rows first (the AUC's interval lies below 0.5), or its values err more than
    the mean of the outcomes would (that of R² below 0). ``metrics``: a model's table of its
    holdout. An undefined value is no such finding.
    """
    ends = metrics.set_index("metric")["ci_high"].astype(float)
    limits = {"roc_auc": 0.5, "r2": 0.0}
    return any(bool(ends[name] < limit) for name, limit in limits.items() if name in ends)


def score_auc(y: Floats, p: Floats, confidence: float = 0.95) -> MetricScore:
    """Return the ROC AUC of outcomes ``y`` (n,), all known; see :func:`score_metric`."""
    positives = y == 1
    m, k, n = int(positives.sum()), int((~positives).sum()), len(y)
    if not m or not k:
        status = "one_class" if n else "no_rows"
        return MetricScore("roc_auc", status, np.nan, np.nan, np.nan, n, np.zeros(n))
    ranks = rank_values(p)
    above = (ranks[positives] - rank_values(p[positives])) / k
    below = 1 - (ranks[~positives] - rank_values(p[~positives])) / m
    auc = float(above.mean())
    influence = np.empty(n)
    influence[positives] = (above - auc) * n / m
    influence[~positives] = (below - auc) * n / k
    low, high = _auc_interval(auc, above, below, confidence)
    status = "ok" if min(m, k) >= MIN_CLASS else "few_of_a_class"
    return MetricScore("roc_auc", status, auc, low, high, n, influence)


def _auc_interval(
    auc: float, above: Floats, below: Floats, confidence: float
) -> tuple[float, float]:
    fewest = min(len(above), len(below))
    if fewest < 2 or auc in (0.0, 1.0):
        # No spread to measure: Clopper-Pearson with as many trials as rows of the rarer class.
        reach = ((1 - confidence) / 2) ** (1 / fewest)
        return (reach if auc == 1.0 else 0.0), (1 - reach if auc == 0.0 else 1.0)
    se = np.sqrt(above.var(ddof=1) / len(above) + below.var(ddof=1) / len(below))
    half = stats.norm.ppf(0.5 + confidence / 2) * se / (auc * (1 - auc))
    low, high = special.expit(special.logit(auc) + np.array([-half, half]))
    return float(low), float(high)


def _student(
    values: Floats, confidence: float, floor: float, ceiling: float
) -> tuple[float, float]:
    n, mean = len(values), float(values.mean())
    if n < 2:
        return floor, ceiling
    half = stats.t.ppf(0.5 + confidence / 2, n - 1) * values.std(ddof=1) / np.sqrt(n)
    return max(floor, float(mean - half)), min(ceiling, float(mean + half))


def _squared(y: Floats, p: Floats) -> Floats:
    return (p - y) ** 2


def _surprise(y: Floats, p: Floats) -> Floats:
    clipped = np.clip(p, _CLIP, 1 - _CLIP)
    return np.asarray(-np.log(np.where(y == 1, clipped, 1 - clipped)))


def _hits(y: Floats, p: Floats) -> Floats:
    return np.asarray((p >= CLASS_THRESHOLD) == (y == 1), dtype=np.float64)


PER_ROW_LOSSES = {"accuracy": _hits, "log_loss": _surprise, "brier": _squared}
