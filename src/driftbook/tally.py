"""Sums of evidence that add up: over segments, over windows, and from one champion to the next."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

Floats = npt.NDArray[np.float64]

BLOCKS = 16


@dataclass(frozen=True)
class Tally:
    """A sum over ``rows`` rows, the variance of that sum, and its degrees of freedom."""

    total: float = 0.0
    variance: float = 0.0
    rows: float = 0.0
    df: int = 0

    def __add__(self, other: Tally) -> Tally:
        """Return both tallies as one; their rows must differ."""
        return Tally(
            self.total + other.total,
            self.variance + other.variance,
            self.rows + other.rows,
            self.df + other.df,
        )

    @property
    def mean(self) -> float:
        """Return the mean a row, NaN without rows."""
        return self.total / self.rows if self.rows else float("nan")

    @property
    def error(self) -> float:
        """Return the standard error of the mean, infinite without rows."""
        return float(np.sqrt(self.variance)) / self.rows if self.rows else float("inf")

    def low(self, confidence: float) -> float:
        """Return the bound that the true mean exceeds with one-sided ``confidence``."""
        return self.mean - float(stats.t.ppf(confidence, max(1, self.df))) * self.error

    def high(self, confidence: float) -> float:
        """Return the bound that the true mean stays below with one-sided ``confidence``."""
        return self.mean + float(stats.t.ppf(confidence, max(1, self.df))) * self.error


def of_rows(values: Floats, counts: Floats | None = None) -> Tally:
    """Return the tally of rows in time order; ``counts``: how many terms each value sums up.

    The variance comes from the means of 16 contiguous blocks (fewer where a block would hold under
    four rows), so that it stays valid where neighbouring rows depend on each other. It is infinite
    with fewer than 8 rows.

    Source: Ibragimov and Müller (2010), JBES 28(4): t-statistic based inference on q groups.
    """
    counts = np.ones(len(values)) if counts is None else counts
    rows, total = float(counts.sum()), float(values.sum())
    blocks = min(BLOCKS, len(values) // 4)
    if blocks < 2 or rows == 0:
        return Tally(total, float("inf"), rows, 1)
    edges = np.linspace(0, len(values), blocks + 1).astype(np.int64)[:-1]
    sums = np.add.reduceat(values - total / rows * counts, edges)
    return Tally(total, float(np.square(sums).sum() * blocks / (blocks - 1)), rows, blocks - 1)


@dataclass(frozen=True)
class Lessons:
    """What earlier trials taught, kept with each version that came out of them.

    ``leads``: how much lower each recipe's loss was than the sliding block's. ``ageing``: how much
    higher the loss of fits a window older was. ``slope``: numerator and denominator of the rise
    of a model's loss a window.
    """

    leads: dict[str, Tally]
    ageing: Tally = Tally()
    slope: tuple[float, float] = (0.0, 0.0)

    def __add__(self, other: Lessons) -> Lessons:
        """Return both lessons as one; they must come from different rows."""
        names = [*self.leads, *(name for name in other.leads if name not in self.leads)]
        return Lessons(
            {n: self.leads.get(n, Tally()) + other.leads.get(n, Tally()) for n in names},
            self.ageing + other.ageing,
            (self.slope[0] + other.slope[0], self.slope[1] + other.slope[1]),
        )

    def to_text(self) -> str:
        """Return the lessons as one line of JSON that :func:`from_text` reads back."""
        leads = {name: list(vars(tally).values()) for name, tally in self.leads.items()}
        found = {"leads": leads, "ageing": list(vars(self.ageing).values()), "slope": self.slope}
        return json.dumps(found, sort_keys=True)


def from_text(text: str | None) -> Lessons:
    """Return the lessons of a version; none for a first version."""
    if text is None:
        return Lessons({})
    found = json.loads(text)
    return Lessons(
        {name: Tally(*numbers) for name, numbers in found["leads"].items()},
        Tally(*found["ageing"]),
        (found["slope"][0], found["slope"][1]),
    )
