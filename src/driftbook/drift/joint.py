"""Joint drift: has the dependence between columns changed, whatever their margins do?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
from scipy import special

from driftbook.data.arrays import Flags, Floats, Ints
from driftbook.data.cells import to_numbers
from driftbook.data.columns import Feature
from driftbook.drift.levels import to_levels

MAX_JOINT_ROWS = 5000
# Of wide tables fewer rows are taken, so that the scores stay at so many numbers (40 MB): the work
# grows with the square of the columns, and what counts there are changes beyond all pairs' chance.
MAX_JOINT_CELLS = 5_000_000
# Levels of a category with at least this share of the reference take part, three at most.
MIN_SHARE, MAX_SHOWN = 0.1, 3
# A column whose rows share values as if it had fewer than this many, equally frequent, is taken as
# steps: it has no curved score, and its ranks are those of the reference.
FEW_VALUES = 10.0
# How the budget is shared between monotone dependence and dependence of higher order.
MONOTONE, CURVED = 0.6, 0.4
# A pair takes part when n / ((kurtosis + 3) (kurtosis' + 3)) reaches this: for two indicators it
# is the expected number of rows in the rarest corner of their table, for two normals n / 36.
MIN_CORNER = 1.25
# Pairs that are compared at once: about twenty tables of so many numbers are held (160 MB).
_BLOCK_PAIRS = 1_000_000


@dataclass(frozen=True)
class ScoreRules:
    """What the reference fixes of how columns are scored.

    ``levels``: by category those that take part, three at most, one of two; ``steps``: by number
    column of few values its sorted values.
    """

    levels: Mapping[str, list[str]]
    steps: Mapping[str, Floats]


@dataclass(frozen=True)
class RankScores:
    """Each column on its own ranks: what is left of the rows when the margins are taken away.

    ``values``: shape (rows, k), standardised, 0 where missing; ``present``: shape (rows, k), 1.0
    where there is a value; ``owner``: position of the feature of each column; ``curved``: whether
    a column is the second polynomial of the ranks; ``label``: how a column is named in words.
    """

    values: Floats
    present: Floats
    owner: Ints
    curved: Flags
    label: tuple[str, ...]

    @cached_property
    def kurtosis(self) -> Floats:
        """Return the fourth moment of each column over the square of its second, shape (k,)."""
        rows, squares = self.present.sum(axis=0), self.values**2
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray((squares**2).sum(axis=0) * rows / squares.sum(axis=0) ** 2)

    def leave_out(self, owners: Sequence[int]) -> RankScores:
        """Return the scores without those of some features, by their positions."""
        kept = ~np.isin(self.owner, owners)
        labels = tuple(label for label, here in zip(self.label, kept, strict=True) if here)
        columns = self.values[:, kept], self.present[:, kept], self.owner[kept]
        return RankScores(*columns, self.curved[kept], labels)

    def since(self, start: int) -> RankScores:
        """Return the columns from ``start`` on."""
        columns = self.values[:, start:], self.present[:, start:], self.owner[start:]
        return RankScores(*columns, self.curved[start:], self.label[start:])


@dataclass(frozen=True)
class Dependence:
    """Correlations of some score columns with all, each shape (some, k).

    ``variance`` is that of Fisher's z times the rows, ``rows`` counts the rows where both have a
    value.
    """

    correlation: Floats
    variance: Floats
    rows: Floats


@dataclass(frozen=True)
class PairChange:
    """A pair of score columns whose correlation changed; ``pvalue`` is corrected for all pairs.

    ``z``: how many standard errors the change lies beyond the least that counts; ``curved``:
    whether a side of it is the second polynomial of ranks.
    """

    left: int
    right: int
    label: str
    reference: float
    current: float
    error: float
    z: float
    curved: bool
    pvalue: float


def find_score_rules(reference: pd.DataFrame, features: tuple[Feature, ...]) -> ScoreRules:
    """Return how the reference's columns are scored, for the reference itself and every window.

    A number column of few values is known by its effective number of values, one over the chance
    that two rows are equal. Its curved score would be a function of two or three steps that turns
    over when their shares cross a half, which chance does to a balanced column.

    Source: Hill (1973), Diversity and evenness, Ecology 54: the number of order 2.
    """
    levels, steps = {}, {}
    for feature in features:
        if feature.kind != "numeric":
            levels[feature.name] = _shown_levels(reference[feature.name], feature)
            continue
        values = to_numbers(reference[feature.name])
        values = np.sort(values[~np.isnan(values)])
        shares = np.unique(values, return_counts=True)[1] / max(1, len(values))
        if len(values) and 1.0 / float(shares @ shares) < FEW_VALUES:
            steps[feature.name] = values
    return ScoreRules(levels, steps)


def score_ranks(
    frame: pd.DataFrame, features: tuple[Feature, ...], rules: ScoreRules
) -> RankScores:
    """Return the rank scores of at most 5000 evenly spaced rows of ``frame``, fewer of wide ones.

    Numbers: normal scores and the second Legendre polynomial of the mid-ranks within ``frame``;
    numbers of few values: normal scores of the mid-ranks in the reference. Categories: an
    indicator for each frequent level. Missing values take part in no pair.
    """
    most = min(MAX_JOINT_ROWS, MAX_JOINT_CELLS // (2 * len(features)))
    if len(frame) > most:
        frame = frame.iloc[np.linspace(0, len(frame) - 1, most).astype(np.int64)]
    parts: list[tuple[int, bool, str, Floats]] = []
    for position, feature in enumerate(features):
        if feature.kind == "numeric":
            values, steps = to_numbers(frame[feature.name]), rules.steps.get(feature.name)
            shares = _rank_within(values) if steps is None else _mid_ranks(values, steps)
            parts.append((position, False, feature.name, special.ndtri(shares)))
            if steps is None:
                parts.append((position, True, f"{feature.name} (extremes)", (shares - 0.5) ** 2))
            continue
        text = to_levels(frame[feature.name], feature.kind).reindex(frame.index)
        absent = frame[feature.name].isna().to_numpy()
        for level in rules.levels.get(feature.name, []):
            indicator = np.where(absent, np.nan, (text == level).to_numpy(dtype=np.float64))
            parts.append((position, False, f"{feature.name}={level}", indicator))
    columns = [_standardised(values) for *_, values in parts]
    table = np.array(columns).T.reshape(len(frame), len(parts))
    return RankScores(
        values=np.nan_to_num(table),
        present=(~np.isnan(table)).astype(np.float64),
        owner=np.array([owner for owner, *_ in parts], dtype=np.int64),
        curved=np.array([curved for _, curved, *_ in parts], dtype=np.bool_),
        label=tuple(label for *_, label, _ in parts),
    )


def measure_dependence(scores: RankScores, some: slice = slice(None)) -> Dependence:
    """Return pairwise-complete rank correlations of ``some`` columns, and how exact each is.

    The variance of Fisher's z comes from the fourth moments of each pair, not from a normal
    copula. Source: influence function of the correlation, Devlin, Gnanadesikan & Kettenring (1975),
    Biometrika 62: ab - r (a^2 + b^2) / 2 for standardised a, b.
    """
    z, here = scores.values, scores.present
    squares = z**2
    own, mine, cubes = z[:, some], squares[:, some], squares * z
    shape = own.shape[1], z.shape[1]
    # Sums of one column over the rows where another is present; where nothing is missing all
    # others give the same.
    seen, met = (here[:, :1], here[:, :1]) if here.all() else (here, here[:, some])
    rows, left, left_fourths = (
        np.broadcast_to(part.T @ seen, shape) for part in (here[:, some], mine, mine**2)
    )
    right, right_fourths = (
        np.broadcast_to((part.T @ met).T, shape) for part in (squares, squares**2)
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        left, right = left / rows, right / rows
        fourths = left_fourths / rows / left**2 + right_fourths / rows / right**2
        scale = np.sqrt(left * right)
        r = np.clip((own.T @ z) / rows / scale, -0.999999, 0.999999)
        both = (mine.T @ squares) / rows / scale**2
        cubed = (cubes[:, some].T @ z) / rows / left / scale
        cubed += (cubes.T @ own).T / rows / right / scale
        spread = both - r * cubed + r**2 / 4.0 * (fourths + 2.0 * both)
        variance = np.maximum(spread, 0.0) / (1.0 - r**2) ** 2
    return Dependence(r, variance, rows)


def find_pair_changes(
    reference: RankScores, current: RankScores, min_effect: float, top: int = 5
) -> tuple[list[PairChange], int]:
    """Return the most changed pairs of columns of different features, and how many were compared.

    Each pair's difference of Fisher's z, beyond ``min_effect``, is divided by its standard error;
    p-values are Bonferroni's over the pairs, 60% of the budget for monotone dependence. Margins
    of columns of many values cannot matter: each sample is ranked within itself. The first pair
    has the smallest p-value. Pairs are looked at a block of columns at a time: those of 3,000
    columns would fill gigabytes.

    Source: largest standardised difference, Cai, Liu & Xia (2013), Two-sample covariance matrix
    testing, JASA 108; rank scores as in Kallenberg & Ledwina (1999), Data-driven rank tests for
    independence, JASA 94.
    """
    width = reference.values.shape[1]
    step = max(1, _BLOCK_PAIRS // max(1, width))
    kurtosis = np.fmax(reference.kurtosis, current.kurtosis) + 3.0
    found, counted = [], np.zeros(2, dtype=np.int64)
    for start in range(0, width, step):
        sides = reference.since(start), current.since(start)
        pairs, added = _compare_block(*sides, kurtosis[start:], step, min_effect, top)
        found += pairs
        counted += added
    shares = np.array([MONOTONE, CURVED]) if counted.all() else np.ones(2)
    tests = counted / shares
    corrected = [
        replace(pair, pvalue=min(1.0, pair.pvalue * float(tests[int(pair.curved)])))
        for pair in found
    ]
    corrected.sort(key=lambda pair: (pair.pvalue, -pair.z))
    return corrected[:top], int(counted.sum())


def _compare_block(
    reference: RankScores,
    current: RankScores,
    kurtosis: Floats,
    step: int,
    min_effect: float,
    top: int,
) -> tuple[list[PairChange], Ints]:
    """Return the most changed pairs of the first ``step`` columns with themselves and later ones.

    ``top`` of either kind, their p-values not corrected; and how many of either were compared.
    """
    block = slice(0, step)
    before, after = (measure_dependence(scores, block) for scores in (reference, current))
    with np.errstate(divide="ignore", invalid="ignore"):
        pooled = before.rows * before.variance + after.rows * after.variance
        pooled = np.maximum(pooled / (before.rows + after.rows), 1.0)
        error = np.sqrt(pooled / (before.rows - 3.0) + pooled / (after.rows - 3.0))
        moved = np.arctanh(after.correlation) - np.arctanh(before.correlation)
        z = (np.abs(moved) - min_effect) / error
        corners = np.minimum(before.rows, after.rows) / np.outer(kurtosis[block], kurtosis)
    usable = (corners >= MIN_CORNER) & np.isfinite(before.correlation + after.correlation)
    usable &= np.triu(reference.owner[block, None] != reference.owner)
    curved = reference.curved[block, None] | reference.curved
    found: list[PairChange] = []
    for kind in (usable & ~curved, usable & curved):
        for i, j in _find_largest(z, kind, top):
            r = float(after.correlation[i, j])
            found.append(
                PairChange(
                    left=int(reference.owner[i]),
                    right=int(reference.owner[j]),
                    label=f"{reference.label[i]} with {reference.label[j]}",
                    reference=float(before.correlation[i, j]),
                    current=r,
                    error=float(error[i, j]) * (1.0 - r**2),
                    z=float(z[i, j]),
                    curved=bool(curved[i, j]),
                    pvalue=float(2.0 * special.ndtr(-z[i, j])),
                )
            )
    return found, np.array([(usable & ~curved).sum(), (usable & curved).sum()])


def _find_largest(z: Floats, chosen: Flags, top: int) -> list[tuple[int, int]]:
    """Return where the ``top`` largest of the ``chosen`` numbers stand, the largest first."""
    places = np.flatnonzero(chosen)
    values = z.ravel()[places]
    if len(places) > top:
        places = places[values >= np.partition(values, -top)[-top]]
        values = z.ravel()[places]
    order = np.argsort(-values, kind="stable")[:top]
    return [divmod(int(places[k]), z.shape[1]) for k in order]


def _shown_levels(values: pd.Series, feature: Feature) -> list[str]:
    shares = to_levels(values, feature.kind).value_counts(normalize=True)
    frequent = shares[shares >= MIN_SHARE].sort_index().sort_values(ascending=False, kind="stable")
    return list(frequent.index[: 1 if len(shares) <= 2 else MAX_SHOWN])


def _rank_within(values: Floats) -> Floats:
    """Return the mid-ranks of ``values`` among themselves, as shares inside (0, 1)."""
    ranks = pd.Series(values).rank().to_numpy()
    return np.asarray(ranks / (np.count_nonzero(~np.isnan(values)) + 1))


def _mid_ranks(values: Floats, known: Floats) -> Floats:
    """Return the mid-ranks of ``values`` among the sorted ``known``, as shares inside (0, 1)."""
    below = np.searchsorted(known, values, side="left")
    up_to = np.searchsorted(known, values, side="right")
    shares = (below + up_to + 1.0) / (2.0 * (len(known) + 1.0))
    return np.where(np.isnan(values), np.nan, shares)


def _standardised(column: Floats) -> Floats:
    present = column[~np.isnan(column)]
    sd = float(present.std()) if len(present) else 0.0
    return (column - present.mean()) / sd if sd > 1e-12 else np.full(len(column), math.nan)
