"""A number from two samples that knows how every row moved it, so that errors add up rightly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

from driftbook.data.arrays import Flags, Floats
from driftbook.model import row_sums


@dataclass(frozen=True)
class InfluencedNumber:
    """A number with its influences, one value a row: reference (m,) and current rows (n,).

    To first order the number is its true value plus the means of both influences. Sums, products
    and functions of numbers measured on the same rows keep track of what they share.

    Source: the influence function, Hampel (1974), JASA 69; the delta method.
    """

    value: float
    reference: Floats
    current: Floats

    def __add__(self, other: InfluencedNumber) -> InfluencedNumber:
        """Return the sum."""
        before, now = self.reference + other.reference, self.current + other.current
        return InfluencedNumber(self.value + other.value, before, now)

    def __sub__(self, other: InfluencedNumber) -> InfluencedNumber:
        """Return the difference."""
        return self + other.through(-other.value, -1.0)

    def __mul__(self, other: InfluencedNumber) -> InfluencedNumber:
        """Return the product."""
        both = self.through(0.0, other.value) + other.through(0.0, self.value)
        return both.through(self.value * other.value, 1.0)

    def __truediv__(self, other: InfluencedNumber) -> InfluencedNumber:
        """Return the quotient."""
        return self * other.through(1.0 / other.value, -1.0 / other.value**2)

    def through(self, value: float, slope: float) -> InfluencedNumber:
        """Return a function of the number: ``value`` and derivative ``slope`` at this point."""
        return InfluencedNumber(value, slope * self.reference, slope * self.current)

    def lowered(self, amount: float) -> InfluencedNumber:
        """Return the number less a constant."""
        return self.through(self.value - amount, 1.0)

    def log_odds(self) -> InfluencedNumber:
        """Return the log odds of a probability."""
        chance = self.value
        return self.through(float(special.logit(chance)), 1.0 / (chance * (1.0 - chance)))

    def probability(self) -> InfluencedNumber:
        """Return the probability of log odds."""
        chance = float(special.expit(self.value))
        return self.through(chance, chance * (1.0 - chance))

    def half_width(self, confidence: float = 0.95) -> float:
        """Return half the width of its interval; rows may depend on their neighbours in time.

        Source: means of contiguous blocks, Ibragimov and Müller (2010), and Welch (1947), as in
        :func:`driftbook.model.row_sums.block_standard_error` and ``difference``.
        """
        now, before = map(row_sums.block_standard_error, (self.current, self.reference))
        return row_sums.difference_half_width(now, before, confidence)


def average_reference(values: Floats, n: int) -> InfluencedNumber:
    """Return the mean of the reference's ``values`` (m,), beside ``n`` current rows.

    >>> average_reference(np.array([1.0, 3.0]), n=1)
    InfluencedNumber(value=2.0, reference=array([-1.,  1.]), current=array([0.]))
    """
    middle = float(values.mean())
    return InfluencedNumber(middle, values - middle, np.zeros(n))


def average_current(values: Floats, m: int) -> InfluencedNumber:
    """Return the mean of the current rows' ``values`` (n,), beside ``m`` rows of reference."""
    middle = float(values.mean())
    return InfluencedNumber(middle, np.zeros(m), values - middle)


def average_within(values: Floats, chosen: Flags, n: int) -> InfluencedNumber:
    """Return the mean of the reference's ``values`` over its ``chosen`` rows, both (m,)."""
    middle = float(values[chosen].mean())
    return InfluencedNumber(
        middle, np.where(chosen, values - middle, 0.0) / chosen.mean(), np.zeros(n)
    )
