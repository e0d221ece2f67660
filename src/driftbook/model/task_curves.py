"""What lies behind the scores of each task: calibration, separation, and the price of acting."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from driftbook.data.arrays import Floats
from driftbook.model import class_scores, curves
from driftbook.model.tasks import Task

CALIBRATION_GROUPS = 10
# Errors are counted within these shares of the target's standard deviation.
WITHIN = (0.1, 0.25, 0.5, 1.0, 2.0)


def trace_calibration(task: Task, y: Floats, p: Floats) -> pd.DataFrame:
    """Return predicted against observed means in groups of about equal size, a set an output.

    Columns ``output`` (the class, empty where there is one number), ``predicted``, ``observed``,
    ``ci_low``, ``ci_high`` and ``n``. Shares have Wilson's interval, values Student's.
    """
    if not task.classes:
        return _group_values(y, p).assign(output="")
    came = class_scores.mark_classes(y, len(task.outputs)) if len(task.outputs) > 1 else y[:, None]
    said = p.reshape(len(p), -1)
    bins = CALIBRATION_GROUPS if len(task.outputs) == 1 else CALIBRATION_GROUPS // 2
    parts = [
        curves.measure_calibration(came[:, k], said[:, k], bins).assign(output=name)
        for k, name in enumerate(task.outputs)
    ]
    return pd.concat(parts, ignore_index=True)


def _group_values(y: Floats, p: Floats, confidence: float = 0.95) -> pd.DataFrame:
    groups = _cut(p)
    table = pd.DataFrame({"predicted": p, "observed": y}).groupby(groups)
    found = table.mean()
    found["n"] = table.size()
    half = stats.t.ppf(0.5 + confidence / 2, np.maximum(found["n"] - 1, 1))
    half = half * table["observed"].std().fillna(0.0) / np.sqrt(found["n"])
    found["ci_low"], found["ci_high"] = found["observed"] - half, found["observed"] + half
    return found.reset_index(drop=True)


def _cut(p: Floats) -> Floats:
    """Return the number of each row's group; equal predictions share one."""
    edges = np.unique(np.quantile(p, np.linspace(0, 1, CALIBRATION_GROUPS + 1)[1:-1]))
    return np.searchsorted(edges, p, side="left").astype(np.float64)


def trace_separation(task: Task, y: Floats, p: Floats, seed: int = 0) -> pd.DataFrame:
    """Return how well predictions tell rows apart.

    Classes: a ROC curve each, against all others, with its band: ``output``, ``fpr``, ``tpr``,
    ``ci_low``, ``ci_high``; a class that does not occur is left out. Values: by groups of
    predictions how far off they were: ``predicted``, ``low``, ``typical``, ``high`` (5th, 50th and
    95th percentile of outcome minus prediction) and ``n``.
    """
    if not task.classes:
        table = pd.DataFrame({"predicted": p, "error": y - p}).groupby(_cut(p))
        shares = {"low": 0.05, "typical": 0.5, "high": 0.95}
        found = pd.DataFrame({name: table["error"].quantile(q) for name, q in shares.items()})
        found.insert(0, "predicted", table["predicted"].mean())
        return found.assign(n=table.size()).reset_index(drop=True)
    came = class_scores.mark_classes(y, len(task.outputs)) if len(task.outputs) > 1 else y[:, None]
    said = p.reshape(len(p), -1)
    parts = [
        curves.trace_roc_curve(came[:, k], said[:, k], seed=seed).assign(output=name)
        for k, name in enumerate(task.outputs)
        if 0 < came[:, k].sum() < len(came)
    ]
    columns = ["fpr", "tpr", "ci_low", "ci_high", "output"]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def price_decisions(
    task: Task, y: Floats, p: Floats, false_alarm_cost: float = 1.0, miss_cost: float = 1.0
) -> pd.DataFrame:
    """Return what acting on the predictions would have come to.

    Two classes: what each threshold costs, see ``curves.price_thresholds``. Several: how often
    each class was taken for which: ``came``, ``taken_for``, ``rows``, ``share`` (of those that
    came). Values: how often the outcome lay within a distance of the prediction: ``within``, in the
    target's own units, and ``share``.
    """
    if task.name == "binary":
        return curves.price_thresholds(y, p, false_alarm_cost, miss_cost)
    if task.classes:
        taken = p.argmax(axis=1)
        rows = [
            (came, other, int(((y == a) & (taken == b)).sum()))
            for a, came in enumerate(task.classes)
            for b, other in enumerate(task.classes)
        ]
        table = pd.DataFrame(rows, columns=["came", "taken_for", "rows"])
        whole = table.groupby("came")["rows"].transform("sum")
        return table.assign(share=table["rows"] / whole.where(whole > 0))
    reach = np.array(WITHIN) * float(np.std(y))
    shares = (np.abs(y - p)[None, :] <= reach[:, None]).mean(axis=1)
    return pd.DataFrame({"within": reach, "share": shares})
