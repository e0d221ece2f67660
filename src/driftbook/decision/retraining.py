"""How a recipe becomes a version: a model trained on the rows that the recipe chooses."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline

from driftbook.data import windows
from driftbook.data.arrays import Floats
from driftbook.data.columns import Feature
from driftbook.decision import recipes
from driftbook.model import design
from driftbook.model.calibrated import rows_before_holdout, with_calibration
from driftbook.model.score_calibration import ScoreCalibration
from driftbook.model.training import Model, train
from driftbook.settings import Settings

# A version whose reference, or an earlier one in its line, leaves out rows between older ones.
GAPS = "gaps"


@dataclass(frozen=True)
class RetrainOrder:
    """What to train: ``recipe`` on the champion's reference and the ``fresh`` labelled rows.

    ``lessons``: what all trials so far taught, to be kept with the new version. ``without``:
    columns that are broken, which it does not learn from.
    """

    champion: Model
    fresh: pd.DataFrame
    recipe: str
    window: int
    settings: Settings
    lessons: str
    without: frozenset[str] = frozenset()

    @property
    def features(self) -> tuple[Feature, ...]:
        """Return what the ordered model learns from."""
        return tuple(f for f in self.champion.features if f.name not in self.without)

    @property
    def block(self) -> int:
        """Return how many rows the sliding block holds."""
        return recipes.count_block_rows(self.champion)

    @property
    def size(self) -> int:
        """Return how many rows the champion's reference and the fresh rows are together."""
        return len(self.champion.reference) + len(self.fresh)

    def take_rows(self, part: slice) -> pd.DataFrame:
        """Return a part of the reference followed by the fresh rows, which are in time order."""
        known = len(self.champion.reference)
        start, stop = (max(0, place - known) for place in (part.start, part.stop))
        return _join_rows(self.champion.reference.iloc[part], self.fresh.iloc[start:stop])

    @cached_property
    def stamps(self) -> pd.DatetimeIndex | None:
        """Return the time of each of the rows; None where they have none."""
        name, both = self.settings.data.timestamp, (self.champion.reference, self.fresh)
        if name is None or not all(name in rows for rows in both):
            return None
        return recipes.read_stamps(_join_rows(*(rows[[name]] for rows in both)), name)

    @cached_property
    def outcomes(self) -> tuple[Floats, Floats]:
        """Return the outcomes of the champion's reference, and those of the fresh rows."""
        champion = self.champion
        return champion.outcomes(champion.reference), champion.outcomes(self.fresh)


def retrain_model(order: RetrainOrder) -> Model:
    """Return the ordered model; ``reference`` is the block of rows that the recipe looks at."""
    if order.recipe == "recalibrated":
        made = recalibrate_model(order.champion, order.fresh, order.settings)
        return replace(made, origin={**made.origin, "lessons": order.lessons})
    part, weights = recipes.plan_rows(order.recipe, order.size, order.block, order.stamps)
    rows = order.take_rows(part)
    if order.recipe == recipes.SEASON and weights is not None:
        rows, weights = rows[weights > 0.0], None
    gaps = {key: value for key, value in order.champion.origin.items() if key == GAPS}
    if order.recipe == recipes.SEASON:
        gaps[GAPS] = "yes"
    if order.recipe == "weighted":
        champion = order.champion
        whole = order.take_rows(slice(0, order.size))
        table = design.tabulate_rows(whole, order.features, champion.outcomes(whole))
        weights = recipes.weigh_resembling(table, part, order.window)
    names = {"features": tuple(feature.name for feature in order.features)}
    named = order.settings.data.model_copy(update=names)
    return train(
        rows.reset_index(drop=True),
        order.settings.model_copy(update={"data": named}),
        order.recipe,
        weights,
        origin={"block_rows": str(order.block), "lessons": order.lessons, **gaps},
        task=order.champion.task,
    )


def count_rows_used(order: RetrainOrder, recipe: str | None = None) -> int | None:
    """Return how many rows the ordered model would learn from, None where it can't be trained.

    ``recipe``: another one in place of the order's.
    """
    champion, recipe = order.champion, recipe or order.recipe
    known, fresh = order.outcomes
    if recipe == "recalibrated":
        outcomes = fresh[-order.block :]
    else:
        outcomes = np.append(known, fresh)
        part, weights = recipes.plan_rows(recipe, len(outcomes), order.block, order.stamps)
        outcomes = outcomes[part]
        if recipe == recipes.SEASON and weights is not None:
            outcomes = outcomes[weights > 0.0]
    held = rows_before_holdout(len(outcomes), order.settings.model.holdout)
    contrasts = [champion.task.count_contrast(part) for part in (outcomes[:held], outcomes[held:])]
    return len(outcomes) if contrasts[0] >= 2 and contrasts[1] >= 1 else None


def recalibrate_model(model: Model, fresh: pd.DataFrame, settings: Settings) -> Model:
    """Return the champion with intercept and slope, above zero, refitted on its scores.

    ``fresh``: labelled rows since the reference, of which at most the newest block is used. Graded
    on the newest share of them by a calibration that never saw it, as in ``training.train``.

    Source: Cox (1958), Biometrika 45: logistic recalibration; it meets a change of base rate.
    """
    block = recipes.count_block_rows(model)
    rows = fresh.iloc[-block:]
    task, y = model.task, model.outcomes(rows)
    held = rows_before_holdout(len(rows), settings.model.holdout)
    said = task.to_scores(model.predict(rows))
    weights = np.ones(len(y))
    first = task.fit_calibration(said[:held], y[:held], weights[:held])
    last = task.fit_calibration(said, y, weights) if settings.model.refit else first
    reference = _join_rows(model.reference, fresh).iloc[-block:].reset_index(drop=True)
    digest = windows.hash_frame(reference)
    recipe = settings.model.model_dump(exclude={"task"})
    name = f"{model.version} recalibrated {digest} {len(rows)} {recipe}"
    return replace(
        model,
        version="m" + hashlib.sha256(name.encode()).hexdigest()[:11],
        estimator=_recalibrated(model, last),
        reference=reference,
        n_train=len(reference) - (len(rows) - held),
        origin={
            **model.origin,
            "recipe": "recalibrated",
            "base_version": model.version,
            "block_rows": str(block),
            "input_sha256": digest,
        },
        held_out=task.from_scores(first.moved(said[held:])),
        graded=_recalibrated(model, first),
    )


def _join_rows(reference: pd.DataFrame, fresh: pd.DataFrame) -> pd.DataFrame:
    kept = [c for c in reference.columns if c in fresh.columns]
    return pd.concat([reference[kept], fresh[kept]], ignore_index=True)


def _recalibrated(model: Model, found: ScoreCalibration) -> Pipeline:
    """Return the model's pipeline whose scores are moved as ``found`` says."""
    return with_calibration(model.estimator, found.after(model.calibration), model.task)
