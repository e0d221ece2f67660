"""How a recipe becomes a version: a model trained on the rows that the recipe chooses."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline

from driftbook.data import windows
from driftbook.decision import recipes
from driftbook.model import design
from driftbook.model.score_calibration import (
    ScoreCalibration,
    fit_rising_sigmoid,
    rows_before_holdout,
    with_calibration,
)
from driftbook.model.scores import to_log_odds
from driftbook.model.training import Model, train
from driftbook.performance import realised
from driftbook.settings import Settings


@dataclass(frozen=True)
class RetrainOrder:
    """What to train: ``recipe`` on the champion's reference and the ``fresh`` labelled rows.

    ``lessons``: what all trials so far taught, to be kept with the new version.
    """

    champion: Model
    fresh: pd.DataFrame
    recipe: str
    window: int
    settings: Settings
    lessons: str

    @property
    def block(self) -> int:
        """Return how many rows the sliding block holds."""
        return recipes.count_block_rows(self.champion)


def retrain_model(order: RetrainOrder) -> Model:
    """Return the ordered model; ``reference`` is the block of rows that the recipe looks at."""
    if order.recipe == "recalibrated":
        made = recalibrate_model(order.champion, order.fresh, order.settings)
        return replace(made, origin={**made.origin, "lessons": order.lessons})
    rows = _join_rows(order.champion, order.fresh)
    part, weights = recipes.plan_rows(order.recipe, len(rows), order.block)
    if order.recipe == "weighted":
        table = design.tabulate_rows(rows, order.champion.features, order.champion.target)
        weights = recipes.weigh_resembling(table, part, order.window)
    names = {"features": tuple(order.champion.feature_names)}
    named = order.settings.data.model_copy(update=names)
    return train(
        rows.iloc[part].reset_index(drop=True),
        order.settings.model_copy(update={"data": named}),
        order.recipe,
        weights,
        origin={"block_rows": str(order.block), "lessons": order.lessons},
    )


def count_rows_used(order: RetrainOrder) -> int | None:
    """Return how many rows the ordered model would learn from, None where it can't be trained."""
    target = order.champion.target
    labels = order.fresh[target].to_numpy()
    if order.recipe == "recalibrated":
        labels = labels[-order.block :]
    else:
        labels = np.append(order.champion.reference[target].to_numpy(), labels)
        labels = labels[recipes.plan_rows(order.recipe, len(labels), order.block)[0]]
    held = rows_before_holdout(len(labels), order.settings.model.holdout)
    rarer = [min((part == 0).sum(), (part == 1).sum()) for part in (labels[:held], labels[held:])]
    return len(labels) if rarer[0] >= 2 and rarer[1] >= 1 else None


def recalibrate_model(model: Model, fresh: pd.DataFrame, settings: Settings) -> Model:
    """Return the champion with an intercept and a slope above zero refitted on its log odds.

    ``fresh``: labelled rows since the reference, of which at most the newest block is used. Graded
    on the newest share of them by a calibration that never saw it, as in ``training.train``.

    Source: Cox (1958), Biometrika 45: logistic recalibration; it meets a change of base rate.
    """
    block = recipes.count_block_rows(model)
    rows = fresh.iloc[-block:]
    outcome = realised.score_outcomes(model, rows)
    held = rows_before_holdout(len(rows), settings.model.holdout)
    odds = to_log_odds(outcome.p)
    weights = np.ones(len(odds))
    first = fit_rising_sigmoid(odds[:held], outcome.y[:held], weights[:held])
    last = fit_rising_sigmoid(odds, outcome.y, weights) if settings.model.refit else first
    reference = _join_rows(model, fresh).iloc[-block:].reset_index(drop=True)
    digest = windows.hash_frame(reference)
    name = f"{model.version} recalibrated {digest} {len(rows)} {settings.model.model_dump()}"
    return replace(
        model,
        version="m" + hashlib.sha256(name.encode()).hexdigest()[:11],
        estimator=_with_sigmoid(model, last),
        reference=reference,
        n_train=len(reference) - (len(rows) - held),
        origin={
            **model.origin,
            "recipe": "recalibrated",
            "base_version": model.version,
            "block_rows": str(block),
            "input_sha256": digest,
        },
        held_out=first.probabilities(odds[held:]),
        graded=_with_sigmoid(model, first),
    )


def _join_rows(champion: Model, fresh: pd.DataFrame) -> pd.DataFrame:
    kept = [c for c in champion.reference.columns if c in fresh.columns]
    return pd.concat([champion.reference[kept], fresh[kept]], ignore_index=True)


def _with_sigmoid(model: Model, found: ScoreCalibration) -> Pipeline:
    """Return the model's pipeline whose log odds are moved as ``found`` says."""
    known = model.calibration
    both = ScoreCalibration(
        found.slope * known.slope, found.slope * known.intercept + found.intercept
    )
    return with_calibration(model.estimator, both)
