"""Why performance moved: covariate shift, prior shift and concept change, each with its interval.

The Brier loss is linear in the outcome, so its expectation follows from the outcome's chance. The
reference's rule gives that chance from the champion's score and the inputs; a moved base rate adds
an offset to its log odds (Elkan 2001). The realised change of the mean loss is then the sum of

- prior shift: the reference with its classes reweighted to the new base rate, less the reference;
- covariate shift: the loss expected on the current inputs under the shifted rule, less that;
- concept change: the realised loss on the current rows, less what the shifted rule expects.

Source: Cai, Namkoong and Yadlowsky (2023), Diagnosing model performance under distribution shift,
arXiv 2303.02011; Saerens, Latinne and Decaestecker (2002), Neural Computation 14, for base rates.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
from scipy import optimize, special

from driftbook.data.arrays import Floats
from driftbook.data.sampling import draw_rows
from driftbook.model import logistic, scores
from driftbook.model.model_side import ModelSide, keep_while_model_lives
from driftbook.model.tasks import BINARY, BinaryTask
from driftbook.model.training import Model
from driftbook.performance import realised
from driftbook.performance.baseline import bend_inputs, find_baseline
from driftbook.performance.causes_of_losses import split_losses
from driftbook.performance.estimated import MOST_ESTIMATED
from driftbook.performance.expected_loss import GradedRows, find_graded_rows
from driftbook.performance.influence import (
    InfluencedNumber,
    average_current,
    average_reference,
    average_within,
)

COVARIATE, PRIOR, CONCEPT = "covariate shift", "prior shift", "concept change"
TOTAL_CHANGE = "total"
CAUSES = (COVARIATE, PRIOR, CONCEPT)
CAUSE_ROWS = (*CAUSES, TOTAL_CHANGE)
CAUSE_COLUMNS = ("part", "status", "n", "change", "change_low", "change_high", "beyond_chance")
# What bends together are expected to add to the log odds, as a standard deviation.
BEND_SD = 2.0
# A part whose interval reaches farther than this to either side says nothing: it is the Brier loss
# of a forecast that always says one half.
MOST_HALF = 0.25
_STEPS = 50


@dataclass(frozen=True)
class ScoredSample:
    """Rows in time order: outcomes ``y`` (n,), NaN where not known, scores ``p`` (n,), inputs.

    ``bends`` (n, k): standardised inputs and their squares, along which the rule may bend away
    from the champion's score; k may be 0. ``task`` says what a row loses.
    """

    y: Floats
    p: Floats
    bends: Floats
    task: BinaryTask = BINARY

    @property
    def loss(self) -> Floats:
        """Return the loss of each row."""
        return self.task.row_losses(self.y, self.p)

    @property
    def most_half(self) -> float | None:
        """Return how wide a part may be that says something, where the loss is not Brier's."""
        return None if self.task.proper is self.task else self.task.even_loss

    @cached_property
    def rule(self) -> OutcomeRule:
        """Return the rule that the outcomes follow, see :func:`fit_outcome_rule`."""
        return fit_outcome_rule(self)

    def scored(self, p: Floats) -> ScoredSample:
        """Return the same rows with the scores of another fit."""
        return replace(self, p=p)

    def design(self) -> Floats:
        """Return the columns of the rule, (n, 2 + k): one, the score, the bends."""
        return np.column_stack([np.ones(len(self.p)), self.p, self.bends])


@dataclass(frozen=True)
class OutcomeRule:
    """The chance of the outcome: log odds of the score plus ``design @ theta``.

    ``influence`` (2 + k, m): how each row of the reference moved ``theta``. ``ends`` (2, 2 + k):
    least and largest value of each column there.
    """

    theta: Floats
    influence: Floats
    ends: Floats

    def apply(self, sample: ScoredSample) -> RuledSample:
        """Return what the rule says of a sample's rows."""
        return RuledSample(self, sample)


