"""A champion's own side of every judgement of its performance."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import numpy as np
import pandas as pd

from driftbook.data.arrays import Floats
from driftbook.drift.reference import find_reference
from driftbook.model import design
from driftbook.model.model_side import ModelSide, keep_while_model_lives
from driftbook.model.task_curves import find_usual_outcome
from driftbook.model.training import Model
from driftbook.performance import outcome_chance
from driftbook.performance.metric_rows import HoldoutBaseline, measure_baselines

# Bends of a rule stop where the reference has hardly a row: none is drawn into the unknown.
REACH_SD = 3.0


class BaselineSide(ModelSide):
    """What a model's reference says about its performance, each part when first used."""

    @cached_property
    def calibration_rows(self) -> outcome_chance.CalibrationRows:
        """Return what the reference says about the chance of a row's outcome."""
        return outcome_chance.gather_reference_rows(self.model)

    @cached_property
    def baselines(self) -> Mapping[str, HoldoutBaseline]:
        """Return by metric how the champion did on its holdout."""
        model = self.model
        return measure_baselines(model.task, model.holdout_outcomes, model.holdout_scores)

    @cached_property
    def usual_outcome(self) -> Floats | None:
        """Return what a model without any skill, taught by the training rows, would always say.

        Of a model that is served elsewhere nobody has these: all labelled rows of its reference
        teach then. None where no label is known.
        """
        for rows in (self.model.training_rows, self.model.reference):
            outcomes = self.model.outcomes(rows)
            known = outcomes[~np.isnan(outcomes)]
            if len(known):
                return find_usual_outcome(self.model.task, known)
        return None

    @cached_property
    def bends(self) -> Floats:
        """Return along what the rule may bend in the holdout's rows, shape (rows, k)."""
        return bend_inputs(self.model, self.model.holdout)

    @property
    def served_holdout(self) -> Floats:
        """Return the served fit's predictions on the holdout, from which it may have learnt."""
        return find_reference(self.model).served_holdout


@keep_while_model_lives
def find_baseline(model: Model) -> BaselineSide:
    """Return what every judgement of the model's performance is compared with."""
    return BaselineSide(model)


def bend_inputs(model: Model, frame: pd.DataFrame) -> Floats:
    """Return the model's prepared inputs and the squares of its numbers, shape (rows, k).

    Missing values are imputed as in training; values end at 3 standard deviations.
    """
    given = design.model_inputs(frame, model.features)
    inputs = np.clip(design.encode_inputs(model.preparation, given), -REACH_SD, REACH_SD)
    numbers = sum(feature.kind != "categorical" for feature in model.features)
    return np.hstack([inputs, (np.square(inputs[:, :numbers]) - 1.0) / np.sqrt(2.0)])
