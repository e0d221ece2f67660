"""What one window shows, before any cost is weighed: quality, drift, performance, newer fits."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pandas as pd

from driftbook.data.sampling import take_sample
from driftbook.decision import challenger
from driftbook.decision.trial import FitMemo, Trial
from driftbook.drift import report
from driftbook.drift.quality import check_quality
from driftbook.drift.reference import find_reference
from driftbook.model import threads
from driftbook.model.training import Model
from driftbook.performance import realised
from driftbook.performance.causes import CAUSE_COLUMNS, explain_change
from driftbook.performance.metric_rows import tabulate_metric_rows
from driftbook.performance.segments import SEGMENT_COLUMNS, judge_segments
from driftbook.settings import Settings


@dataclass(frozen=True)
class WindowFindings:
    """What one window of ``rows`` rows says: it serves every price of a retrain.

    ``fresh``: labelled rows since the champion's reference, those of the window last. ``trial``:
    of challengers, None where none was looked at. With fewer rows than ``min_rows`` only the
    quality is judged; the drift is shown with nothing flagged, and all else is empty.
    """

    rows: int
    min_rows: int
    loss: str  # the metric that decisions about this task rest on
    quality: pd.DataFrame
    drift: pd.DataFrame
    performance: pd.DataFrame
    causes: pd.DataFrame
    segments: pd.DataFrame
    fresh: pd.DataFrame
    trial: Trial | None = None

    @property
    def too_few(self) -> bool:
        """Return whether there are too few rows to judge at all."""
        return self.rows < self.min_rows

    @property
    def broken(self) -> pd.DataFrame:
        """Return the faults that forbid any other judgement."""
        return self.quality[self.quality["severity"] == "broken"]

    @property
    def moved(self) -> pd.DataFrame:
        """Return the drift that matters."""
        return self.drift[self.drift["matters"].astype(bool)]

    @property
    def worse(self) -> pd.DataFrame:
        """Return the row of the loss that decisions rest on if it is worse, sure enough to act."""
        found = realised.find_worse_rows(self.performance)
        return found[found["metric"] == self.loss]

    @property
    def calm(self) -> bool:
        """Return whether neither drift that matters nor any metric that is worse was found."""
        return self.moved.empty and realised.find_worse_rows(self.performance).empty


def sample_rows(
    current: pd.DataFrame, history: pd.DataFrame | None, size: int
) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """Return the rows of the window and of history that are looked at one by one.

    The same share of both is drawn, so that a window keeps its weight among earlier ones.
    """
    if len(current) > size and history is not None:
        history = take_sample(history, round(len(history) * size / len(current)))
    return take_sample(current, size), history


@threads.one_blas_thread()
def examine_window(
    model: Model,
    current: pd.DataFrame,
    settings: Settings,
    history: pd.DataFrame | None = None,
    memo: FitMemo | None = None,
) -> WindowFindings:
    """Return the evidence of one window; a trial of challengers where it may matter.

    That is where something changed, and in a calm window where the labels of a whole earlier
    window show whether the champion has gone stale all the same. ``memo``: fits of earlier trials
    of a replay, so that none is made twice.
    """
    profiles = find_reference(model).profile_window(current)
    quality = check_quality(model, current, settings, profiles)
    predicted = model.keep_predicted(current)
    if len(predicted) < len(current):
        profiles, current = find_reference(model).profile_window(predicted), predicted
    report_now = report.report_drift(model, current, settings, profiles)
    rows = len(current)
    current, history = sample_rows(current, history, settings.data.sample_rows)
    few = WindowFindings(
        rows=rows,
        min_rows=settings.policy.min_rows,
        loss=model.task.loss,
        quality=quality,
        drift=pd.DataFrame(columns=list(report.DRIFT_COLUMNS)),
        performance=tabulate_metric_rows(),
        causes=pd.DataFrame(columns=list(CAUSE_COLUMNS)),
        segments=pd.DataFrame(columns=list(SEGMENT_COLUMNS)),
        fresh=current.iloc[:0],
    )
    if few.too_few:
        # The numbers are shown; too few rows to judge flag nothing.
        return replace(few, drift=report_now.assign(drift_flag=False, matters=False))
    scored = realised.score_if_complete(model, current)
    performance = realised.judge_performance(model, current, settings, history, scored)
    found = replace(
        few,
        drift=report_now,
        performance=performance,
        causes=explain_change(model, current, few.min_rows, scored, performance),
        segments=few.segments
        if scored is None
        else judge_segments(model, current, scored, settings),
        fresh=challenger.gather_labelled(model, current, history),
    )
    enough = len(found.fresh) >= 2 * len(current)
    if len(found.broken) or (found.calm and not enough):
        return found
    learning = settings.for_learning()
    tried = challenger.try_recipes(model.learner, current, found.fresh, learning, memo, found.calm)
    return replace(found, trial=tried)
