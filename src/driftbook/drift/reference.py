"""A model's own side of every comparison, computed once for as long as the model object lives."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property

import numpy as np
import pandas as pd

from driftbook.data.arrays import Floats
from driftbook.data.columns import Kind, to_numbers
from driftbook.drift import joint
from driftbook.drift.column_change import ColumnChange, HarmlessShift, compare_profiles
from driftbook.drift.profile import ColumnProfile, profile_reference, profile_values
from driftbook.model import scores
from driftbook.model.design import model_inputs, prepare_rows
from driftbook.model.model_side import ModelSide, keep_while_model_lives
from driftbook.model.training import Model
from driftbook.settings import DriftSettings

_SLACK_ROWS = 500


class ReferenceSide(ModelSide):
    """What a model's reference contributes to comparisons, each part when first used."""

    @cached_property
    def profiles(self) -> Mapping[str, ColumnProfile]:
        """Return the profile of each feature's reference column on its own bins."""
        rows = self.model.reference
        return {f.name: profile_reference(rows[f.name], f.kind) for f in self.model.features}

    @cached_property
    def predictions(self) -> tuple[ColumnProfile, ColumnProfile]:
        """Return the profiles of the log odds on the holdout, of the graded and the served fit.

        The graded fit never saw these rows but is another fit than the one that scores windows;
        the served fit may have learnt from them, and a flexible one is surer of rows it has seen.
        """
        both = (self.model.holdout_scores, self.served_holdout)
        graded, later = (pd.Series(scores.to_log_odds(p)) for p in both)
        return profile_reference(graded, "numeric"), profile_reference(later, "numeric")

    @cached_property
    def score_rules(self) -> joint.ScoreRules:
        """Return how columns are scored in the joint comparison."""
        return joint.find_score_rules(self.model.reference, self.model.features)

    @cached_property
    def dependence(self) -> joint.Dependence:
        """Return the rank correlations between the reference columns."""
        rows, features = self.model.reference, self.model.features
        return joint.measure_dependence(joint.score_ranks(rows, features, self.score_rules))

    @cached_property
    def runs(self) -> Mapping[str, int]:
        """Return by feature the longest run of rows with one and the same value, in time order."""
        rows = self.model.reference
        return {f.name: _longest_run(rows[f.name], f.kind) for f in self.model.features}

    def prediction_changes(
        self, odds: Floats, settings: DriftSettings
    ) -> tuple[ColumnChange, ColumnChange]:
        """Return the change of predicted log odds, shape (n,), since the holdout: by either fit.

        Harmless is what harmless moves of the columns do to predictions and, beside the graded
        fit's, how far the served fit's predictions on the holdout already lie from them.
        """
        reach = max(1.0, self._reach[0]) * settings.min_effect
        slacks = HarmlessShift(reach, *self._refit), HarmlessShift(reach)
        first, second = (
            compare_profiles(known, profile_values(pd.Series(odds), known.bins), settings, slack)
            for known, slack in zip(self.predictions, slacks, strict=True)
        )
        return first, second

    def mean_slack(self, min_effect: float) -> float:
        """Return how far harmless moves of all columns may move the mean predicted probability."""
        return min_effect * self._reach[1]

    @cached_property
    def _reach(self) -> tuple[float, float]:
        """Return how far predictions move when every number column moves by one of its sds.

        First the log odds, in their sds, then the probability. The sizes of the columns' moves are
        added up, so that no harmless move of all columns together can be an alarm.
        """
        model, step, known = self.model, 0.1, self.profiles
        rows = model.holdout.iloc[:: max(1, len(model.holdout) // _SLACK_ROWS)]
        sd = self.predictions[0].summary.sd
        names = [f.name for f in model.features if f.kind == "numeric" and known[f.name].n]
        sds = {n: known[n].summary.sd * known[n].tails for n in names}
        values = {n: to_numbers(rows[n]) + step * sds[n] for n in names}
        still, all_moved = (
            prepare_rows(model.estimator, model_inputs(frame, model.features))
            for frame in (rows, rows.assign(**values))
        )
        base = model.predict_proba(rows)
        moved = still.exchanged((name, all_moved.table) for name in names)
        odds, chance = (
            float(np.abs(np.mean(after - before, axis=1)).sum()) / step
            for after, before in (
                (scores.to_log_odds(moved), scores.to_log_odds(base)),
                (moved, base),
            )
        )
        return odds / sd if sd else 1.0, chance

    @cached_property
    def served_holdout(self) -> Floats:
        """Return the served fit's probabilities on the holdout, from which it may have learnt."""
        return self.model.predict_proba(self.model.holdout)

    @cached_property
    def _refit(self) -> tuple[float, float]:
        """Return how far the fits' scores on the holdout may differ in location and in log sd.

        Location is the largest distance between equal quantiles from 5% to 95%. Spreads of two fits
        are not compared at all: a weak signal gives them slopes that differ tenfold.
        """
        graded, served = self.predictions
        grid = np.linspace(0.05, 0.95, 37)
        location = float(np.abs(served.quantiles(grid) - graded.quantiles(grid)).max())
        return location, math.inf if location else 0.0


@keep_while_model_lives
def find_reference(model: Model) -> ReferenceSide:
    """Return the reference side of comparisons with ``model``."""
    return ReferenceSide(model)


def _longest_run(values: pd.Series, kind: Kind) -> int:
    present = (pd.Series(to_numbers(values)) if kind == "numeric" else values).dropna()
    codes = pd.Series(pd.factorize(present)[0])
    lengths = codes.groupby(codes.diff().ne(0).cumsum()).size()
    return int(lengths.max()) if len(lengths) else 0
