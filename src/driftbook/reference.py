"""A model's own side of every comparison, computed once for as long as the model object lives."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import special

from driftbook import joint, shift
from driftbook.profile import ColumnProfile, Values, bins_of, profile
from driftbook.training import Model

_SLACK_ROWS = 500


@dataclass(frozen=True)
class Reference:
    """Profiles of the reference columns, of the holdout's predictions, and the joint rank scores.

    ``prediction_slack``: how far predictions (log odds, in their sds) move when every number
    column moves by the minimum effect.
    """

    profiles: Mapping[str, ColumnProfile]
    prediction: ColumnProfile
    prediction_slack: float
    scores: joint.Scores
    levels: dict[str, list[str]]


_known: dict[tuple[int, float], tuple[weakref.ref[Model], Reference]] = {}


def reference_of(model: Model, min_effect: float) -> Reference:
    """Return the reference side of comparisons with ``model``; kept until the model is collected.

    The cache is keyed by the model object, not by its version: two models that share a version
    string never share a profile. Predictions are those on the holdout, never on training rows,
    because a flexible model is surer of rows it has seen.
    """
    key = (id(model), min_effect)
    known = _known.get(key)
    if known is not None and known[0]() is model:
        return known[1]
    rows = model.reference
    profiles = {f.name: profile(rows[f.name], bins_of(rows[f.name], f.kind)) for f in model.features}
    held_out = pd.Series(log_odds(model.holdout_scores))
    prediction = profile(held_out, bins_of(held_out, "numeric"))
    levels = joint.shown_levels(rows, model.features)
    found = Reference(
        profiles=profiles,
        prediction=prediction,
        prediction_slack=_prediction_slack(model, profiles, prediction, min_effect),
        scores=joint.scores(rows, model.features, levels),
        levels=levels,
    )
    _known[key] = (weakref.ref(model, lambda _: _known.pop(key, None)), found)
    return found


def log_odds(probability: Values) -> Values:
    """Return the log odds of probabilities, cut at one in a billion so that they stay finite."""
    odds: Values = special.logit(np.clip(probability, 1e-9, 1.0 - 1e-9))
    return odds


def _prediction_slack(
    model: Model, profiles: Mapping[str, ColumnProfile], prediction: ColumnProfile, min_effect: float
) -> float:
    """Return the sum of the prediction's moves when each number column moves harmlessly.

    Sizes are added up, so that no harmless movement of the columns can be an alarm here.
    """
    rows = model.holdout.iloc[:: max(1, len(model.holdout) // _SLACK_ROWS)]
    base = log_odds(model.predict_proba(rows))
    sd = shift.summary(prediction).sd
    if sd == 0.0:
        return min_effect
    moved = 0.0
    for feature in model.features:
        if feature.kind == "numeric" and profiles[feature.name].n:
            step = min_effect * shift.summary(profiles[feature.name]).sd
            values = pd.to_numeric(rows[feature.name], errors="coerce") + step
            shifted = log_odds(model.predict_proba(rows.assign(**{feature.name: values})))
            moved += abs(float(np.mean(shifted - base)))
    return max(min_effect, moved / sd)
