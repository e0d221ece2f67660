"""The change of the loss in one window as a reading, which adds up over windows."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from driftbook.data.arrays import Floats
from driftbook.drift.readings import Reading
from driftbook.drift.time_order import measure_time_dependence
from driftbook.model.training import Model
from driftbook.performance.realised import ScoredRows, find_counting_rows
from driftbook.performance.verdicts import INTERVAL


def read_loss(model: Model, rows: ScoredRows | None, performance: pd.DataFrame) -> Reading | None:
    """Return by how much the loss of one window lies above the baseline's; None if not judged.

    ``rows``: those of the window, scored. Measured on labels where they count in the table of
    ``performance``; else the estimate, whose error all windows share but for which rows came. The
    holdout shows how losses of neighbouring rows depend on each other.
    """
    counting = find_counting_rows(performance)
    found = counting[counting["metric"] == model.task.loss].to_dict("records")
    if not found or rows is None or not np.isfinite(found[0]["change"]):
        return None
    base = model.task.row_losses(model.holdout_outcomes, model.holdout_scores)
    base = base[~np.isnan(base)]
    if found[0]["basis"] == "realised":
        now = model.task.row_losses(rows.y, rows.p)
        return _read_means(now[~np.isnan(now)], base)
    n, held = int(found[0]["n"]), measure_time_dependence(base, int(found[0]["n"]))
    half = (found[0]["change_high"] - found[0]["change_low"]) / 2.0
    whole = float(half / stats.norm.ppf(0.5 + INTERVAL / 2)) ** 2
    own = min(held.ratio * float(base.var()) / n, whole / 2.0)
    return Reading(float(found[0]["change"]), own, whole - own, held.df, n)


def _read_means(now: Floats, base: Floats) -> Reading | None:
    m, n = len(base), len(now)
    if min(m, n) < 2:
        return None
    held = measure_time_dependence(base, n)
    spread = max(float(now.var()), float(base.var()))
    own, shared = held.ratio * spread / n, held.ratio * float(base.var()) / m
    # The spread of a window's own losses is an estimate too.
    return Reading(float(now.mean() - base.mean()), own, shared, min(held.df, n - 1.0), n)
