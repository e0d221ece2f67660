"""A model's own side of every comparison, computed once for as long as the model object lives."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property

import numpy as np
import pandas as pd

from driftbook.data.arrays import Floats
from driftbook.data.cells import Kind, to_numbers
from driftbook.drift import joint
from driftbook.drift.column_change import ColumnChange, HarmlessShift, compare_profiles
from driftbook.drift.profile import ColumnProfile, profile_reference, profile_values
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

    def profile_window(self, current: pd.DataFrame) -> Mapping[str, ColumnProfile]:
        """Return the profile of each feature that ``current`` has, on the reference's bins."""
        return {
            name: profile_values(current[name], known.bins)
            for name, known in self.profiles.items()
            if name in current.columns
        }

    @cached_property
    def predictions(self) -> tuple[tuple[ColumnProfile, ColumnProfile], ...]:
        """Return by output the profiles of the holdout's scores, of the graded and served fit.

        The graded fit never saw these rows but is another fit than the one that scores windows;
        the served fit may have learnt from them, and a flexible one is surer of rows it has seen.
        """
        graded, served = (
            _as_columns(self.model.task.to_scores(p))
            for p in (self.model.holdout_scores, self.served_holdout)
        )
        return tuple(
            (
                profile_reference(pd.Series(graded[:, k]), "numeric"),
                profile_reference(pd.Series(served[:, k]), "numeric"),
            )
            for k in range(graded.shape[1])
        )

    @cached_property
    def score_rules(self) -> joint.ScoreRules:
        """Return how columns are scored in the joint comparison."""
        return joint.find_score_rules(self.model.reference, self.model.features)

    @cached_property
    def rank_scores(self) -> joint.RankScores:
        """Return the reference columns on their ranks, for the joint comparison."""
        rows, features = self.model.reference, self.model.features
        return joint.score_ranks(rows, features, self.score_rules)

    @cached_property
    def runs(self) -> Mapping[str, int]:
        """Return by feature the longest run of rows with one and the same value, in time order."""
        rows = self.model.reference
        return {f.name: _longest_run(rows[f.name], f.kind) for f in self.model.features}

    def compare_predictions(self, p: Floats, settings: DriftSettings) -> list[ColumnChange]:
        """Return by output the change of predictions ``p`` since the holdout, on the task's scale.

        There are two fits to compare with, each wrong in its own way; what differs from both has
        moved. Harmless is what harmless moves of the columns do to predictions and, beside the
        graded fit's, how far the served fit's predictions on the holdout already lie from them.

        Source: intersection-union test, Berger (1982), Technometrics 24.
        """
        found = _as_columns(self.model.task.to_scores(p))
        changes = []
        for k, (graded, served) in enumerate(self.predictions):
            reach = max(1.0, float(self._reach[0][k])) * settings.min_effect
            slacks = HarmlessShift(reach, *_fit_distance(graded, served)), HarmlessShift(reach)
            both = (
                compare_profiles(
                    known, profile_values(pd.Series(found[:, k]), known.bins), settings, slack
                )
                for known, slack in zip((graded, served), slacks, strict=True)
            )
            changes.append(max(both, key=lambda change: change.pvalue))
        return changes

    def mean_slack(self, min_effect: float) -> Floats:
        """Return by output how far harmless moves of all columns may move the mean prediction."""
        return np.asarray(min_effect * self._reach[1])

    @cached_property
    def _reach(self) -> tuple[Floats, Floats]:
        """Return by output how far predictions move when number columns move by one of their sds.

        First the scores, in their sds, then the predictions. The sizes of the columns' moves are
        added up, so that no harmless move of all columns together can be an alarm.
        """
        model, step, known = self.model.learner, 0.1, self.profiles
        rows = model.holdout.iloc[:: max(1, len(model.holdout) // _SLACK_ROWS)]
        sd = np.array([graded.summary.sd for graded, _ in self.predictions])
        names = [f.name for f in model.features if f.kind == "numeric" and known[f.name].n]
        sds = {n: known[n].summary.sd * known[n].tails for n in names}
        values = {n: to_numbers(rows[n]) + step * sds[n] for n in names}
        still, all_moved = (model.prepare(frame) for frame in (rows, rows.assign(**values)))
        base = model.predict(rows)
        moved = still.exchanged((name, all_moved.table) for name in names)
        if not len(moved):
            return np.ones(len(sd)), np.zeros(len(sd))
        to_scores = model.task.to_scores
        scores, chances = (
            np.abs((after - before).mean(axis=1).reshape(len(moved), -1)).sum(axis=0) / step
            for after, before in ((to_scores(moved), to_scores(base)), (moved, base))
        )
        return np.divide(scores, sd, out=np.ones(len(sd)), where=sd > 0), chances

    @cached_property
    def served_holdout(self) -> Floats:
        """Return the served fit's predictions on the holdout, from which it may have learnt."""
        return self.model.predict(self.model.holdout)


def _fit_distance(graded: ColumnProfile, served: ColumnProfile) -> tuple[float, float]:
    """Return how far two fits' scores on the holdout may differ in location and in log sd.

    Location is the largest distance between equal quantiles from 5% to 95%. Spreads of two fits
    are not compared at all: a weak signal gives them slopes that differ tenfold.
    """
    grid = np.linspace(0.05, 0.95, 37)
    location = float(np.abs(served.quantiles(grid) - graded.quantiles(grid)).max())
    return location, math.inf if location else 0.0


def _as_columns(values: Floats) -> Floats:
    return values.reshape(len(values), -1)


@keep_while_model_lives
def find_reference(model: Model) -> ReferenceSide:
    """Return the reference side of comparisons with ``model``."""
    return ReferenceSide(model)


def _longest_run(values: pd.Series, kind: Kind) -> int:
    present = (pd.Series(to_numbers(values)) if kind == "numeric" else values).dropna().to_numpy()
    ends = np.flatnonzero(present[1:] != present[:-1]) + 1
    return int(np.diff(ends, prepend=0, append=len(present)).max())
