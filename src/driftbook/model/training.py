"""The model: a calibrated scikit-learn pipeline with the rows that it learnt from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from driftbook.data import columns, windows
from driftbook.data.columns import Feature
from driftbook.errors import UsageError
from driftbook.model import scores, threads
from driftbook.model.prepared import prepare_inputs
from driftbook.settings import ModelSettings, Settings

FIRST_RECIPE = "first"
FOLDS = 5
MAX_CATEGORIES = 50
IMPORTANCE_ROWS = 4000


@dataclass(frozen=True)
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
    held_out: NDArray[np.float64] | None = None
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

    def predict_proba(self, frame: pd.DataFrame) -> NDArray[np.float64]:
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
    def holdout_scores(self) -> NDArray[np.float64]:
        """Return probabilities on the holdout by the fit that never saw it, shape (rows of it,)."""
        return self.predict_proba(self.holdout) if self.held_out is None else self.held_out

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """Return ``metric,value,ci_low,ci_high`` on the temporal holdout, with row counts."""
        table = scores.summarise_metrics(
            self.holdout[self.target].to_numpy(), self.holdout_scores, seed=self.seed
        )
        counts = pd.DataFrame(
            {
                "metric": ["n_train", "n_test"],
                "value": [float(self.n_train), float(len(self.holdout))],
            }
        )
        return pd.concat([table, counts], ignore_index=True)

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
        whole = prepare_inputs(grader, select_inputs(rows, self.features))
        names = self.feature_names
        mixed = ((name, whole.table[rng.permutation(len(rows))]) for name in names)
        base = (_probability(grader, rows, self.features) - labels) ** 2
        rises = (whole.exchanged(mixed) - labels) ** 2 - base
        means, errors = rises.mean(axis=1), rises.std(axis=1) / len(rows) ** 0.5
        return dict(zip(names, zip(means.tolist(), errors.tolist(), strict=True), strict=True))


def _probability(
    estimator: Pipeline, frame: pd.DataFrame, features: tuple[Feature, ...]
) -> NDArray[np.float64]:
    probability: NDArray[np.float64] = estimator.predict_proba(select_inputs(frame, features))[:, 1]
    return probability


@threads.one_blas_thread()
def train(
    reference: pd.DataFrame,
    settings: Settings,
    recipe: str = FIRST_RECIPE,
    weights: NDArray[np.float64] | None = None,
    origin: Mapping[str, str] | None = None,
) -> Model:
    """Return the model fitted on ``reference``, graded on its newest share, the holdout.

    ``reference``: rows in time order with features and target. Rows without a label are left out.
    ``weights``: one weight a row of ``reference``. Probabilities are calibrated by Platt scaling
    on out-of-fold scores of contiguous folds, so that no training row is lost. ``recipe`` names
    how the rows were chosen and is part of the version. The fit that is graded never sees the
    holdout; with ``model.refit`` the same recipe is then fitted on all rows.

    Raises:
        UsageError: no target column, one class only, or too few rows to train and to hold out.

    Source: Platt (1999), Probabilistic outputs for support vector machines.
    """
    target = settings.data.target
    rows, row_weights, features = _select_rows(reference, settings, weights)
    n_train = len(rows) - max(1, round(len(rows) * settings.model.holdout))
    labels = rows[target].to_numpy(dtype=np.int64)
    _check_trainable(labels, n_train, target)
    table = select_inputs(rows, features)
    graded = _fit(table[:n_train], labels[:n_train], row_weights, features, settings.model)
    held_out = graded.predict_proba(table[n_train:])[:, 1]
    refit = settings.model.refit
    estimator = _fit(table, labels, row_weights, features, settings.model) if refit else graded
    digest = windows.hash_frame(rows)
    return Model(
        version=_version(digest, features, settings, recipe, row_weights),
        name=settings.model_name,
        estimator=estimator,
        features=features,
        target=target,
        reference=rows,
        n_train=n_train,
        seed=settings.model.seed,
        origin={
            **(origin or {}),
            "recipe": recipe,
            "estimator": settings.model.estimator,
            "input_sha256": digest,
        },
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
    reference: pd.DataFrame, settings: Settings, weights: NDArray[np.float64] | None
) -> tuple[pd.DataFrame, NDArray[np.float64] | None, tuple[Feature, ...]]:
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


def _fit(
    table: pd.DataFrame,
    labels: NDArray[np.int64],
    weights: NDArray[np.float64] | None,
    features: tuple[Feature, ...],
    settings: ModelSettings,
) -> Pipeline:
    folds = min(FOLDS, int(np.bincount(labels, minlength=2).min()))
    fitting = {} if weights is None else {"classifier__sample_weight": weights[: len(table)]}
    return build_pipeline(features, settings, folds).fit(table, labels, **fitting)


def build_pipeline(features: tuple[Feature, ...], settings: ModelSettings, folds: int) -> Pipeline:
    """Return the unfitted pipeline: impute and scale numbers, one-hot text, then calibrate."""
    numeric = [f.name for f in features if f.kind != "categorical"]
    text = [f.name for f in features if f.kind == "categorical"]
    numbers = Pipeline(
        [
            ("impute", SimpleImputer(strategy="median", keep_empty_features=True)),
            ("scale", StandardScaler()),
        ]
    )
    encoder = OneHotEncoder(
        handle_unknown="infrequent_if_exist",
        max_categories=MAX_CATEGORIES,
        sparse_output=False,
        dtype=np.float64,
    )
    parts = [("numeric", numbers, numeric), ("categorical", encoder, text)]
    prepare = ColumnTransformer([part for part in parts if part[2]])
    classifier = CalibratedClassifierCV(
        _classifier(settings, width=len(numeric) + MAX_CATEGORIES * len(text)),
        method="sigmoid",
        cv=StratifiedKFold(folds),
        ensemble=False,
    )
    return Pipeline([("prepare", prepare), ("classifier", classifier)])


def _classifier(
    settings: ModelSettings, width: int
) -> LogisticRegression | HistGradientBoostingClassifier:
    if settings.estimator == "logistic_regression":
        # Newton steps converge in a handful of passes; their matrix is width x width.
        solver = "newton-cholesky" if width <= 1000 else "lbfgs"
        return LogisticRegression(max_iter=1000, solver=solver, random_state=settings.seed)
    return HistGradientBoostingClassifier(random_state=settings.seed, early_stopping=False)


def select_inputs(frame: pd.DataFrame, features: tuple[Feature, ...]) -> pd.DataFrame:
    """Return the model's input columns: float64 numbers with NaN, or text with "" for missing.

    Raises:
        UsageError: a feature is no column of ``frame``.
    """
    absent = [f.name for f in features if f.name not in frame.columns]
    if absent:
        raise UsageError(
            f"the rows lack the feature column(s) {', '.join(map(repr, absent))} that the "
            "model needs"
        )
    return pd.DataFrame(
        {
            f.name: _text(frame[f.name]) if f.kind == "categorical" else _numbers(frame[f.name])
            for f in features
        },
        index=frame.index,
    )


def _numbers(values: pd.Series) -> NDArray[np.float64]:
    if not (
        pd.api.types.is_numeric_dtype(values.dtype) or pd.api.types.is_bool_dtype(values.dtype)
    ):
        values = pd.to_numeric(values, errors="coerce")
    numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
    return np.where(np.isfinite(numbers), numbers, np.nan)


def _text(values: pd.Series) -> pd.Series:
    text = values.astype(object)
    return text.where(values.notna(), "").map(str).astype(object)


def _check_trainable(labels: NDArray[np.int64], n_train: int, target: str) -> None:
    for part, found in (
        ("training", labels[: max(n_train, 0)]),
        ("holdout", labels[max(n_train, 0) :]),
    ):
        counts = np.bincount(found, minlength=2)
        needed = 2 if part == "training" else 1
        if counts.min() < needed:
            raise UsageError(
                f"the {part} part of the reference has {counts[0]} rows with {target} = 0 and "
                f"{counts[1]} with 1, "
                f"but needs at least {needed} of each; give a longer reference (data.reference "
                "or data.window)"
            )


def _version(
    digest: str,
    features: tuple[Feature, ...],
    settings: Settings,
    recipe: str,
    weights: NDArray[np.float64] | None,
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
