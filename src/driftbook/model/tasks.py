"""The three tasks: what a prediction, a loss and a metric are. What follows sees rows and losses.

Everywhere ``y`` holds outcomes as numbers, shape (n,): 0 or 1, the number of a class (-1 for one
that the model does not know), or a value; NaN is not known yet. ``p`` holds predictions: the
chance of 1, shape (n,); a chance a class, shape (n, classes); or a value, shape (n,).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from scipy import special

from driftbook.data import targets
from driftbook.data.arrays import Floats, Ints
from driftbook.data.targets import TaskName
from driftbook.errors import UsageError
from driftbook.model import class_scores, scores, value_scores
from driftbook.model.score_calibration import (
    ScoreCalibration,
    fit_rising_line,
    fit_rising_sigmoid,
    fit_rising_softmax,
)
from driftbook.model.scores import MetricScore
from driftbook.model.scoring import SMALLEST_CHANCE

# Chances of a row that add up to 1 within this were rounded, not wrong.
SUM_TOLERANCE = 0.01


@dataclass(frozen=True)
class Task(ABC):
    """What is predicted. ``metrics``: those of the task; ``loss``: the one that decisions rest on.

    ``loss`` is the mean of :meth:`row_losses`. ``outputs`` names the numbers that a prediction
    consists of, one except for classes. ``link`` says on what scale predictions are compared and
    calibrated.
    """

    name: ClassVar[TaskName]
    metrics: ClassVar[tuple[str, ...]]
    loss: ClassVar[str] = "brier"
    link: ClassVar[str]

    @property
    def outputs(self) -> tuple[str, ...]:
        """Return the names of the numbers of one prediction; a single one has no name."""
        return ("",)

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the names of the classes in the order of their numbers; none for values."""
        return ()

    @abstractmethod
    def encode(self, labels: pd.Series) -> Floats:
        """Return labels as numbers, shape (n,); what is no label is NaN."""

    @abstractmethod
    def to_scores(self, p: Floats) -> Floats:
        """Return predictions on the scale on which they are compared and calibrated."""

    @abstractmethod
    def from_scores(self, found: Floats) -> Floats:
        """Return the predictions that stand for scores: the inverse of :meth:`to_scores`."""

    @abstractmethod
    def row_losses(self, y: Floats, p: Floats) -> Floats:
        """Return the loss of each row, shape (n,); NaN where the outcome is not known."""

    @abstractmethod
    def score_metric(self, metric: str, y: Floats, p: Floats) -> MetricScore:
        """Return one of the metrics on the rows whose outcome is known, with a 95% interval."""

    @abstractmethod
    def residuals(self, y: Floats, p: Floats) -> Floats:
        """Return outcome minus prediction, shape (n, outputs): calibration in the large."""

    @abstractmethod
    def fit_calibration(self, found: Floats, y: Floats, weights: Floats) -> ScoreCalibration:
        """Return the calibration of scores that fits outcomes best and keeps their order."""

    @abstractmethod
    def count_contrast(self, y: Floats) -> int:
        """Return how many rows the second commonest class has: without any, nothing is learnt.

        Of values: how many rows there are, 0 where all are the same.
        """

    def decide(self, p: Floats) -> Ints:
        """Return the number of the class that predictions stand for, shape (n,)."""
        if p.ndim > 1:
            return np.asarray(p.argmax(axis=1), dtype=np.int64)
        return np.asarray(p >= self.threshold, dtype=np.int64)

    @property
    def threshold(self) -> float:
        """Return the chance from which a row is taken for a 1."""
        return scores.CLASS_THRESHOLD

    @property
    def proper(self) -> Task:
        """Return the task whose loss says how true predictions are, whatever mistakes cost."""
        return self

    @property
    def even_loss(self) -> float:
        """Return the loss of a prediction without any opinion: equal chances, or the mean."""
        # Brier's over K classes is (K - 1) / K; a binary one counts a single class.
        known = len(self.outputs)
        return (known - 1) / known if known > 1 else 0.25 if self.classes else 1.0

    def summarise(self, y: Floats, p: Floats) -> pd.DataFrame:
        """Return every metric of the task: metric, value, ci_low, ci_high."""
        rows = pd.DataFrame([vars(self.score_metric(metric, y, p)) for metric in self.metrics])
        return rows[["metric", "value", "ci_low", "ci_high"]]

    def to_document(self) -> dict[str, Any]:
        """Return plain JSON values that :func:`read_task` reads back to an equal record."""
        return {"name": self.name, "classes": list(self.classes)}


