"""Synthetic streams with a known truth: seven scenarios, eight features, one target."""

from __future__ import annotations

import numpy as np
import pandas as pd

from driftbook.errors import UsageError
from driftbook.settings import SCENARIOS

SYNTHETIC_FEATURES = tuple(f"f{i}" for i in range(8))
# f0..f4 carry the target, f5..f7 are useless.
_WEIGHTS = np.array([1.2, -0.9, 0.7, 0.6, -0.4, 0.0, 0.0, 0.0])
_CHANGED_WEIGHTS = np.array([-0.9, 1.2, 0.7, -0.6, 0.4, 0.0, 0.0, 0.0])
_INTERCEPT = -0.4


def make_scenario(
    scenario: str,
    rows: int = 14_400,
    seed: int = 0,
    target: str = "target",
    timestamp: str | None = None,
    onset: int | None = None,
) -> pd.DataFrame:
    """Return ``rows`` rows in time order whose last part, from ``onset`` on, has drifted.

    Features ``f0`` … ``f7`` are correlated standard normals; the target is Bernoulli with a
    logistic rule on ``f0`` … ``f4``. From row ``onset`` (default: two thirds) on:
    ``none`` nothing changes; ``covariate`` ``f0``, ``f1`` and ``f3`` move by 1, 1 and -1 sd and the
    rule stands; ``irrelevant`` ``f5``, ``f6``, ``f7`` move by 1 sd; ``concept`` the rule changes
    and the inputs stand; ``prior`` the rows are drawn so that the base rate moves and the inputs
    given the target stand; ``correlation`` every margin stands and the correlation of ``f5`` with
    ``f6`` and of ``f0`` with ``f1`` changes sign; ``outage`` ``f0`` goes missing, ``f1`` is stuck
    at one value and ``f2`` is reported in thousandths of its unit.

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
    labels = _labels(rng, inputs, _WEIGHTS)
    if scenario == "concept":
        labels[late] = _labels(rng, inputs[late], _CHANGED_WEIGHTS)
    if scenario == "prior":
        inputs[late], labels[late] = _at_base_rate(rng, int(late.sum()), rate=0.75)
    if scenario == "outage":
        inputs[late, 0] = np.nan
        inputs[late, 1] = 0.5
        inputs[late, 2] *= 1000.0
    frame = pd.DataFrame(inputs, columns=list(SYNTHETIC_FEATURES))
    frame[target] = labels.astype(np.int64)
    if timestamp is not None:
        span = pd.Timestamp("2025-01-01") - pd.Timestamp("2024-01-01")
        frame.insert(0, timestamp, pd.Timestamp("2024-01-01") + span / rows * np.arange(rows))
    return frame


def _inputs(rng: np.random.Generator, rows: int, flipped: np.ndarray) -> np.ndarray:
    inputs = rng.standard_normal((rows, len(SYNTHETIC_FEATURES)))
    for left, right, rho in ((0, 1, 0.5), (5, 6, 0.6)):
        signed = np.where(flipped, -rho, rho)
        inputs[:, right] = signed * inputs[:, left] + np.sqrt(1 - rho**2) * inputs[:, right]
    return inputs


def _labels(rng: np.random.Generator, inputs: np.ndarray, weights: np.ndarray) -> np.ndarray:
    probability = 1.0 / (1.0 + np.exp(-(inputs @ weights + _INTERCEPT)))
    return np.asarray(rng.random(len(inputs)) < probability)


def _at_base_rate(
    rng: np.random.Generator, rows: int, rate: float
) -> tuple[np.ndarray, np.ndarray]:
    """Draw rows whose inputs given the target stand while the base rate is ``rate``."""
    pool = _inputs(rng, 8 * rows, np.zeros(8 * rows, dtype=bool))
    labels = _labels(rng, pool, _WEIGHTS)
    wanted = rng.random(rows) < rate
    chosen = np.empty(rows, dtype=np.int64)
    for value in (False, True):
        candidates = np.flatnonzero(labels == value)
        drawn = wanted == value
        chosen[drawn] = rng.choice(candidates, int(drawn.sum()), replace=False)
    return pool[chosen], wanted
