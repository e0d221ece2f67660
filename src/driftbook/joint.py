"""Joint drift: has the dependence between columns changed, whatever their margins do?"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import special

from driftbook.columns import Feature
from driftbook.profile import Values, levels_of, numbers

MAX_ROWS = 5000
MIN_PAIRS = 20
# Levels of a category with at least this share of the reference take part, three at most.
MIN_SHARE, MAX_SHOWN = 0.1, 3


@dataclass(frozen=True)
class Scores:
    """Each column on its own ranks: what is left of the rows when the margins are taken away.

    ``values``: shape (rows, k), standardised normal scores or level indicators, 0 where missing;
    ``present``: shape (rows, k), 1.0 where there is a value; ``owner``: the feature of each column;
    ``label``: how a column is named in words.
    """

    values: Values
    present: Values
    owner: tuple[int, ...]
    label: tuple[str, ...]


@dataclass(frozen=True)
class JointShift:
    """The pair of columns whose rank correlation moved most, and the p-value over all pairs."""

    pvalue: float
    pairs: int
    left: str = ""
    right: str = ""
    reference: float = float("nan")
    current: float = float("nan")
    error: float = float("nan")


def shown_levels(reference: pd.DataFrame, features: tuple[Feature, ...]) -> dict[str, list[str]]:
    """Return by category the frequent levels of the reference; one of two for a two-level column."""
    found = {}
    for feature in features:
        if feature.kind != "numeric":
            shares = levels_of(reference[feature.name], feature.kind).value_counts(normalize=True)
            frequent = sorted(shares[shares >= MIN_SHARE].items(), key=lambda i: (-i[1], str(i[0])))
            names = [str(level) for level, _ in frequent[:MAX_SHOWN]]
            found[feature.name] = names[:1] if len(shares) <= 2 else names
    return found


def scores(frame: pd.DataFrame, features: tuple[Feature, ...], levels: dict[str, list[str]]) -> Scores:
    """Return the rank scores of at most 5000 evenly spaced rows of ``frame``."""
    if len(frame) > MAX_ROWS:
        frame = frame.iloc[np.linspace(0, len(frame) - 1, MAX_ROWS).astype(np.int64)]
    columns, present, owner, label = [], [], [], []
    for position, feature in enumerate(features):
        for name, column in _score_columns(frame[feature.name], feature, levels.get(feature.name, [])):
            columns.append(np.nan_to_num(column))
            present.append((~np.isnan(column)).astype(np.float64))
            owner.append(position)
            label.append(name)
    shape = (len(frame), len(columns))
    return Scores(
        np.array(columns).T.reshape(shape), np.array(present).T.reshape(shape), tuple(owner), tuple(label)
    )


def compare(reference: Scores, current: Scores, min_effect: float) -> JointShift:
    """Return the most changed rank correlation over all pairs of columns of different features.

    Each pair's difference of Fisher's z, beyond ``min_effect``, is divided by its standard error
    (from the fourth moments, so that no normal copula is assumed); the p-value is Bonferroni's over
    the pairs. Margins cannot matter: each sample is ranked within itself.

    Source: Cai, Liu & Xia (2013), Two-sample covariance matrix testing, JASA 108 (largest
    standardised difference); Ruymgaart et al. (1972) for rank scores.
    """
    ref_r, ref_var, ref_n = _correlations(reference)
    cur_r, cur_var, cur_n = _correlations(current)
    owner = np.array(reference.owner)
    usable = np.triu(owner[:, None] != owner[None, :]) & (ref_n >= MIN_PAIRS) & (cur_n >= MIN_PAIRS)
    if not usable.any():
        return JointShift(pvalue=float("nan"), pairs=0)
    pooled = (ref_n * ref_var + cur_n * cur_var) / (ref_n + cur_n)
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.sqrt(np.maximum(pooled, 1.0) * (1.0 / (ref_n - 3.0) + 1.0 / (cur_n - 3.0)))
        change = np.arctanh(cur_r) - np.arctanh(ref_r)
        z = np.where(usable, (np.abs(change) - min_effect) / error, -np.inf)
    left, right = np.unravel_index(int(np.argmax(z)), z.shape)
    pairs = int(usable.sum())
    return JointShift(
        pvalue=min(1.0, pairs * 2.0 * float(special.ndtr(-z[left, right]))),
        pairs=pairs,
        left=reference.label[left],
        right=reference.label[right],
        reference=float(ref_r[left, right]),
        current=float(cur_r[left, right]),
        error=float(error[left, right]) * (1.0 - float(cur_r[left, right]) ** 2),
    )


def _score_columns(values: pd.Series, feature: Feature, levels: list[str]) -> list[tuple[str, Values]]:
    if feature.kind == "numeric":
        found = numbers(values)
        missing = np.isnan(found)
        ranks = pd.Series(found).rank().to_numpy(dtype=np.float64)
        return [(feature.name, _standardised(special.ndtri(ranks / ((~missing).sum() + 1.0))))]
    text = levels_of(values, feature.kind).reindex(values.index)
    absent = values.isna().to_numpy()
    columns = []
    for level in levels:
        indicator = np.where(absent, np.nan, (text == level).to_numpy(dtype=np.float64))
        columns.append((f"{feature.name}={level}", _standardised(indicator)))
    return columns


def _standardised(column: Values) -> Values:
    present = column[~np.isnan(column)]
    sd = float(present.std()) if len(present) else 0.0
    return (column - present.mean()) / sd if sd > 0.0 else np.full(len(column), math.nan)


def _correlations(scores: Scores) -> tuple[Values, Values, Values]:
    """Return pairwise-complete correlations, the variance factor of Fisher's z, and row counts."""
    z, here = scores.values, scores.present
    n = here.T @ here
    squares = z**2
    with np.errstate(divide="ignore", invalid="ignore"):
        left, right = (squares.T @ here) / n, (here.T @ squares) / n
        r = np.clip((z.T @ z) / n / np.sqrt(left * right), -0.999999, 0.999999)
        # Moments of the standardised pair (a, b): the influence of a row on r is
        # ab - r (a^2 + b^2) / 2, and Fisher's z divides its sd by 1 - r^2.
        both = (squares.T @ squares) / n / (left * right)
        fourth_left = ((squares**2).T @ here) / n / left**2
        fourth_right = (here.T @ squares**2) / n / right**2
        cubed = (squares * z).T @ z / n / (left * np.sqrt(left * right))
        cubed_other = z.T @ (squares * z) / n / (right * np.sqrt(left * right))
        spread = both - r * (cubed + cubed_other) + r**2 / 4.0 * (fourth_left + fourth_right + 2.0 * both)
        variance = np.maximum(spread, 0.0) / (1.0 - r**2) ** 2
    return r, np.nan_to_num(variance, nan=1.0, posinf=1.0), n
