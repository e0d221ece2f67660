"""Changes of unit: the same distribution on another scale, which no ordinary drift produces."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from driftbook.data.arrays import Floats
from driftbook.drift.profile import TEMPERATURES, ColumnProfile

MIN_UNIT_ROWS = 30
# The spread must change at least this much before a bare factor is taken for a change of unit.
MIN_FACTOR = 8.0
# Largest gap between expected and found quantiles, as a share of their spread.
TOLERANCE, TIGHT = 0.25, 0.15
_GRID = np.linspace(0.05, 0.95, 19)
_LOW, _MIDDLE, _HIGH = 1, 9, 17
_ZERO_SHARE = 0.2
# Powers of ten, hours in a day, seconds in a minute and their like, millimetres in an inch.
_ROUND_FACTORS = (*(10.0**k for k in range(1, 10)), 12.0, 24.0, 25.4, 60.0, 3600.0, 86400.0)
# Exact by definition of the units (SI brochure; international yard and pound agreement of 1959).
_CONVERSIONS = {
    "inches and centimetres": 2.54,
    "feet and metres": 1.0 / 0.3048,
    "miles and kilometres": 1.609344,
    "kilograms and pounds": 1.0 / 0.45359237,
}


@dataclass(frozen=True)
class UnitChange:
    """In words what happened; ``certain`` when nothing but a change of unit explains it."""

    words: str
    certain: bool


def find_unit_change(reference: ColumnProfile, current: ColumnProfile) -> UnitChange | None:
    """Return the change of unit that maps the reference's quantiles onto the current ones, if any.

    Certain: all quantiles from 5% to 95% are one factor apart, 8 or more (or 1/8 or less), or a
    conversion between temperature scales. A smaller factor that is a known conversion is only
    likely. Zeros, which no factor moves, are left out where they are common. The cut-offs are
    conventions of this project: a drift of 3 sd, or a season, reaches none of them.
    """
    before, after = (_quantiles(side, reference) for side in (reference, current))
    if before is None or after is None:
        return None
    if after[_HIGH] <= after[_LOW] or before[_HIGH] <= before[_LOW]:
        return None
    factor = float(before @ after / (before @ before))  # least squares through the origin
    large = factor > 0.0 and max(factor, 1.0 / factor) >= MIN_FACTOR
    if large and _gap(before * factor, after) < TOLERANCE:
        return UnitChange(f"values are about {_times(factor)} the reference's", certain=True)
    for words, (slope, offset) in TEMPERATURES.items():
        moved = before * slope + offset
        apart = abs(moved[_MIDDLE] - before[_MIDDLE]) > before[_HIGH] - before[_LOW]
        if apart and _gap(moved, after) < TOLERANCE:
            return UnitChange(f"as if {words}", certain=True)
    return _conversion(before, after)


def _conversion(before: Floats, after: Floats) -> UnitChange | None:
    apart = abs(after[_MIDDLE] - before[_MIDDLE]) > (before[_HIGH] - before[_LOW]) / 2.0
    for words, size in _CONVERSIONS.items():
        for factor in (size, 1.0 / size):
            if apart and _gap(before * factor, after) < TIGHT:
                return UnitChange(f"values are about {factor:.3g} times ({words}?)", certain=False)
    return None


def _gap(expected: Floats, found: Floats) -> float:
    spread = max(found[_HIGH] - found[_LOW], expected[_HIGH] - expected[_LOW])
    return float(np.abs(expected - found)[_LOW : _HIGH + 1].max() / spread)


def _quantiles(side: ColumnProfile, reference: ColumnProfile) -> Floats | None:
    """Return quantiles on the grid, without zeros where the reference has many; None if too few."""
    counts = side.counts
    zero = 2 * int(np.searchsorted(side.bins.edges, 0.0)) + 1
    if reference.n and reference.counts[zero] >= _ZERO_SHARE * reference.n:
        counts = counts.copy()
        counts[zero] = 0
    part = ColumnProfile(side.bins, counts)
    return part.quantiles(_GRID) if part.n >= MIN_UNIT_ROWS else None


def _times(factor: float) -> str:
    """Return the factor in words, as a round one where one lies within a quarter.

    >>> _times(1090.0), _times(0.0011), _times(37.0)
    ('1,000 times', '1/1,000 of', '37 times')
    """
    size = max(factor, 1.0 / factor)
    nearest = min(_ROUND_FACTORS, key=lambda known: abs(math.log(known / size)))
    if abs(math.log(nearest / size)) < math.log(1.25):
        size = nearest
    shown = f"{size:,.0f}" if size >= 100.0 else f"{size:.3g}"
    return f"{shown} times" if factor > 1.0 else f"1/{shown} of"
