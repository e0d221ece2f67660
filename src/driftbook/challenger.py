"""Challengers: what a retrain would bring, measured on rows that trained neither model."""

from __future__ import annotations

import hashlib
from copy import deepcopy
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import special, stats
from sklearn.linear_model import LogisticRegression

from driftbook import data, performance
from driftbook.errors import UsageError
from driftbook.performance import Floats
from driftbook.settings import Settings
from driftbook.training import Model, train

GATE_SHARE = 0.25
_EDGE = 1e-12


@dataclass(frozen=True)
class Challenger:
    """A version that wants to replace the champion, and its paired gain on the gate rows.

    ``gain`` is the mean fall of Brier loss a row, champion minus challenger, on ``n_gate`` rows
    that trained neither; ``gain_low`` holds with the stated confidence (one-sided, shared by all
    candidates), ``gain_high`` likewise. ``pays``: the gain over the horizon exceeds the cost.
    """

    model: Model
    recipe: str
    gain: float
    gain_low: float
    gain_high: float
    n_train: int
    n_gate: int
    champion_loss: float
    challenger_loss: float
    pays: bool
    candidates: pd.DataFrame


def challenge(
    model: Model, current: pd.DataFrame, history: pd.DataFrame | None, settings: Settings
) -> Challenger | None:
    """Return the challenger with the highest assured gain, or None with too few labelled rows.

    Labelled rows since the champion's reference are cut in time: the older ones train the
    candidates, the newest ones (a quarter, at most the current window) are the gate.
    """
    fresh = _fresh_rows(model, current, history)
    gate = min(len(current), round(len(fresh) * GATE_SHARE))
    if gate < settings.policy.min_rows:
        return None
    rows = performance.outcomes(model, fresh.iloc[-gate:])
    candidates = _candidates(model, fresh, gate, settings)
    if not candidates:
        return None
    graded = [_grade(c, rows, fresh.iloc[-gate:], settings, len(candidates)) for c in candidates]
    table = pd.DataFrame(
        [
            {
                k: getattr(g, k)
                for k in ("recipe", "gain", "gain_low", "gain_high", "n_train", "n_gate")
            }
            for g in graded
        ]
    )
    best = max(graded, key=lambda g: g.gain_low)
    return replace(best, candidates=table)


def break_even(settings: Settings) -> float:
    """Return the gain of mean Brier loss at which a retrain just pays for itself."""
    value = settings.policy.horizon * settings.policy.error_cost
    return settings.policy.retrain_cost / value if value > 0 else float("inf")


def _fresh_rows(model: Model, current: pd.DataFrame, history: pd.DataFrame | None) -> pd.DataFrame:
    parts = [
        part for part in (history, current) if part is not None and model.target in part.columns
    ]
    if not parts:
        return current.iloc[:0]
    fresh = pd.concat(parts, ignore_index=True)
    y = pd.to_numeric(fresh[model.target], errors="coerce")
    return fresh[y.isin([0, 1])].reset_index(drop=True)


def _candidates(model: Model, fresh: pd.DataFrame, gate: int, settings: Settings) -> list[Model]:
    blocks = {
        "recent": fresh.iloc[-len(model.reference) :],
        "everything": pd.concat([model.reference, fresh], ignore_index=True),
    }
    found = [_train(block, gate, recipe, settings) for recipe, block in blocks.items()]
    found.append(recalibrated(model, fresh, gate))
    return [candidate for candidate in found if candidate is not None]


def _train(block: pd.DataFrame, gate: int, recipe: str, settings: Settings) -> Model | None:
    if len(block) <= gate:
        return None
    chosen = settings.model.model_copy(update={"holdout": gate / len(block)})
    try:
        return train(block, settings.model_copy(update={"model": chosen}), recipe=recipe)
    except UsageError:
        return None  # a class is missing from the block: nothing to learn from


def recalibrated(model: Model, rows: pd.DataFrame, gate: int) -> Model | None:
    """Return the champion with its calibration refitted on ``rows`` before the last ``gate`` ones.

    Source: Cox (1958), Biometrika 45: logistic recalibration, an intercept and a slope.
    """
    block = rows[[c for c in model.reference.columns if c in rows.columns]]
    older = performance.outcomes(model, block.iloc[:-gate])
    if len(np.unique(older.y)) < 2:
        return None
    logit = special.logit(np.clip(older.p, _EDGE, 1 - _EDGE))
    fit = LogisticRegression(C=np.inf).fit(logit[:, None], older.y)
    estimator = deepcopy(model.estimator)
    calibrator = estimator[-1].calibrated_classifiers_[0].calibrators[0]
    slope, intercept = float(fit.coef_[0, 0]), float(fit.intercept_[0])
    calibrator.a_, calibrator.b_ = slope * calibrator.a_, slope * calibrator.b_ - intercept
    digest = data.fingerprint(block)
    version = (
        "m"
        + hashlib.sha256(f"{model.version} recalibrated {digest} {gate}".encode()).hexdigest()[:11]
    )
    return replace(
        model,
        version=version,
        estimator=estimator,
        reference=block,
        n_train=len(block) - gate,
        origin={
            **model.origin,
            "recipe": "recalibrated",
            "base_version": model.version,
            "input_sha256": digest,
        },
    )


def _grade(
    candidate: Model, champion: performance.Rows, gate: pd.DataFrame, settings: Settings, tests: int
) -> Challenger:
    p = candidate.predict_proba(gate)
    losses_old, losses_new = np.square(champion.p - champion.y), np.square(p - champion.y)
    gains: Floats = losses_old - losses_new
    se, df = performance.standard_error(gains)
    gain = float(gains.mean())
    half = float(stats.t.ppf(1 - (1 - settings.policy.confidence) / tests, df)) * se
    return Challenger(
        model=candidate,
        recipe=candidate.origin["recipe"],
        gain=gain,
        gain_low=gain - half,
        gain_high=gain + half,
        n_train=candidate.n_train,
        n_gate=len(gate),
        champion_loss=float(losses_old.mean()),
        challenger_loss=float(losses_new.mean()),
        pays=gain - half > break_even(settings),
        candidates=pd.DataFrame(),
    )
