"""The change of the loss in one window as a reading, which adds up over windows."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import pandas as pd
from scipy import stats

from driftbook.data.arrays import Floats
from driftbook.drift.readings import Reading
from driftbook.drift.time_order import TimeDependence, measure_time_dependence
from driftbook.model.model_side import ModelSide, keep_while_model_lives
from driftbook.model.row_sums import BLOCKS
from driftbook.model.training import Model
from driftbook.performance.realised import ScoredRows, find_counting_rows
from driftbook.performance.verdicts import INTERVAL


class LossOrder(ModelSide):
    """How losses of neighbouring rows depend on each other, as the whole reference shows it."""

    @cached_property
    def losses(self) -> Floats:
        """Return the champion's loss of each labelled row of its reference, in time order."""
        model = self.model
        found = model.task.row_losses(
            model.outcomes(model.reference), model.predict(model.reference)
        )
        return found[~np.isnan(found)]

    def measure(self, window: int) -> TimeDependence:
        """Return the dependence in windows of ``window`` rows."""
        return measure_time_dependence(self.losses, window)

    def find_shortfall(self, window: int) -> float:
        """Return by how much the blocks of a window understate the variance of its mean."""
        within = self.measure(max(1, window // BLOCKS)).ratio
        return max(1.0, self.measure(window).ratio / within)


@keep_while_model_lives
def find_loss_order(model: Model) -> LossOrder:
    """Return how losses on the model's reference depend on each other."""
    return LossOrder(model)


def read_loss(model: Model, rows: ScoredRows | None, performance: pd.DataFrame) -> Reading | None:
    """Return by how much the loss of one window lies above the baseline's.

    None where it is not judged, or where no loss differs from another: without any noise that can
    be measured there is nothing to weigh a change by.

    ``rows``: those of the window, scored. Measured on labels where they count in the table of
    ``performance``; else the estimate, whose error all windows share but for which rows came.
    """
    counting = find_counting_rows(performance)
    found = counting[counting["metric"] == model.task.loss].to_dict("records")
    if not found or rows is None or not np.isfinite(found[0]["change"]):
        return None
    base = model.task.row_losses(model.holdout_outcomes, model.holdout_scores)
    base = base[~np.isnan(base)]
    if found[0]["basis"] == "realised":
        now = model.task.row_losses(rows.y, rows.p)
        return _read_means(model, now[~np.isnan(now)], base)
    n = int(found[0]["n"])
    held = find_loss_order(model).measure(n)
    half = (found[0]["change_high"] - found[0]["change_low"]) / 2.0
    whole = float(half / stats.norm.ppf(0.5 + INTERVAL / 2)) ** 2
    own = min(held.ratio * float(base.var()) / n, whole / 2.0)
    return Reading(float(found[0]["change"]), own, whole - own, held.df, n) if own > 0.0 else None


def _read_means(model: Model, now: Floats, base: Floats) -> Reading | None:
    m, n = len(base), len(now)
    if min(m, n) < 2:
        return None
    held = find_loss_order(model).measure(n)
    spread = max(float(now.var()), float(base.var()))
    own, shared = held.ratio * spread / n, held.ratio * float(base.var()) / m
    if not own > 0.0:
        return None
    # The spread of a window's own losses is an estimate too.
    return Reading(float(now.mean() - base.mean()), own, shared, min(held.df, n - 1.0), n)
