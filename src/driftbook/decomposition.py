"""Why performance moved: covariate shift, prior shift and concept change, each with its interval.

The Brier loss is linear in the outcome, so its expectation follows from the chance of the outcome.
Let P be the reference's rule (the chance given the champion's score), and P shifted by an offset of
its log odds what it becomes when the base rate moves (Elkan 2001). Then the realised change is

- prior shift: the reference with its classes reweighted to the new base rate, less the reference;
- covariate shift: expected loss on the current inputs under the shifted rule, less that;
- concept change: realised loss on the current rows, less what the shifted rule expects.

Source: Cai, Namkoong and Yadlowsky (2023), Diagnosing model performance under distribution shift,
arXiv 2303.02011; Saerens, Latinne and Decaestecker (2002), Neural Computation 14, for priors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import optimize, special

from driftbook import performance, recipes, scores
from driftbook.influence import Measured, mean_of_current, mean_of_reference, mean_within
from driftbook.performance import Rows
from driftbook.reference import reference_of
from driftbook.training import Model

Floats = npt.NDArray[np.float64]

COVARIATE, PRIOR, CONCEPT = "covariate shift", "prior shift", "concept change"
TOTAL = "total"
PARTS = (COVARIATE, PRIOR, CONCEPT)
COLUMNS = ("part", "status", "n", "change", "change_low", "change_high", "beyond_chance")
MOST_ROWS = 20_000  # more rows change the weights by less than their own error
_CLIP = 1e-6
_STEPS = 50


@dataclass(frozen=True)
class Before:
    """The reference: outcomes and out-of-sample scores of its rows, all shape (m,).

    ``served``: the served fit's scores of the same rows, which it may have learnt from; equal to
    ``rows.p`` where one fit is graded and served. ``weights``: how much each row resembles the
    current ones, by its inputs.
    """

    rows: Rows
    served: Floats
    weights: Floats

    @property
    def loss(self) -> Floats:
        """Return the Brier loss of each row."""
        return np.square(self.rows.y - self.rows.p)


@dataclass(frozen=True)
class Rule:
    """The chance of the outcome given a score; ``influence`` (2, m) is that of ``theta`` (2,)."""

    theta: Floats
    influence: Floats

    def log_odds(self, p: Floats) -> Floats:
        """Return the log odds of the outcome for scores ``p`` (n,)."""
        odds: Floats = _log_odds(p) + _design(p) @ self.theta
        return odds


def explain(model: Model, current: pd.DataFrame, min_rows: int) -> pd.DataFrame | None:
    """Return :func:`split` of ``current`` against the champion's holdout; None if not scored.

    ``current``: one window in time order, with or without the target; None where a feature of the
    model is no column of it.
    """
    if any(name not in current.columns for name in model.feature_names):
        return None
    rows = performance.outcomes(model, current)
    known = ~np.isnan(rows.y)
    if known.sum() >= min_rows:
        current, rows = current[known], Rows(rows.y[known], rows.p[known])
    before = Before(
        performance.holdout(model),
        reference_of(model).served_holdout,
        resemblance(model, current),
    )
    return split(before, rows, min_rows)


def resemblance(model: Model, current: pd.DataFrame) -> Floats:
    """Return a weight for each holdout row, (m,): how much more often its like occurs now.

    They keep a bend that the champion missed from passing for a change of the rule, when the
    inputs move along it. At most 20,000 evenly spaced rows of ``current`` are looked at.

    Source: :func:`driftbook.recipes.resembling`.
    """
    names, holdout = model.feature_names, model.holdout
    if current.empty:
        return np.ones(len(holdout))
    newest = current.iloc[:: 1 + (len(current) - 1) // MOST_ROWS]
    both = pd.concat([holdout[names], newest[names]], ignore_index=True)
    table = recipes.tabulate(both.assign(**{model.target: 0.0}), model.features, model.target)
    return recipes.resembling(table, slice(0, len(both)), len(newest))[: len(holdout)]


def split(before: Before, current: Rows, min_rows: int) -> pd.DataFrame:
    """Return a row a part and one for the total: its change of the mean Brier loss a row.

    ``change`` has a 95% interval; the parts add up to the total. ``beyond_chance``: the interval
    leaves out 0. ``n`` counts the rows used. ``status``: ``ok``; ``insufficient`` where either
    side has fewer than ``min_rows`` rows or fewer than 10 of a class; ``needs_labels`` where fewer
    than ``min_rows`` labels are known: then only the covariate part is had, as if the rule and
    the base rate stood. What cannot be had is NaN.
    """
    known = ~np.isnan(current.y)
    labelled = Rows(current.y[known], current.p[known])
    n = len(current.p)
    if n < min_rows or not _enough(before.rows, min_rows):
        return _table({}, dict.fromkeys((*PARTS, TOTAL), "insufficient"), n)
    if len(labelled.y) < min_rows:
        found = {COVARIATE: _without_labels(before, current)}
        return _table(found, dict.fromkeys((PRIOR, CONCEPT, TOTAL), "needs_labels"), n)
    n = len(labelled.y)
    if not _enough(labelled, min_rows):
        found = {TOTAL: (_total(before, labelled), 0.0)}
        return _table(found, dict.fromkeys(PARTS, "insufficient"), n)
    return _table(_parts(before, labelled), {}, n)


def calibrated(rows: Rows, weights: Floats) -> Rule:
    """Return the rule that the reference's outcomes follow, given their scores.

    Log odds of the score plus ``theta`` times (1, score): so the rule's expected Brier loss on the
    weighted reference is the realised one, and without any change no part is expected.

    Source: a fluctuation along the loss's own gradient, van der Laan and Rubin (2006), Int. J.
    Biostatistics 2; importance-weighted calibration as in arXiv 2401.08348.
    """
    z, offset, w = _design(rows.p), _log_odds(rows.p), weights / weights.mean()
    theta, hessian, residual = np.zeros(2), np.eye(2), np.zeros(len(w))
    for _ in range(_STEPS):
        chance = special.expit(offset + z @ theta)
        residual = w * (rows.y - chance)
        curvature = w * chance * (1.0 - chance)
        hessian = (z * curvature[:, None]).T @ z / len(w) + 1e-9 * np.eye(2)
        step = np.clip(np.linalg.solve(hessian, z.T @ residual / len(w)), -2.0, 2.0)
        if np.abs(step).max() < 1e-9:
            break
        theta = theta + step
    return Rule(theta, np.linalg.solve(hessian, (residual[:, None] * z).T))


def _parts(before: Before, current: Rows) -> dict[str, tuple[Measured, float]]:
    m, n = len(before.rows.y), len(current.y)
    rule = calibrated(before.rows, before.weights)
    base = mean_of_reference(before.loss, n)
    now = mean_of_current(np.square(current.y - current.p), m)
    old = mean_of_reference(before.rows.y, n)
    new = base_rate(before, current, rule)
    ones, zeros = (mean_within(before.loss, before.rows.y == label, n) for label in (1, 0))
    prior = (new - old) * (ones - zeros)
    offset = new.log_odds() - old.log_odds()
    expected = _expected(current.p, rule, offset)
    gap = _fit_gap(before, rule, offset.value)
    return {
        COVARIATE: (_lowered(expected - base - prior, gap), abs(gap) / 2),
        PRIOR: (prior, 0.0),
        CONCEPT: (_lowered(now - expected, -gap), abs(gap) / 2),
        TOTAL: (now - base, 0.0),
    }


def base_rate(before: Before, current: Rows, rule: Rule) -> Measured:
    """Return the base rate that a prior shift would have moved the reference to.

    A prior shift moves labels and inputs together. The labels tell the rate by the offset of the
    rule's log odds that meets them; the inputs by the mean score, a mixture of those of the two
    classes. Where the two contradict each other beyond chance, only as much of the move counts as
    both support: an offset alone is a changed rule, moved inputs alone are a covariate shift.

    Source: Elkan (2001), IJCAI; black box shift estimation, Lipton, Wang and Smola (2018), ICML.
    """
    y, p = before.rows.y, before.rows.p
    old = mean_of_reference(y, len(current.y))
    by_labels = (old.log_odds() + _offset(current, rule)).probability()
    high, low = (mean_within(p, y == label, len(current.y)) for label in (1, 0))
    if high.value <= low.value:
        return by_labels
    by_inputs = (mean_of_current(current.p, len(y)) - low) / (high - low)
    apart = by_labels - by_inputs
    if abs(apart.value) <= apart.half_width():
        return by_labels
    moves = [found.value - old.value for found in (by_labels, by_inputs)]
    if moves[0] * moves[1] <= 0.0:
        return old
    return by_labels if abs(moves[0]) <= abs(moves[1]) else by_inputs


def _offset(current: Rows, rule: Rule) -> Measured:
    """Return the offset of the rule's log odds at which it expects as many ones as there are."""
    odds, rate = rule.log_odds(current.p), current.y.mean()
    offset = float(optimize.brentq(lambda d: special.expit(odds + d).mean() - rate, -60.0, 60.0))
    chance = special.expit(odds + offset)
    curvature = chance * (1.0 - chance)
    drag = curvature @ _design(current.p) / len(odds)
    own = Measured(offset, -drag @ rule.influence, current.y - chance)
    return own.through(offset, 1.0 / curvature.mean())


