"""Synthetic streams with a known truth: seven scenarios, eight features, one target."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from driftbook.data.arrays import Flags, Floats
from driftbook.errors import UsageError
from driftbook.settings import SCENARIOS

SYNTHETIC_FEATURES = tuple(f"f{i}" for i in range(8))
# f0..f4 carry the target, f5..f7 are useless.
_WEIGHTS = np.array([1.2, -0.9, 0.7, 0.6, -0.4, 0.0, 0.0, 0.0])
_CHANGED_WEIGHTS = np.array([-0.9, 1.2, 0.7, -0.6, 0.4, 0.0, 0.0, 0.0])
_INTERCEPT = -0.4
CLASS_NAMES = ("low", "middle", "high")


def make_scenario(
    scenario: str,
    rows: int = 14_400,
    seed: int = 0,
    target: str = "target",
    timestamp: str | None = None,
    onset: int | None = None,
    task: str = "binary",
) -> pd.DataFrame:
    """Return ``rows`` rows in time order whose last part, from ``onset`` on, has drifted.

    Features ``f0`` … ``f7`` are correlated standard normals; a rule on ``f0`` … ``f4`` plus noise
    makes the target: 1 where it is above 0 by a logistic chance, one of three classes by where it
    lies, or the number itself. From row ``onset`` (default: two thirds) on:
    ``none`` nothing changes; ``covariate`` ``f0``, ``f1`` and ``f3`` move by 1, 1 and -1 sd and the
    rule stands; ``irrelevant`` ``f5``, ``f6``, ``f7`` move by 1 sd; ``concept`` the rule changes
    and the inputs stand; ``prior`` the rows are drawn so that the targets' shares move and the
    inputs given the target stand; ``correlation`` every margin stands and the correlation of ``f5``
    with ``f6`` and of ``f0`` with ``f1`` changes sign; ``outage`` ``f0`` goes missing, ``f1`` is
    stuck at one value and ``f2`` is reported in thousandths of its unit.

    With ``timestamp`` a column of that name spreads the rows evenly over 2024.

    Raises:
        UsageError: unknown scenario.
    """
    if scenario not in SCENARIOS:
        raise UsageError(f"unknown scenario {scenario!r}; known: {', '.join(SCENARIOS)}")
    rng = np.random.default_rng([seed, SCENARIOS.index(scenario)])
    start = rows * 2 // 3 if onset is None else onset
    late = np.arange(rows) >= start
    inputs = _inputs(rng, rows, late & (scenario == "correlation"))
    if scenario == "covariate":
        inputs[late] += np.array([1.0, 1.0, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0])
    if scenario == "irrelevant":
        inputs[late] += np.array([0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0])
    found = _targets(rng, inputs, _WEIGHTS, task)
    if scenario == "concept":
        found[late] = _targets(rng, inputs[late], _CHANGED_WEIGHTS, task)
    if scenario == "prior":
        inputs[late], found[late] = _at_moved_shares(rng, int(late.sum()), task)
    if scenario == "outage":
        inputs[late, 0] = np.nan
        inputs[late, 1] = 0.5
        inputs[late, 2] *= 1000.0
    frame = pd.DataFrame(inputs, columns=list(SYNTHETIC_FEATURES))
    frame[target] = _name_targets(found, task)
    if timestamp is not None:
        span = pd.Timestamp("2025-01-01") - pd.Timestamp("2024-01-01")
        frame.insert(0, timestamp, pd.Timestamp("2024-01-01") + span / rows * np.arange(rows))
    return frame


def _inputs(rng: np.random.Generator, rows: int, flipped: Flags) -> Floats:
    inputs = rng.standard_normal((rows, len(SYNTHETIC_FEATURES)))
    for left, right, rho in ((0, 1, 0.5), (5, 6, 0.6)):
        signed = np.where(flipped, -rho, rho)
        inputs[:, right] = signed * inputs[:, left] + np.sqrt(1 - rho**2) * inputs[:, right]
    return inputs


def _targets(rng: np.random.Generator, inputs: Floats, weights: Floats, task: str) -> Floats:
    """Return what the rule and its noise make of inputs: 0 and 1, class numbers, or values."""
    rule = inputs @ weights + _INTERCEPT
    if task == "regression":
        return np.asarray(rule + rng.standard_normal(len(rule)))
    if task == "binary":
        return np.asarray(rng.random(len(rule)) < 1.0 / (1.0 + np.exp(-rule)), dtype=np.float64)
    noisy = rule + rng.logistic(size=len(rule))
    return np.searchsorted([-1.4, 0.9], noisy).astype(np.float64)


def _at_moved_shares(rng: np.random.Generator, rows: int, task: str) -> tuple[Floats, Floats]:
    """Draw rows whose inputs given the target stand while large targets are more frequent."""
    pool = _inputs(rng, 8 * rows, np.zeros(8 * rows, dtype=bool))
    found = _targets(rng, pool, _WEIGHTS, task)
    if task == "regression":
        chance = 1.0 / (1.0 + np.exp(-1.5 * (found - found.mean())))
        chosen = rng.choice(len(pool), rows, replace=False, p=chance / chance.sum())
        return pool[chosen], found[chosen]
    shares = (0.25, 0.75) if task == "binary" else (0.15, 0.2, 0.65)
    wanted = np.searchsorted(np.cumsum(shares)[:-1], 1.0 - rng.random(rows)).astype(np.float64)
    chosen = np.empty(rows, dtype=np.int64)
    for value in range(len(shares)):
        drawn = wanted == value
        candidates = np.flatnonzero(found == value)
        chosen[drawn] = rng.choice(candidates, int(drawn.sum()), replace=False)
    return pool[chosen], wanted


def _name_targets(found: Floats, task: str) -> NDArray[Any]:
    if task == "multiclass":
        return np.array(CLASS_NAMES, dtype=object)[found.astype(np.int64)]
    return found.astype(np.int64) if task == "binary" else found
