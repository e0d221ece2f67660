"""What the champion's gap to newer fits will be: a level that moves, read once a window with noise.

One window's gap is part truth, part luck of its rows, and part weather that is gone in the next.
How much of each there is in a stream is learnt from all gaps seen so far, those of earlier
champions included, so that the same reading weighs more where gaps last than where they pass.

Source: local level model with drift, Durbin and Koopman (2012), Time Series Analysis by State Space
Methods, §2.2 and §3.2; its variances from the moments of the increments, Harvey (1989), §2.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from itertools import pairwise

import numpy as np

from driftbook.model.row_sums import RowSum

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


def fit_motion(readings: Sequence[GapReading]) -> GapMotion:
    """Return the motion of one champion's gap, which was 0 when it was trained."""
    path = [GapReading(0.0, 0.0, 0.0), *readings]
    steps = [(b.gap - a.gap, b.age - a.age, a.variance + b.variance) for a, b in pairwise(path)]
    between = zip(pairwise(steps), readings, strict=False)
    turns = [-a[0] * b[0] - reading.variance for (a, b), reading in between]
    return GapMotion(
        rise=sum(rise for rise, _, _ in steps),
        windows=sum(time for _, time, _ in steps),
        square=sum(rise**2 - noise for rise, _, noise in steps),
        readings=len(steps),
        reversal=sum(turns),
        turns=len(turns),
    )


def forecast_level(readings: Sequence[GapReading], known: GapMotion, loss: float) -> RowSum:
    """Return the lasting gap after the last reading as the tally of one row: mean and error.

    ``readings``: in the order of their ages, at least one; ``known``: the motion of all gaps seen,
    these included. Degrees of freedom are those of the last reading.

    Raises:
        ValueError: there is no reading.

    >>> one = [GapReading(1.0, 0.02, 1e-9)]
    >>> round(forecast_level(one, fit_motion(one), 0.2).mean, 3)
    0.02
    """
    if not readings:
        raise ValueError("a gap that was never read has no level")
    gap, variance, age = 0.0, 0.0, 0.0
    lasting, passing = known.lasting(loss), known.passing
    for reading in readings:
        time = max(0.0, reading.age - age)
        gap, variance, age = gap + known.slope * time, variance + lasting * time, reading.age
        noise = reading.variance + passing
        weight = variance / (variance + noise) if np.isfinite(noise) else 0.0
        gap, variance = gap + weight * (reading.gap - gap), variance * (1.0 - weight)
    return RowSum(gap, variance, 1.0, readings[-1].df)
