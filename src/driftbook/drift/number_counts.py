"""How many numbers lie on and between given edges: counted by buckets, exactly, without a sort."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from driftbook.data.arrays import Floats, Ints
from driftbook.settings import LARGEST_NUMBER

# So many buckets and the rows looked up at a time stay in a core's own cache.
_BUCKETS = 1 << 16
_BATCH = 1 << 15
# Buckets span the middle half of the edges, and twice its width on either side.
_SPREAD = 2.0


@dataclass(frozen=True)
class NumberCounts:
    """Counts by cell (int64; cell 2i+1: equal to edge i, cell 2i: between the edges around it).

    ``infinite``: how many of the counted are infinite or beyond the largest number; ``low``,
    ``high``: smallest and largest of the others, infinities of the other sign where there are none.
    """

    counts: Ints
    infinite: int
    low: float
    high: float


def count_numbers(numbers: Floats, edges: Floats) -> NumberCounts:
    """Return how many of ``numbers`` (NaN: missing) lie in each cell of sorted, finite ``edges``.

    The same integers as by ``np.searchsorted``, which takes some 60 ns a number. Sorting first took
    8 ns on one processor and 50 on another, whose wide instructions are slow at it (AMD's Zen 4);
    buckets take 7 to 10 there (``make bench PART=drift``).

    >>> count_numbers(np.array([2.0, 1.0, math.nan, 1.5, -math.inf]), np.array([1.0, 2.0])).counts
    array([1, 1, 1, 1, 0])
    """
    buckets = _Buckets.of(edges) if len(numbers) >= _BUCKETS else None
    counts = np.zeros(2 * len(edges) + 1, dtype=np.int64)
    infinite, lowest, highest = 0, math.inf, -math.inf
    for start in range(0, len(numbers), _BATCH):
        batch = np.ascontiguousarray(numbers[start : start + _BATCH])
        low, high = batch.min(), batch.max()
        if math.isnan(low):
            batch = batch[~np.isnan(batch)]
            low, high = batch.min(initial=math.inf), batch.max(initial=-math.inf)
        if low < -LARGEST_NUMBER or high > LARGEST_NUMBER:
            finite = np.abs(batch) <= LARGEST_NUMBER
            infinite += len(batch) - int(finite.sum())
            low = batch.min(initial=math.inf, where=finite)
            high = batch.max(initial=-math.inf, where=finite)
            batch = np.where(finite, batch, np.copysign(math.inf, batch))
        lowest, highest = min(lowest, float(low)), max(highest, float(high))
        counts += _count_sorted(batch, edges) if buckets is None else buckets.count(batch, edges)
    return NumberCounts(counts, infinite, lowest, highest)


def _count_sorted(values: Floats, edges: Floats) -> Ints:
    """Return the counts by cell, from a sort: the fewer are looked up among the more."""
    ordered = np.sort(values)
    if len(ordered) < len(edges):
        cells = edges.searchsorted(ordered, "left") + edges.searchsorted(ordered, "right")
        return np.bincount(cells, minlength=2 * len(edges) + 1)
    ends = np.zeros(2 * len(edges) + 2, dtype=np.int64)
    ends[1:-1:2] = ordered.searchsorted(edges, "left")
    ends[2:-1:2] = ordered.searchsorted(edges, "right")
    ends[-1] = len(ordered)
    return np.diff(ends)


@dataclass(frozen=True)
class _Buckets:
    """Equal buckets of the number line, each with its one edge and the cell below that.

    The bucket of a number grows with the number, so that one in a bucket with a single edge (or
    none: NaN stands for it) only has to be compared with that. Where a bucket has several, as the
    two at the ends, ``below`` is one past the last cell, and its numbers are looked up.
    """

    by_size: bool
    origin: float
    scale: float
    edge: Floats
    below: Ints

    @classmethod
    def of(cls, edges: Floats) -> _Buckets | None:
        """Return buckets in which half of the edges or more are alone; None without such."""
        if not len(edges):
            return None
        for by_size in (False, True):
            found = cls._of(edges, by_size)
            if found and 2 * np.count_nonzero(~np.isnan(found.edge)) >= len(edges):
                return found
        return None

    @classmethod
    def _of(cls, edges: Floats, by_size: bool) -> _Buckets | None:
        line = _rank_by_size(edges) if by_size else edges
        low, high = line[len(line) // 4], line[3 * len(line) // 4]
        with np.errstate(over="ignore", divide="ignore"):
            width = high - low
            origin, scale = low - _SPREAD * width, _BUCKETS / ((1.0 + 2.0 * _SPREAD) * width)
        if not (np.isfinite(origin) and np.isfinite(scale) and scale > 0.0):
            return None
        place = _find_buckets(edges, by_size, origin, scale)
        held = np.bincount(place, minlength=_BUCKETS)
        edge = np.full(_BUCKETS, math.nan)
        edge[place] = edges
        below = 2 * (np.cumsum(held) - held)
        edge[held > 1], below[held > 1] = math.nan, 2 * len(edges) + 1
        return cls(by_size, origin, scale, edge, below.astype(np.int32))

    def count(self, values: Floats, edges: Floats) -> Ints:
        """Return the counts by cell."""
        place = _find_buckets(values, self.by_size, self.origin, self.scale)
        edge, cells = self.edge[place], self.below[place]
        cells += values > edge
        cells += values >= edge
        counts = np.bincount(cells, minlength=2 * len(edges) + 2)
        if counts[-1]:
            counts[:-1] += _count_sorted(values[cells == len(counts) - 1], edges)
        return counts[:-1]


def _find_buckets(values: Floats, by_size: bool, origin: float, scale: float) -> Ints:
    with np.errstate(over="ignore"):
        place = (_rank_by_size(values) if by_size else values) - origin
        place *= scale
    return np.clip(place, 0.0, _BUCKETS - 1.0, out=place).astype(np.int64)


def _rank_by_size(values: Floats) -> Floats:
    """Return numbers in the same order, even steps of which are steps of size (of exponents)."""
    bits = (values + 0.0).view(np.int64)  # no minus zero, which is equal to zero
    return (bits ^ ((bits >> 63) & np.int64(0x7FFF_FFFF_FFFF_FFFF))).astype(np.float64)
