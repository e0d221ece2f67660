"""The champion's gap to newer fits, what trials teach of it, and how much of it lasts.

One window's gap is part truth, part luck of its rows, and part weather that is gone in the next.
How much of each there is in a stream is learnt from all gaps seen so far, those of earlier
champions included, so that the same reading weighs more where gaps last than where they pass.

Source: local level model with drift, Durbin and Koopman (2012), Time Series Analysis by State Space
Methods, §2.2 and §3.2; its variances from the moments of the increments, Harvey (1989), §2.4.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Sequence
from dataclasses import astuple, dataclass, field
from itertools import pairwise

import numpy as np
from scipy import stats

from driftbook.data.arrays import Floats
from driftbook.decision.alarms import Alarm, Watch, judge_readings
from driftbook.decision.recipes import BASE_RECIPE, SEASON
from driftbook.decision.trial import Trial
from driftbook.drift.readings import Reading
from driftbook.model import row_sums
from driftbook.model.row_sums import RowSum
from driftbook.model.training import Model

# One-sided chance of calling a champion stale that is not, where something else has changed too.
FALSE_STALE = 0.05
NEWER = "(newer models)"
SAME_FIT = 1e-6  # as a share of the changes that are looked for
# What was sure enough to pay still pays while it is likelier than this.
STILL_LIKELY = 0.5
# How sure it must be that another recipe beats the sliding block before it is taken instead.
LEAD_CONFIDENCE = 0.9
# Surer still where a fit leans on what is old, the champion itself or rows long past: such fits
# look best in the first window that they meet.
SURER_LEVELS = {"recalibrated": 0.99, "weighted": 0.99, SEASON: 0.99}
# Prior weights, in windows, of "gaps do not grow", "they move by a hundredth of the loss" and
# "nothing in them passes": conventions of this project that a few windows of evidence outweigh.
STILL_WINDOWS, MOVING_WINDOWS, LASTING_TURNS = 4.0, 4.0, 5.0
MOVING_SHARE = 0.01


@dataclass(frozen=True)
class GapReading:
    """A measured gap, champion's loss minus that of newer fits, when the champion was that old."""

    age: float  # windows since the end of its reference
    gap: float
    variance: float
    df: int = 1


