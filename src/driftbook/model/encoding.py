"""The reference's design for estimates: prepared rows, cut at the reference's tails, and bent."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer

from driftbook.data.arrays import Flags, Floats
from driftbook.data.columns import Feature
from driftbook.model import design

KNOTS = (0.2, 0.4, 0.6, 0.8)
TAILS = (0.005, 0.995)
REACH = 4.0  # standard deviations beyond which a number counts as that far out
# Rows that are bent at a time where only a sum of each is wanted: they stay in the processor's
# cache, where a million rows at once take a third of a gigabyte and three times as long.
_BLOCK = 8192
MIN_LEVEL_SHARE = 0.005  # rarer text values and gaps have no column of their own


@dataclass(frozen=True)
class Encoding:
    """How rows become numbers: every figure in it comes from the reference alone.

    ``low``, ``high``, ``knots`` and ``gaps`` are a number column's, ``common`` a text value's.
    """

    features: tuple[Feature, ...]
    preparation: ColumnTransformer
    low: Floats
    high: Floats
    knots: tuple[Floats, ...]
    gaps: Flags
    common: Flags

    def plain(self, frame: pd.DataFrame) -> Floats:
        """Return a linear champion's own design, shape (n, a), its constant column last."""
        prepared = design.encode_inputs(self.preparation, design.model_inputs(frame, self.features))
        return np.hstack([prepared, np.ones((len(frame), 1))])

    def bent(self, frame: pd.DataFrame) -> Floats:
        """Return a piecewise linear design, shape (n, b), its constant column last.

        Numbers end where the reference's tails begin, so that nothing is extrapolated; each bends
        at its quintiles. Missing numbers are filled by the median and have a flag.

        Source: linear splines, Hastie and Tibshirani (1990), Generalized Additive Models, §2.
        """
        return self._bend(*self._prepare(frame)).T

    def sum_bent(self, frame: pd.DataFrame, coefficients: Floats) -> Floats:
        """Return ``bent(frame) @ coefficients``, shape (n,), without holding all of the design."""
        prepared, missing = self._prepare(frame)
        sums = np.empty(len(frame))
        for start in range(0, len(frame), _BLOCK):
            rows = slice(start, start + _BLOCK)
            sums[rows] = coefficients @ self._bend(prepared[rows], missing[rows])
        return sums

    def _prepare(self, frame: pd.DataFrame) -> tuple[Floats, Floats]:
        """Return the prepared columns, and flags of the numbers that are missing often enough."""
        given = design.model_inputs(frame, self.features)
        return design.encode_inputs(self.preparation, given), _missing(
            given, self.features, self.gaps
        )

    def _bend(self, prepared: Floats, missing: Floats) -> Floats:
        """Return the design with a row for each of its columns, each of them in one piece."""
        numbers, flags = np.split(prepared.T, [len(self.low)])
        cut = np.clip(numbers, self.low[:, None], self.high[:, None])
        hinges = [
            np.maximum(values - knots[:, None], 0.0)
            for values, knots in zip(cut, self.knots, strict=True)
        ]
        one = np.ones((1, len(prepared)))
        return np.vstack([cut, *hinges, missing.T, flags[self.common], one])


def find_encoding(reference: pd.DataFrame, features: tuple[Feature, ...]) -> Encoding:
    """Return the encoding of ``features`` that the reference's rows imply."""
    given = design.model_inputs(reference, features)
    preparation = design.build_preparation(features).fit(given)
    width = len(design.split_names(features)[0])
    numbers, flags = np.split(design.encode_inputs(preparation, given), [width], axis=1)
    low, high = np.quantile(numbers, TAILS, axis=0) if width else np.empty((2, 0))
    low, high = np.maximum(low, -REACH), np.minimum(high, REACH)
    cut = np.clip(numbers, low, high)
    return Encoding(
        features=features,
        preparation=preparation,
        low=low,
        high=high,
        knots=tuple(_knots(cut[:, k]) for k in range(width)),
        gaps=_missing(given, features, np.ones(width, dtype=bool)).mean(axis=0) > MIN_LEVEL_SHARE,
        common=flags.mean(axis=0) > MIN_LEVEL_SHARE,
    )


def _missing(given: pd.DataFrame, features: tuple[Feature, ...], chosen: Flags) -> Floats:
    names = [n for n, one in zip(design.split_names(features)[0], chosen, strict=True) if one]
    return given[names].isna().to_numpy(dtype=np.float64)


def _knots(values: Floats) -> Floats:
    inner = np.unique(np.quantile(values, KNOTS)) if len(values) else np.empty(0)
    return inner[(inner > values.min()) & (inner < values.max())] if len(inner) else inner