@dataclass(frozen=True)
class BinaryTask(Task):
    """0 or 1: a prediction is the chance of 1, the loss Brier's."""

    name = "binary"
    metrics: ClassVar[tuple[str, ...]] = scores.METRICS
    link = "logit"

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the two classes."""
        return ("0", "1")

    def encode(self, labels: pd.Series) -> Floats:
        """Return 0.0 and 1.0; what stands for neither is NaN."""
        found = targets.read_yes_and_no(labels)
        return np.where(np.isin(found, (0.0, 1.0)), found, np.nan)

    def to_scores(self, p: Floats) -> Floats:
        """Return log odds."""
        return scores.to_log_odds(p)

    def from_scores(self, found: Floats) -> Floats:
        """Return chances of log odds."""
        return np.asarray(special.expit(found))

    def row_losses(self, y: Floats, p: Floats) -> Floats:
        """Return squared differences."""
        return np.square(y - p)

    def score_metric(self, metric: str, y: Floats, p: Floats) -> MetricScore:
        """Return the metric, see :func:`driftbook.model.scores.score_metric`."""
        return scores.score_metric(metric, y, p)

    def per_row(self, metric: str) -> Callable[[Floats, Floats], Floats]:
        """Return what a metric that is a mean over rows says of each row."""
        return scores.PER_ROW_LOSSES[metric]

    def residuals(self, y: Floats, p: Floats) -> Floats:
        """Return outcome minus chance, shape (n, 1)."""
        return (y - p)[:, None]

    def fit_calibration(self, found: Floats, y: Floats, weights: Floats) -> ScoreCalibration:
        """Return a rising sigmoid."""
        return fit_rising_sigmoid(found, y, weights)

    def count_contrast(self, y: Floats) -> int:
        """Return the rows of the rarer class."""
        return int(min((y == 0).sum(), (y == 1).sum()))


@dataclass(frozen=True)
class MulticlassTask(Task):
    """One of several classes: a prediction is a chance a class, the loss Brier's over classes."""

    labels: tuple[str, ...] = ()
    name = "multiclass"
    metrics = scores.METRICS
    link = "softmax"

    @property
    def outputs(self) -> tuple[str, ...]:
        """Return the names of the classes."""
        return self.labels

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the names of the classes."""
        return self.labels

    def encode(self, labels: pd.Series) -> Floats:
        """Return the number of each class, -1 for a class that the model does not know."""
        named = targets.name_classes(labels)
        codes = pd.Index(self.labels).get_indexer(pd.Index(named)).astype(np.float64)
        return np.where(named.isna().to_numpy(), np.nan, codes)

    def to_scores(self, p: Floats) -> Floats:
        """Return the logarithm of each chance, cut so that it stays finite."""
        return np.log(np.maximum(p, SMALLEST_CHANCE))

    def from_scores(self, found: Floats) -> Floats:
        """Return chances that add up to 1 in each row."""
        return np.asarray(special.softmax(found, axis=-1))

    def row_losses(self, y: Floats, p: Floats) -> Floats:
        """Return squared differences, summed over classes."""
        found = class_scores.measure_class_losses("brier", y, p)
        return np.where(np.isnan(y), np.nan, found)

    def score_metric(self, metric: str, y: Floats, p: Floats) -> MetricScore:
        """Return the metric, see :func:`driftbook.model.class_scores.score_class_metric`."""
        known = ~np.isnan(y)
        return class_scores.score_class_metric(metric, y[known], p[known])

    def residuals(self, y: Floats, p: Floats) -> Floats:
        """Return came (1) or not (0) minus the chance, a column a class."""
        came = class_scores.mark_classes(y, len(self.labels)) - p
        return np.where(np.isnan(y)[:, None], np.nan, came)

    def fit_calibration(self, found: Floats, y: Floats, weights: Floats) -> ScoreCalibration:
        """Return one slope above zero for all classes, and an intercept a class."""
        return fit_rising_softmax(found, y, weights)

    def count_contrast(self, y: Floats) -> int:
        """Return the rows of the second commonest class; 0 where there is but one."""
        counts = np.sort(class_scores.mark_classes(y, len(self.labels)).sum(axis=0))
        return int(counts[-2]) if len(counts) > 1 else 0


@dataclass(frozen=True)
class RegressionTask(Task):
    """A number; the loss is the squared error in units of the reference's ``variance``."""

    variance: float = 1.0
    name = "regression"
    metrics = value_scores.VALUE_METRICS
    loss = "squared_error"
    link = "identity"

    def encode(self, labels: pd.Series) -> Floats:
        """Return the numbers; what is none, or not finite, is NaN."""
        return targets.parse_target(labels, "regression").to_numpy(dtype=np.float64)

    def to_scores(self, p: Floats) -> Floats:
        """Return the predictions themselves."""
        return p

    def from_scores(self, found: Floats) -> Floats:
        """Return the predictions themselves."""
        return found

    def row_losses(self, y: Floats, p: Floats) -> Floats:
        """Return squared errors in units of the reference's variance."""
        return np.square(y - p) / self.variance

    def score_metric(self, metric: str, y: Floats, p: Floats) -> MetricScore:
        """Return the metric, see :func:`driftbook.model.value_scores.score_value_metric`."""
        known = ~np.isnan(y)
        return value_scores.score_value_metric(metric, y[known], p[known], self.variance)

    def residuals(self, y: Floats, p: Floats) -> Floats:
        """Return outcome minus prediction, shape (n, 1), in the target's own units."""
        return (y - p)[:, None]

    def fit_calibration(self, found: Floats, y: Floats, weights: Floats) -> ScoreCalibration:
        """Return a rising line."""
        return fit_rising_line(found, y, weights)

    def count_contrast(self, y: Floats) -> int:
        """Return the rows, or 0 where all outcomes are the same."""
        known = y[~np.isnan(y)]
        return len(known) if len(known) and np.ptp(known) > 0 else 0

    def to_document(self) -> dict[str, Any]:
        """Return what makes the task, its variance included."""
        return super().to_document() | {"variance": self.variance}


