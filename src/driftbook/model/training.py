"""The model: a calibrated scikit-learn pipeline with the rows that it learnt from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline

from driftbook.data import columns, windows
from driftbook.data.arrays import Floats
from driftbook.data.columns import Feature
from driftbook.data.targets import parse_target
from driftbook.errors import UsageError
from driftbook.model import scores, threads
from driftbook.model.calibrated import (
    calibration_of,
    fit_score_calibration,
    read_scores,
    rows_before_holdout,
    weights_before,
    with_calibration,
)
from driftbook.model.design import PreparedRows, build_preparation, model_inputs, prepare_rows
from driftbook.model.estimators import build_pipeline
from driftbook.model.score_calibration import ScoreCalibration
from driftbook.model.tasks import BINARY, Task, find_task
from driftbook.settings import ModelSettings, Settings

FIRST_RECIPE = "first"
IMPORTANCE_ROWS = 4000


@dataclass(frozen=True, eq=False)
class Model:
    """One version: the fitted pipeline, its reference, and where both came from.

    ``reference`` holds features and target (and timestamp) in time order. A first fit on its
    oldest ``n_train`` rows was graded on the rest, the temporal holdout: ``held_out`` are the
    predictions it made there. With ``model.refit`` the pipeline that serves has then learnt from
    the holdout too, so that it is not older than its newest label; without, it is the first fit.
    """

    version: str
    name: str
    estimator: Pipeline
    features: tuple[Feature, ...]
    target: str
    reference: pd.DataFrame
    n_train: int
    seed: int
    task: Task = BINARY
    origin: Mapping[str, str] = field(default_factory=dict)
    held_out: Floats | None = None
    graded: Pipeline | None = field(default=None, repr=False)  # the first fit; not kept on disk

    @property
    def feature_names(self) -> list[str]:
        """Return the feature names in the order the model takes them."""
        return [feature.name for feature in self.features]

    @property
    def training_rows(self) -> pd.DataFrame:
        """Return the reference rows of the graded fit: all rows older than the holdout."""
        return self.reference.iloc[: self.n_train]

    @property
    def holdout(self) -> pd.DataFrame:
        """Return the newest reference rows, on which a fit that never saw them was graded."""
        return self.reference.iloc[self.n_train :]

    @property
    def calibration(self) -> ScoreCalibration:
        """Return the sigmoid that the served probabilities went through."""
        return calibration_of(self.estimator)

    def predict(self, frame: pd.DataFrame) -> Floats:
        """Return the prediction for each row: its form is the task's, see ``model.tasks``.

        Missing and infinite values are imputed as in training; text in a numeric column counts as
        missing; a category unseen in training counts as none of the known ones.

        Raises:
            UsageError: a feature of the model is no column of ``frame``.
        """
        if frame.empty:
            return np.empty((0, *self.holdout_scores.shape[1:]))
        return apply_estimator(self.estimator, model_inputs(frame, self.features), self.task)

    @cached_property
    def preparation(self) -> ColumnTransformer:
        """Return the fitted standard encoder: the pipeline's own, where it has that one."""
        found = self.estimator.named_steps.get("prepare")
        if found is None:
            inputs = model_inputs(self.reference, self.features)
            found = build_preparation(self.features).fit(inputs)
        return found

    def predict_proba(self, frame: pd.DataFrame) -> Floats:
        """Return :meth:`predict` under scikit-learn's name for chances; classes alone have any.

        Raises:
            UsageError: the model predicts a value, or a feature is no column of ``frame``.
        """
        if not self.task.classes:
            raise UsageError(f"a {self.task.name} model has no probabilities; call predict")
        return self.predict(frame)

    def prepare(self, frame: pd.DataFrame, estimator: Pipeline | None = None) -> PreparedRows:
        """Return rows as the served fit (or another) takes them, to exchange single features."""
        fitted = self.estimator if estimator is None else estimator
        inputs = model_inputs(frame, self.features)
        return prepare_rows(fitted, inputs, partial(apply_estimator, fitted[-1], task=self.task))

    def outcomes(self, frame: pd.DataFrame) -> Floats:
        """Return the outcomes of rows as numbers, shape (n,), NaN where they are not known."""
        if self.target not in frame.columns:
            return np.full(len(frame), np.nan)
        return self.task.encode(frame[self.target])

    @cached_property
    def holdout_scores(self) -> Floats:
        """Return predictions on the holdout by the fit that never saw it."""
        return self.predict(self.holdout) if self.held_out is None else self.held_out

    @cached_property
    def holdout_outcomes(self) -> Floats:
        """Return the outcomes of the holdout's rows, shape (rows of it,)."""
        return self.outcomes(self.holdout)

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """Return ``metric,value,ci_low,ci_high`` on the temporal holdout, with row counts."""
        table = self.task.summarise(self.holdout_outcomes, self.holdout_scores)
        counts = {"n_train": float(self.n_train), "n_test": float(len(self.holdout))}
        added = pd.DataFrame(counts.items(), columns=["metric", "value"])
        return pd.concat([table, added], ignore_index=True)

    @property
    def ranks_backwards(self) -> bool:
        """Return whether it surely puts the wrong rows first: see ``find_backward_ranking``."""
        return scores.find_backward_ranking(self.metrics)

    @cached_property
    def rows_learnt(self) -> int:
        """Return how many reference rows the fit that serves has learnt from.

        Its own scores tell: today's settings need not be those of the version.
        """
        served = self.predict(self.holdout)
        same = np.allclose(served, self.holdout_scores, rtol=0.0, atol=1e-9)
        return self.n_train if same else len(self.reference)

    @cached_property
    def importance(self) -> dict[str, float]:
        """Return by feature the rise of the holdout's loss when its column is permuted.

        Units of the task's loss, negative estimates clipped to zero; at most 4000 holdout rows.
        Source: permutation importance, Breiman (2001), Random Forests, section 10.
        """
        return {name: max(0.0, rise) for name, (rise, _) in self._rises.items()}

    @cached_property
    def importance_error(self) -> dict[str, float]:
        """Return by feature the standard error of its importance (paired over holdout rows)."""
        return {name: error for name, (_, error) in self._rises.items()}

    @cached_property
    def _rises(self) -> dict[str, tuple[float, float]]:
        rng = np.random.default_rng(self.seed)
        rows = self.holdout
        if len(rows) > IMPORTANCE_ROWS:
            rows = rows.iloc[np.sort(rng.choice(len(rows), IMPORTANCE_ROWS, replace=False))]
        outcomes = self.outcomes(rows)
        grader = self.estimator if self.graded is None else self.graded
        whole = self.prepare(rows, grader)
        mixed = ((name, whole.reordered(rng.permutation(len(rows)))) for name in self.feature_names)
        base = self.task.row_losses(outcomes, whole.predict(whole.table))
        rises = np.array([self.task.row_losses(outcomes, p) - base for p in whole.exchanged(mixed)])
        found = zip(rises.mean(axis=1), rises.std(axis=1) / len(rows) ** 0.5, strict=True)
        pairs = [(float(mean), float(error)) for mean, error in found]
        return dict(zip(self.feature_names, pairs, strict=True))


