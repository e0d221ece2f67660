"""How rows become numbers for a linear fit: scaled, cut at the reference's tails, and bent."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from driftbook.data.columns import Feature
from driftbook.model import training

Floats = npt.NDArray[np.float64]

KNOTS = (0.2, 0.4, 0.6, 0.8)
TAILS = (0.005, 0.995)
REACH = 4.0  # standard deviations beyond which a number counts as that far out
MIN_LEVEL_SHARE = 0.005  # rarer text values and gaps have no column of their own


@dataclass(frozen=True)
class Encoding:
    """How rows become numbers: every figure in it comes from the reference alone."""

    features: tuple[Feature, ...]
    fill: Floats
    shift: Floats
    scale: Floats
    low: Floats
    high: Floats
    knots: tuple[Floats, ...]
    gaps: npt.NDArray[np.bool_]
    words: tuple[npt.NDArray[np.object_], ...]

    def plain(self, frame: pd.DataFrame) -> Floats:
        """Return a linear champion's own design, shape (n, a), its constant column last."""
        numbers, _, flags = self._parts(frame)
        return np.hstack([numbers, flags, np.ones((len(frame), 1))])

    def bent(self, frame: pd.DataFrame) -> Floats:
        """Return a piecewise linear design, shape (n, b), its constant column last.

        Numbers end where the reference's tails begin, so that nothing is extrapolated; each bends
        at its quintiles. Missing numbers are filled by the median and have a flag.

        Source: linear splines, Hastie and Tibshirani (1990), Generalized Additive Models, §2.
        """
        numbers, missing, flags = self._parts(frame)
        cut = np.clip(numbers, self.low, self.high)
        hinges = [
            np.maximum(cut[:, [k]] - knots, 0.0) for k, knots in enumerate(self.knots) if len(knots)
        ]
        return np.hstack([cut, *hinges, missing[:, self.gaps], flags, np.ones((len(frame), 1))])

    def _parts(self, frame: pd.DataFrame) -> tuple[Floats, Floats, Floats]:
        given, numeric, text = _split(frame, self.features)
        missing = np.isnan(numeric)
        numbers = (np.where(missing, self.fill, numeric) - self.shift) / self.scale
        flags = [
            given[name].to_numpy()[:, None] == words
            for name, words in zip(text, self.words, strict=True)
        ]
        return numbers, missing * 1.0, np.hstack([np.empty((len(frame), 0)), *flags])


def find_encoding(reference: pd.DataFrame, features: tuple[Feature, ...]) -> Encoding:
    """Return the encoding of ``features`` that the reference's rows imply."""
    given, numeric, text = _split(reference, features)
    known = ~np.isnan(numeric)
    fill = np.zeros(numeric.shape[1])
    for column in np.flatnonzero(known.any(axis=0)):
        fill[column] = np.median(numeric[known[:, column], column])
    filled = np.where(known, numeric, fill)
    scale = filled.std(axis=0)
    shift, scale = filled.mean(axis=0), np.where(scale > 0, scale, 1.0)
    numbers = (filled - shift) / scale
    width = numbers.shape[1]
    low, high = np.quantile(numbers, TAILS, axis=0) if width else np.empty((2, 0))
    low, high = np.maximum(low, -REACH), np.minimum(high, REACH)
    cut = np.clip(numbers, low, high)
    return Encoding(
        features=features,
        fill=fill,
        shift=shift,
        scale=scale,
        low=low,
        high=high,
        knots=tuple(_knots(cut[:, k]) for k in range(width)),
        gaps=(~known).mean(axis=0) > MIN_LEVEL_SHARE,
        words=tuple(_words(given[name]) for name in text),
    )


def _split(
    frame: pd.DataFrame, features: tuple[Feature, ...]
) -> tuple[pd.DataFrame, Floats, list[str]]:
    given = training.select_inputs(frame, features)
    text = [f.name for f in features if f.kind == "categorical"]
    return given, given.drop(columns=text).to_numpy(dtype=np.float64), text


def _knots(values: Floats) -> Floats:
    inner = np.unique(np.quantile(values, KNOTS)) if len(values) else np.empty(0)
    return inner[(inner > values.min()) & (inner < values.max())] if len(inner) else inner


def _words(values: pd.Series) -> npt.NDArray[np.object_]:
    shares = values.value_counts(normalize=True)
    kept = shares.index[(shares > MIN_LEVEL_SHARE).to_numpy()][: training.MAX_CATEGORIES]
    return np.array(sorted(kept), dtype=object)
