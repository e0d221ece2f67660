"""Challengers: is the champion stale, what would a retrain earn, and on what should it learn."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pandas as pd

from driftbook.data.arrays import Floats
from driftbook.data.targets import parse_target
from driftbook.decision import costs, gap, recipes, retraining, trial
from driftbook.decision.alarms import LOSS_SCALE, SPENT, Alarm, Watch, count_together, count_windows
from driftbook.decision.trial import Trial
from driftbook.model.row_sums import RowSum
from driftbook.model.training import Model
from driftbook.performance.loss_reading import find_loss_order
from driftbook.performance.verdicts import INTERVAL
from driftbook.settings import Settings

ONE_SIDE = 0.5 + INTERVAL / 2  # of a two-sided interval


@dataclass(frozen=True)
class Challenger:
    """A version that wants to replace the champion, and the evidence for it.

    ``measured``: mean fall of loss a row, champion minus the recipe's fits, on the ``n_gate`` rows
    of the window, each graded by a fit on earlier rows, its recipe chosen on earlier rows too.
    ``gain``: the part of it that lasts, from the gaps of all windows since the champion's reference
    and what is known of how gaps move; ``gain_low``, ``gain_high``: its 95% interval, two-sided;
    ``gain_asked``: what it exceeds with ``policy.confidence``. ``staleness``: growth of a gap a
    window, pooled over all windows seen. ``break_even``: what the gain must exceed, credited over
    ``windows`` windows. ``stale``: all readings since the reference prove that newer fits beat the
    champion, see ``alarm``. ``changed_before``: the champion itself replaced another one, so that
    this stream is known to change, and what a retrain is expected to earn decides. ``pays``: the
    gain exceeds the break-even with that confidence, ``certainty``: with which one it does;
    what has paid goes on to until the evidence turns. ``worth``: the break-even up to which it
    pays.
    ``candidates``: every recipe's own measured gain. ``gaps``: of each row of the labelled rows
    since the reference, the champion's loss less that of a fit on the rows before it, NaN where
    there is none.
    """

    recipe: str
    measured: float
    gain: float
    gain_low: float
    gain_high: float
    gain_asked: float
    worth: float
    certainty: float
    n_train: int
    n_gate: int
    champion_loss: float
    challenger_loss: float
    staleness: float
    break_even: float
    windows: int
    stale: bool
    changed_before: bool
    pays: bool
    alarm: Alarm
    gaps: Floats = field(repr=False)
    candidates: pd.DataFrame = field(repr=False)
    order: retraining.RetrainOrder = field(repr=False)

    @cached_property
    def model(self) -> Model:
        """Return the challenger, trained when first asked for: most windows need none."""
        return retraining.retrain_model(self.order)

    @cached_property
    def decided_otherwise(self) -> float | None:
        """Return the share of the newest rows that it decides otherwise; None for values."""
        champion, rows = self.order.champion, self.order.fresh.tail(self.order.window)
        if not champion.task.classes:
            return None
        old, new = (champion.task.decide(model.predict(rows)) for model in (champion, self.model))
        return float((old != new).mean())


def try_recipes(
    model: Model,
    current: pd.DataFrame,
    fresh: pd.DataFrame,
    settings: Settings,
    memo: trial.FitMemo | None = None,
    calm: bool = False,
    without: frozenset[str] = frozenset(),
) -> Trial | None:
    """Return the trial of all recipes, or None with too few labelled rows.

    ``fresh``: labelled rows since the champion's reference. The gates are the labelled rows of
    ``current``; where it has none (labels mature later) they are the newest rows of ``fresh``, as
    many as ``current`` has. ``without``: columns that are broken, or accepted as changed.
    """
    window = len(gather_labelled(model, current, None)) or min(len(current), len(fresh))
    needed = {*model.feature_names} - without
    if window < settings.policy.min_rows or not needed or not needed <= set(fresh.columns):
        return None
    return trial.run_trial(model, fresh, window, settings, memo, calm, without)


def weigh_challenger(
    model: Model,
    fresh: pd.DataFrame,
    found: Trial,
    settings: Settings,
    calm: bool = False,
    without: frozenset[str] = frozenset(),
) -> Challenger | None:
    """Return the challenger that a trial's losses speak for; None where nothing can be trained.

    The gain is that of the recipe chosen before the window began; the challenger is made by the
    recipe chosen after it, and keeps what all trials taught for the champions after it. In a
    ``calm`` window, where nothing has ever proven a change, a champion must be more surely stale
    to be called so. ``without``: columns that are broken, or accepted as changed, which the
    challenger does without.
    """
    confidence, learnt = settings.policy.confidence, _learn_lessons(model, found)
    earlier, lasting, motion = learnt.earlier, learnt.lasting, learnt.known.motion
    measured = gap.measure_gap(found, earlier) or gap.measure_gap(found, recipes.BASE_RECIPE)
    chosen = gap.choose_recipe(learnt.known, () if not without else found.losses)
    order = retraining.RetrainOrder(
        model, fresh, chosen, found.window, settings, learnt.known.to_text(), without
    )
    n_train = retraining.count_rows_used(order)
    if measured is None or n_train is None:
        return None
    loss = float(found.champion[-found.window :].mean())
    noise = gap.measure_fit_noise(found, model)
    alarm = _judge_age(model, found, settings, learnt, noise, calm)
    credited = costs.credit_windows(settings.policy, alarm.since if alarm.raised else 0)
    price, windows = costs.find_break_even(credited, motion.slope)
    course = gap.follow_gap(
        gap.read_gaps(found, earlier),
        motion,
        float(np.nanmean(found.champion)),
        alarm.moved if alarm.raised else -np.inf,
    )
    return Challenger(
        recipe=order.recipe,
        measured=measured.mean,
        gain=lasting.mean,
        gain_low=lasting.low(ONE_SIDE),
        gain_high=lasting.high(ONE_SIDE),
        gain_asked=lasting.low(confidence),
        certainty=lasting.exceeds(price),
        n_train=n_train,
        n_gate=int(measured.rows),
        champion_loss=loss,
        challenger_loss=loss - measured.mean,
        staleness=motion.slope,
        break_even=price,
        windows=windows,
        stale=alarm.raised or (not calm and course.is_behind(noise, count_together(settings))),
        changed_before="lessons" in model.origin,
        alarm=alarm,
        pays=course.pays(price, confidence),
        worth=course.find_worth(confidence),
        gaps=gap.trace_gaps(found, earlier)[-len(fresh) :],
        candidates=_tabulate_candidates(found, learnt.known, order, price),
        order=order,
    )


@dataclass(frozen=True)
class _Lessons:
    """What trials have taught, this one and those before the champion.

    ``earlier``: the recipe that they spoke for before this window; ``lasting``: the champion's gap
    to it that is expected to last; ``known``: all evidence, the window's own included.
    """

    earlier: str
    lasting: RowSum
    known: gap.TrialEvidence


def _learn_lessons(model: Model, found: Trial) -> _Lessons:
    before = gap.parse_evidence(model.origin.get("lessons"))
    earlier = gap.choose_recipe(before + gap.learn_from_trial(found, gates=False))
    lasting, motion = gap.expect_gap(found, earlier, before)
    return _Lessons(earlier, lasting, replace(before + gap.learn_from_trial(found), motion=motion))


def _judge_age(
    model: Model, found: Trial, settings: Settings, learnt: _Lessons, noise: float, calm: bool
) -> Alarm:
    """Return whether all readings of the champion's gap prove that newer fits are better."""
    # In a calm window only age makes a champion stale, not that it learnt from fewer rows.
    readings = gap.read_gaps(found, recipes.BASE_RECIPE if calm else learnt.earlier)
    scale = LOSS_SCALE * float(np.nanmean(found.champion))
    watch = choose_watch(settings, scale, calm, len(readings))
    shortfall = find_loss_order(model).find_shortfall(found.window)
    return gap.judge_staleness(readings, learnt.known.motion, noise, watch, shortfall)