def apply_estimator(estimator: Any, table: Any, task: Task) -> Floats:
    """Return a fitted, calibrated estimator's predictions in the task's form."""
    if not task.classes:
        return np.asarray(estimator.predict(table), dtype=np.float64)
    chances = np.asarray(estimator.predict_proba(table), dtype=np.float64)
    return chances if len(task.outputs) > 1 else chances[:, 1]


@threads.one_blas_thread()
def train(
    reference: pd.DataFrame,
    settings: Settings,
    recipe: str = FIRST_RECIPE,
    weights: Floats | None = None,
    origin: Mapping[str, str] | None = None,
    task: Task | None = None,
) -> Model:
    """Return the model fitted on ``reference``, graded on its newest share, the holdout.

    ``reference``: rows in time order with features and target. Rows without a label are left out.
    ``weights``: one weight a row of ``reference``. ``recipe`` names how the rows were chosen and is
    part of the version. The fit that is graded never sees the holdout; with ``model.refit`` the
    same recipe is then fitted on all rows. Predictions are the estimator's own unless a
    calibration fitted on later rows than a like fit's surely betters them: those of the graded fit
    rest on the newest training rows, those of the refitted one on the holdout, scored by the graded
    one. ``task``: the champion's where a challenger is trained; it is found from the labels else.

    Raises:
        UsageError: no target column, one class only, or too few rows to train and to hold out.
    """
    target = settings.data.target
    rows, row_weights, features, task = _select_rows(reference, settings, weights, task)
    n_train = rows_before_holdout(len(rows), settings.model.holdout)
    outcomes = task.encode(rows[target])
    _check_trainable(task, outcomes, n_train, target)
    lesson = _Lesson(
        model_inputs(rows, features), outcomes, row_weights, features, settings.model, task
    )
    graded, served = _fit(lesson, n_train)
    held_out = apply_estimator(graded, lesson.table[n_train:], task)
    digest = windows.hash_frame(rows)
    made = {"recipe": recipe, "estimator": settings.model.estimator, "input_sha256": digest}
    return Model(
        version=_version(digest, features, settings, recipe, row_weights, task),
        name=settings.model_name,
        estimator=served,
        features=features,
        target=target,
        reference=rows,
        n_train=n_train,
        seed=settings.model.seed,
        task=task,
        origin={**(origin or {}), **made},
        held_out=held_out,
        graded=graded,
    )


