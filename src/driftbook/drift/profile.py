"""Column profiles: small tables of counts that add up, from which every statistic is computed."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd

from driftbook.data.arrays import Floats, Ints
from driftbook.data.cells import Kind, to_numbers
from driftbook.drift.levels import count_levels
from driftbook.drift.number_counts import count_numbers
from driftbook.errors import DriftbookError

# Up to this many distinct reference values every rank statistic is exact; above it a cell between
# two of the quantile edges holds at most 0.03% of the reference.
MAX_EDGES = 4096
# Levels kept by name; rarer ones share the bucket "other", as do levels the reference never had.
MAX_LEVELS = 1000
# Share trimmed at each end when a location or a spread is read from a profile.
TRIM = 0.01
# Guard edges past the reference's range, so that values out of range keep their magnitude: steps
# grow by 2^(1/8), from a twentieth of the reference's width to a million times that width; and by
# the same steps from the smallest size of a one-sided column down to a millionth of it.
_GUARDS = 0.05 * 2.0 ** (np.arange(195) / 8.0)
_TOWARDS_ZERO = 2.0 ** (-np.arange(1, 161) / 8.0)
# Where a column has few distinct values, edges at these distances (in sds) from each of them keep
# the size of a small move off the reference's values; without them it would read as half a gap.
MOST_TIED = 256
_OFF_VALUES = np.concatenate([np.arange(1, 13) / 100.0, 0.12 * 1.25 ** np.arange(1, 21)])
# Numbers that stand for "no value" in many files; each is an edge, so that its count is exact.
SENTINELS = np.array(
    [-99999.0, -9999.0, -999.0, -99.0, -1.0, 0.0, 99.0, 999.0, 9999.0, 99999.0, 999999.0]
)
# Temperature scales (slope, offset) and the range of a plausible air temperature on each; where a
# reference lies in the range, its quantiles on the other scale are edges too.
TEMPERATURES = {
    "°F became °C": (5.0 / 9.0, -160.0 / 9.0),
    "°C became °F": (9.0 / 5.0, 32.0),
    "°C became K": (1.0, 273.15),
    "K became °C": (1.0, -273.15),
}
_PLAUSIBLE = {"°F": (-130.0, 140.0), "°C": (-90.0, 60.0), "K": (180.0, 340.0)}


@dataclass(frozen=True, eq=False)
class ColumnBins:
    """How the reference cuts one column into cells.

    Numbers: with K ``edges`` there are 2K+1 cells: cell 2i+1 holds values equal to edge i, cell 2i
    the open interval below it; the first and the last cell are open-ended. The edges are reference
    values, guards past them, and between few of them. Categories and booleans: a cell for each of
    ``levels``, the last one for every other level.
    """

    kind: Kind
    edges: Floats = field(default_factory=lambda: np.empty(0))
    levels: tuple[str, ...] = ()

    @property
    def cells(self) -> int:
        """Return the number of cells."""
        return 2 * len(self.edges) + 1 if self.kind == "numeric" else len(self.levels) + 1

    @cached_property
    def values(self) -> Floats:
        """Return a value for each numeric cell: the edge, or the middle between two edges."""
        if not len(self.edges):
            return np.zeros(1)
        values = np.empty(self.cells)
        values[1::2] = self.edges
        values[2:-1:2] = self.edges[1:] / 2.0 + self.edges[:-1] / 2.0
        values[0], values[-1] = self.edges[0], self.edges[-1]
        return values

    @cached_property
    def level_index(self) -> pd.Index[str]:
        """Return the levels as an index for look-ups."""
        return pd.Index(self.levels, dtype=object)

    def same_as(self, other: ColumnBins) -> bool:
        """Return whether both cut a column into the same cells."""
        return self is other or (
            self.kind == other.kind
            and self.levels == other.levels
            and np.array_equal(self.edges, other.edges)
        )


@dataclass(frozen=True)
class NumberSummary:
    """Location and spread of a number column: trimmed mean, winsorised sd and kurtosis."""

    mean: float
    sd: float
    kurtosis: float


@dataclass(frozen=True, eq=False)
class ColumnProfile:
    """Counts of one column on given bins; ``a + b`` is the profile of both sets of rows.

    ``counts``: int64, one a cell, of the present values; ``missing``: rows without a value;
    ``invalid``: those of the missing that held text where a number is expected; ``infinite``:
    those of the counted that are infinite; ``low``, ``high``: smallest and largest finite number.
    Whole numbers and extremes combine exactly, in any order.
    """

    bins: ColumnBins
    counts: Ints
    missing: int = 0
    invalid: int = 0
    infinite: int = 0
    low: float = math.inf
    high: float = -math.inf

    @cached_property
    def n(self) -> int:
        """Return the number of present values."""
        return int(self.counts.sum())

    @property
    def rows(self) -> int:
        """Return the number of rows, missing ones included."""
        return self.n + self.missing

    @property
    def missing_share(self) -> float:
        """Return the share of rows without a value; 0 when there are no rows."""
        return self.missing / self.rows if self.rows else 0.0

    @cached_property
    def cumulative(self) -> Ints:
        """Return the number of present values in each cell and all cells before it."""
        return np.cumsum(self.counts)

    @cached_property
    def summary(self) -> NumberSummary:
        """Return the trimmed location and winsorised spread of a number column with n > 0.

        1% is trimmed at each end; the sd is that of the winsorised values over the share kept,
        within 1% of the plain sd for normal values. Where trimming leaves a single value the
        untrimmed moments are returned. Source: Yuen (1974), The two-sample trimmed t for unequal
        population variances, Biometrika 61.
        """
        found = _summary(self, TRIM)
        return found if found.sd > 0.0 else _summary(self, 0.0)

    @cached_property
    def tails(self) -> float:
        """Return the plain sd over the winsorised one of a number column, from 1 to 2.

        A harmless move is stated in plain sds; the limit keeps a single huge value from excusing
        every move. It is a convention of this project.
        """
        sd = self.summary.sd
        return min(2.0, max(1.0, _summary(self, 0.0).sd / sd)) if sd > 0.0 else 1.0

    def quantiles(self, shares: Floats) -> Floats:
        """Return quantiles of a number column with n > 0; straight lines between two edges."""
        rank = shares * self.n
        cell = np.minimum(np.searchsorted(self.cumulative, rank - 1e-9), len(self.counts) - 1)
        edges = self.bins.edges
        below = edges[np.clip((cell - 1) // 2, 0, len(edges) - 1)]
        above = edges[np.clip(cell // 2, 0, len(edges) - 1)]
        before = self.cumulative[cell] - self.counts[cell]
        inside = np.clip((rank - before) / np.maximum(self.counts[cell], 1), 0.0, 1.0)
        return np.asarray(below + inside * (above - below))

    def __add__(self, other: ColumnProfile) -> ColumnProfile:
        if not self.bins.same_as(other.bins):
            raise DriftbookError(
                "profiles on different bins do not add up; profile every chunk on the bins of the "
                "reference"
            )
        return ColumnProfile(
            self.bins,
            self.counts + other.counts,
            self.missing + other.missing,
            self.invalid + other.invalid,
            self.infinite + other.infinite,
            min(self.low, other.low),
            max(self.high, other.high),
        )


def find_bins(reference: pd.Series, kind: Kind) -> ColumnBins:
    """Return the cells that the reference values of one column define.

    Numbers: every distinct finite value is an edge, or 4096 quantiles (values that occur) when
    there are more; guards follow on both sides. Categories: the levels by falling count, then
    name. Missing values are no cell.

    >>> np.isin([1.0, 3.0], find_bins(pd.Series([3.0, 1.0, 1.0, None]), "numeric").edges)
    array([ True,  True])
    >>> find_bins(pd.Series(["b", "a", "b"]), "categorical").levels
    ('b', 'a')
    """
    if kind == "numeric":
        values = to_numbers(reference)
        # Guards beyond the largest number overflow; only finite edges are kept.
        with np.errstate(over="ignore", invalid="ignore"):
            return ColumnBins(kind, edges=_edges(np.sort(values[np.isfinite(values)])))
    if kind == "boolean":
        return ColumnBins(kind, levels=("False", "True"))
    counts = count_levels(reference, kind).sort_index()
    ordered = counts.sort_values(ascending=False, kind="stable")
    return ColumnBins(kind, levels=tuple(ordered.index[:MAX_LEVELS]))


def profile_values(values: pd.Series, bins: ColumnBins) -> ColumnProfile:
    """Return the counts of ``values`` on the reference's cells.

    NaN and None are missing; text in a numeric column is missing and invalid; an infinite value
    counts in the open-ended cell on its side.

    >>> bins = find_bins(pd.Series(["a", "b"]), "categorical")
    >>> profile_values(pd.Series(["b", "b", "new", None]), bins).counts
    array([0, 2, 1])
    """
    if bins.kind == "numeric":
        return _profile_numbers(values, bins)
    counted = count_levels(values, bins.kind)
    counts = np.zeros(bins.cells, dtype=np.int64)
    # A level that the reference does not have is looked up as -1, which is the last cell.
    np.add.at(counts, bins.level_index.get_indexer(counted.index), counted.to_numpy())
    return ColumnProfile(bins, counts, missing=len(values) - int(counted.sum()))


def profile_reference(values: pd.Series, kind: Kind) -> ColumnProfile:
    """Return the counts of the reference's ``values`` on their own cells."""
    return profile_values(values, find_bins(values, kind))