def choose_watch(settings: Settings, scale: float, calm: bool, readings: int) -> Watch:
    """Return what it takes to call a champion stale.

    In a ``calm`` window, without any other alarm, it is paid from the year's budget of false ones;
    else a test at 5% over the readings that there are.
    """
    budget, windows = gap.FALSE_STALE, max(1, readings)
    if calm:
        budget = SPENT["newer models"] * settings.policy.false_alarms
        windows = count_windows(settings)
    return Watch(budget, scale, one_sided=True, windows=windows, own_noise=True, settled=False)


def gather_labelled(
    model: Model, current: pd.DataFrame, history: pd.DataFrame | None
) -> pd.DataFrame:
    """Return the rows of history and current whose outcome is known, in time order."""
    parts = [part for part in (history, current) if part is not None]
    parts = [part for part in parts if model.target in part.columns and len(part)]
    if not parts:
        return current.iloc[:0]
    rows = pd.concat(parts, ignore_index=True)
    rows = rows.assign(**{model.target: parse_target(rows[model.target], model.task.name)})
    y = model.outcomes(rows)
    # Rows of a class that no model of these classes can predict grade none of them.
    return rows[~np.isnan(y) & (y >= 0 if model.task.classes else True)].reset_index(drop=True)


def _tabulate_candidates(
    found: Trial, known: gap.TrialEvidence, order: retraining.RetrainOrder, price: float
) -> pd.DataFrame:
    rows = []
    for name in found.losses:
        measured = gap.measure_gap(found, name)
        n_train = retraining.count_rows_used(order, name)
        if measured is None or n_train is None:
            continue
        lead = known.leads.get(name, RowSum(0.0, 0.0, 1.0))
        rows.append(
            {
                "recipe": name,
                "gain": measured.mean,
                "gain_low": measured.low(ONE_SIDE),
                "gain_high": measured.high(ONE_SIDE),
                "certainty": measured.exceeds(price),
                "n_train": n_train,
                "n_gate": int(measured.rows),
                "lead": lead.mean,
                "lead_error": lead.error,
            }
        )
    return pd.DataFrame(rows)
