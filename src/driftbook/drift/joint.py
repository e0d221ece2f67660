"""Joint drift: has the dependence between columns changed, whatever their margins do?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import special

from driftbook.data.arrays import Flags, Floats, Ints
from driftbook.data.cells import to_numbers
from driftbook.data.columns import Feature
from driftbook.drift.profile import to_levels

MAX_JOINT_ROWS = 5000
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


@dataclass(frozen=True)
class Dependence:
    """Correlations of all pairs of score columns, each shape (k, k).

    ``variance`` is that of Fisher's z times the rows, ``rows`` counts the rows where both have a
    value; ``kurtosis`` has shape (k,).
    """

    scores: RankScores
    correlation: Floats
    variance: Floats
    rows: Floats
    kurtosis: Floats


@dataclass(frozen=True)
class PairChange:
    """A pair of score columns whose correlation changed; ``pvalue`` is corrected for all pairs."""

    left: int
    right: int
    label: str
    reference: float
    current: float
    error: float
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
    """Return the rank scores of at most 5000 evenly spaced rows of ``frame``.

    Numbers: normal scores and the second Legendre polynomial of the mid-ranks within ``frame``;
    numbers of few values: normal scores of the mid-ranks in the reference. Categories: an
    indicator for each frequent level. Missing values take part in no pair.
    """
    if len(frame) > MAX_JOINT_ROWS:
        frame = frame.iloc[np.linspace(0, len(frame) - 1, MAX_JOINT_ROWS).astype(np.int64)]
    parts: list[tuple[int, bool, str, Floats]] = []
    for position, feature in enumerate(features):
        if feature.kind == "numeric":
            values, steps = to_numbers(frame[feature.name]), rules.steps.get(feature.name)
            known = np.sort(values[~np.isnan(values)]) if steps is None else steps
            shares = _mid_ranks(values, known)
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


def measure_dependence(scores: RankScores) -> Dependence:
    """Return pairwise-complete rank correlations and how exact each is.

    The variance of Fisher's z comes from the fourth moments of each pair, not from a normal
    copula. Source: influence function of the correlation, Devlin, Gnanadesikan & Kettenring (1975),
    Biometrika 62: ab - r (a^2 + b^2) / 2 for standardised a, b.
    """
    z, here = scores.values, scores.present
    squares = z**2
    # Sums of i over the rows where j is present; where nothing is missing every j gives the same.
    seen, shape = here[:, :1] if here.all() else here, (here.shape[1],) * 2
    rows, left, fourths = (
        np.broadcast_to(part.T @ seen, shape) for part in (here, squares, squares**2)
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        left, fourths = left / rows, fourths / rows
        scale = np.sqrt(left * left.T)
        r = np.clip((z.T @ z) / rows / scale, -0.999999, 0.999999)
        both = (squares.T @ squares) / rows / scale**2
        cubed = ((squares * z).T @ z) / rows / left / scale
        fourths = fourths / left**2
        spread = both - r * (cubed + cubed.T) + r**2 / 4.0 * (fourths + fourths.T + 2.0 * both)
        variance = np.maximum(spread, 0.0) / (1.0 - r**2) ** 2
        kurtosis = np.diag(fourths).copy()
    return Dependence(scores, r, variance, rows, kurtosis)


def find_pair_changes(
    reference: Dependence, current: Dependence, min_effect: float, top: int = 5
) -> tuple[list[PairChange], int]:
    """Return the most changed pairs of columns of different features, and how many were compared.

    Each pair's difference of Fisher's z, beyond ``min_effect``, is divided by its standard error;
    p-values are Bonferroni's over the pairs, 60% of the budget for monotone dependence. Margins
    of columns of many values cannot matter: each sample is ranked within itself. The first pair
    has the smallest p-value.

    Source: largest standardised difference, Cai, Liu & Xia (2013), Two-sample covariance matrix
    testing, JASA 108; rank scores as in Kallenberg & Ledwina (1999), Data-driven rank tests for
    independence, JASA 94.
    """
    usable, scores = _usable(reference, current), reference.scores
    curved = scores.curved[:, None] | scores.curved[None, :]
    counted = [int((usable & ~curved).sum()), int((usable & curved).sum())]
    if not sum(counted):
        return [], 0
    with np.errstate(divide="ignore", invalid="ignore"):
        pooled = reference.rows * reference.variance + current.rows * current.variance
        pooled = np.maximum(pooled / (reference.rows + current.rows), 1.0)
        error = np.sqrt(pooled / (reference.rows - 3.0) + pooled / (current.rows - 3.0))
        moved = np.arctanh(current.correlation) - np.arctanh(reference.correlation)
        z = (np.abs(moved) - min_effect) / error
    shares = [MONOTONE, CURVED] if all(counted) else [1.0, 1.0]
    tests = np.where(curved, counted[1] / shares[1], counted[0] / shares[0])
    pvalue = np.where(usable, np.minimum(1.0, 2.0 * special.ndtr(-z) * tests), np.inf)
    order = np.lexsort((-np.where(usable, z, -np.inf).ravel(), pvalue.ravel()))
    found = []
    for flat in order[: min(top, sum(counted))]:
        i, j = (int(place) for place in np.unravel_index(int(flat), pvalue.shape))
        r = float(current.correlation[i, j])
        found.append(
            PairChange(
                left=int(scores.owner[i]),
                right=int(scores.owner[j]),
                label=f"{scores.label[i]} with {scores.label[j]}",
                reference=float(reference.correlation[i, j]),
                current=r,
                error=float(error[i, j]) * (1.0 - r**2),
                pvalue=float(pvalue[i, j]),
            )
        )
    return found, sum(counted)


def _usable(reference: Dependence, current: Dependence) -> Flags:
    owner = reference.scores.owner
    kurtosis = np.fmax(reference.kurtosis, current.kurtosis) + 3.0
    rows = np.minimum(reference.rows, current.rows)
    with np.errstate(invalid="ignore"):
        enough = rows / np.outer(kurtosis, kurtosis) >= MIN_CORNER
    known = np.isfinite(reference.correlation) & np.isfinite(current.correlation)
    return np.asarray(np.triu(owner[:, None] != owner[None, :]) & enough & known)


def _shown_levels(values: pd.Series, feature: Feature) -> list[str]:
    shares = to_levels(values, feature.kind).value_counts(normalize=True)
    frequent = shares[shares >= MIN_SHARE].sort_index().sort_values(ascending=False, kind="stable")
    return list(frequent.index[: 1 if len(shares) <= 2 else MAX_SHOWN])


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
