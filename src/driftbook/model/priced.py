"""A loss in money: what acting on a prediction costs, by the price of each kind of mistake."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from driftbook.data.arrays import Floats
from driftbook.errors import UsageError
from driftbook.model import scores
from driftbook.model.model_side import ModelSide, keep_while_model_lives
from driftbook.model.scores import MetricScore
from driftbook.model.tasks import BINARY, BinaryTask, Task
from driftbook.model.training import Model
from driftbook.settings import PolicySettings

COST = "cost"


@dataclass(frozen=True)
class PricedTask(BinaryTask):
    """0 or 1, where the loss is the cost of acting from the chance that the prices imply.

    ``false_positive``: price of a 0 that is acted on as a 1; ``false_negative``: of a 1 that is
    not. Acting is cheaper from a chance of ``false_positive / (false_positive + false_negative)``.

    Source: Elkan (2001), IJCAI, The foundations of cost-sensitive learning.
    """

    false_positive: float = 1.0
    false_negative: float = 1.0

    metrics = (*scores.METRICS, COST)
    loss = COST

    @property
    def threshold(self) -> float:
        """Return the chance from which acting is cheaper."""
        return self.false_positive / (self.false_positive + self.false_negative)

    @property
    def proper(self) -> Task:
        """Return the task whose loss says how true chances are."""
        return BINARY

    @property
    def even_loss(self) -> float:
        """Return the cost of a row whose chance is the threshold: both ways cost the same."""
        return self.false_negative * self.threshold

    def row_losses(self, y: Floats, p: Floats) -> Floats:
        """Return what each row costs; NaN where the outcome is not known."""
        acted = self.false_positive * (1.0 - y)
        return np.where(p >= self.threshold, acted, self.false_negative * y)

    def per_row(self, metric: str) -> Callable[[Floats, Floats], Floats]:
        """Return what a metric that is a mean over rows says of each row."""
        return self.row_losses if metric == COST else super().per_row(metric)

    def score_metric(self, metric: str, y: Floats, p: Floats) -> MetricScore:
        """Return the metric; the cost is the mean a row with Student's interval."""
        if metric != COST:
            return super().score_metric(metric, y, p)
        truth, chance = scores.keep_labelled(y, p)
        return scores.score_mean(COST, self.row_losses(truth, chance))


class _PricedSide(ModelSide):
    """The same model under each pair of prices that it was asked for."""

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self.kept: dict[PricedTask, Model] = {}


@keep_while_model_lives
def _find_priced(model: Model) -> _PricedSide:
    return _PricedSide(model)


def price_model(model: Model, policy: PolicySettings) -> Model:
    """Return the model whose loss is money by the prices of ``policy``; itself where none is set.

    Raises:
        UsageError: prices of two kinds of mistake, for a task that knows more or none of them.
    """
    if policy.false_positive is None or policy.false_negative is None:
        return model
    if model.task.name != "binary":
        raise UsageError(
            f"policy.false_positive and false_negative price the mistakes of two classes, but the "
            f"task is {model.task.name!r}; leave them out, or choose a target of two values"
        )
    task = PricedTask(policy.false_positive, policy.false_negative)
    if model.task == task:
        return model
    kept = _find_priced(model).kept
    if task not in kept:
        beside = None if model.stand_in is None else price_model(model.stand_in, policy)
        kept[task] = replace(model, task=task, stand_in=beside)
    return kept[task]