@dataclass(frozen=True)
class RuledSample:
    """A rule's rows: what it takes of them is computed once, however often it is asked."""

    rule: OutcomeRule
    sample: ScoredSample

    @cached_property
    def design(self) -> Floats:
        """Return the rule's columns, held at the reference's ends: it knows nothing beyond."""
        whole = self.sample.design()
        return np.clip(whole, *self.rule.ends, out=whole)

    @cached_property
    def log_odds(self) -> Floats:
        """Return the log odds of the outcome in each row."""
        odds: Floats = scores.to_log_odds(self.sample.p) + self.design @ self.rule.theta
        return odds

    def chance(self, offset: float) -> Floats:
        """Return the chance of the outcome in each row, its log odds moved by ``offset``."""
        chance: Floats = special.expit(self.log_odds + offset)
        return chance

    def promised(self, offset: float) -> Floats:
        """Return the expected loss of each row, its log odds moved by ``offset``."""
        sample, chance = self.sample, self.chance(offset)
        one, zero = (sample.task.row_losses(np.full(len(sample.p), y), sample.p) for y in (1.0, 0))
        return chance * one + (1.0 - chance) * zero


def explain_change(
    model: Model,
    current: pd.DataFrame,
    min_rows: int,
    scored: realised.ScoredRows | None = None,
    judged: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Return :func:`split_change` of the champion's loss on ``current`` against its holdout.

    ``current``: one window in time order, with or without the target. ``scored``: its rows where
    they are scored already; ``judged``: its performance table, whose change of the loss is the
    total then: one quantity has one number and one interval. Of very many rows without a label a
    sample is taken, as for the estimate. Status ``not_scored`` where a feature is no column of it.
    """
    parts = _explain_alone(model, current, min_rows, scored)
    return parts if judged is None else _with_total(parts, judged, model.task.loss)


def _with_total(parts: pd.DataFrame, judged: pd.DataFrame, loss: str) -> pd.DataFrame:
    """Return the parts with the change that ``judged`` knows; what differs is the rule's."""
    known = judged[judged["metric"].eq(loss) & judged["basis"].eq("realised")]
    known = known[known["change"].notna()]
    place = parts["part"].eq(TOTAL_CHANGE) & parts["status"].eq("ok")
    if known.empty or not place.any():
        return parts
    row, found = known.iloc[0], parts.copy()
    left = float(row["change"]) - float(parts.loc[place, "change"].iloc[0])
    bounds = ["change", "change_low", "change_high"]
    found.loc[found["part"].eq(CONCEPT), bounds] += left
    found.loc[place, bounds] = row[bounds].to_numpy(dtype=float)
    surely = (found["change_low"] > 0.0) | (found["change_high"] < 0.0)
    return found.assign(
        beyond_chance=surely.where(
            found["part"].isin([CONCEPT, TOTAL_CHANGE]), found["beyond_chance"]
        )
    )


def _explain_alone(
    model: Model, current: pd.DataFrame, min_rows: int, scored: realised.ScoredRows | None
) -> pd.DataFrame:
    rows = realised.score_if_complete(model, current) if scored is None else scored
    if not set(model.feature_names) <= set(current.columns):
        rows = None
    if rows is None or not len(current):
        status = "not_scored" if rows is None else "insufficient"
        return _table({}, dict.fromkeys(CAUSE_ROWS, status), len(current))
    if not isinstance(model.task, BinaryTask):
        return _split_other_task(model, current, rows, min_rows)
    y, p = rows.y, rows.p
    if len(p) > MOST_ESTIMATED and np.isnan(y).all():
        drawn = draw_rows(len(p), MOST_ESTIMATED)
        y, p, current = y[drawn], p[drawn], current.iloc[drawn]
    now = ScoredSample(y, p, bend_inputs(model, current), model.task)
    served = find_baseline(model).served_holdout
    return split_change(find_cause_side(model).holdout, served, now, min_rows)


class CauseSide(ModelSide):
    """A model's own side of every split of a change."""

    @cached_property
    def holdout(self) -> ScoredSample:
        """Return the rows that graded it; the rule of their outcomes is fitted once."""
        model, before = self.model, realised.score_holdout(self.model)
        task = model.task if isinstance(model.task, BinaryTask) else BINARY
        return ScoredSample(before.y, before.p, find_baseline(model).bends, task)


@keep_while_model_lives
def find_cause_side(model: Model) -> CauseSide:
    """Return what every split of a change of the model's performance starts from."""
    return CauseSide(model)


def _split_other_task(
    model: Model, current: pd.DataFrame, rows: realised.ScoredRows, min_rows: int
) -> pd.DataFrame:
    """Return the table for several classes or values, see ``causes_of_losses``."""
    task, before = model.task, find_graded_rows(model).rows
    known = rows.y >= 0 if task.classes else ~np.isnan(rows.y)
    labelled = int(known.sum()) >= min_rows
    chosen = np.flatnonzero(known) if labelled else np.arange(len(rows.p))
    if min(len(chosen), len(before.y)) < min_rows or not task.count_contrast(before.y):
        return _table({}, dict.fromkeys(CAUSE_ROWS, "insufficient"), len(chosen))
    y = rows.y[chosen] if labelled else np.full(len(chosen), np.nan)
    inputs = bend_inputs(model, current.iloc[chosen])
    found = split_losses(task, before, GradedRows(y, rows.p[chosen], inputs, recent=False))
    parts = {COVARIATE: found.covariate, PRIOR: found.prior, CONCEPT: found.concept,
             TOTAL_CHANGE: found.total}  # fmt: skip
    status = {} if labelled else dict.fromkeys((PRIOR, CONCEPT, TOTAL_CHANGE), "needs_labels")
    if not task.classes:
        status[PRIOR] = "not_for_values"
    known_parts = {name: (part, 0.0) for name, part in parts.items() if part is not None}
    # As for two classes: wider than a forecast without opinion loses says nothing.
    return _table(known_parts, status, len(chosen), task.even_loss)


def split_change(
    before: ScoredSample, served: Floats, current: ScoredSample, min_rows: int
) -> pd.DataFrame:
    """Return a row a part and one for the total: its change of the mean Brier loss a row.

    ``before``: the reference's rows with out-of-sample scores; ``served`` (m,): scores of the same
    rows by the fit that scored ``current``, which may have learnt from them.

    The parts add up to the total. Each has a 95% interval; ``beyond_chance``: it leaves out 0.
    ``n`` counts the current rows used. ``status``: ``ok``; ``insufficient`` where a side has fewer
    than ``min_rows`` rows or fewer than 10 of a class; ``needs_labels`` where fewer than
    ``min_rows`` labels are known: then only the covariate part is had, as if rule and base rate
    stood; ``undetermined`` where the inputs lie so far from the reference that its rule does not
    reach them, and the interval is wider than a quarter to either side. What cannot be had is NaN.
    """
    known = ~np.isnan(current.y)
    labelled = ScoredSample(current.y[known], current.p[known], current.bends[known])
    n = len(current.p)
    if n < min_rows or not _enough(before, min_rows):
        return _table({}, dict.fromkeys(CAUSE_ROWS, "insufficient"), n)
    if len(labelled.y) < min_rows:
        found = {COVARIATE: _without_labels(before, served, current)}
        status = dict.fromkeys((PRIOR, CONCEPT, TOTAL_CHANGE), "needs_labels")
        return _table(found, status, n, before.most_half)
    if not _enough(labelled, min_rows):
        total = {TOTAL_CHANGE: (_total(before, labelled), 0.0)}
        return _table(total, dict.fromkeys(CAUSES, "insufficient"), len(labelled.y))
    parts = _parts(before, served, labelled)
    return _table(parts, {}, len(labelled.y), before.most_half)


def fit_outcome_rule(sample: ScoredSample) -> OutcomeRule:
    """Return the rule that the reference's outcomes follow, fitted by penalised likelihood.

    Intercept and score bear (almost) no penalty, so on the reference the expected Brier loss is
    the realised one and no part is expected without a change. The bends keep what the champion
    missed from passing for a changed rule when the inputs move along it.

    Source: a fluctuation along the loss's own gradient, van der Laan and Rubin (2006), Int. J.
    Biostatistics 2; ridge penalty, Hoerl and Kennard (1970), Technometrics 12.
    """
    whole, offset = sample.design(), scores.to_log_odds(sample.p)
    # Of more bends than rows only what their rows span can move the fit.
    bends, to_bends = logistic.span_rows(sample.bends)
    z, k = np.column_stack([whole[:, :2], bends]), sample.bends.shape[1]
    ridge = np.append([1e-3, 1e-3], np.full(bends.shape[1], k / BEND_SD**2))
    theta = np.zeros(len(ridge))
    for _ in range(_STEPS):
        chance = special.expit(offset + z @ theta)
        hessian = (z * (chance * (1.0 - chance))[:, None]).T @ z + np.diag(ridge)
        step = np.linalg.solve(hessian, z.T @ (sample.y - chance) - ridge * theta)
        theta = theta + np.clip(step, -2.0, 2.0)
        if np.abs(step).max() < 1e-9:
            break
    residual = sample.y - special.expit(offset + z @ theta)
    influence = len(z) * np.linalg.solve(hessian, (z * residual[:, None]).T)
    theta, influence = (
        np.concatenate([found[:2], to_bends(found[2:])]) for found in (theta, influence)
    )
    return OutcomeRule(theta, influence, np.array([whole.min(axis=0), whole.max(axis=0)]))


def solve_base_rate(before: ScoredSample, ruled: RuledSample) -> InfluencedNumber:
    """Return the base rate that a prior shift would have moved the reference to.

    Three numbers tell it, and agree after a prior shift: the offset of the rule's log odds that
    meets the labels, the share of ones, and the mean score, a mixture of those of the two classes.
    The offset is the most exact and is taken where neither of the others contradicts it beyond
    chance. Else only as much of the move counts as all three support: an offset alone is a changed
    rule, moved inputs alone are a covariate shift.

    Source: Elkan (2001), IJCAI; black box shift estimation, Lipton, Wang and Smola (2018), ICML.
    """
    current = ruled.sample
    m, n = len(before.y), len(current.y)
    old = average_reference(before.y, n)
    told = [(old.log_odds() + _offset(ruled)).probability(), average_current(current.y, m)]
    high, low = (average_within(before.p, before.y == label, n) for label in (1, 0))
    if high.value > low.value:
        told.append((average_current(current.p, m) - low) / (high - low))
    apart = [told[0] - other for other in told[1:]]
    if all(abs(gap.value) <= gap.half_width() for gap in apart):
        return told[0]
    moves = [found.value - old.value for found in told]
    if min(moves) < 0.0 < max(moves):
        return old
    return min(told, key=lambda found: abs(found.value - old.value))


def _parts(
    before: ScoredSample, served: Floats, current: ScoredSample
) -> dict[str, tuple[InfluencedNumber, float]]:
    n = len(current.y)
    rule, ruled = before.rule, before.rule.apply(current)
    old, new = average_reference(before.y, n), solve_base_rate(before, ruled)
    ones, zeros = (average_within(before.loss, before.y == label, n) for label in (1, 0))
    base, total = average_reference(before.loss, n), _total(before, current)
    prior = (new - old) * (ones - zeros)
    offset = new.log_odds() - old.log_odds()
    inputs = _expected(ruled, offset) - base - prior
    gap = _fit_gap(before, served, rule, offset.value)
    return {
        COVARIATE: (inputs.lowered(gap), abs(gap)),
        PRIOR: (prior, 0.0),
        CONCEPT: ((total - prior - inputs).lowered(-gap), abs(gap)),
        TOTAL_CHANGE: (total, 0.0),
    }


def _without_labels(
    before: ScoredSample, served: Floats, current: ScoredSample
) -> tuple[InfluencedNumber, float]:
    m, n = len(before.y), len(current.p)
    rule, still = before.rule, InfluencedNumber(0.0, np.zeros(m), np.zeros(n))
    inputs = _expected(rule.apply(current), still) - average_reference(before.loss, n)
    gap = _fit_gap(before, served, rule, 0.0)
    return inputs.lowered(gap), abs(gap)


def _total(before: ScoredSample, current: ScoredSample) -> InfluencedNumber:
    now = average_current(current.loss, len(before.y))
    return now - average_reference(before.loss, len(current.y))


def _offset(ruled: RuledSample) -> InfluencedNumber:
    """Return the offset of the rule's log odds at which it expects as many ones as there are."""
    odds, y = ruled.log_odds, ruled.sample.y
    rate = float(y.mean())
    ends = (-20.0 - float(odds.max()), 20.0 - float(odds.min()))
    offset = float(optimize.brentq(lambda d: special.expit(odds + d).mean() - rate, *ends))
    chance = special.expit(odds + offset)
    curvature = chance * (1.0 - chance)
    drag = curvature @ ruled.design / len(odds)
    own = InfluencedNumber(offset, -drag @ ruled.rule.influence, y - chance)
    return own.through(offset, 1.0 / float(curvature.mean()))


def _expected(ruled: RuledSample, offset: InfluencedNumber) -> InfluencedNumber:
    """Return the mean Brier loss expected of current rows under the rule moved by ``offset``."""
    chance, loss = ruled.chance(offset.value), ruled.promised(offset.value)
    slope = chance * (1.0 - chance) * (1.0 - 2.0 * ruled.sample.p)
    drag = slope @ ruled.design / len(loss)
    own = InfluencedNumber(float(loss.mean()), drag @ ruled.rule.influence, loss - loss.mean())
    return own + offset.through(0.0, float(slope.mean()))


def _fit_gap(before: ScoredSample, served: Floats, rule: OutcomeRule, offset: float) -> float:
    """Return half of what the served fit promises beyond the graded one on the reference's rows.

    A sharper fit looks like easier inputs. As it may have learnt from these rows the gap is at
    most this large, at least nothing: parts are set to the middle and reach to both ends.
    """
    there, here = (rule.apply(rows).promised(offset) for rows in (before.scored(served), before))
    moved = there - here
    return float(moved.mean()) / 2.0


def _enough(sample: ScoredSample, min_rows: int) -> bool:
    ones = int(sample.y.sum())
    return len(sample.y) >= min_rows and min(ones, len(sample.y) - ones) >= scores.MIN_CLASS


def _table(
    found: dict[str, tuple[InfluencedNumber, float]],
    status: dict[str, str],
    n: int,
    most_half: float | None = None,
) -> pd.DataFrame:
    lines = []
    for part in CAUSE_ROWS:
        line: dict[str, object] = dict.fromkeys(CAUSE_COLUMNS, float("nan"))
        line |= {"part": part, "status": status.get(part, "ok"), "n": n, "beyond_chance": False}
        if part in found:
            measured, slack = found[part]
            change, half = measured.value, measured.half_width() + slack
            if half > (MOST_HALF if most_half is None else most_half):
                lines.append(line | {"status": "undetermined"})
                continue
            line |= {"change": change, "change_low": change - half, "change_high": change + half}
            # Where nothing can differ the width is 0, and so is the change but for rounding.
            line["beyond_chance"] = abs(change) > half + 1e-12
        lines.append(line)
    return pd.DataFrame(lines, columns=list(CAUSE_COLUMNS))