def _expected(p: Floats, rule: Rule, offset: Measured) -> Measured:
    """Return the expected Brier loss of scores ``p`` (n,) under the rule shifted by ``offset``."""
    chance = special.expit(rule.log_odds(p) + offset.value)
    loss = chance * np.square(1.0 - p) + (1.0 - chance) * np.square(p)
    slope = chance * (1.0 - chance) * (1.0 - 2.0 * p)
    drag = slope @ _design(p) / len(p)
    own = Measured(float(loss.mean()), drag @ rule.influence, loss - loss.mean())
    return own + offset.through(0.0, float(slope.mean()))


def _fit_gap(before: Before, rule: Rule, offset: float) -> float:
    """Return how much less or more the served fit's scores promise on the reference's own rows.

    The served fit is sharper or softer than the graded one, which looks like moved inputs.
    """

    def promised(p: Floats) -> Floats:
        chance = special.expit(rule.log_odds(p) + offset)
        return chance * np.square(1.0 - p) + (1.0 - chance) * np.square(p)

    gap = promised(before.served) - promised(before.rows.p)
    return float(np.average(gap, weights=before.weights))


def _lowered(part: Measured, gap: float) -> Measured:
    # The served fit may have learnt from these rows, so the gap is an upper bound: the middle.
    return part.through(part.value - gap / 2, 1.0)


