"""Metrics of probabilities for several classes, each with an interval."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import stats

from driftbook.data.arrays import Floats
from driftbook.model.scores import MetricScore, score_auc, score_mean, score_share

_SMALLEST = float(np.finfo(np.float64).eps)


def mark_classes(y: Floats, classes: int) -> Floats:
    """Return one column a class that is 1 where ``y`` (n,) is its number: shape (n, classes).

    A label of no known class (-1) has a row of zeros.
    """
    return np.asarray(y[:, None] == np.arange(classes), dtype=np.float64)


def measure_class_losses(metric: str, y: Floats, p: Floats) -> Floats:
    """Return one loss a row, shape (n,), of chances ``p`` (n, classes) for classes ``y`` (n,).

    ``brier``: the squared differences, summed over classes, from 0 to 2; ``log_loss``; and
    ``accuracy``: 1 where the likeliest class came. A label of no known class is always missed.

    Source: Brier (1950), Monthly Weather Review 78: the sum over all classes.
    """
    came = mark_classes(y, p.shape[1])
    if metric == "brier":
        return np.asarray(np.square(p - came).sum(axis=1))
    if metric == "log_loss":
        return np.asarray(-np.log(np.clip((p * came).sum(axis=1), _SMALLEST, 1.0)))
    return np.asarray(p.argmax(axis=1) == y, dtype=np.float64)


def score_class_metric(metric: str, y: Floats, p: Floats, confidence: float = 0.95) -> MetricScore:
    """Return ``metric`` for rows whose class is known, as ``scores.score_metric`` does for two.

    The ROC AUC is the mean over classes of each against all others; its interval rests on the
    mean of their influences, and ``few_of_a_class`` is the status where one of them is rough.

    Source: Provost and Domingos (2000): one class against the rest, here equally weighted.
    """
    if metric == "roc_auc":
        return _score_macro_auc(y, p, confidence)
    losses = measure_class_losses(metric, y, p)
    if metric == "accuracy":
        return score_share(metric, losses, confidence)
    return score_mean(metric, losses, confidence, 2.0 if metric == "brier" else np.inf)


def _score_macro_auc(y: Floats, p: Floats, confidence: float) -> MetricScore:
    known = y >= 0
    came = mark_classes(y[known], p.shape[1])
    each = [score_auc(came[:, k], p[known, k], confidence) for k in range(p.shape[1])]
    status = next((one.status for one in each if one.status != "ok"), "ok")
    influence = np.zeros(len(y))
    influence[known] = np.mean([one.influence for one in each], axis=0)
    value = float(np.mean([one.value for one in each]))
    blank = MetricScore("roc_auc", status, value, np.nan, np.nan, int(known.sum()), influence)
    if not np.isfinite(value):
        return blank
    error = influence[known].std(ddof=1) / np.sqrt(blank.n)
    half = float(stats.norm.ppf(0.5 + confidence / 2)) * error
    return replace(blank, ci_low=max(0.0, value - half), ci_high=min(1.0, value + half))