BINARY = BinaryTask()


def find_task(labels: pd.Series, name: str, wanted: str = "auto") -> Task:
    """Return the task of a reference's labels; ``wanted`` is the setting ``model.task``.

    Raises:
        UsageError: the labels have no value, or none that the wanted task can have.
    """
    found = targets.find_task_name(labels, name, wanted)
    if found == "binary":
        return BINARY
    kept = targets.parse_target(labels, found).dropna()
    if found == "multiclass":
        return MulticlassTask(tuple(sort_classes(kept.unique().tolist())))
    variance = float(kept.var(ddof=0))
    if not variance > 0.0:
        raise UsageError(
            f"target {name!r} has the same value in every row of the reference; "
            "choose another data.target or a longer reference"
        )
    return RegressionTask(variance)


def sort_classes(names: list[str]) -> list[str]:
    """Return class names in order; as numbers where all of them are.

    >>> sort_classes(["10", "9", "2"])
    ['2', '9', '10']
    """
    numbers = pd.to_numeric(pd.Series(names, dtype=object), errors="coerce")
    return sorted(names) if numbers.isna().any() else sorted(names, key=float)


def read_task(document: Mapping[str, Any] | None) -> Task:
    """Return the task that a version's card names; a card without one is of a binary model."""
    name = (document or {}).get("name", "binary")
    if name == "multiclass":
        return MulticlassTask(tuple((document or {})["classes"]))
    return RegressionTask((document or {})["variance"]) if name == "regression" else BINARY
