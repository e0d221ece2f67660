"""What one window shows, before any cost is weighed: quality, drift, performance, newer fits."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pandas as pd

from driftbook.data.given_rows import accept_rows
from driftbook.data.sampling import take_sample
from driftbook.decision import alarms, challenger
from driftbook.decision.alarms import LOSS, Alarm, Seen
from driftbook.decision.trial import FitMemo, Trial
from driftbook.drift import report
from driftbook.drift.profile import ColumnProfile
from driftbook.drift.quality import check_quality
from driftbook.drift.readings import Reading, leave_season, read_columns, widen_pvalues
from driftbook.drift.season import Season, SeasonSide, find_season
from driftbook.drift.window_counts import WindowCounts, count_rows
from driftbook.model import threads
from driftbook.model.training import Model
from driftbook.performance import realised
from driftbook.performance.baseline import find_baseline
from driftbook.performance.causes import CAUSE_COLUMNS, explain_change
from driftbook.performance.loss_reading import read_loss
from driftbook.performance.metric_rows import tabulate_metric_rows
from driftbook.performance.realised import ScoredRows
from driftbook.performance.segments import SEGMENT_COLUMNS, judge_segments
from driftbook.settings import Settings

# A drift that this window alone shows so surely, and newer fits that do better at 2.5%, are two
# proofs of one change: by chance both come in less than one window in a thousand.
SURELY_SEEN = 0.01


@dataclass(frozen=True)
class WindowFindings:
    """What one window of ``rows`` rows says: it serves every price of a retrain.

    ``fresh``: labelled rows since the champion's reference, those of the window last. ``trial``:
    of challengers, None where none was looked at. With fewer rows than ``min_rows`` only the
    quality is judged; the drift is shown with nothing flagged, and all else is empty. ``without``:
    broken columns that a challenger may do without, because they matter little or their fault is
    ``lasting``: it was there in the window before. ``accepted``: columns whose change is known and
    agreed to: no fault, no alarm, and no feature of a challenger. ``passing``: too few days in a
    row were worse for a retrain to rest on.
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
    first: bool = True
    lasting: bool = False
    passing: bool = False
    without: frozenset[str] = frozenset()
    accepted: frozenset[str] = frozenset()
    seen: Seen = field(default_factory=Seen)
    alarms: tuple[Alarm, ...] = ()
    season: Season | None = None
    trial: Trial | None = None

    @property
    def too_few(self) -> bool:
        """Return whether there are too few rows to judge at all."""
        return self.rows < self.min_rows

    @property
    def left_out(self) -> frozenset[str]:
        """Return the columns that a challenger does without."""
        return self.without | self.accepted

    @cached_property
    def broken(self) -> pd.DataFrame:
        """Return the faults that forbid any other judgement."""
        return self.quality[self.quality["severity"] == "broken"]

    @cached_property
    def moved(self) -> pd.DataFrame:
        """Return the drift that matters and that an alarm is raised for."""
        return self.drift[self.drift["alarm"].astype(bool)]

    @cached_property
    def agreed(self) -> list[str]:
        """Return the accepted columns that this window shows to be other than in the reference."""
        if not self.accepted:
            return []
        faulty = self.quality.loc[self.quality["severity"] == "accepted", "feature"]
        moved = self.drift.loc[self.drift["drift_flag"].astype(bool), "feature"]
        return sorted({*faulty, *moved} & self.accepted)

    @cached_property
    def seen_only(self) -> list[str]:
        """Return what this window shows to have moved, without an alarm: chance may explain it."""
        seen = self.drift["matters"].astype(bool) & ~self.drift["alarm"].astype(bool)
        seen &= ~self.drift["seasonal"].astype(bool)
        return [str(name) for name in self.drift.loc[seen, "feature"]]

    @cached_property
    def seasonal(self) -> list[str]:
        """Return what has moved and matters, but mostly as it did in earlier years."""
        mostly = self.drift["seasonal"].astype(bool) & self.drift["matters"].astype(bool)
        own = mostly & ~self.drift["alarm"].astype(bool)
        return [str(name) for name in self.drift.loc[own, "feature"]]

    @cached_property
    def counting(self) -> pd.DataFrame:
        """Return the rows of the performance table that count."""
        return realised.find_counting_rows(self.performance)

    @cached_property
    def worse(self) -> pd.DataFrame:
        """Return the row of the loss that decisions rest on if an alarm is raised for it."""
        found = realised.find_worse_rows(self.performance)
        return found[found["metric"] == self.loss]

    @property
    def calm(self) -> bool:
        """Return whether nothing has proven yet that this stream changes.

        That is no alarm, neither for drift nor for the loss, and none before: a champion that has
        replaced another one was promoted because the world had changed. Nor is anything that
        matters seen to have moved at 1%, which newer fits that surely do better then confirm.
        """
        still = self.moved.empty and self.worse.empty and self.broken.empty
        return self.first and still and not self.seen.moved(SURELY_SEEN)


