"""One column closely: its two distributions, and what the model predicts along it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from driftbook.data.arrays import Floats
from driftbook.data.cells import to_numbers
from driftbook.model.training import Model

BINS, MOST_LEVELS = 24, 10
# Beyond these shares of all rows one far value would squeeze all others into a single bin.
ENDS = (0.005, 0.995)
OTHER = "(other)"
# Fewer holdout rows in a bin than this say nothing about what the model predicts there.
FEWEST = 5
DETAIL_COLUMNS = (
    "feature", "kind", "bin", "low", "high", "reference_share", "current_share", "predicted",
    "predicted_class", "holdout_rows",
)  # fmt: skip


def detail_features(model: Model, current: pd.DataFrame) -> pd.DataFrame:
    """Return a row a feature and bin: shares of both sides, and the mean prediction there.

    Numbers fall in up to 24 equal bins (whole numbers in one each where they fit), values beyond
    the end bins count in them; of text the 10 commonest values have a row each and all others share
    one. Shares are of the present values. ``predicted``: mean prediction on the holdout by the fit
    that never saw it, NaN with fewer than 5 rows; of several classes, of the one that moves most
    along the column, ``predicted_class``. A column that the window lacks has no current shares.
    """
    rows = [
        row
        for feature in model.features
        for row in _detail_feature(model, feature.name, feature.kind, current)
    ]
    return pd.DataFrame(rows, columns=list(DETAIL_COLUMNS))


def _detail_feature(
    model: Model, name: str, kind: str, current: pd.DataFrame
) -> list[dict[str, Any]]:
    sides = [model.reference[name]] + ([current[name]] if name in current else [])
    held = model.holdout[name]
    if kind == "numeric":
        values = [_finite(side) for side in sides]
        edges = _cut_edges(np.concatenate(values))
        cells = [np.histogram(np.clip(side, edges[0], edges[-1]), edges)[0] for side in values]
        numbers = to_numbers(held)
        known = np.isfinite(numbers)
        place = np.searchsorted(edges, np.clip(numbers, edges[0], edges[-1]), side="right") - 1
        place = np.where(known, np.minimum(place, len(edges) - 2), -1)
        named = [{"bin": "", "low": low, "high": high} for low, high in pairwise(edges)]
    else:
        levels = _choose_levels(sides)
        texts = [side.dropna().astype(str) for side in sides]
        cells = [_count_levels(side, levels) for side in texts]
        place = _place_levels(held, levels)
        named = [{"bin": level, "low": np.nan, "high": np.nan} for level in levels]
    shares = [cell / max(int(cell.sum()), 1) for cell in cells]
    means, said = _mean_predictions(model, place, len(named))
    return [
        {
            "feature": name,
            "kind": kind,
            **one,
            "reference_share": shares[0][k],
            "current_share": shares[1][k] if len(shares) > 1 else np.nan,
            "predicted": means[k],
            "predicted_class": said,
            "holdout_rows": int((place == k).sum()),
        }
        for k, one in enumerate(named)
    ]


def _finite(side: pd.Series) -> Floats:
    values = to_numbers(side)
    return values[np.isfinite(values)]


def _cut_edges(values: Floats) -> Floats:
    low, high = np.quantile(values, ENDS) if len(values) else (0.0, 1.0)
    if np.all(values == np.round(values)) and high - low < BINS:
        return np.arange(np.floor(low), np.ceil(high) + 2) - 0.5
    return np.linspace(low, high if high > low else low + 1.0, BINS + 1)


def _choose_levels(sides: Sequence[pd.Series]) -> list[str]:
    shares = [side.dropna().astype(str).value_counts(normalize=True) for side in sides]
    largest = pd.concat(shares).groupby(level=0).max().nlargest(MOST_LEVELS + 1)
    names = [str(name) for name in largest.index]
    return names if len(names) <= MOST_LEVELS else [*names[:MOST_LEVELS], OTHER]


def _place_levels(side: pd.Series, levels: Sequence[str]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return by row which of the levels it has, −1 where it has none or its value is missing."""
    found = pd.Index(levels).get_indexer(pd.Index(side.astype(str)))
    other = len(levels) - 1 if OTHER in levels else -1
    return np.where(side.isna(), -1, np.where(found < 0, other, found))


def _count_levels(side: pd.Series, levels: Sequence[str]) -> np.ndarray[Any, np.dtype[np.int64]]:
    place = _place_levels(side, levels)
    return np.bincount(place[place >= 0], minlength=len(levels))


def _mean_predictions(model: Model, place: Any, bins: int) -> tuple[Floats, str]:
    """Return the mean prediction by bin, and the class it is of where there are several."""
    scores = np.asarray(model.holdout_scores, dtype=np.float64)
    scores = scores[:, None] if scores.ndim == 1 else scores
    means = np.full((bins, scores.shape[1]), np.nan)
    for k in range(bins):
        inside = scores[place == k]
        if len(inside) >= FEWEST:
            means[k] = np.nanmean(inside, axis=0) if np.isfinite(inside).any() else np.nan
    if scores.shape[1] == 1 or np.isnan(means).all():
        return means[:, 0], ""
    most = int(np.argmax(np.nanmax(means, axis=0) - np.nanmin(means, axis=0)))
    return means[:, most], str(model.task.classes[most])
