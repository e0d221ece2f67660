"""The model: a calibrated scikit-learn pipeline with the rows that it learnt from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline

from driftbook.data import windows
from driftbook.data.arrays import Floats
from driftbook.data.cells import to_numbers
from driftbook.data.columns import Feature
from driftbook.errors import UsageError
from driftbook.model import external, scores, threads
from driftbook.model.calibrated import (
    apply_estimator,
    apply_pipeline,
    calibration_of,
    rows_before_holdout,
)
from driftbook.model.design import PreparedRows, build_preparation, model_inputs, prepare_rows
from driftbook.model.fitting import (
    TrainingRows,
    check_trainable,
    fit_twice,
    name_version,
    select_training_rows,
)
from driftbook.model.score_calibration import ScoreCalibration
from driftbook.model.tasks import BINARY, Task
from driftbook.settings import Settings

FIRST_RECIPE = "first"
IMPORTANCE_ROWS = 4000


@dataclass(frozen=True, eq=False)
class Model:
    """One version: the fitted pipeline, its reference, and where both came from.

    ``reference`` holds features and target (and timestamp) in time order. A first fit on its
    oldest ``n_train`` rows was graded on the rest, the temporal holdout: ``held_out`` are the
    predictions it made there. With ``model.refit`` the pipeline that serves has then learnt from
    the holdout too, so that it is not older than its newest label; without, it is the first fit.

    Of a model that is served elsewhere only ``prediction`` is known: columns of the data. Its whole
    reference is its holdout then, and ``stand_in``, a plain model of the same rows, says what a
    newer model would win and what a column is worth.
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
    prediction: tuple[str, ...] = ()  # the columns of a served model's predictions, an output each
    stand_in: Model | None = field(default=None, repr=False)  # what is trained beside it

    @property
    def feature_names(self) -> list[str]:
        """Return the feature names in the order the model takes them."""
        return [feature.name for feature in self.features]

    @property
    def input_names(self) -> list[str]:
        """Return the columns that a prediction needs: the features, or those that hold it."""
        return list(self.prediction) or self.feature_names

    @property
    def learner(self) -> Model:
        """Return the model that can be trained again: the stand-in of one served elsewhere."""
        return self.stand_in or self

    def keep_predicted(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the rows that have a prediction; a model that predicts itself has all of them."""
        known = [name for name in self.prediction if name in frame.columns]
        return frame.dropna(subset=known) if known else frame

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
        if self.prediction:
            found = np.column_stack([to_numbers(frame[name]) for name in self.prediction])
            return found if len(self.prediction) > 1 else found[:, 0]
        return self.predict_inputs(model_inputs(frame, self.features))

    def predict_inputs(self, inputs: pd.DataFrame) -> Floats:
        """Return :meth:`predict` of rows that ``design.model_inputs`` has read for its features."""
        if inputs.empty:
            return np.empty((0, *self.holdout_scores.shape[1:]))
        return apply_pipeline(self.estimator, inputs, self.task)

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
        return {name: max(0.0, rise) for name, (rise, _) in self.learner.rises.items()}

    @cached_property
    def importance_error(self) -> dict[str, float]:
        """Return by feature the standard error of its importance (paired over holdout rows)."""
        return {name: error for name, (_, error) in self.learner.rises.items()}

    @cached_property
    def rises(self) -> dict[str, tuple[float, float]]:
        """Return by feature the rise of the loss when it is permuted, and its standard error."""
        rng = np.random.default_rng(self.seed)
        rows = self.holdout
        if len(rows) > IMPORTANCE_ROWS:
            rows = rows.iloc[np.sort(rng.choice(len(rows), IMPORTANCE_ROWS, replace=False))]
        outcomes = self.outcomes(rows)
        grader = self.estimator if self.graded is None else self.graded
        whole = self.prepare(rows, grader)
        mixed = ((name, whole.reordered(rng.permutation(len(rows)))) for name in self.feature_names)
        lose = self.task.proper.row_losses
        base = lose(outcomes, whole.predict(whole.table))
        rises = np.array([lose(outcomes, p) - base for p in whole.exchanged(mixed)])
        found = zip(rises.mean(axis=1), rises.std(axis=1) / len(rows) ** 0.5, strict=True)
        pairs = [(float(mean), float(error)) for mean, error in found]
        return dict(zip(self.feature_names, pairs, strict=True))


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
    if settings.is_external:
        learnt = train(reference, settings.for_learning(), recipe, weights, origin, task)
        return watch_model(learnt, settings.data.prediction_columns)
    target = settings.data.target
    rows, row_weights, features, task = select_training_rows(reference, settings, weights, task)
    n_train = rows_before_holdout(len(rows), settings.model.holdout)
    outcomes = task.encode(rows[target])
    given = TrainingRows(
        model_inputs(rows, features), outcomes, row_weights, features, settings.model, task
    )
    known = np.append(given.learnt[: max(n_train, 0)], outcomes[max(n_train, 0) :])
    check_trainable(task, known, n_train, target)
    with threads.one_tree_thread(len(rows) if settings.model.is_imported else 0):
        graded, served = fit_twice(given, n_train)
    held_out = apply_pipeline(graded, given.table[n_train:], task)
    digest = windows.hash_frame(rows)
    made = {"recipe": recipe, "estimator": settings.model.estimator, "input_sha256": digest}
    return Model(
        version=name_version(digest, features, settings, recipe, row_weights, task),
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
    learning = settings.for_learning()
    rows, weights, features, task = select_training_rows(reference, learning, None, None)
    digest = windows.hash_frame(rows)
    version = name_version(digest, features, learning, FIRST_RECIPE, weights, task)
    return external.rename_version(version) if settings.is_external else version


def watch_model(stand_in: Model, prediction: tuple[str, ...]) -> Model:
    """Return the model that is served elsewhere, by its predictions in the stand-in's reference.

    Raises:
        UsageError: predictions that the task cannot have.
    """
    task, reference = stand_in.task, stand_in.reference
    names = external.match_outputs(task, prediction)
    external.check_predictions(task, reference, names)
    return replace(
        stand_in,
        version=external.rename_version(stand_in.version),
        prediction=names,
        stand_in=stand_in,
        n_train=0,
        held_out=None,
        graded=None,
        origin={**stand_in.origin, "estimator": "external", "recipe": "served elsewhere"},
    )