def sample_rows(
    current: pd.DataFrame, history: pd.DataFrame | None, size: int
) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """Return the rows of the window and of history that are looked at one by one.

    The same share of both is drawn, so that a window keeps its weight among earlier ones.
    """
    if len(current) > size and history is not None:
        history = take_sample(history, round(len(history) * size / len(current)))
    return take_sample(current, size), history


@dataclass(frozen=True)
class _Look:
    """A window's rows that are looked at one by one, and the first findings of it."""

    found: WindowFindings
    current: pd.DataFrame
    history: pd.DataFrame | None
    scored: ScoredRows | None


@threads.one_blas_thread()
def examine_window(
    model: Model,
    current: pd.DataFrame,
    settings: Settings,
    history: pd.DataFrame | None = None,
    past: Sequence[Seen] = (),
    memo: FitMemo | None = None,
    earlier: pd.DataFrame | None = None,
    accepted: Collection[str] = (),
    counted: WindowCounts | None = None,
) -> WindowFindings:
    """Return the evidence of one window; a trial of challengers where it may matter.

    That is where something changed, and in a calm window where the labels of a whole earlier
    window show whether the champion has gone stale all the same. ``past``: what earlier windows
    since the reference showed, in order, for the alarms. ``memo``: fits of earlier trials of a
    replay, so that none is made twice. ``earlier``: rows before the window, of which the same
    season of earlier years is taken. ``accepted``: columns whose lasting change somebody has
    accepted; what is no feature of the model is left aside. ``counted``: of all rows of the window,
    where ``current`` is a sample of them.
    """
    given = current, settings, history, earlier, accepted, counted
    look = _look_at(model, *given, realised.judge_performance)
    found, current = look.found, look.current
    if found.too_few:
        return found
    found = _with_faults(model, _with_alarms(model, found, settings, past), past)
    found = replace(
        found,
        causes=explain_change(model, current, found.min_rows, look.scored, found.performance),
        segments=found.segments
        if look.scored is None
        else judge_segments(model, current, look.scored, settings),
        fresh=challenger.gather_labelled(model, current, look.history),
    )
    enough = len(found.fresh) >= 2 * len(current)
    if (len(found.broken) and not found.without) or (found.calm and not enough):
        return found
    learning = settings.for_learning()
    rows = current, found.fresh, learning, memo
    tried = challenger.try_recipes(model.learner, *rows, found.calm, found.left_out)
    return replace(found, trial=tried)


@threads.one_blas_thread()
def see_window(
    model: Model,
    current: pd.DataFrame,
    settings: Settings,
    history: pd.DataFrame | None = None,
    earlier: pd.DataFrame | None = None,
    accepted: Collection[str] = (),
    counted: WindowCounts | None = None,
) -> Seen:
    """Return a window's evidence in a few numbers, as :func:`examine_window` would keep it."""
    given = current, settings, history, earlier, accepted, counted
    return _look_at(model, *given, realised.judge_what_counts).found.seen


def _look_at(
    model: Model,
    current: pd.DataFrame,
    settings: Settings,
    history: pd.DataFrame | None,
    earlier: pd.DataFrame | None,
    accepted: Collection[str],
    counted: WindowCounts | None,
    judge: Callable[..., pd.DataFrame],
) -> _Look:
    """Return the quality, drift and performance, as ``judge`` finds it, of one window by itself."""
    agreed = frozenset(accepted) & {*model.feature_names}
    current = accept_rows(current, "the window", lists_as_text=True)
    history, earlier = (
        None if rows is None else accept_rows(rows, what, lists_as_text=True)
        for rows, what in ((history, "the history"), (earlier, "the rows before the window"))
    )
    counts = count_rows(model, current) if counted is None else counted
    quality = check_quality(model, current, settings, counts.profiles, agreed)
    if not agreed <= {*current.columns}:
        # One that is gone for good is to the champion as if all its values were missing.
        current = _fill_gone(current, agreed)
        history = None if history is None else _fill_gone(history, agreed)
        earlier = None if earlier is None else _fill_gone(earlier, agreed)
        counts = counts.fill_gone(model, sorted(agreed))
    profiles, current = counts.predicted, model.keep_predicted(current)
    season = find_season(current, earlier, settings)
    rows = counts.predicted_rows
    current, history = sample_rows(current, history, settings.data.sample_rows)
    enough = rows >= settings.policy.min_rows
    scored = realised.score_if_complete(model, current) if enough else None
    p = None if scored is None else scored.p
    drift = report.report_drift(model, current, settings, profiles, None, agreed, p)
    side = None if season is None else SeasonSide(model, season)
    beside = None
    if side is not None and side.is_whole and {*profiles} == {*side.profiles}:
        beside = report.report_drift(model, current, settings, profiles, side, agreed, p)
        drift = report.add_season(drift, beside)
    few = WindowFindings(
        rows=rows,
        min_rows=settings.policy.min_rows,
        loss=model.task.loss,
        quality=quality,
        drift=pd.DataFrame(columns=[*report.DRIFT_COLUMNS, "alarm"]),
        performance=tabulate_metric_rows(),
        causes=pd.DataFrame(columns=list(CAUSE_COLUMNS)),
        segments=pd.DataFrame(columns=list(SEGMENT_COLUMNS)),
        fresh=current.iloc[:0],
        first="lessons" not in model.origin,
        accepted=agreed,
        seen=Seen(rows),
        season=season if beside is not None else None,
    )
    if few.too_few:
        # The numbers are shown; too few rows to judge flag nothing.
        drift = drift.assign(drift_flag=False, matters=False, alarm=False)
        return _Look(replace(few, drift=drift), current, history, None)
    performance = judge(model, current, settings, history, scored)
    seen = _sum_up(model, rows, profiles, drift, read_loss(model, scored, performance))
    if side is not None and beside is not None:
        seen = _without_season(model, seen, side, beside)
    seen = replace(seen, broken=tuple(few.broken["feature"]))
    found = replace(few, drift=drift, performance=performance, seen=seen)
    return _Look(found, current, history, scored)


