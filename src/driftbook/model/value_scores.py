"""Metrics of predicted numbers, each with an interval."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import stats

from driftbook.data.arrays import Floats
from driftbook.model.scores import MetricScore, score_mean

VALUE_METRICS = ("mae", "rmse", "r2", "squared_error")


def score_value_metric(
    metric: str, y: Floats, p: Floats, variance: float, confidence: float = 0.95
) -> MetricScore:
    """Return ``metric`` (one of ``VALUE_METRICS``) of predictions ``p`` for outcomes ``y``, (n,).

    ``squared_error`` is in units of ``variance``, the target's in the reference: 1 is what its
    mean alone would err. ``r2`` is measured against the rows' own mean; its status is ``constant``
    and its value NaN where all outcomes are equal.

    Source: Student's t for means; the delta method for the root and for the ratio of ``r2``.
    """
    errors = np.square(y - p)
    if metric == "mae":
        return score_mean(metric, np.abs(y - p), confidence)
    if metric == "squared_error":
        return score_mean(metric, errors / variance, confidence)
    squares = score_mean(metric, errors, confidence)
    if squares.n == 0:
        return squares
    if metric == "r2":
        return _score_explained(y, errors, squares, confidence)
    root = float(np.sqrt(squares.value))
    ends = np.sqrt([squares.ci_low, squares.ci_high])
    influence = squares.influence / (2 * root) if root else np.zeros(squares.n)
    return replace(
        squares, value=root, ci_low=float(ends[0]), ci_high=float(ends[1]), influence=influence
    )


def _score_explained(
    y: Floats, errors: Floats, squares: MetricScore, confidence: float
) -> MetricScore:
    spread = np.square(y - y.mean())
    own = float(spread.mean())
    if own <= 0.0:
        blank = {"value": np.nan, "ci_low": np.nan, "ci_high": np.nan, "status": "constant"}
        return replace(squares, influence=np.zeros(len(y)), **blank)  # type: ignore[arg-type]
    ratio = squares.value / own
    influence = -(errors - ratio * spread) / own
    error = influence.std(ddof=1) / np.sqrt(len(y)) if len(y) > 1 else np.inf
    half = float(stats.t.ppf(0.5 + confidence / 2, max(1, len(y) - 1))) * error
    value = 1.0 - ratio
    return replace(
        squares,
        value=value,
        ci_low=value - half,
        ci_high=min(1.0, value + half),
        influence=influence,
    )
