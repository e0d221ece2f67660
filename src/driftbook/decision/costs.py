"""What a retrain costs, against what a champion that stays costs."""

from __future__ import annotations

import numpy as np

from driftbook.settings import PolicySettings


def find_break_even(policy: PolicySettings, slope: float = 0.0) -> tuple[float, int]:
    """Return the gain in this window at which a retrain pays, and over how many windows.

    A model whose loss rises by ``slope`` a window costs ``c / T + slope * (T - 1) / 2`` a window
    when it is retrained every T windows, with ``c = retrain_cost / error_cost``. The cheapest T,
    at most ``policy.horizon``, is how long a retrain is credited; staying is dearer once the
    champion's gap exceeds that cost. The gap measured in this window will have grown by half a
    slope in the next; it must be above 0 in any case. Without staleness: ``c / horizon``.

    Source: renewal-reward argument, Ross (1996), Stochastic Processes, §3.6; the same trade of
    staleness against retraining as Mahadevan and Mathioudakis (2023), arXiv 2310.04216.
    """
    if policy.error_cost == 0.0:
        return float("inf"), policy.horizon
    windows = np.arange(1, policy.horizon + 1)
    price = policy.retrain_cost / policy.error_cost / windows + slope * (windows - 1) / 2
    best = int(np.argmin(price))
    return max(0.0, float(price[best]) - slope / 2), best + 1


def credit_windows(policy: PolicySettings, lasted: int) -> PolicySettings:
    """Return the policy with its horizon as long as a proven gap has lasted, where that is longer.

    A gap that has lasted so many windows lasts as many again at even odds: without this, one that
    is too small to pay within ``policy.horizon`` would be carried for ever.

    Source: the argument of the unspecial moment, Gott (1993), Nature 363.
    """
    return policy.model_copy(update={"horizon": max(policy.horizon, lasted)})


def find_turning_cost(policy: PolicySettings, gain: float, slope: float) -> float:
    """Return the ``retrain_cost`` up to which a retrain with that sure gain pays, 0 if none does.

    The inverse of :func:`find_break_even`: a retrain pays where some T of at most
    ``policy.horizon`` windows costs less a window than staying.
    """
    if gain <= 0.0:
        return 0.0
    windows = np.arange(1, policy.horizon + 1)
    costs = windows * (gain + slope / 2 - slope * (windows - 1) / 2)
    return max(0.0, float(policy.error_cost * costs.max()))
