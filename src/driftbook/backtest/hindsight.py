"""What is cheapest once everything is known: the marks that policies are held against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from driftbook.backtest.policies import PolicyStep, follow_rule, retrain_every
from driftbook.backtest.timeline import Tenure, Timeline
from driftbook.data.arrays import Floats
from driftbook.settings import PolicySettings

HINDSIGHT, ANY_RECIPE, BEST_PERIOD = "hindsight", "hindsight, any recipe", "best period"
# Nobody could have followed these at the time.
KNOWN_AFTERWARDS = (HINDSIGHT, ANY_RECIPE, BEST_PERIOD)


def find_hindsight(timeline: Timeline, policy: PolicySettings) -> list[PolicyStep]:
    """Return the cheapest steps of all, over every set of retrain times of the sliding block."""
    return _find_cheapest(timeline, [timeline.champions], policy)


def find_hindsight_of_recipes(
    timeline: Timeline, made: Mapping[str, Sequence[Tenure]], policy: PolicySettings
) -> list[PolicyStep]:
    """Return the cheapest steps over every set of retrain times and a recipe for each.

    ``made``: by recipe the model trained before each window, beside those of the sliding block.
    """
    return _find_cheapest(timeline, [timeline.champions, *made.values()], policy)


def find_best_period(timeline: Timeline, policy: PolicySettings) -> list[PolicyStep]:
    """Return the steps of the fixed schedule, never among them, that was cheapest afterwards."""
    periods = range(1, len(timeline.windows) + 1)
    every = [follow_rule(timeline, retrain_every(period)) for period in periods]
    return min(every, key=lambda steps: price_steps(timeline, steps, policy))


def price_steps(timeline: Timeline, steps: Sequence[PolicyStep], policy: PolicySettings) -> float:
    """Return what a policy paid: its windows' losses at their prices, and its retrains."""
    losses = np.array([timeline.loss(step.champion, step.window) for step in steps])
    paid = float(np.nansum(losses * timeline.price_windows(policy)))
    return paid + sum(step.retrained for step in steps) * policy.retrain_cost


def _find_cheapest(
    timeline: Timeline, made: Sequence[Sequence[Tenure]], policy: PolicySettings
) -> list[PolicyStep]:
    """Return the cheapest steps where a retrain before a window takes any of ``made`` for it.

    Source: Bellman (1957): the best end of a schedule does not depend on how it began.
    """
    prices, n = timeline.price_windows(policy), len(timeline.windows)
    total = [_sum_losses(timeline, each, prices) for each in made]
    best, plan = np.zeros(n + 1), [(0, n)] * n
    for a in range(n - 1, -1, -1):
        # Before the first retrain there is only the first model.
        costs = {
            (kind, b): total[kind][a, b] + (policy.retrain_cost + best[b]) * (b < n)
            for kind in range(len(made) if a else 1)
            for b in range(a + 1, n + 1)
        }
        plan[a] = min(costs, key=costs.__getitem__)
        best[a] = costs[plan[a]]
    steps, a = [], 0
    while a < n:
        kind, end = plan[a]
        reason = "known afterwards" if a else "first model"
        steps += [PolicyStep(t, made[kind][a], t == a > 0, reason) for t in range(a, end)]
        a = end
    return steps


def _sum_losses(timeline: Timeline, made: Sequence[Tenure], prices: Floats) -> Floats:
    """Return what the model made before window a costs until before window b, at [a, b]."""
    n = len(prices)
    found = np.zeros((n, n + 1))
    for a in range(n):
        losses = np.array([timeline.loss(made[a], t) for t in range(a, n)])
        found[a, a + 1 :] = np.cumsum(np.nan_to_num(losses) * prices[a:])
    return found