@dataclass(frozen=True)
class GapMotion:
    """How gaps moved from one reading to the next: sums that add up over champions.

    ``rise``: of the increments; ``windows``: of the time between readings; ``square``: of the
    squared increments less the variance of their readings; ``reversal``: of minus each increment
    times the next, less the variance of the reading between them; and how many of each.
    """

    rise: float = 0.0
    windows: float = 0.0
    square: float = 0.0
    readings: int = 0
    reversal: float = 0.0
    turns: int = 0

    def __add__(self, other: GapMotion) -> GapMotion:
        """Return both motions as one; they must come from different rows."""
        return GapMotion(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    @property
    def slope(self) -> float:
        """Return by how much a gap grows for each window of the champion's age, at least 0."""
        return max(0.0, self.rise / (self.windows + STILL_WINDOWS))

    @property
    def passing(self) -> float:
        """Return the variance of the part of a gap that is gone in the next window."""
        return max(0.0, self.reversal) / (self.turns + LASTING_TURNS)

    def lasting(self, loss: float) -> float:
        """Return the variance of the lasting change of a gap in one window, above 0.

        ``loss``: the champion's mean loss, which sets the scale before there is any evidence.
        """
        prior = (MOVING_SHARE * loss) ** 2
        seen = self.square - 2.0 * self.passing * self.readings
        found = (seen + MOVING_WINDOWS * prior) / (self.windows + MOVING_WINDOWS)
        return max(found, prior / 16.0, 1e-12)


@dataclass(frozen=True)
class TrialEvidence:
    """What trials taught: it adds up over windows and is kept with each version made from it.

    ``leads``: how much lower each recipe's loss was than the sliding block's. ``ageing``: how much
    higher the loss of fits a window older was. ``motion``: how champions' gaps moved.
    """

    leads: dict[str, RowSum] = field(default_factory=dict)
    ageing: RowSum = field(default_factory=RowSum)
    motion: GapMotion = field(default_factory=GapMotion)

    def __add__(self, other: TrialEvidence) -> TrialEvidence:
        """Return both as one; they must come from different rows."""
        names, none = self.leads | other.leads, RowSum()
        return TrialEvidence(
            {name: self.leads.get(name, none) + other.leads.get(name, none) for name in names},
            self.ageing + other.ageing,
            self.motion + other.motion,
        )

    def to_text(self) -> str:
        """Return it as one line of JSON that :func:`parse_evidence` reads back."""
        leads = {name: astuple(lead) for name, lead in self.leads.items()}
        found = {"leads": leads, "ageing": astuple(self.ageing), "motion": astuple(self.motion)}
        return json.dumps(found, sort_keys=True)


def parse_evidence(text: str | None) -> TrialEvidence:
    """Return what a version's origin keeps of trials; nothing for a first version."""
    if text is None:
        return TrialEvidence()
    found = json.loads(text)
    return TrialEvidence(
        {name: RowSum(*numbers) for name, numbers in found["leads"].items()},
        RowSum(*found["ageing"]),
        GapMotion(*found.get("motion", ())),
    )


def learn_from_trial(found: Trial, gates: bool = True) -> TrialEvidence:
    """Return what the trial teaches; without ``gates`` only what was known before its window."""
    names = [name for name in found.losses if name != BASE_RECIPE]
    leads = {name: measure_lead(found, name, gates) for name in names}
    leads = {name: lead for name, lead in leads.items() if lead.rows}
    return TrialEvidence(leads, _measure_ageing(found, gates))


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


def _measure_ageing(found: Trial, gates: bool) -> RowSum:
    rises = [
        older - losses[: len(older)]
        for segment, losses, older in zip(
            found.segments, found.losses_of(BASE_RECIPE), found.older, strict=True
        )
        if losses is not None and older is not None and (gates or not segment.gate)
    ]
    return row_sums.sum_rows(np.concatenate(rises)) if rises else RowSum()


def choose_recipe(known: TrialEvidence, among: Collection[str] = ()) -> str:
    """Return the recipe that the evidence speaks for.

    The sliding block stays unless another recipe's lead is positive with a confidence of 90%, or
    99% where the recipe leans on old evidence (conventions of this project); of several the one
    with the largest assured lead is taken. ``among``: the only recipes to choose from, where some
    cannot be had: no new calibration makes a model do without a column.

    Source: in the spirit of the one-standard-error rule, Breiman et al. (1984), CART, §3.4.3.
    """
    assured = {BASE_RECIPE: 0.0} | {
        name: lead.low(SURER_LEVELS.get(name, LEAD_CONFIDENCE))
        for name, lead in known.leads.items()
        if not among or name in among
    }
    return max(assured, key=assured.__getitem__)


def measure_gap(found: Trial, recipe: str) -> RowSum | None:
    """Return champion minus recipe on the window; each gate by a fit on the rows before it."""
    gaps = [
        found.champion[segment.start : segment.stop] - losses[: segment.stop - segment.start]
        for segment, losses in zip(found.segments, found.losses_of(recipe), strict=True)
        if segment.gate and losses is not None
    ]
    return row_sums.sum_rows(np.concatenate(gaps)) if gaps else None


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


def trace_gaps(found: Trial, recipe: str) -> Floats:
    """Return row by row the champion's loss less that of fits on earlier rows, NaN without any.

    Shape (rows,). Where the recipe has no fit, the sliding block's counts.
    """
    gaps = np.full(found.rows, np.nan)
    for segment, own, base in zip(
        found.segments, found.losses_of(recipe), found.losses_of(BASE_RECIPE), strict=True
    ):
        losses = base if own is None else own
        if losses is not None:
            rows = slice(segment.start, segment.stop)
            gaps[rows] = found.champion[rows] - losses[: segment.stop - segment.start]
    return gaps


def fit_motion(readings: Sequence[GapReading]) -> GapMotion:
    """Return the motion of one champion's gap, which was 0 when it was trained."""
    path = [GapReading(0.0, 0.0, 0.0), *readings]
    steps = [(b.gap - a.gap, b.age - a.age, a.variance + b.variance) for a, b in pairwise(path)]
    pairs = zip(pairwise(steps), readings, strict=False)
    turns = [-a[0] * b[0] - between.variance for (a, b), between in pairs]
    return GapMotion(
        rise=sum(rise for rise, _, _ in steps),
        windows=sum(time for _, time, _ in steps),
        square=sum(rise**2 - noise for rise, _, noise in steps),
        readings=len(steps),
        reversal=sum(turns),
        turns=len(turns),
    )


def forecast_level(readings: Sequence[GapReading], known: GapMotion, loss: float) -> RowSum:
    """Return the lasting gap after the last reading as the sum of one row: mean and error.

    ``readings``: in the order of their ages; ``known``: the motion of all gaps seen, these
    included; ``loss``: the champion's mean loss. Degrees of freedom are those of the last reading.
    Without any reading the gap is 0 with infinite error.

    >>> one = [GapReading(1.0, 0.02, 1e-9)]
    >>> round(forecast_level(one, fit_motion(one), 0.2).mean, 3)
    0.02
    """
    if not readings:
        return RowSum(0.0, float("inf"), 1.0, 1)
    gap, variance, age = 0.0, 0.0, 0.0
    lasting, passing = known.lasting(loss), known.passing
    for reading in readings:
        time = max(0.0, reading.age - age)
        gap, variance, age = gap + known.slope * time, variance + lasting * time, reading.age
        noise = reading.variance + passing
        weight = variance / (variance + noise) if np.isfinite(noise) else 0.0
        gap, variance = gap + weight * (reading.gap - gap), variance * (1.0 - weight)
    return RowSum(gap, variance, 1.0, readings[-1].df)


@dataclass(frozen=True)
class GapCourse:
    """How the lasting gap was seen after each window: ``levels``, the newest last.

    ``proven``: the mean gap since newer models became better, where all windows together prove
    that they are; else minus infinity.
    """

    levels: tuple[RowSum, ...]
    proven: float

    def pays(self, price: float, confidence: float) -> bool:
        """Return whether the gap is worth more than ``price``, as surely as asked.

        Once it has been so, it stays until that is no longer likelier than not; where a gap larger
        than the price is proven, until it is no longer proven. So a decision does not turn with
        every window's luck.
        """
        return self._pays(price, [level.low(confidence) for level in self.levels])

    def _pays(self, price: float, lows: Sequence[float]) -> bool:
        paying = False
        for level, low in zip(self.levels, lows, strict=True):
            paying = low > price or (paying and self._stays_likely(level, price))
        return paying

    def _stays_likely(self, level: RowSum, price: float) -> bool:
        return self.proven > price or level.exceeds(price) > STILL_LIKELY

    def is_behind(self, fit_noise: float, together: int = 1) -> bool:
        """Return whether newer fits surely beat the champion by what lasts of its gap: at 2.5%.

        A t-test, for a world in which something else is proven to have changed. Where several
        windows in a row must pass it ``together``, it then stays so while the gap lasts.
        """
        behind, streak = False, 0
        for level in self.levels:
            least = stats.t.ppf(1 - FALSE_STALE / 2, max(1, level.df))
            sure = level.rows > 0 and level.mean > least * math.hypot(level.error, fit_noise)
            streak = streak + 1 if sure else 0
            kept = together > 1 and behind and level.mean > 0.0
            behind = streak >= together or kept
        return behind

    def find_worth(self, confidence: float) -> float:
        """Return the price up to which the gap pays, 0 where it does at none."""
        lows = [level.low(confidence) for level in self.levels]
        low, high = 0.0, max(0.0, self.proven, *lows)
        if not self._pays(low, lows):
            return 0.0
        for _ in range(60):
            middle = (low + high) / 2.0
            low, high = (middle, high) if self._pays(middle, lows) else (low, middle)
        return low


def follow_gap(
    readings: Sequence[GapReading], known: GapMotion, loss: float, proven: float
) -> GapCourse:
    """Return the lasting gap after each of the readings; arguments of :func:`forecast_level`."""
    levels = (forecast_level(readings[: k + 1], known, loss) for k in range(len(readings)))
    return GapCourse(tuple(levels), proven)


def expect_gap(found: Trial, recipe: str, known: TrialEvidence) -> tuple[RowSum, GapMotion]:
    """Return the champion's lasting gap to the recipe's fits, and the motion of all gaps seen."""
    readings = read_gaps(found, recipe)
    motion = known.motion + fit_motion(readings)
    return forecast_level(readings, motion, float(np.nanmean(found.champion))), motion


def judge_staleness(
    readings: Sequence[GapReading],
    motion: GapMotion,
    fit_noise: float,
    watch: Watch,
    shortfall: float = 1.0,
) -> Alarm:
    """Return what all readings of the champion's gap prove: do newer fits beat it?

    Champion and newer fits each have their luck, ``fit_noise`` (see :func:`measure_fit_noise`),
    which windows share, less the more of their rows are the same; what passes from one window to
    the next is noise of each. ``shortfall``: how much variances are understated, because rows are
    alike for longer than a part of a window.
    """
    each = [
        Reading(one.gap, one.variance * shortfall + motion.passing, fit_noise**2, float(one.df))
        for one in readings
        # A fit on the champion's own rows is the champion, but for rounding.
        if one.variance > (SAME_FIT * watch.scale) ** 2
    ]
    return judge_readings(NEWER, "many windows", each, watch)


def measure_fit_noise(found: Trial, model: Model) -> float:
    """Return the standard deviation of the loss between two fits on as many rows.

    What theory says of a rule that holds and, where the trial has ``quarters``, what fits on
    interleaved quarters of the rows before the window differ by in it, each four times as far off
    as a whole fit: heavy tails make fits differ by more than theory knows.

    Source: excess loss of a fit of d parameters on n rows as chi-square with d degrees of freedom
    over 2n, Wilks (1938), Ann. Math. Stat. 9, in units of loss by twice the mean loss of an
    outcome as uncertain as predicted: p(1 - p), summed over classes, or the squared error.
    """
    levels = [model.reference[f.name].nunique() for f in model.features if f.kind == "categorical"]
    width = len(model.features) - len(levels) + sum(levels) + 1
    theory = 2.0 * _expected_loss(model) * math.sqrt(width) / len(model.reference)
    if not found.quarters:
        return theory
    apart = float(np.std(found.quarters, ddof=1)) / len(found.quarters)
    return math.hypot(theory, math.sqrt(2.0) * apart)


def _expected_loss(model: Model) -> float:
    p = model.holdout_scores
    if model.task.classes and model.task.proper is model.task:
        return float((p * (1 - p)).reshape(len(p), -1).sum(axis=1).mean())
    return float(model.task.row_losses(model.holdout_outcomes, p).mean())
