"""What a model learns from: its rows, the fits on parts of them, and the version they make."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline

from driftbook.data import columns
from driftbook.data.arrays import Floats
from driftbook.data.columns import Feature
from driftbook.data.targets import parse_target
from driftbook.errors import UsageError
from driftbook.model.calibrated import (
    fit_score_calibration,
    read_scores,
    rows_before_holdout,
    weights_before,
    with_calibration,
)
from driftbook.model.estimators import build_pipeline
from driftbook.model.score_calibration import ScoreCalibration
from driftbook.model.tasks import Task, find_task
from driftbook.settings import ModelSettings, Settings


def select_training_rows(
    reference: pd.DataFrame, settings: Settings, weights: Floats | None, task: Task | None
) -> tuple[pd.DataFrame, Floats | None, tuple[Feature, ...], Task]:
    """Return the labelled rows with the columns that a model keeps, their weights and features."""
    target = settings.data.target
    # Without a prediction of the model that is watched a row says nothing about it.
    known = list(settings.data.prediction_columns)
    reference = reference.dropna(subset=[name for name in known if name in reference.columns])
    if target not in reference.columns:
        raise UsageError(
            f"target {target!r} is no column of the reference; its columns are "
            f"{list(reference.columns)}"
        )
    task = task or find_task(reference[target], target, settings.model.task)
    labels = parse_target(reference[target], task.name)
    # A class that the champion does not know can teach a model of its classes nothing.
    labelled = task.encode(labels) >= 0 if task.classes else labels.notna().to_numpy()
    rows = reference.assign(**{target: labels})[labelled].reset_index(drop=True)
    if task.name == "binary":
        rows = rows.astype({target: "int64"})
    row_weights = None if weights is None else np.asarray(weights, dtype=np.float64)[labelled]
    features = columns.find_features(rows, settings)
    rows = columns.normalise_features(rows, features)
    names = [*(f.name for f in features), *settings.data.segments, *known]
    wanted = dict.fromkeys((settings.data.timestamp, *names, target))
    return rows[[c for c in wanted if c in rows.columns]], row_weights, features, task


@dataclass(frozen=True)
class TrainingRows:
    """Rows in time order as the estimator takes them, and what is fitted on them."""

    table: pd.DataFrame
    outcomes: Floats
    weights: Floats | None
    features: tuple[Feature, ...]
    settings: ModelSettings
    task: Task

    def fitted(self, stop: int) -> Pipeline:
        """Return a fit on the rows before ``stop``, not calibrated."""
        weights = weights_before(self.weights, stop)
        fitting = {} if weights is None else {"estimator__sample_weight": weights}
        pipeline = build_pipeline(self.features, self.settings, self.task)
        known = self.outcomes[:stop].astype(np.int64) if self.task.classes else self.outcomes[:stop]
        return pipeline.fit(self.table[:stop], known, **fitting)

    def calibrated(self, fitted: Pipeline, older: Pipeline, start: int, stop: int) -> Pipeline:
        """Return a fit on the rows before ``stop`` as the older one's scores from ``start`` on say.

        The older fit learnt from the rows before ``start`` only: it stands in for the other one.
        """
        weights = None if self.weights is None else self.weights[start:stop]
        found = read_scores(
            older, self.table[start:stop], self.task.link, max(2, len(self.task.classes))
        )
        moved = fit_score_calibration(found, self.outcomes[start:stop], weights, self.task)
        return with_calibration(fitted, moved, self.task)


def fit_twice(given: TrainingRows, n_train: int) -> tuple[Pipeline, Pipeline]:
    """Return the fit that is graded on the rows from ``n_train`` on, and the one that serves.

    Each is calibrated on the newest share of its own rows, scored by a fit on the rows before.
    """
    start = rows_before_holdout(n_train, given.settings.holdout)
    bare = given.fitted(n_train)
    graded = with_calibration(bare, ScoreCalibration(), given.task)
    if given.task.count_contrast(given.outcomes[:start]):
        graded = given.calibrated(bare, given.fitted(start), start, n_train)
    if not given.settings.refit:
        return graded, graded
    rows = len(given.outcomes)
    return graded, given.calibrated(given.fitted(rows), bare, n_train, rows)


def check_trainable(task: Task, outcomes: Floats, n_train: int, target: str) -> None:
    """Return if the rows before ``n_train`` can train a model and those after it grade one.

    Raises:
        UsageError: they cannot; the message counts what is there.
    """
    n_train = max(n_train, 0)
    parts = ("training", outcomes[:n_train], 2), ("holdout", outcomes[n_train:], 1)
    for part, found, needed in parts:
        if task.count_contrast(found) >= needed:
            continue
        shown = f"{len(found)} rows whose values of {target} do not differ"
        if task.classes:
            counts = [f"{(found == k).sum()} with {name}" for k, name in enumerate(task.classes)]
            shown = " and ".join(counts).replace("with", f"rows with {target} =", 1)
        raise UsageError(
            f"the {part} part of the reference has {shown}, but needs at least {needed} of "
            f"{'two classes' if len(task.outputs) > 1 else 'each'}; give a longer reference "
            "(data.reference or data.window)"
        )


def name_version(
    digest: str,
    features: tuple[Feature, ...],
    settings: Settings,
    recipe: str,
    weights: Floats | None,
    task: Task,
) -> str:
    """Return the version that rows, features, settings and recipe make: equal ones, equal name."""
    parts = {
        "rows": digest,
        "features": [[f.name, f.kind] for f in features],
        "target": settings.data.target,
        "task": task.to_document(),
        "model": settings.model.model_dump(mode="json", exclude={"task"}),
        "recipe": recipe,
        "weights": None if weights is None else hashlib.sha256(weights.tobytes()).hexdigest(),
    }
    return "m" + hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:11]
