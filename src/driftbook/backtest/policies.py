"""Retraining policies: each decides before every window from what was known then."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from scipy import stats
from sklearn.linear_model import BayesianRidge

from driftbook.backtest.timeline import Tenure, Timeline
from driftbook.data.arrays import Floats
from driftbook.decision.policy import Assessment
from driftbook.paths import Action
from driftbook.performance import realised
from driftbook.settings import PolicySettings

PERIODS = (2, 3, 6, 12)
FORECAST_FROM = 6  # losses from which a straight forecast has something to go by
KS_LEVEL, PSI_LEVEL = 0.05, 0.2
WORSE_WINDOWS = 3
ADWIN_DELTA = 0.002


@dataclass(frozen=True)
class JudgedWindow:
    """What Driftbook's decision rests on: the window before, in the numbers of its own page.

    ``loss``: of the champion in it, realised where labels were known, else estimated; ``gain`` and
    ``break_even``: of a retrain, NaN where no challenger was tried; ``why``: in plain words.
    """

    window: int
    action: Action
    loss: float
    gain: float
    break_even: float
    why: str


@dataclass(frozen=True)
class PolicyStep:
    """The model in force in one window, whether it was retrained before it, and why.

    ``judged``: what Driftbook's own decision rests on; None of other policies.
    """

    window: int
    champion: Tenure
    retrained: bool
    reason: str
    judged: JudgedWindow | None = None


@dataclass(frozen=True)
class PolicyMoment:
    """The eve of window ``t`` with a champion in force; labels are known up to ``newest``."""

    timeline: Timeline
    champion: Tenure
    t: int

    @property
    def newest(self) -> int:
        """Return the newest window whose labels are known; negative where there is none."""
        return self.t - 1 - self.timeline.settings.data.label_delay


# Says whether to retrain now, and why. It may ask the timeline for what was known by then: its
# ``loss`` up to window ``newest``, its ``compare``, its ``settings``.
RetrainRule = Callable[[PolicyMoment], tuple[bool, str]]


def follow_rule(timeline: Timeline, rule: RetrainRule) -> list[PolicyStep]:
    """Return the steps of a policy that retrains on the sliding block whenever ``rule`` says so."""
    champion = timeline.first
    steps = [PolicyStep(0, champion, False, "first model")]
    for t in range(1, len(timeline.windows)):
        retrain, reason = rule(PolicyMoment(timeline, champion, t))
        champion = timeline.champions[t] if retrain else champion
        steps.append(PolicyStep(t, champion, retrain, reason))
    return steps


def never_retrain(_: PolicyMoment) -> tuple[bool, str]:
    """Return no retrain."""
    return False, ""


def retrain_every(period: int) -> RetrainRule:
    """Return the rule that retrains when the champion is ``period`` windows old."""

    def rule(now: PolicyMoment) -> tuple[bool, str]:
        age = now.t - now.champion.trained_before
        return age >= period, f"{age} windows old"

    return rule


def retrain_on_any_drift(now: PolicyMoment) -> tuple[bool, str]:
    """Return whether any column has KS p < 0.05 or PSI >= 0.2: the rule of many dashboards.

    Both marks are conventions: the 5% level uncorrected, and PSI 0.2 as in Siddiqi (2006).
    """
    own = now.timeline.compare(now.champion, now.t)
    hit = (own["ks_pvalue"] < KS_LEVEL) | (own["psi"] >= PSI_LEVEL)
    return bool(hit.any()), f"{int(hit.sum())} columns moved"


def retrain_on_error(now: PolicyMoment) -> tuple[bool, str]:
    """Return whether the newest labelled window lost two standard errors more than the holdout."""
    if now.newest < now.champion.trained_before:
        return False, "no label yet"
    rows = realised.score_holdout(now.champion.model)
    before = now.champion.model.task.row_losses(rows.y, rows.p)
    losses = now.timeline.row_losses(now.champion, now.newest)
    if len(losses) < now.timeline.settings.policy.min_rows:
        return False, "too few labels"
    rise = float(losses.mean() - before.mean())
    error = np.hypot(losses.std() / len(losses) ** 0.5, before.std() / len(before) ** 0.5)
    return bool(rise > 2 * error), f"loss rose by {rise:.4f}"


def retrain_after_worse_windows(count: int) -> RetrainRule:
    """Return the rule that retrains once ``count`` windows in a row lost more than the holdout.

    It is the rule as teams write it: no uncertainty, and only windows that the champion served.
    """

    def rule(now: PolicyMoment) -> tuple[bool, str]:
        first = now.newest - count + 1
        if first < now.champion.trained_before:
            return False, "too few labelled windows"
        rows = realised.score_holdout(now.champion.model)
        before = float(now.champion.model.task.row_losses(rows.y, rows.p).mean())
        worse = [now.timeline.loss(now.champion, u) > before for u in range(first, now.newest + 1)]
        return all(worse), f"{sum(worse)} of {count} windows worse"

    return rule


def retrain_on_cumulative_cost(policy: PolicySettings) -> RetrainRule:
    """Return the rule that retrains once the staleness cost paid since then reaches the price.

    The staleness cost of a window is the champion's loss above that of a model trained right
    before it, times ``error_cost``.

    Source: the cumulative threshold of CARA, Mahadevan and Mathioudakis (2023), arXiv 2310.04216,
    with the cost of one retrain as threshold.
    """

    def rule(now: PolicyMoment) -> tuple[bool, str]:
        seen = range(now.champion.trained_before + 1, now.newest + 1)
        fresh = now.timeline.losses
        price = now.timeline.price_windows(policy)
        own = [(now.timeline.loss(now.champion, u) - fresh[u, u]) * price[u] for u in seen]
        paid = float(np.nansum(own))
        return paid >= policy.retrain_cost, f"paid {paid:.4f} for staleness"

    return rule


def retrain_on_forecast(policy: PolicySettings) -> RetrainRule:
    """Return the rule that retrains where a forecast of all losses expects it to pay.

    A Bayesian regression learns from every loss known so far how losses depend on when a model was
    trained and how old it is. What the next ``policy.horizon`` windows cost with the champion,
    less what they cost with a new model, must exceed the price with ``policy.confidence``.

    Source: the uncertainty-performance forecaster (UPF), Regol et al. (2025), ICML, arXiv
    2505.14903, with a linear forecast and without its shift features.
    """

    def rule(now: PolicyMoment) -> tuple[bool, str]:
        known = range(max(0, now.newest + 1))
        pairs = [(s, u) for u in known for s in range(u + 1)]
        losses = np.array([now.timeline.losses[pair] for pair in pairs])
        told = np.isfinite(losses)
        if told.sum() < FORECAST_FROM:
            return False, "too few losses"
        design = np.array([(s, u - s) for s, u in pairs], dtype=np.float64)[told]
        fitted = BayesianRidge().fit(design, losses[told])
        age = now.t - now.champion.trained_before
        # The same windows: trained so much earlier, so much older.
        apart = np.array([-age, age], dtype=np.float64)
        price = float(now.timeline.price_windows(policy)[: now.t].mean())
        saved = price * policy.horizon * float(apart @ fitted.coef_)
        rule_error = policy.horizon * np.sqrt(apart @ fitted.sigma_ @ apart)
        luck = np.sqrt(2.0 * policy.horizon / fitted.alpha_)
        least = saved + stats.norm.ppf(1.0 - policy.confidence) * price * np.hypot(rule_error, luck)
        return bool(least > policy.retrain_cost), f"forecast to save {saved:.4f}"

    return rule


def follow_adwin(timeline: Timeline) -> list[PolicyStep]:
    """Return the steps of retraining when ADWIN sees the champion's squared error change.

    Source: Bifet and Gavaldà (2007), SIAM SDM, with river's default delta of 0.002.
    """
    from river import drift

    return _detected(timeline, partial(drift.ADWIN, delta=ADWIN_DELTA), lambda losses: losses)


def follow_ddm(timeline: Timeline) -> list[PolicyStep]:
    """Return the steps of retraining when DDM sees the champion's error rate rise.

    Source: Gama et al. (2004), SBIA; an error is a loss above that of a forecast without opinion:
    0.25 of two classes, the same of several, and above the mean's own for a value.
    """
    from river.drift import binary

    mark = timeline.first.model.task.even_loss
    return _detected(timeline, binary.DDM, lambda losses: (losses > mark).astype(np.float64))


def has_river() -> bool:
    """Return whether river, the home of ADWIN and DDM, is installed (extra ``backtest``)."""
    return importlib.util.find_spec("river") is not None


def follow_driftbook(timeline: Timeline, policy: PolicySettings) -> list[PolicyStep]:
    """Return the steps of promoting the challenger whenever ``assess`` says retrain."""
    settings = timeline.settings.model_copy(update={"policy": policy})
    champion = timeline.first
    steps = [PolicyStep(0, champion, False, "first model")]
    for t in range(1, len(timeline.windows)):
        assessment = timeline.assess(champion, t, settings)
        retrain = assessment.action == "retrain"
        champion = timeline.promote(champion, t, assessment) if retrain else champion
        reason = f"{assessment.action}: {assessment.reason}"
        steps.append(PolicyStep(t, champion, retrain, reason, _keep_judgement(t - 1, assessment)))
    return steps


def _keep_judgement(window: int, found: Assessment) -> JudgedWindow:
    """Return an assessment's numbers alone: its rows and models would fill the memory."""
    rows = realised.find_counting_rows(found.performance)
    loss = rows.loc[rows["metric"] == found.task.loss, "value"]
    best = found.challenger
    return JudgedWindow(
        window=window,
        action=found.action,
        loss=float(loss.iloc[0]) if len(loss) else math.nan,
        gain=math.nan if best is None else best.gain,
        break_even=math.nan if best is None else best.break_even,
        why="" if found.plain is None else " ".join(found.plain.why),
    )


def _detected(
    timeline: Timeline, detector: Callable[[], Any], signal: Callable[[Floats], Floats]
) -> list[PolicyStep]:
    watching = detector()

    def rule(now: PolicyMoment) -> tuple[bool, str]:
        nonlocal watching
        if now.newest < now.champion.trained_before:
            return False, "no label yet"
        found = False
        for value in signal(timeline.row_losses(now.champion, now.newest)).tolist():
            watching.update(value)
            found = found or watching.drift_detected
        if found:
            watching = detector()
        return found, "drift detected" if found else ""

    return follow_rule(timeline, rule)
