"""What a trial's losses say: the champion's gap, the best recipe, and how fast models go stale."""

from __future__ import annotations

import numpy as np
from scipy import stats

from driftbook import tally
from driftbook.tally import Floats, Lessons, Tally
from driftbook.training import Model
from driftbook.trial import BASE, Trial

# One-sided chance of calling a champion stale that is not, shared by the two tests of it.
FALSE_STALE = 0.05
# Prior weight, in windows, of "models do not go stale here" when the slope is estimated.
PRIOR_WINDOWS = 1.0


def lessons(found: Trial, gates: bool = True) -> Lessons:
    """Return what the trial teaches; without ``gates`` only what was known before its window."""
    names = [name for name in found.losses if name != BASE]
    pairs = {name: lead(found, name, gates) for name in names}
    leads = {name: tallied for name, tallied in pairs.items() if tallied.rows}
    return Lessons(leads, _ageing(found, gates), _slope(found, gates))


def lead(found: Trial, name: str, gates: bool = True) -> Tally:
    """Return how much lower a recipe's loss is than the sliding block's in the same service.

    Where several fits are graded on one row their leads are summed there first, so that no row
    counts as several independent ones.
    """
    sums, counts = np.zeros(found.rows), np.zeros(found.rows)
    base = found.losses.get(BASE, [None] * len(found.segments))
    for segment, own, other in zip(found.segments, base, found.losses[name], strict=True):
        if own is not None and other is not None and (gates or not segment.gate):
            rows = slice(segment.start, segment.reach)
            sums[rows] += own - other
            counts[rows] += 1
    return tally.of_rows(sums[counts > 0], counts[counts > 0]) if counts.any() else Tally()


def chosen(known: Lessons, confidence: float) -> str:
    """Return the recipe that the evidence speaks for.

    The sliding block stays unless another recipe's lead is positive with ``confidence``; of
    several the one with the largest assured lead is taken.

    Source: in the spirit of the one-standard-error rule, Breiman et al. (1984), CART, §3.4.3.
    """
    assured = {name: found.low(confidence) for name, found in known.leads.items()}
    best = max(assured, key=assured.__getitem__, default=BASE)
    return best if assured.get(best, 0.0) > 0.0 else BASE


def gap(found: Trial, recipe: str) -> Tally | None:
    """Return champion minus recipe on the window; each gate by a fit on the rows before it."""
    start = found.rows - found.window
    gains = [
        found.champion[segment.start - start : segment.stop - start]
        - losses[: segment.stop - segment.start]
        for segment, losses in zip(found.segments, found.losses.get(recipe, []), strict=False)
        if segment.gate and losses is not None
    ]
    return tally.of_rows(np.concatenate(gains)) if gains else None


def staleness(known: Lessons) -> float:
    """Return by how much a model's mean Brier loss rises for each window of age, at least 0.

    Least squares through the origin over all pairs of fits of the sliding block on the same rows,
    shrunk towards 0 by one window of evidence: all windows seen so far are pooled.
    """
    return max(0.0, known.slope[0] / (known.slope[1] + PRIOR_WINDOWS))


def is_stale(found: Trial, known: Lessons, model: Model) -> bool:
    """Return whether newer fits of the champion's size beat it, or beat fits a window older.

    Two paired t-tests at half of ``FALSE_STALE`` each; rows in blocks, and the luck of two fits of
    the same size added, so that a window of any length errs as often.

    Source: excess loss of a fit of d parameters on n rows as chi-square with d degrees of freedom
    over 2n, Wilks (1938), Ann. Math. Stat. 9, scaled to Brier loss by twice the mean p(1 - p).
    """
    against_champion = gap(found, BASE)
    luck = _luck(model)
    return any(
        tallied is not None
        and tallied.rows > 0
        and tallied.mean
        > float(stats.t.ppf(1 - FALSE_STALE / 2, tallied.df)) * np.hypot(tallied.error, luck)
        for tallied in (against_champion, known.ageing)
    )


def _ageing(found: Trial, gates: bool) -> Tally:
    rises: list[Floats] = []
    base = found.losses.get(BASE, [None] * len(found.segments))
    for segment, losses, pairs in zip(found.segments, base, found.older, strict=True):
        if losses is not None and pairs and (gates or not segment.gate):
            oldest = max(pairs, key=lambda pair: pair[0])[1]
            rises.append(oldest - losses[: len(oldest)])
    return tally.of_rows(np.concatenate(rises)) if rises else Tally()


def _slope(found: Trial, gates: bool) -> tuple[float, float]:
    top, bottom = 0.0, 0.0
    base = found.losses.get(BASE, [None] * len(found.segments))
    for segment, losses, pairs in zip(found.segments, base, found.older, strict=True):
        if losses is None or (segment.gate and not gates):
            continue
        for age, older in pairs:
            top += age * float((older - losses[: len(older)]).sum()) / found.window
            bottom += age * age * len(older) / found.window
    return top, bottom


def _luck(model: Model) -> float:
    """Return the standard deviation of the Brier loss between two fits on as many rows."""
    p = model.holdout_scores
    levels = [model.reference[f.name].nunique() for f in model.features if f.kind == "categorical"]
    width = len(model.features) - len(levels) + sum(levels) + 1
    return 2.0 * float(np.mean(p * (1 - p))) * float(np.sqrt(width)) / len(model.reference)
