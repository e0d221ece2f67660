"""Why the loss of several classes, or of values, moved: the parts of ``causes`` for both.

The loss expected of the reference's rows, less that expected of the window's, is the inputs' part;
what came beyond the expectation is a changed rule. Where there are classes their shares may have
moved too: the chances are then reweighted to the new shares, as far as the predictions agree.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from driftbook.data.arrays import Floats
from driftbook.model.class_scores import mark_classes
from driftbook.model.tasks import Task
from driftbook.performance.expected_loss import (
    GradedRows,
    calibrate_classes,
    fit_loss_rule,
    list_class_losses,
)
from driftbook.performance.influence import (
    InfluencedNumber,
    average_current,
    average_reference,
)

# So much of a move of the labels' shares must the predictions show for all of it to count as one of
# the shares (a convention); less is taken as it is.
ENOUGH_AGREEMENT = 0.5
_STEPS = 50


@dataclass(frozen=True)
class LossParts:
    """The parts of a change of the mean loss; they add up to ``total``. ``prior``: with classes."""

    covariate: InfluencedNumber
    prior: InfluencedNumber | None
    concept: InfluencedNumber | None
    total: InfluencedNumber | None


def split_losses(task: Task, before: GradedRows, now: GradedRows) -> LossParts:
    """Return the parts of the change from graded rows of the reference to those of a window.

    Without labels in ``now``, NaN, only the inputs' part is had, as if shares and rule stood.
    """
    losses = task.row_losses(before.y, before.p)
    labelled = bool(len(now.y)) and not np.isnan(now.y).any()
    prior = None
    if task.classes:
        moved, weights = _move_shares(task, before, now) if labelled else (None, None)
        said_before = _expect_losses(task, before, before.p, None)
        # What calibration leaves over on the reference is no part of any change.
        left = float(losses.mean() - said_before.mean())
        said_before, said_now = (
            said_before + left,
            _expect_losses(task, before, now.p, weights) + left,
        )
        prior = moved
    else:
        past = np.column_stack([before.inputs, before.p])
        rule = fit_loss_rule(losses, past)
        said_before = rule.said if rule.useful else np.full(len(losses), losses.mean())
        said_before = said_before + float(losses.mean() - said_before.mean())
        said_now = rule.expect(np.column_stack([now.inputs, now.p]))
    n, m = len(said_now), len(losses)
    inputs = average_current(said_now, m) - average_reference(said_before, n)
    covariate = inputs if prior is None else inputs - prior
    if not labelled:
        return LossParts(covariate, None, None, None)
    total = average_current(task.row_losses(now.y, now.p), m) - average_reference(losses, n)
    return LossParts(covariate, prior, total - inputs, total)


def _expect_losses(task: Task, evidence: GradedRows, p: Floats, weights: Floats | None) -> Floats:
    """Return the expected loss of each row; ``weights``: new over old share of each class."""
    chances = calibrate_classes(task, evidence, np.ones(len(evidence.y)), p)
    if weights is not None:
        chances = chances * weights
        chances = chances / chances.sum(axis=1, keepdims=True)
    return np.asarray((chances * list_class_losses(task.loss, p)).sum(axis=1))


def _move_shares(
    task: Task, before: GradedRows, now: GradedRows
) -> tuple[InfluencedNumber, Floats]:
    """Return what moved shares of the classes alone do to the loss, and new over old shares.

    Two numbers must show a move of the labels' shares for it to count: the offsets of the chances
    that meet those shares, which are none where moved inputs explain them, and the mean
    predictions, a mixture of those within each class, which a changed rule leaves as they are.

    Source: Saerens, Latinne and Decaestecker (2002), Neural Computation 14; black box shift
    estimation, Lipton, Wang and Smola (2018), ICML.
    """
    classes = len(task.classes)
    old, new = mark_classes(before.y, classes), mark_classes(now.y, classes)
    shares = np.maximum(old.mean(axis=0), 1e-6)
    within = (old.T @ before.p) / np.maximum(old.sum(axis=0), 1.0)[:, None]
    told = np.linalg.lstsq(within.T, now.p.mean(axis=0), rcond=None)[0] - shares
    move = new.mean(axis=0) - shares
    offset = shares * _find_offsets(
        calibrate_classes(task, before, np.ones(len(before.y)), now.p), new.mean(axis=0)
    )
    asked = offset / offset.sum() - shares
    agreement = min(float(one @ move) for one in (told, asked)) / max(float(move @ move), 1e-12)
    part = 1.0 if agreement >= ENOUGH_AGREEMENT else max(0.0, agreement)
    losses = task.row_losses(before.y, before.p)
    each = (old.T @ losses) / np.maximum(old.sum(axis=0), 1.0)
    whole = average_current(new @ each, len(before.y)) - average_reference(old @ each, len(now.y))
    target = np.maximum(shares + part * move, 1e-6)
    return whole.through(part * whole.value, part), target / shares


def _find_offsets(chances: Floats, shares: Floats) -> Floats:
    """Return factors of the chances (n, classes) under which their means are ``shares``."""
    factors = np.ones(chances.shape[1])
    for _ in range(_STEPS):
        moved = chances * factors
        means = (moved / moved.sum(axis=1, keepdims=True)).mean(axis=0)
        factors = factors * np.maximum(shares, 1e-6) / np.maximum(means, 1e-12)
    return np.asarray(factors / factors.mean())
