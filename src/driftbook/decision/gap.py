"""What a trial's losses say: the champion's gap, the best recipe, and whether models go stale."""

from __future__ import annotations

import numpy as np
from scipy import stats

from driftbook.data.arrays import Floats
from driftbook.decision import forecast
from driftbook.decision.experience import TrialExperience
from driftbook.decision.forecast import GapMotion, GapReading
from driftbook.decision.trial import BASE_RECIPE, Trial
from driftbook.model import row_sums
from driftbook.model.row_sums import RowSum
from driftbook.model.training import Model

# One-sided chance of calling a champion stale that is not, shared by the two tests of it: where
# something else has changed too, and where nothing has, so that the two make up 1% of windows.
FALSE_STALE, FALSE_STALE_CALM = 0.05, 0.005
# How sure it must be that another recipe beats the sliding block before it is taken instead.
LEAD_CONFIDENCE = 0.9
# Surer still where a fit leans on what is old, the champion itself or rows long past: such fits
# look best in the first window that they meet.
SURER_LEVELS = {"recalibrated": 0.99, "weighted": 0.99}


def learn_from_trial(found: Trial, gates: bool = True) -> TrialExperience:
    """Return what the trial teaches; without ``gates`` only what was known before its window."""
    names = [name for name in found.losses if name != BASE_RECIPE]
    pairs = {name: measure_lead(found, name, gates) for name in names}
    leads = {name: tallied for name, tallied in pairs.items() if tallied.rows}
    return TrialExperience(leads, _ageing(found, gates))


def measure_lead(found: Trial, name: str, gates: bool = True) -> RowSum:
    """Return how much lower a recipe's loss is than the sliding block's in the same service.

    Where several fits are graded on one row their leads are summed there first, so that no row
    counts as several independent ones.
    """
    sums, counts = np.zeros(found.rows), np.zeros(found.rows)
    for segment, own, other in zip(
        found.segments, found.losses_of(BASE_RECIPE), found.losses[name], strict=True
    ):
        if own is not None and other is not None and (gates or not segment.gate):
            rows = slice(segment.start, segment.reach)
            sums[rows] += own - other
            counts[rows] += 1
    return row_sums.sum_rows(sums[counts > 0], counts[counts > 0]) if counts.any() else RowSum()


def choose_recipe(known: TrialExperience) -> str:
    """Return the recipe that the evidence speaks for.

    The sliding block stays unless another recipe's lead is positive with a confidence of 90%, or
    99% where the recipe leans on old evidence (conventions of this project); of several the one
    with the largest assured lead is taken.

    Source: in the spirit of the one-standard-error rule, Breiman et al. (1984), CART, §3.4.3.
    """
    assured = {
        name: found.low(SURER_LEVELS.get(name, LEAD_CONFIDENCE))
        for name, found in known.leads.items()
    }
    best = max(assured, key=assured.__getitem__, default=BASE_RECIPE)
    return best if assured.get(best, 0.0) > 0.0 else BASE_RECIPE


def measure_gap(found: Trial, recipe: str) -> RowSum | None:
    """Return champion minus recipe on the window; each gate by a fit on the rows before it."""
    gains = [
        found.champion[segment.start : segment.stop] - losses[: segment.stop - segment.start]
        for segment, losses in zip(found.segments, found.losses_of(recipe), strict=True)
        if segment.gate and losses is not None
    ]
    return row_sums.sum_rows(np.concatenate(gains)) if gains else None


def read_gaps(found: Trial, recipe: str) -> list[GapReading]:
    """Return the champion's gap to the recipe's fits in each segment since its reference.

    Before the window a segment is graded by the fit on the rows before it, in the window each gate
    by its own; a segment without the recipe's fit takes the sliding block's, one that is too short
    for a standard error is left out.
    """
    taken = []
    for segment, own, base in zip(
        found.segments, found.losses_of(recipe), found.losses_of(BASE_RECIPE), strict=True
    ):
        losses = base if own is None else own
        if segment.gate or losses is None or segment.start < found.reference:
            continue
        rows = slice(segment.start, segment.stop)
        taken.append((segment.stop, row_sums.sum_rows(found.champion[rows] - losses)))
    newest = measure_gap(found, recipe) or measure_gap(found, BASE_RECIPE)
    if newest is not None:
        taken.append((found.rows, newest))
    return [
        GapReading((stop - found.reference) / found.window, read.mean, read.error**2, read.df)
        for stop, read in taken
        if np.isfinite(read.error)
    ]


def expect_gap(found: Trial, recipe: str, known: TrialExperience) -> tuple[RowSum, GapMotion]:
    """Return the champion's lasting gap to the recipe's fits, and the motion of all gaps seen.

    The gap measured in the window is the newest of its readings; see ``forecast``. Without any
    reading the gap is 0 with infinite error.
    """
    path = read_gaps(found, recipe)
    moved = known.motion + forecast.fit_motion(path)
    if not path:
        return RowSum(0.0, float("inf"), 1.0, 1), moved
    loss = float(np.nanmean(found.champion))
    return forecast.forecast_level(path, moved, loss), moved


def is_stale(lasting: RowSum, ageing: RowSum, luck: float, calm: bool) -> bool:
    """Return whether newer fits beat the champion, or beat fits a window older.

    Two t-tests at half of ``FALSE_STALE`` each, or of ``FALSE_STALE_CALM`` in a ``calm`` window
    without drift that matters or worse performance: of the champion's lasting gap, and of what
    all windows seen say of fits a window older. ``luck``: see :func:`measure_fit_noise`;
    it is added to the standard error, so that a window of any length errs as often.
    """
    chance = (FALSE_STALE_CALM if calm else FALSE_STALE) / 2
    return any(
        found.rows > 0
        and found.mean
        > float(stats.t.ppf(1 - chance, max(1, found.df))) * np.hypot(found.error, luck)
        for found in (lasting, ageing)
    )


def measure_fit_noise(found: Trial, model: Model) -> float:
    """Return the standard deviation of the Brier loss between two fits on as many rows.

    What theory says of a rule that holds; where the trial has ``quarters`` and that is more, what
    fits on interleaved quarters of the rows before the window differ by in it, each four times as
    far off as a whole fit.

    Source: excess loss of a fit of d parameters on n rows as chi-square with d degrees of freedom
    over 2n, Wilks (1938), Ann. Math. Stat. 9, scaled to Brier loss by twice the mean p(1 - p).
    """
    theory = _theory(model)
    if not found.quarters:
        return theory
    apart = float(np.std(found.quarters, ddof=1)) / len(found.quarters)
    return max(theory, float(np.sqrt(2.0)) * apart)


def _ageing(found: Trial, gates: bool) -> RowSum:
    rises: list[Floats] = []
    for segment, losses, pairs in zip(
        found.segments, found.losses_of(BASE_RECIPE), found.older, strict=True
    ):
        if losses is not None and pairs and (gates or not segment.gate):
            oldest = max(pairs, key=lambda pair: pair[0])[1]
            rises.append(oldest - losses[: len(oldest)])
    return row_sums.sum_rows(np.concatenate(rises)) if rises else RowSum()


def _theory(model: Model) -> float:
    p = model.holdout_scores
    levels = [model.reference[f.name].nunique() for f in model.features if f.kind == "categorical"]
    width = len(model.features) - len(levels) + sum(levels) + 1
    return 2.0 * float(np.mean(p * (1 - p))) * float(np.sqrt(width)) / len(model.reference)
