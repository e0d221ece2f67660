"""The chance of a row's outcome without its label: from the champion's score, and its columns.

Two things are learnt on the reference and calibrated on rows that trained neither: what the
champion's own score says, and what an additive model of all columns says beyond it. A classifier
that tells a window from those rows weighs them, so that rows like the window's count more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import special, stats

from driftbook.data.arrays import Floats, Ints
from driftbook.model import logistic, scores
from driftbook.model.encoding import Encoding, find_encoding
from driftbook.model.row_sums import block_variance

if TYPE_CHECKING:
    from driftbook.model.training import Model


FOLDS = 5
MOST_FITTED = 20_000  # of longer references every k-th row is taken
MOST_TOLD = 5000  # rows of either side that the domain classifier learns from
WIDEST = 300  # columns up to which a linear champion is fitted again for out-of-fold scores
EDGE = 1e-6
# A classifier sees a window's difference when its AUC is this sure to be above one half.
SURELY_DIFFERENT = 0.99
MAX_WEIGHT = 10.0
MIN_EFFECTIVE = 200.0
POWERS = (1.0, 0.5, 0.25)
# Recipes whose fit is that of the champion's estimator on all its rows with equal weights.
PLAIN = frozenset({"first", "recent", "everything"})


@dataclass(frozen=True)
class CalibrationRows:
    """Rows that trained neither fit, in time order: outcome, design and what either fit says.

    ``inputs``: shape (n, 3): log odds of the champion, log odds of the columns, 1. ``columns``:
    coefficients of the additive model. ``informative``: the columns say more about the outcome
    than the champion's score does (likelihood ratio at 1%). ``recent``: the rows are newer than
    the reference.
    """

    encoding: Encoding
    columns: Floats
    y: Floats
    design: Floats
    inputs: Floats
    informative: bool
    recent: bool

    def window(self, p: Floats, frame: pd.DataFrame) -> Floats:
        """Return the inputs of rows that the champion gave ``p``, cut to the range seen here."""
        said = self.encoding.sum_bent(frame, self.columns)
        inputs = np.column_stack([scores.to_log_odds(p, EDGE), said, np.ones(len(p))])
        cut: Floats = np.clip(inputs, self.inputs.min(axis=0), self.inputs.max(axis=0))
        return cut


@dataclass(frozen=True)
class Resemblance:
    """How rows of the evidence resemble a window: weights (n,) of mean 1.

    ``seen``: a classifier tells the two apart, and enough effective rows are left after weighting.
    """

    weights: Floats
    effective: float
    seen: bool


@dataclass(frozen=True)
class ChanceCalibration:
    """Coefficients of the inputs that are used, and their covariance over contiguous blocks."""

    used: Ints
    coefficients: Floats
    covariance: Floats

    def chances(self, inputs: Floats) -> Floats:
        """Return the chance of each row of ``inputs`` (n, 3), shape (n,)."""
        chance: Floats = special.expit(inputs[:, self.used] @ self.coefficients)
        return chance


def gather_reference_rows(model: Model) -> CalibrationRows:
    """Return the evidence that a model's own reference holds.

    A plain linear champion is fitted again without each fifth of its rows, so that all of them
    count; of any other, only the temporal holdout was scored by a fit that had not seen it.
    """
    rows = model.reference.iloc[:: 1 + (len(model.reference) - 1) // MOST_FITTED]
    y = model.outcomes(rows)
    known = find_encoding(rows, model.features)
    design = known.bent(rows)
    fold = np.arange(len(y)) % FOLDS
    columns, said = logistic.fit_crossfitted(design, y, fold, FOLDS)
    champion = np.full(len(y), np.nan)
    place = np.asarray(rows.index, dtype=np.int64)
    held = place >= model.n_train
    champion[held] = scores.to_log_odds(model.holdout_scores[place[held] - model.n_train], EDGE)
    plain = known.plain(rows)
    linear = model.origin.get("estimator") in ("linear", "logistic_regression")
    if linear and model.origin.get("recipe") in PLAIN and plain.shape[1] <= WIDEST:
        decision = logistic.fit_crossfitted(plain, y, fold, FOLDS)[1]
        champion = model.calibration.moved(decision)
        held = np.ones(len(y), dtype=bool)
    inputs = np.column_stack([_bounded(champion), _bounded(said), np.ones(len(y))])[held]
    return _evidence(known, columns, y[held], design[held], inputs, recent=False)


def gather_recent_rows(
    base: CalibrationRows, y: Floats, p: Floats, frame: pd.DataFrame
) -> CalibrationRows:
    """Return the evidence of labelled rows newer than the reference, which neither fit has seen."""
    design = base.encoding.bent(frame)
    inputs = np.column_stack(
        [scores.to_log_odds(p, EDGE), _bounded(design @ base.columns), np.ones(len(p))]
    )
    return _evidence(base.encoding, base.columns, y, design, inputs, recent=True)


def weigh_resemblance(evidence: Floats, window: Floats) -> Resemblance:
    """Return weights that make rows of evidence (n, b) look like those of a ``window`` (m, b).

    The weights are the odds of a cross-fitted logistic classifier, at most ten times their mean,
    flattened until at least 200 effective rows (Kish) are left.

    Source: Bickel et al. (2009), JMLR 10: importance weights by discriminative learning; Białek
    et al. (2024), arXiv 2401.08348: weights for calibration; Shimodaira (2000), JSPI 90: flattened
    weights; Mann-Whitney variance (n + m + 1) / 12nm of an AUC without difference.
    """
    before, after = (rows[thin_rows(len(rows))] for rows in (evidence, window))
    a, b = len(before), len(after)
    is_new = np.repeat([0.0, 1.0], [a, b])
    fold = np.concatenate([np.arange(a), np.arange(b)]) % FOLDS
    beta, decision = logistic.fit_crossfitted(np.vstack([before, after]), is_new, fold, FOLDS)
    spread = np.sqrt((a + b + 1) / (12 * a * b))
    told = (
        scores.roc_auc(is_new, special.expit(decision))
        > 0.5 + stats.norm.ppf(SURELY_DIFFERENT) * spread
    )
    odds = np.exp(np.clip(evidence @ beta, -15.0, 15.0))
    for power in POWERS:
        weights = np.minimum(odds / odds.mean(), MAX_WEIGHT) ** power
        weights /= weights.mean()
        effective = float(len(weights) ** 2 / np.square(weights).sum())
        if effective >= MIN_EFFECTIVE:
            return Resemblance(weights, effective, bool(told))
    return Resemblance(weights, effective, seen=False)


def calibrate_chances(
    evidence: CalibrationRows, weights: Floats | None = None, columns: bool = False
) -> ChanceCalibration:
    """Return how the champion's score, with ``columns`` also theirs, turns into a chance.

    On the reference's own rows no score may count against itself: with a negative coefficient it
    is left out. Newer labels may turn it round, because the rule may have changed. The covariance
    is the sandwich over 16 contiguous blocks, which holds for dependent rows.

    Source: stacked log odds, Wolpert (1992), Neural Networks 5; sandwich, Liang and Zeger (1986),
    Biometrika 73.
    """
    w = np.ones(len(evidence.y)) if weights is None else weights
    used = np.array([0, 1, 2] if columns else [0, 2])
    while True:
        x = evidence.inputs[:, used]
        beta, hessian = logistic.fit_sigmoid(x, evidence.y, w)
        against = np.flatnonzero(beta[:-1] < 0)
        if evidence.recent or not len(against):
            break
        used = np.delete(used, against[np.argmin(beta[against])])
    residual = (w * (evidence.y - special.expit(x @ beta)))[:, None] * x
    spread = block_variance(residual, least_blocks=2)[0]
    inverse = np.linalg.pinv(hessian)
    return ChanceCalibration(used, beta, inverse @ spread @ inverse)


def _evidence(
    known: Encoding, columns: Floats, y: Floats, design: Floats, inputs: Floats, recent: bool
) -> CalibrationRows:
    found = CalibrationRows(known, columns, y, design, inputs, informative=False, recent=recent)
    both = calibrate_chances(found, columns=True)
    gain = _log_likelihood(both, found) - _log_likelihood(calibrate_chances(found), found)
    informative = 1 in both.used and 2.0 * gain > stats.chi2.ppf(0.99, 1)
    return CalibrationRows(known, columns, y, design, inputs, bool(informative), recent)


def _log_likelihood(fitted: ChanceCalibration, found: CalibrationRows) -> float:
    eta = found.inputs[:, fitted.used] @ fitted.coefficients
    return float((found.y * eta - np.logaddexp(0.0, eta)).sum())


def thin_rows(rows: int) -> slice:
    """Return which of so many rows the classifier learns from: every k-th."""
    return slice(None, None, 1 + (rows - 1) // MOST_TOLD)


def _bounded(odds: Floats) -> Floats:
    most = -float(scores.to_log_odds(np.zeros(1), EDGE)[0])
    return np.clip(odds, -most, most)
