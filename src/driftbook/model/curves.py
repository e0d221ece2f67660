"""What lies behind a single score: calibration, ROC curve and the price of each threshold."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from driftbook.data.arrays import Floats


def measure_calibration(
    y: Floats, p: Floats, bins: int = 10, confidence: float = 0.95
) -> pd.DataFrame:
    """Return predicted against observed share of ones in groups of about equal size.

    Columns ``predicted`` (mean probability of the group), ``observed``, ``ci_low``, ``ci_high``
    (Wilson's interval) and ``n``; equal probabilities always share a group, so there may be fewer
    groups than ``bins``. ``y`` and ``p`` have shape (n,) and no missing values.

    Source: Wilson (1927), "Probable inference, the law of succession, and statistical inference".
    """
    y, p = _checked(y, p)
    table = pd.DataFrame({"predicted": p, "observed": y}).groupby(group_by_size(p, bins))
    result = table.mean()
    result["n"] = table.size()
    counts = zip(table["observed"].sum().astype(int), result["n"], strict=True)
    intervals = [stats.binomtest(k, n).proportion_ci(confidence, "wilson") for k, n in counts]
    result["ci_low"], result["ci_high"] = zip(*intervals, strict=True)
    return result[["predicted", "observed", "ci_low", "ci_high", "n"]].reset_index(drop=True)


def group_by_size(p: Floats, bins: int) -> Floats:
    """Return the number of each row's group, shape (n,): equal predictions share one."""
    # Equal predictions give equal edges, which would make empty groups.
    edges = np.unique(np.quantile(p, np.linspace(0, 1, bins + 1)[1:-1]))
    return np.searchsorted(edges, p, side="left").astype(np.float64)


def trace_roc_curve(
    y: Floats, p: Floats, resamples: int = 200, confidence: float = 0.95, seed: int = 0
) -> pd.DataFrame:
    """Return the ROC curve on an even grid of false-positive rates, with a bootstrap band.

    Columns ``fpr``, ``tpr``, ``ci_low``, ``ci_high``; 101 rows. The band is the pointwise
    percentile interval of curves averaged vertically; each class is resampled on its own.

    Raises:
        ValueError: only one class is present.

    Source: Fawcett (2006), "An introduction to ROC analysis", section 8 (vertical averaging).
    """
    y, p = _checked(y, p)
    # Each class is resampled on its own, so that no resample loses one.
    ones, zeros = p[y == 1], p[y == 0]
    if not len(ones) or not len(zeros):
        raise ValueError("a ROC curve needs both classes; only one is present")
    grid = np.linspace(0, 1, 101)
    generator = np.random.default_rng(seed)
    drawn = (
        [generator.choice(part, len(part)) for part in (ones, zeros)] for _ in range(resamples)
    )
    curves = [_roc_on(grid, *parts) for parts in drawn]
    low, high = np.quantile(curves, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    tpr = _roc_on(grid, ones, zeros)
    return pd.DataFrame({"fpr": grid, "tpr": tpr, "ci_low": low, "ci_high": high})


def _roc_on(grid: Floats, ones: Floats, zeros: Floats) -> Floats:
    cuts = np.append(np.inf, np.unique(np.concatenate([ones, zeros]))[::-1])
    tpr = 1 - np.searchsorted(np.sort(ones), cuts, side="left") / len(ones)
    fpr = 1 - np.searchsorted(np.sort(zeros), cuts, side="left") / len(zeros)
    # A vertical step has one false-positive rate twice; interp keeps the last, so its top.
    return np.interp(grid, fpr, tpr)


def price_thresholds(
    y: Floats,
    p: Floats,
    false_alarm_cost: float = 1.0,
    miss_cost: float = 1.0,
    thresholds: Floats | None = None,
) -> pd.DataFrame:
    """Return what acting on ``p >= threshold`` would have cost, a row a threshold.

    Columns ``threshold, alarms, hits, false_alarms, misses, precision, recall, cost_per_1000``;
    costs are in the user's own units for one wrong decision of each sort, precision is NaN where
    nothing is flagged. By default 0.05, 0.10, … 0.95.

    Source: Elkan (2001), "The foundations of cost-sensitive learning": with calibrated
    probabilities the best threshold lies near false_alarm_cost / (false_alarm_cost + miss_cost).
    """
    y, p = _checked(y, p)
    cuts = np.round(np.arange(0.05, 1.0, 0.05), 2) if thresholds is None else thresholds
    flagged = p[None, :] >= np.asarray(cuts, dtype=float)[:, None]
    hits = (flagged & (y == 1)).sum(axis=1)
    alarms = flagged.sum(axis=1)
    positives = int((y == 1).sum())
    false_alarms, misses = alarms - hits, positives - hits
    cost = false_alarms * false_alarm_cost + misses * miss_cost
    return pd.DataFrame(
        {
            "threshold": cuts,
            "alarms": alarms,
            "hits": hits,
            "false_alarms": false_alarms,
            "misses": misses,
            "precision": hits / np.where(alarms > 0, alarms, np.nan),
            "recall": hits / (positives or np.nan),
            "cost_per_1000": 1000 * cost / len(y),
        }
    )


def _checked(y: Floats, p: Floats) -> tuple[Floats, Floats]:
    y, p = np.asarray(y, dtype=float), np.asarray(p, dtype=float)
    if y.shape != p.shape or y.ndim != 1 or not len(y):
        raise ValueError(f"labels and probabilities have shapes {y.shape} and {p.shape}; need (n,)")
    if np.isnan(y).any() or np.isnan(p).any():
        raise ValueError("labels or probabilities are missing; leave those rows out first")
    return y, p
