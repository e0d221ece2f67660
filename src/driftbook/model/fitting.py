"""What a model learns from: its rows, the fits on parts of them, and the version they make."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline

from driftbook.data import columns
from driftbook.data.arrays import Floats, Ints
from driftbook.data.cells import to_numbers
from driftbook.data.columns import Feature
from driftbook.data.given_rows import accept_rows
from driftbook.data.sampling import draw_rows
from driftbook.data.targets import parse_target
from driftbook.errors import UsageError
from driftbook.model.calibrated import (
    fit_score_calibration,
    read_scores,
    rows_before_holdout,
    weights_before,
    with_calibration,
)
from driftbook.model.design import fit_preparation, transform_inputs
from driftbook.model.estimators import build_pipeline
from driftbook.model.imported import (
    ENCODED,
    TRIAL_ROWS,
    FeatureForm,
    NumberedClasses,
    check_outputs,
    choose_form,
    name_weights,
)
from driftbook.model.importing import describe_error, hash_own_file
from driftbook.model.score_calibration import ScoreCalibration
from driftbook.model.tasks import Task, find_task
from driftbook.settings import ModelSettings, Settings


def select_training_rows(
    reference: pd.DataFrame, settings: Settings, weights: Floats | None, task: Task | None
) -> tuple[pd.DataFrame, Floats | None, tuple[Feature, ...], Task]:
    """Return the labelled rows with the columns that a model keeps, their weights and features.

    ``task``: of the champion that is trained again; it is found else.
    """
    target, reference = settings.data.target, accept_rows(reference, "the reference")
    # Without a prediction of the model that is watched a row says nothing about it.
    known = list(settings.data.prediction_columns)
    drawn = draw_rows(len(reference), settings.data.sample_rows)
    if len(drawn) < len(reference):
        reference = reference.iloc[drawn]
        weights = None if weights is None else weights[drawn]
    complete = reference[[name for name in known if name in reference.columns]].notna().all(axis=1)
    if not complete.all():
        reference = reference[complete]
        weights = None if weights is None else weights[complete.to_numpy()]
    if target not in reference.columns:
        raise UsageError(
            f"target {target!r} is no column of the reference; its columns are "
            f"{list(reference.columns)}"
        )
    again = task is not None
    task = task or find_task(reference[target], target, settings.model.task)
    labels = parse_target(reference[target], task.name)
    # A class that the champion does not know can teach a model of its classes nothing.
    labelled = task.encode(labels) >= 0 if task.classes else labels.notna().to_numpy()
    rows = reference.assign(**{target: labels})[labelled].reset_index(drop=True)
    if task.name == "binary":
        rows = rows.astype({target: "int64"})
    given = read_weights(reference, settings.data.weight, strict=not again)
    if weights is not None:
        given = np.asarray(weights, dtype=np.float64) * (1.0 if given is None else given)
    row_weights = None if given is None else given[labelled]
    features = columns.find_features(rows, settings)
    if not features:
        raise UsageError(
            f"the reference has no feature besides {', '.join(map(str, rows))}; add at least one"
        )
    rows = columns.normalise_features(rows, features)
    names = [*(f.name for f in features), *settings.data.segments, *known]
    names += [settings.data.weight] if settings.data.weight else []
    wanted = dict.fromkeys((settings.data.timestamp, *names, target))
    return rows[[c for c in wanted if c in rows.columns]], row_weights, features, task


def read_weights(frame: pd.DataFrame, name: str | None, strict: bool = False) -> Floats | None:
    """Return the owner's weights of rows, (n,); they count in training, not in any metric.

    A row of weight 0 teaches nothing. A weight that is missing, below 0 or no number counts as 0:
    later rows are as they come.

    Raises:
        UsageError: there is such a weight, and ``strict``.
    """
    if name is None or name not in frame.columns:
        return None
    found = to_numbers(frame[name])
    valid = np.isfinite(found) & (found >= 0.0)
    if strict and not valid.all():
        wrong = np.flatnonzero(~valid)
        raise UsageError(
            f"data.weight {name!r} holds {frame[name].iloc[wrong[0]]} in row {wrong[0]}; a weight "
            "is a number of at least 0: mend the column, or leave data.weight out"
        )
    return np.where(valid, found, 0.0)


@dataclass(frozen=True)
class TrainingRows:
    """Rows in time order as the estimator takes them, and what is fitted on them."""

    table: pd.DataFrame
    outcomes: Floats
    weights: Floats | None
    features: tuple[Feature, ...]
    settings: ModelSettings
    task: Task
    known_form: FeatureForm | None = None  # None: found on these rows

    @cached_property
    def form(self) -> FeatureForm:
        """Return how the estimator takes the features."""
        if self.known_form is not None or not self.settings.is_imported:
            return self.known_form or ENCODED
        return choose_form(self.settings, self.task, self.table, self.outcomes)

    @property
    def learnt(self) -> Floats:
        """Return the outcomes that a fit learns from, (n,): NaN where a row has no weight."""
        if self.weights is None:
            return self.outcomes
        return np.where(self.weights > 0.0, self.outcomes, np.nan)

    def fitted(self, stop: int) -> Pipeline:
        """Return a fit on the rows before ``stop``, not calibrated.

        Where the estimator takes no weights, rows are drawn in proportion to theirs.

        Raises:
            UsageError: an imported estimator does not fit these rows.
        """
        rows, weights = np.arange(stop), weights_before(self.weights, stop)
        if weights is not None:
            rows, weights = rows[weights > 0.0], weights[weights > 0.0]
        if not self.settings.is_imported:
            return self._fit(rows, weights)
        try:
            found = self._fit(rows) if weights is None else self._fit_weighted(rows, weights)
            check_outputs(found, self.table[:TRIAL_ROWS], self.task)
            return found
        except Exception as error:
            first = f"; on the features as they are: {self.form.refused}" * bool(self.form.refused)
            raise UsageError(
                f"model.estimator {self.settings.estimator!r} cannot be fitted on these rows "
                f"({describe_error(error)}{first}); choose another, or change model.params"
            ) from error

    def _fit_weighted(self, rows: Ints, weights: Floats) -> Pipeline:
        try:
            return self._fit(rows, weights)
        # A wrapper may promise weights that what it wraps does not take.
        except Exception:  # noqa: BLE001 a second fit without weights tells what is wrong
            return self._fit(self._draw(rows, weights))

    def _draw(self, rows: Ints, weights: Floats) -> Ints:
        """Return rows drawn in proportion to their weights, and one at least of every class."""
        rng = np.random.default_rng(self.settings.seed)
        drawn = rng.choice(rows, len(rows), p=weights / weights.sum())
        if self.task.classes:
            firsts = np.unique(self.outcomes[rows], return_index=True)[1]
            drawn = np.append(drawn, rows[firsts])
        return np.sort(drawn)

    def _fit(self, rows: Ints, weights: Floats | None = None) -> Pipeline:
        pipeline = build_pipeline(self.features, self.settings, self.task, self.form.form)
        (first, preparation), (last, estimator) = pipeline.steps
        fitting = {}
        if weights is not None:
            name = name_weights(estimator)
            if name is None:
                raise TypeError("its fit takes no sample_weight")
            fitting = {name: weights}
        known = self.outcomes[rows]
        if self.task.classes:
            known = known.astype(np.int64)
            if self.settings.is_imported and len(np.unique(known)) < len(self.task.classes):
                estimator = NumberedClasses(estimator)
        inputs = self.table.iloc[rows]
        encoded = self.form.form == "encoded"
        fitted = fit_preparation(self.features, inputs) if encoded else preparation.fit(inputs)
        estimator.fit(transform_inputs(fitted, inputs), known, **fitting)
        return Pipeline([(first, fitted), (last, estimator)])

    def calibrated(self, fitted: Pipeline, older: Pipeline, start: int, stop: int) -> Pipeline:
        """Return a fit on the rows before ``stop`` as the older one's scores from ``start`` on say.

        The older fit learnt from the rows before ``start`` only: it stands in for the other one.
        """
        weights = None if self.weights is None else self.weights[start:stop]
        table = transform_inputs(older[0], self.table[start:stop])
        found = read_scores(older[-1], table, self.task.link, max(2, len(self.task.classes)))
        moved = fit_score_calibration(found, self.outcomes[start:stop], weights, self.task)
        return with_calibration(fitted, moved, self.task)


def fit_twice(given: TrainingRows, n_train: int) -> tuple[Pipeline, Pipeline]:
    """Return the fit that is graded on the rows from ``n_train`` on, and the one that serves.

    Each is calibrated on the newest share of its own rows, scored by a fit on the rows before.
    """
    start = rows_before_holdout(n_train, given.settings.holdout)
    bare = given.fitted(n_train)
    graded = with_calibration(bare, ScoreCalibration(), given.task)
    if given.task.count_contrast(given.learnt[:start]):
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
    own = hash_own_file(settings.model)
    parts = {
        "rows": digest,
        "features": [[f.name, f.kind] for f in features],
        "target": settings.data.target,
        "task": task.to_document(),
        "model": settings.model.model_dump(mode="json", exclude={"task", "trusted"}),
        "recipe": recipe,
        "weights": None if weights is None else hashlib.sha256(weights.tobytes()).hexdigest(),
        **({"file": own} if own else {}),
    }
    return "m" + hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:11]