def _edges(ordered: Floats) -> Floats:
    """Return the distinct values or quantiles of sorted finite values, with guards around them."""
    if not len(ordered):
        return np.empty(0)
    distinct = np.unique(ordered)
    if len(distinct) > MAX_EDGES:
        ranks = np.ceil(np.linspace(0.0, 1.0, MAX_EDGES) * len(ordered)).astype(np.int64) - 1
        distinct = np.unique(ordered[np.maximum(ranks, 0)])
    low, high = ordered[[len(ordered) // 100, (99 * len(ordered)) // 100]]
    width = (high - low) or (ordered[-1] - ordered[0]) or max(abs(ordered[0]), 1.0)
    guards = width * _GUARDS
    parts = [distinct[0] - guards, distinct, distinct[-1] + guards, SENTINELS]
    if len(distinct) <= MOST_TIED:
        sd = np.clip(ordered, low, high).std() or ordered.std()
        parts.append(_off_values(distinct, sd, float(guards[0])))
    if distinct[0] > 0.0 or distinct[-1] < 0.0:
        parts.append(min(distinct[0], -distinct[-1], key=abs) * _TOWARDS_ZERO)
    grid = ordered[np.linspace(0, len(ordered) - 1, 41).astype(np.int64)]
    for words, (slope, offset) in TEMPERATURES.items():
        coldest, hottest = _PLAUSIBLE[words.split()[0]]
        if coldest <= low and high <= hottest:
            parts.append(grid * slope + offset)
    edges = np.concatenate(parts)
    return np.unique(edges[np.isfinite(edges)])


def _off_values(distinct: Floats, sd: float, outside: float) -> Floats:
    """Return edges near each value, up to half a gap from it, or up to the first guard outside."""
    steps, halves = sd * _OFF_VALUES, np.diff(distinct) / 2.0
    above, below = np.append(halves, outside), np.insert(halves, 0, outside)
    up, down = distinct[:, None] + steps, distinct[:, None] - steps
    return np.concatenate([up[steps < above[:, None]], down[steps < below[:, None]]])


def _profile_numbers(values: pd.Series, bins: ColumnBins) -> ColumnProfile:
    plain = isinstance(values.dtype, np.dtype) and values.dtype == np.float64
    numbers = values.to_numpy() if plain else to_numbers(values)
    found = count_numbers(numbers, bins.edges)
    missing = len(numbers) - int(found.counts.sum())
    invalid = missing - int(values.isna().sum()) if missing else 0
    return ColumnProfile(
        bins, found.counts, missing, invalid, found.infinite, found.low, found.high
    )


def _summary(profile: ColumnProfile, trim: float) -> NumberSummary:
    kept = np.flatnonzero(profile.counts)
    values, weights = profile.bins.values[kept], profile.counts[kept] / profile.n
    cumulative = profile.cumulative[kept] / profile.n
    low, high = np.searchsorted(cumulative, [trim + 1e-12, 1.0 - trim - 1e-12])
    inside = np.diff(np.clip(cumulative, trim, 1.0 - trim), prepend=trim) / (1.0 - 2.0 * trim)
    mean = float(inside @ values)
    winsorised = np.clip(values, values[low], values[min(int(high), len(values) - 1)])
    centred = winsorised - float(weights @ winsorised)
    variance = float(weights @ centred**2)
    if variance <= 0.0 or winsorised[0] == winsorised[-1]:
        return NumberSummary(mean, 0.0, 3.0)
    kurtosis = float(weights @ centred**4) / variance**2
    return NumberSummary(mean, math.sqrt(variance) / (1.0 - 2.0 * trim), kurtosis)
