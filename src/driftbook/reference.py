"""A model's own side of every comparison, computed once for as long as the model object lives."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from functools import cached_property

import numpy as np
import pandas as pd
from scipy import special

from driftbook import joint
from driftbook.profile import ColumnProfile, Values, bins_of, numbers, profile
from driftbook.prepared import prepared
from driftbook.training import Model, inputs

_SLACK_ROWS = 500


class Reference:
    """What a model's reference contributes to comparisons; each part is computed when first used.

    Predictions are those on the holdout by the fit that never saw it, never on training rows,
    because a flexible model is surer of rows it has seen.
    """

    def __init__(self, model: Model) -> None:
        # Held weakly, so that the cache below does not keep every model alive.
        self._model = weakref.ref(model)

    @property
    def model(self) -> Model:
        """Return the model; it lives at least as long as the caller's reference to it."""
        model = self._model()
        if model is None:
            raise ReferenceError("the model of this reference no longer exists")
        return model

    @cached_property
    def profiles(self) -> Mapping[str, ColumnProfile]:
        """Return the profile of each feature's reference column on its own bins."""
        rows = self.model.reference
        return {
            f.name: profile(rows[f.name], bins_of(rows[f.name], f.kind))
            for f in self.model.features
        }

    @cached_property
    def prediction(self) -> ColumnProfile:
        """Return the profile of the predicted log odds on the holdout."""
        held_out = pd.Series(log_odds(self.model.holdout_scores))
        return profile(held_out, bins_of(held_out, "numeric"))

    @cached_property
    def levels(self) -> dict[str, list[str]]:
        """Return by category the levels that take part in the joint comparison."""
        return joint.shown_levels(self.model.reference, self.model.features)

    @cached_property
    def dependence(self) -> joint.Dependence:
        """Return the rank correlations between the reference columns."""
        model = self.model
        return joint.dependence(joint.scores(model.reference, model.features, self.levels))

    @cached_property
    def runs(self) -> Mapping[str, int]:
        """Return by feature the longest run of rows with one and the same value, in time order."""
        rows = self.model.reference
        return {
            f.name: _longest_run(rows[f.name], f.kind == "numeric") for f in self.model.features
        }

    def prediction_slack(self, min_effect: float) -> float:
        """Return how far predictions may move without any drift that matters, in their sds.

        That is what harmless moves of the columns do to them, and how far the served fit's
        predictions already lie from those of the fit that was graded.
        """
        return max(1.0, self._reach) * min_effect + self._refit_gap

    @cached_property
    def _reach(self) -> float:
        """Return how far predictions move when every number column moves by one of its sds.

        The sizes of the columns' moves are added up, so that no harmless move of all columns
        together can be an alarm.
        """
        model = self.model
        rows = model.holdout.iloc[:: max(1, len(model.holdout) // _SLACK_ROWS)]
        sd = self.prediction.summary.sd
        if sd == 0.0:
            return 1.0
        step, known = 0.1, self.profiles
        names = [f.name for f in model.features if f.kind == "numeric" and known[f.name].n]
        values = {n: numbers(rows[n]) + step * known[n].summary.sd for n in names}
        still, all_moved = (
            prepared(model.estimator, inputs(frame, model.features))
            for frame in (rows, rows.assign(**values))
        )
        shifted = log_odds(still.exchanged((name, all_moved.table) for name in names))
        moved = np.abs(np.mean(shifted - log_odds(model.predict_proba(rows)), axis=1))
        return float(moved.sum()) / step / sd

    @cached_property
    def _refit_gap(self) -> float:
        """Return the largest distance between equal quantiles (5% to 95%) of the two fits' scores.

        Both score the holdout: the graded fit as it did, the served fit as a later one that may
        have learnt from it. 0 where they are one fit.
        """
        model, sd = self.model, self.prediction.summary.sd
        if sd == 0.0:
            return 0.0
        grid = np.linspace(0.05, 0.95, 37)
        before = np.quantile(log_odds(model.holdout_scores), grid)
        after = np.quantile(log_odds(model.predict_proba(model.holdout)), grid)
        return float(np.abs(after - before).max()) / sd


_known: dict[int, Reference] = {}


def reference_of(model: Model) -> Reference:
    """Return the reference side of comparisons with ``model``.

    The cache is keyed by the model object, not by its version: two models that share a version
    string never share a profile. The entry goes when the model is collected.
    """
    found = _known.get(id(model))
    if found is None:
        found = _known[id(model)] = Reference(model)
        weakref.finalize(model, _known.pop, id(model), None)
    return found


def log_odds(probability: Values) -> Values:
    """Return the log odds of probabilities, cut at one in a billion so that they stay finite."""
    odds: Values = special.logit(np.clip(probability, 1e-9, 1.0 - 1e-9))
    return odds


def _longest_run(values: pd.Series, numeric: bool) -> int:
    codes = numbers(values) if numeric else pd.factorize(values)[0]
    present = codes[~np.isnan(codes)] if numeric else codes[codes >= 0]
    if not len(present):
        return 0
    ends = np.flatnonzero(np.concatenate([present[1:] != present[:-1], [True]]))
    return int(np.diff(ends, prepend=-1).max())
