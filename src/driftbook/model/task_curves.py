"""What lies behind the metrics of any task: is it better than no model, is it honest, what then?

Each function returns the table that fits the task; outcomes ``y`` and predictions ``p`` are as in
``model.tasks``, of rows whose outcome is known.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from driftbook.data.arrays import Floats
from driftbook.model import curves
from driftbook.model.class_scores import mark_classes
from driftbook.model.scores import score_auc
from driftbook.model.tasks import Task

GROUPS, CELLS = 10, 40
# A convention: the share of rows and the chances at which readers think.
SHARES = np.round(np.append(np.arange(0.05, 1.0, 0.05), [0.99]), 2)


def find_usual_outcome(task: Task, y: Floats) -> Floats:
    """Return what a model without any skill would always say, shape (outputs,).

    That is the share of ones, the share of each class, or the mean of the outcomes ``y`` (n,).
    """
    marked = mark_classes(y, len(task.outputs)) if task.name == "multiclass" else y[:, None]
    return np.asarray(marked.mean(axis=0))


def add_no_skill(task: Task, metrics: pd.DataFrame, usual: Floats, y: Floats) -> pd.DataFrame:
    """Return the metrics with a column ``no_skill``: what always saying ``usual`` would score.

    ``usual``: of the training rows, see :func:`find_usual_outcome`; ``y``: the holdout's outcomes.
    Rows that are no metric of the task, and undefined values, are NaN.
    """
    found = score_no_skill(task, usual, y)
    return metrics.assign(no_skill=metrics["metric"].map(found).astype(float))


def score_no_skill(task: Task, usual: Floats, y: Floats) -> dict[str, float]:
    """Return by metric what always saying ``usual`` would score on outcomes ``y`` (n,)."""
    constant = np.tile(usual, (len(y), 1))
    p = constant if task.name == "multiclass" else constant[:, 0]
    return {name: task.score_metric(name, y, p).value for name in task.metrics}


def measure_honesty(task: Task, y: Floats, p: Floats) -> pd.DataFrame:
    """Return predicted against observed in groups of about equal size, a row a group.

    Chances: the columns of :func:`driftbook.model.curves.measure_calibration`, of several classes
    one after the other under ``class``. Values: the mean outcome of the group with Student's
    interval, and between which residuals nine of ten of its rows lie (``residual_low``,
    ``residual_high``).
    """
    if task.name == "regression":
        return _compare_values(y, p)
    if task.name == "binary":
        return curves.measure_calibration(y, p, GROUPS)
    came = mark_classes(y, len(task.classes))
    each = [
        curves.measure_calibration(came[:, k], p[:, k], GROUPS).assign(**{"class": name})
        for k, name in enumerate(task.classes)
    ]
    table = pd.concat(each, ignore_index=True)
    return table[["class", *table.columns.drop("class")]]


def _compare_values(y: Floats, p: Floats) -> pd.DataFrame:
    frame = pd.DataFrame({"predicted": p, "observed": y, "residual": y - p})
    found = frame.groupby(curves.group_by_size(p, GROUPS))
    means, n = found[["predicted", "observed"]].mean(), found.size()
    # Two rows at least: a single one has no spread, and no interval.
    half = stats.t.ppf(0.975, np.maximum(n - 1, 1)) * found["observed"].std() / np.sqrt(n)
    return means.assign(
        ci_low=means["observed"] - half,
        ci_high=means["observed"] + half,
        n=n,
        residual_low=found["residual"].quantile(0.05),
        residual_high=found["residual"].quantile(0.95),
    ).reset_index(drop=True)


def relate_outcomes(task: Task, y: Floats, p: Floats, seed: int = 0) -> pd.DataFrame:
    """Return how predictions and outcomes go together.

    Two classes: the ROC curve (:func:`driftbook.model.curves.trace_roc_curve`). Several: a row a
    pair of classes, ``came,said,n,share``, the share among the rows of the class that came. Values:
    counts in cells that cut the range of most rows evenly, ``predicted,observed,n`` (middles).
    """
    if task.name == "binary":
        return curves.trace_roc_curve(y, p, seed=seed)
    if task.name == "regression":
        return _count_cells(y, p)
    k, names, known = len(task.classes), list(task.classes), y >= 0
    pairs = y[known].astype(np.int64) * k + p[known].argmax(axis=1)
    counts = np.bincount(pairs, minlength=k * k)
    of_class = np.repeat(counts.reshape(k, k).sum(axis=1), k)
    share = counts / np.where(of_class > 0, of_class, np.nan)
    cells = {"came": np.repeat(names, k), "said": names * k, "n": counts, "share": share}
    return pd.DataFrame(cells).astype({"came": object})


def _count_cells(y: Floats, p: Floats) -> pd.DataFrame:
    said, came = _cut_into_cells(p), _cut_into_cells(y)
    cells = pd.DataFrame({"predicted": said, "observed": came})
    return cells.groupby(["predicted", "observed"]).size().rename("n").reset_index()


def _cut_into_cells(values: Floats) -> Floats:
    """Return the middle of each value's cell; far values count in the cells at the ends."""
    low, high = np.quantile(values, [0.005, 0.995])
    size = (high - low) / CELLS if high > low else 1.0
    place = np.clip(np.floor((values - low) / size), 0, CELLS - 1)
    return np.asarray(low + (place + 0.5) * size)


