"""The model: a calibrated scikit-learn pipeline with the rows that it learnt from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from driftbook.data import columns, windows
from driftbook.data.arrays import Floats, Ints
from driftbook.data.columns import Feature
from driftbook.errors import UsageError
from driftbook.model import scores, threads
from driftbook.model.design import (
    MAX_CATEGORIES,
    build_preparation,
    model_inputs,
    prepare_rows,
    split_names,
)
from driftbook.model.score_calibration import (
    ScoreCalibration,
    calibration_of,
    fit_score_calibration,
    rows_before_holdout,
    weights_before,
    with_calibration,
)
from driftbook.settings import ModelSettings, Settings

FIRST_RECIPE = "first"
IMPORTANCE_ROWS = 4000


@dataclass(frozen=True, eq=False)
class Model:
    """One version: the fitted pipeline, its reference, and where both came from.

    ``reference`` holds features and target (and timestamp) in time order. A first fit on its
    oldest ``n_train`` rows was graded on the rest, the temporal holdout: ``held_out`` are the
    probabilities it gave there. With ``model.refit`` the pipeline that serves has then learnt from
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

    def predict_proba(self, frame: pd.DataFrame) -> Floats:
        """Return the probability of ``target == 1`` for each row, shape (n,).

        Missing and infinite values are imputed as in training; text in a numeric column counts as
        missing; a category unseen in training counts as none of the known ones.

        Raises:
            UsageError: a feature of the model is no column of ``frame``.
        """
        if frame.empty:
            return np.empty(0)
        return _probability(self.estimator, frame, self.features)

    @cached_property
    def holdout_scores(self) -> Floats:
        """Return probabilities on the holdout by the fit that never saw it, shape (rows of it,)."""
        return self.predict_proba(self.holdout) if self.held_out is None else self.held_out

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """Return ``metric,value,ci_low,ci_high`` on the temporal holdout, with row counts."""
        table = scores.summarise_metrics(self.holdout[self.target].to_numpy(), self.holdout_scores)
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
        served = self.predict_proba(self.holdout)
        same = np.allclose(served, self.holdout_scores, rtol=0.0, atol=1e-9)
        return self.n_train if same else len(self.reference)

    @cached_property
    def importance(self) -> dict[str, float]:
        """Return by feature the rise of the holdout's Brier loss when its column is permuted.

        Units of Brier loss, negative estimates clipped to zero; at most 4000 holdout rows.
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
        labels = rows[self.target].to_numpy(dtype=np.float64)
        grader = self.estimator if self.graded is None else self.graded
        whole = prepare_rows(grader, model_inputs(rows, self.features))
        mixed = ((name, whole.table[rng.permutation(len(rows))]) for name in self.feature_names)
        base = (_probability(grader, rows, self.features) - labels) ** 2
        rises = (whole.exchanged(mixed) - labels) ** 2 - base
        found = zip(rises.mean(axis=1), rises.std(axis=1) / len(rows) ** 0.5, strict=True)
        pairs = [(float(mean), float(error)) for mean, error in found]
        return dict(zip(self.feature_names, pairs, strict=True))


def _probability(estimator: Pipeline, frame: pd.DataFrame, features: tuple[Feature, ...]) -> Floats:
    return np.asarray(estimator.predict_proba(model_inputs(frame, features))[:, 1])


@threads.one_blas_thread()
def train(
    reference: pd.DataFrame,
    settings: Settings,
    recipe: str = FIRST_RECIPE,
    weights: Floats | None = None,
    origin: Mapping[str, str] | None = None,
) -> Model:
    """Return the model fitted on ``reference``, graded on its newest share, the holdout.

    ``reference``: rows in time order with features and target. Rows without a label are left out.
    ``weights``: one weight a row of ``reference``. ``recipe`` names how the rows were chosen and is
    part of the version. The fit that is graded never sees the holdout; with ``model.refit`` the
    same recipe is then fitted on all rows. Probabilities are the estimator's own unless a sigmoid
    fitted on later rows than a like fit's surely betters them: those of the graded fit rest on the
    newest training rows, those of the refitted one on the holdout, scored by the graded one.

    Raises:
        UsageError: no target column, one class only, or too few rows to train and to hold out.
    """
    target = settings.data.target
    rows, row_weights, features = _select_rows(reference, settings, weights)
    n_train = rows_before_holdout(len(rows), settings.model.holdout)
    labels = rows[target].to_numpy(dtype=np.int64)
    _check_trainable(labels, n_train, target)
    lesson = _Lesson(model_inputs(rows, features), labels, row_weights, features, settings.model)
    graded, served = _fit(lesson, n_train)
    held_out = graded.predict_proba(lesson.table[n_train:])[:, 1]
    digest = windows.hash_frame(rows)
    made = {"recipe": recipe, "estimator": settings.model.estimator, "input_sha256": digest}
    return Model(
        version=_version(digest, features, settings, recipe, row_weights),
        name=settings.model_name,
        estimator=served,
        features=features,
        target=target,
        reference=rows,
        n_train=n_train,
        seed=settings.model.seed,
        origin={**(origin or {}), **made},
        held_out=held_out,
        graded=graded,
    )


def find_version(reference: pd.DataFrame, settings: Settings) -> str:
    """Return the version that :func:`train` gives its model of these rows, without fitting one.

    Raises:
        UsageError: no target column.
    """
    rows, _, features = _select_rows(reference, settings, None)
    return _version(windows.hash_frame(rows), features, settings, FIRST_RECIPE, None)


def _select_rows(
    reference: pd.DataFrame, settings: Settings, weights: Floats | None
) -> tuple[pd.DataFrame, Floats | None, tuple[Feature, ...]]:
    """Return the labelled rows with the columns that a model keeps, their weights and features."""
    target = settings.data.target
    if target not in reference.columns:
        raise UsageError(
            f"target {target!r} is no column of the reference; its columns are "
            f"{list(reference.columns)}"
        )
    labelled = reference[target].notna().to_numpy()
    rows = reference[labelled].reset_index(drop=True)
    row_weights = None if weights is None else np.asarray(weights, dtype=np.float64)[labelled]
    features = columns.find_features(rows, settings)
    wanted = (settings.data.timestamp, *(f.name for f in features), target)
    return rows[[c for c in wanted if c in rows.columns]], row_weights, features


@dataclass(frozen=True)
class _Lesson:
    """Rows in time order as the estimator takes them, and what is fitted on them."""

    table: pd.DataFrame
    labels: Ints
    weights: Floats | None
    features: tuple[Feature, ...]
    settings: ModelSettings

    def fitted(self, stop: int) -> Pipeline:
        """Return a fit on the rows before ``stop``, not calibrated."""
        weights = weights_before(self.weights, stop)
        fitting = {} if weights is None else {"classifier__sample_weight": weights}
        pipeline = build_pipeline(self.features, self.settings)
        return pipeline.fit(self.table[:stop], self.labels[:stop], **fitting)

    def calibrated(self, fitted: Pipeline, older: Pipeline, start: int, stop: int) -> Pipeline:
        """Return a fit on the rows before ``stop`` as the older one's scores from ``start`` on say.

        The older fit learnt from the rows before ``start`` only: it stands in for the other one.
        """
        weights = None if self.weights is None else self.weights[start:stop]
        scores = older.decision_function(self.table[start:stop])
        y = self.labels[start:stop].astype(np.float64)
        return with_calibration(fitted, fit_score_calibration(scores, y, weights))


def _fit(lesson: _Lesson, n_train: int) -> tuple[Pipeline, Pipeline]:
    """Return the fit that is graded on the rows from ``n_train`` on, and the one that serves.

    Each is calibrated on the newest share of its own rows, scored by a fit on the rows before.
    """
    start = rows_before_holdout(n_train, lesson.settings.holdout)
    bare = lesson.fitted(n_train)
    graded = with_calibration(bare, ScoreCalibration())
    if len(np.unique(lesson.labels[:start])) == 2:
        graded = lesson.calibrated(bare, lesson.fitted(start), start, n_train)
    if not lesson.settings.refit:
        return graded, graded
    rows = len(lesson.labels)
    return graded, lesson.calibrated(lesson.fitted(rows), bare, n_train, rows)


def build_pipeline(features: tuple[Feature, ...], settings: ModelSettings) -> Pipeline:
    """Return the unfitted pipeline: preparation, then the estimator of the settings."""
    width = len(features) + MAX_CATEGORIES * len(split_names(features)[1])
    classifier = build_classifier(settings, width)
    return Pipeline([("prepare", build_preparation(features)), ("classifier", classifier)])


def build_classifier(
    settings: ModelSettings, width: int
) -> LogisticRegression | HistGradientBoostingClassifier:
    """Return the unfitted estimator of the settings for a design of about ``width`` columns."""
    if settings.estimator == "logistic_regression":
        # Newton steps converge in a handful of passes; their matrix is width x width.
        solver = "newton-cholesky" if width <= 1000 else "lbfgs"
        return LogisticRegression(max_iter=1000, solver=solver, random_state=settings.seed)
    return HistGradientBoostingClassifier(random_state=settings.seed, early_stopping=False)


def _check_trainable(labels: Ints, n_train: int, target: str) -> None:
    n_train = max(n_train, 0)
    parts = ("training", labels[:n_train], 2), ("holdout", labels[n_train:], 1)
    for part, found, needed in parts:
        counts = np.bincount(found, minlength=2)
        if counts.min() < needed:
            raise UsageError(
                f"the {part} part of the reference has {counts[0]} rows with {target} = 0 and "
                f"{counts[1]} with 1, but needs at least {needed} of each; give a longer reference "
                "(data.reference or data.window)"
            )


def _version(
    digest: str,
    features: tuple[Feature, ...],
    settings: Settings,
    recipe: str,
    weights: Floats | None,
) -> str:
    parts = {
        "rows": digest,
        "features": [[f.name, f.kind] for f in features],
        "target": settings.data.target,
        "model": settings.model.model_dump(mode="json"),
        "recipe": recipe,
        "weights": None if weights is None else hashlib.sha256(weights.tobytes()).hexdigest(),
    }
    return "m" + hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:11]