def find_version(reference: pd.DataFrame, settings: Settings) -> str:
    """Return the version that :func:`train` gives its model of these rows, without fitting one.

    Raises:
        UsageError: no target column.
    """
    rows, _, features, task = _select_rows(reference, settings, None, None)
    return _version(windows.hash_frame(rows), features, settings, FIRST_RECIPE, None, task)


def _select_rows(
    reference: pd.DataFrame, settings: Settings, weights: Floats | None, task: Task | None
) -> tuple[pd.DataFrame, Floats | None, tuple[Feature, ...], Task]:
    """Return the labelled rows with the columns that a model keeps, their weights and features."""
    target = settings.data.target
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
    names = [*(f.name for f in features), *settings.data.segments]
    wanted = dict.fromkeys((settings.data.timestamp, *names, target))
    return rows[[c for c in wanted if c in rows.columns]], row_weights, features, task


@dataclass(frozen=True)
class _Lesson:
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


def _fit(lesson: _Lesson, n_train: int) -> tuple[Pipeline, Pipeline]:
    """Return the fit that is graded on the rows from ``n_train`` on, and the one that serves.

    Each is calibrated on the newest share of its own rows, scored by a fit on the rows before.
    """
    start = rows_before_holdout(n_train, lesson.settings.holdout)
    bare = lesson.fitted(n_train)
    graded = with_calibration(bare, ScoreCalibration(), lesson.task)
    if lesson.task.count_contrast(lesson.outcomes[:start]):
        graded = lesson.calibrated(bare, lesson.fitted(start), start, n_train)
    if not lesson.settings.refit:
        return graded, graded
    rows = len(lesson.outcomes)
    return graded, lesson.calibrated(lesson.fitted(rows), bare, n_train, rows)


def _check_trainable(task: Task, outcomes: Floats, n_train: int, target: str) -> None:
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


def _version(
    digest: str,
    features: tuple[Feature, ...],
    settings: Settings,
    recipe: str,
    weights: Floats | None,
    task: Task,
) -> str:
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