def describe_classes(task: Task, y: Floats, p: Floats) -> pd.DataFrame:
    """Return how well each class is found, a row a class; no rows where there are not several.

    ``rows`` and ``came_share``; ``found_share``: of its rows, those where it was the likeliest;
    ``right_share``: of the rows where it was the likeliest, those where it came; ``auc`` against
    all others with its interval. What cannot be had is NaN.
    """
    rows = []
    for k, name in enumerate(task.classes if len(task.outputs) > 1 else ()):
        came, said = y == k, p.argmax(axis=1) == k
        auc = score_auc(came.astype(np.float64), p[:, k])
        rows.append(
            {
                "class": name,
                "rows": int(came.sum()),
                "came_share": float(came.mean()),
                "found_share": float(said[came].mean()) if came.any() else np.nan,
                "right_share": float(came[said].mean()) if said.any() else np.nan,
                "auc": auc.value,
                "auc_low": auc.ci_low,
                "auc_high": auc.ci_high,
            }
        )
    return pd.DataFrame(rows)


def weigh_actions(
    task: Task,
    y: Floats,
    p: Floats,
    usual: Floats,
    false_alarm_cost: float = 1.0,
    miss_cost: float = 1.0,
) -> pd.DataFrame:
    """Return what acting on predictions would have brought.

    Two classes: :func:`driftbook.model.curves.price_thresholds` at these costs. Several: acting
    only where the likeliest class has at least the chance ``threshold``: ``rows`` and their
    ``acted_share``, and the ``right_share`` of them with Wilson's interval. Values: the ``error``
    within which a share ``within`` of the rows lie, and that of always saying ``usual``.
    """
    if task.name == "binary":
        return curves.price_thresholds(y, p, false_alarm_cost, miss_cost)
    if task.name == "regression":
        sizes = {"error": np.abs(y - p), "no_skill_error": np.abs(y - usual[0])}
        found = {name: np.quantile(size, SHARES) for name, size in sizes.items()}
        return pd.DataFrame({"within": SHARES, **found, "n": len(y)})
    surest, right = p.max(axis=1), p.argmax(axis=1) == y
    # Below an even chance every row is acted on.
    cuts = SHARES[1.0 / p.shape[1] <= SHARES]
    rows = [_score_sure_rows(float(cut), right[surest >= cut], len(y)) for cut in cuts]
    return pd.DataFrame(rows)


def _score_sure_rows(cut: float, right: Floats, n: int) -> dict[str, float]:
    row = {"threshold": cut, "rows": len(right), "acted_share": len(right) / n}
    if not len(right):
        return row | dict.fromkeys(("right_share", "ci_low", "ci_high"), np.nan)
    interval = stats.binomtest(int(right.sum()), len(right)).proportion_ci(method="wilson")
    found = {"right_share": float(right.mean()), "ci_low": interval.low, "ci_high": interval.high}
    return row | found
