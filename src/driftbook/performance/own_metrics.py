"""Metrics of the owner's own, read beside the others: they decide nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy import stats

from driftbook.data.arrays import Floats
from driftbook.errors import UsageError
from driftbook.model.importing import describe_error, import_from, import_name
from driftbook.model.row_sums import BLOCKS, difference_half_width
from driftbook.performance.metric_rows import MetricRow, make_metric_row
from driftbook.performance.verdicts import INTERVAL, OWN_BASIS
from driftbook.settings import Settings
from driftbook.words import METRIC_DIRECTIONS

Metric = Callable[[Floats, Floats], float]
_FAILURES = (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError)


def load_metrics(settings: Settings) -> dict[str, Metric]:
    """Return the metrics that ``policy.metrics`` names, by the last part of their import path.

    Raises:
        UsageError: one cannot be imported, is no function, or has the name of another metric.
    """
    found: dict[str, Metric] = {}
    with import_from(settings.model.folders):
        for path in settings.policy.metrics:
            metric = import_name(path, "policy.metrics")
            if not callable(metric):
                raise UsageError(
                    f"policy.metrics {path!r} is a {type(metric).__name__}, not a function; name "
                    "one that takes outcomes and predictions and returns a number"
                )
            name = path.rpartition(":")[2].rpartition(".")[2]
            if name in METRIC_DIRECTIONS or name in found:
                raise UsageError(
                    f"policy.metrics {path!r} has the name of another metric, {name!r}; rename it"
                )
            found[name] = metric
    return found


def judge_own_metrics(
    metrics: dict[str, Metric],
    now: tuple[Floats, Floats],
    before: tuple[Floats, Floats],
    min_rows: int,
) -> Sequence[MetricRow]:
    """Return a row a metric of a window's outcomes and predictions beside the holdout's.

    Intervals hold at 95%; there is no verdict, because which way is better is not known. What a
    metric cannot say (it fails, or returns no finite number) has the status ``undefined``.

    Source: delete-one-block jackknife, Künsch (1989), Annals of Statistics 17: contiguous blocks,
    so that dependence in time does not fool it.
    """
    rows: list[MetricRow] = []
    known = ~np.isnan(now[0])
    y, p = now[0][known], now[1][known]
    for name, metric in metrics.items():
        row = make_metric_row(name, OWN_BASIS, "labels", len(y))
        base, base_error, base_df = _measure(metric, *before)
        if np.isfinite(base):
            reach = float(stats.t.ppf(0.5 + INTERVAL / 2, base_df)) * base_error
            low, high = base - reach, base + reach
            row |= {"baseline": base, "baseline_low": low, "baseline_high": high}
        if len(y) < min_rows:
            rows.append(row | {"status": "insufficient"})
            continue
        value, error, df = _measure(metric, y, p)
        if not np.isfinite(value):
            rows.append(row | {"status": "undefined"})
            continue
        half = float(stats.t.ppf(0.5 + INTERVAL / 2, df)) * error
        row |= {"status": "ok", "value": value, "ci_low": value - half, "ci_high": value + half}
        both = difference_half_width((error, df), (base_error, base_df), INTERVAL)
        change = value - base
        row |= {"change": change, "change_low": change - both, "change_high": change + both}
        rows.append(row)
    return rows


def _measure(metric: Metric, y: Floats, p: Floats) -> tuple[float, float, int]:
    """Return the metric, its jackknife standard error and its degrees of freedom."""
    value = _call(metric, y, p)
    blocks = min(BLOCKS, len(y) // 4)
    if blocks < 2 or not np.isfinite(value):
        return value, float("nan"), 1
    share = np.arange(len(y)) * blocks // len(y)
    without = np.array([_call(metric, y[share != k], p[share != k]) for k in range(blocks)])
    spread = float(np.square(without - without.mean()).sum() * (blocks - 1) / blocks)
    return value, float(np.sqrt(spread)), blocks - 1


def _call(metric: Metric, y: Floats, p: Floats) -> float:
    try:
        return float(metric(y, p))
    # On odd rows an owner's function may fail, which is a finding.
    except _FAILURES:
        return float("nan")


def check_metrics(metrics: dict[str, Metric], y: Floats, p: Floats) -> None:
    """Check that every metric gives a number for the holdout.

    Raises:
        UsageError: one fails there, or returns something else.
    """
    for name, metric in metrics.items():
        try:
            float(metric(y, p))
        except _FAILURES as error:
            raise UsageError(
                f"policy.metrics {name!r} fails on the champion's holdout "
                f"({describe_error(error)}); it takes outcomes and predictions, two arrays, and "
                "returns a number"
            ) from error
