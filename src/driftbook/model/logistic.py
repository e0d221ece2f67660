"""Calibrated logistic regression by Newton's method: many small fits in little time.

The optimum is that of ``training.pipeline`` with a logistic regression; a backtest needs hundreds
of such fits, and the general machinery costs ten times as much as the few matrix products.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import linalg, special
from sklearn.model_selection import StratifiedKFold

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_STEPS = 50
_TOLERANCE = 1e-6
# The fixed curvature of the whole fit serves the folds for this many steps, then each has its own.
_SHARED_STEPS = 12
# Curvatures below this are rounded up: sums of subnormal numbers take a hundred times as long.
_FLAT = 1e-12


@dataclass(frozen=True)
class CalibratedLogistic:
    """Coefficients (d,) and intercept of a decision function, and the sigmoid on top of it."""

    coefficients: Floats
    slope: float
    intercept: float

    def predict(self, design: Floats) -> Floats:
        """Return the calibrated probability of each row of ``design`` (n, d), shape (n,)."""
        decision = design @ self.coefficients
        probability: Floats = special.expit(self.slope * decision + self.intercept)
        return probability


def fit_calibrated_logistic(
    design: Floats, y: Floats, weights: Floats | None, folds: int
) -> CalibratedLogistic:
    """Return a ridge-penalised logistic fit with Platt scaling on out-of-fold decisions.

    ``design`` (n, d) has its constant column last, which bears no penalty; the penalty is
    ``|b|^2 / 2`` as in scikit-learn with ``C=1``. ``y`` (n,) is 0 or 1, ``weights`` (n,) are case
    weights. Folds are contiguous within a class. With fewer than two folds the sigmoid is left
    out. Missing values must be filled before.

    Source: Newton steps, Hastie et al. (2009), Elements of Statistical Learning, §4.4.1; Platt
    (1999), Probabilistic outputs for support vector machines, with his smoothed targets.
    """
    w = np.ones(len(y)) if weights is None else weights
    beta, hessian = _newton(design, y, w)
    if folds < 2:
        return CalibratedLogistic(beta, 1.0, 0.0)
    fold = np.empty(len(y), dtype=np.int64)
    for k, (_, rows) in enumerate(StratifiedKFold(folds).split(y, y)):
        fold[rows] = k
    betas = _without_folds(design, y, w, beta, hessian, fold, folds)
    decision = np.einsum("nd,nd->n", design, betas.T[fold])
    slope, intercept = fit_platt(decision, y, w)
    return CalibratedLogistic(beta, slope, intercept)


def fit_crossfitted(design: Floats, y: Floats, fold: Ints, folds: int) -> tuple[Floats, Floats]:
    """Return the optimum on all rows (d,) and each row's decision by a fit without its fold (n,).

    ``design`` and its penalty as for :func:`fit_calibrated_logistic`; ``fold`` (n,) counts from 0 to ``folds``.
    """
    w = np.ones(len(y))
    beta, hessian = _newton(design, y, w)
    betas = _without_folds(design, y, w, beta, hessian, fold, folds)
    decision: Floats = np.einsum("nd,nd->n", design, betas.T[fold])
    return beta, decision


def fit_sigmoid(inputs: Floats, y: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Return the coefficients (d,) that turn ``inputs`` (n, d) into chances, and the Hessian there.

    Platt's smoothed targets, which stay finite where ``inputs`` separate the classes.

    Source: Platt (1999), §2.2: targets (n1 + 1) / (n1 + 2) and 1 / (n0 + 2).
    """
    ones, zeros = weights[y == 1].sum(), weights[y == 0].sum()
    target = np.where(y == 1, (ones + 1) / (ones + 2), 1 / (zeros + 2))
    return _newton(inputs, target, weights, penalty=0.0)


def fit_platt(decision: Floats, y: Floats, weights: Floats) -> tuple[float, float]:
    """Return slope and intercept of the sigmoid that calibrates ``decision`` (n,).

    Source: Platt (1999), §2.2: targets (n1 + 1) / (n1 + 2) and 1 / (n0 + 2).
    """
    scale = max(1.0, float(np.abs(decision).max()))
    design = np.column_stack([decision / scale, np.ones(len(y))])
    (slope, intercept), _ = fit_sigmoid(design, y, weights)
    return float(slope / scale), float(intercept)


def _newton(
    design: Floats, y: Floats, w: Floats, penalty: float = 1.0, start: Floats | None = None
) -> tuple[Floats, Floats]:
    """Return the optimum and the Hessian there; steps are halved until the loss falls."""
    ridge = _ridge(design.shape[1], penalty)
    beta = np.zeros(design.shape[1]) if start is None else start
    loss = _loss(design, y, w, beta, ridge)
    hessian = np.diag(ridge)
    for _ in range(_STEPS):
        p = special.expit(design @ beta)
        hessian = (design * _curvature(w, p)[:, None]).T @ design + np.diag(ridge)
        step = _solve(hessian, design.T @ (w * (y - p)) - ridge * beta)
        share = 1.0
        while (new := _loss(design, y, w, beta + share * step, ridge)) > loss and share > 1e-4:
            share /= 2
        beta, fallen, loss = beta + share * step, loss - new, new
        if np.abs(share * step).max() < _TOLERANCE or fallen <= 1e-12 * abs(loss):
            break
    return beta, hessian


def _without_folds(
    design: Floats, y: Floats, w: Floats, beta: Floats, hessian: Floats, fold: Ints, folds: int
) -> Floats:
    """Return (d, folds): the optimum without each fold, from the whole fit's own curvature."""
    ridge = _ridge(design.shape[1], 1.0)
    p = special.expit(design @ beta)
    curvature = _curvature(w, p)
    parts = [design[fold == k] * curvature[fold == k, None] for k in range(folds)]
    left = [hessian - part.T @ design[fold == k] for k, part in enumerate(parts)]
    kept = w[:, None] * (fold[:, None] != np.arange(folds))
    betas = np.repeat(beta[:, None], folds, axis=1)
    for _ in range(_SHARED_STEPS):
        residual = kept * (y[:, None] - special.expit(design @ betas))
        gradient = design.T @ residual - ridge[:, None] * betas
        step = np.column_stack([_solve(left[k], gradient[:, k]) for k in range(folds)])
        size = np.abs(step).max()
        if size > 5.0:
            break
        betas += step
        if size < 1e-3:  # only the sigmoid's two numbers are taken from these fits
            return betas
    fits = [
        _newton(design[fold != k], y[fold != k], w[fold != k], start=beta)[0] for k in range(folds)
    ]
    return np.column_stack(fits)


def _curvature(w: Floats, p: Floats) -> Floats:
    curvature: Floats = np.maximum(w * p * (1 - p), _FLAT)
    return curvature


def _ridge(width: int, penalty: float) -> Floats:
    # The constant column's sliver of a penalty only keeps the Hessian invertible.
    return np.append(np.full(width - 1, max(penalty, 1e-9)), 1e-9)


def _solve(hessian: Floats, gradient: Floats) -> Floats:
    try:
        solution: Floats = linalg.cho_solve(
            linalg.cho_factor(hessian, check_finite=False), gradient, check_finite=False
        )
    except linalg.LinAlgError:
        solution = np.asarray(np.linalg.lstsq(hessian, gradient, rcond=None)[0], dtype=np.float64)
    return solution


def _loss(design: Floats, y: Floats, w: Floats, beta: Floats, ridge: Floats) -> float:
    eta = design @ beta
    return float(w @ (np.logaddexp(0.0, eta) - y * eta) + 0.5 * ridge @ np.square(beta))