def _without_labels(before: Before, current: Rows) -> tuple[Measured, float]:
    m, n = len(before.rows.y), len(current.p)
    rule = calibrated(before.rows, before.weights)
    still = Measured(0.0, np.zeros(m), np.zeros(n))
    part = _expected(current.p, rule, still) - mean_of_reference(before.loss, n)
    gap = _fit_gap(before, rule, 0.0)
    return _lowered(part, gap), abs(gap) / 2


def _total(before: Before, current: Rows) -> Measured:
    now = mean_of_current(np.square(current.y - current.p), len(before.rows.y))
    return now - mean_of_reference(before.loss, len(current.y))


def _enough(rows: Rows, min_rows: int) -> bool:
    ones = int(rows.y.sum())
    return len(rows.y) >= min_rows and min(ones, len(rows.y) - ones) >= scores.MIN_CLASS


def _table(
    found: dict[str, tuple[Measured, float]], status: dict[str, str], n: int
) -> pd.DataFrame:
    lines = []
    for part in (*PARTS, TOTAL):
        line: dict[str, object] = dict.fromkeys(COLUMNS, float("nan"))
        line |= {"part": part, "status": status.get(part, "ok"), "n": n, "beyond_chance": False}
        if part in found:
            measured, slack = found[part]
            change, half = measured.value, measured.half_width() + slack
            line |= {"change": change, "change_low": change - half, "change_high": change + half}
            line["beyond_chance"] = abs(change) > half
        lines.append(line)
    return pd.DataFrame(lines, columns=list(COLUMNS))


def _design(p: Floats) -> Floats:
    return np.column_stack([np.ones(len(p)), p])


def _log_odds(p: Floats) -> Floats:
    odds: Floats = special.logit(np.clip(p, _CLIP, 1.0 - _CLIP))
    return odds