def _fill_gone(rows: pd.DataFrame, columns: frozenset[str]) -> pd.DataFrame:
    return rows.reindex(columns=rows.columns.union(sorted(columns), sort=False))


def _sum_up(
    model: Model,
    rows: int,
    profiles: Mapping[str, ColumnProfile],
    drift: pd.DataFrame,
    loss: Reading | None,
) -> Seen:
    """Return a window's evidence in a few numbers."""
    widened = widen_pvalues(model, drift)
    pvalues = report.adjust_pvalues(drift["kind"].tolist(), np.array(list(widened.values())))
    return Seen(
        rows,
        read_columns(model, profiles) | ({} if loss is None else {LOSS: loss}),
        dict(zip(widened, pvalues.tolist(), strict=True)),
        tuple(drift.loc[drift["matters"].astype(bool), "feature"]),
    )


def _without_season(model: Model, seen: Seen, side: SeasonSide, beside: pd.DataFrame) -> Seen:
    """Return a window's evidence that the same season of earlier years does not explain.

    What has moved must have moved from the reference and from the season alike.
    """
    then = read_columns(model, side.profiles)
    left = _sum_up(model, seen.rows, {}, beside, None)
    apart = {name: max(value, left.pvalues[name]) for name, value in seen.pvalues.items()}
    return replace(
        seen,
        readings=leave_season(seen.readings, then),
        pvalues=apart,
        matters=tuple(name for name in seen.matters if name in left.matters),
    )


def _with_faults(model: Model, found: WindowFindings, past: Sequence[Seen]) -> WindowFindings:
    """Return the findings with the broken columns that a challenger may do without."""
    broken, before = {*found.seen.broken}, [one for one in past if one.key != found.seen.key]
    if not broken or not broken <= {*model.learner.feature_names}:
        return found
    lasting = bool(before) and broken <= {*before[-1].broken}
    shares = report.share_importance(model)
    little = all(name in shares and shares[name][0] < report.MIN_IMPACT for name in broken)
    without = frozenset(broken) if lasting or little else frozenset()
    return replace(found, lasting=lasting, without=without)


def _with_alarms(
    model: Model, found: WindowFindings, settings: Settings, past: Sequence[Seen]
) -> WindowFindings:
    """Return the findings with what all windows prove, told in the tables of both."""
    base = find_baseline(model).baselines[found.loss].score.value
    shares = report.share_importance(model)
    raised = alarms.find_alarms(past, found.seen, settings, shares, base, found.accepted)
    names = {alarm.source for alarm in raised if alarm.raised}
    performance = found.performance
    decides = performance["metric"] == found.loss
    counting = performance.index.isin(realised.find_counting_rows(performance).index)
    # A window whose loss surely lies below the baseline's ends what earlier ones proved.
    lower = performance["change_high"] < 0.0
    worse = np.where(decides, counting & ~lower & (LOSS in names), performance["worse"])
    together = alarms.count_together(settings)
    shown = [one for one in raised if one.source == LOSS and one.raised]
    return replace(
        found,
        passing=all(one.aspect == alarms.ONE_WINDOW and one.since < together for one in shown),
        drift=found.drift.assign(alarm=found.drift["feature"].isin(names)),
        performance=performance.assign(worse=worse.astype(bool)),
        alarms=raised,
    )
