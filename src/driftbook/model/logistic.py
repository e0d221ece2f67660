"""Logistic regression by Newton's method: many small fits in little time.

The optimum is that of scikit-learn's logistic regression; a backtest needs hundreds of such fits,
and the general machinery costs ten times as much as the few matrix products.
"""

from __future__ import annotations

import numpy as np
from scipy import linalg, special

from driftbook.data.arrays import Floats, Ints

_STEPS = 50
_TOLERANCE = 1e-6
# Curvatures below this are rounded up: sums of subnormal numbers take a hundred times as long.
_FLAT = 1e-12


def fit_logistic(design: Floats, y: Floats, weights: Floats | None = None) -> Floats:
    """Return the coefficients (d,) of a ridge-penalised logistic fit.

    ``design`` (n, d) has its constant column last, which bears no penalty; the penalty is
    ``|b|^2 / 2`` as in scikit-learn with ``C=1``. ``y`` (n,) is 0 or 1, ``weights`` (n,) are case
    weights. Missing values must be filled before.

    Source: Newton steps, Hastie et al. (2009), Elements of Statistical Learning, §4.4.1.
    """
    return _newton(design, y, np.ones(len(y)) if weights is None else weights)[0]


def fit_crossfitted(design: Floats, y: Floats, fold: Ints, folds: int) -> tuple[Floats, Floats]:
    """Return the optimum on all rows (d,) and each row's decision by a fit without its fold (n,).

    ``design`` and penalty as for :func:`fit_logistic`; ``fold`` (n,) counts from 0 to ``folds``.
    """
    beta, _ = _newton(design, y, np.ones(len(y)))
    decision = np.empty(len(y))
    for k in range(folds):
        kept = fold != k
        without, _ = _newton(design[kept], y[kept], np.ones(kept.sum()), start=beta)
        decision[~kept] = design[~kept] @ without
    return beta, decision


def fit_sigmoid(inputs: Floats, y: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Return the coefficients (d,) that turn ``inputs`` (n, d) into chances, and the Hessian there.

    Platt's smoothed targets, which stay finite where ``inputs`` separate the classes.

    Source: Platt (1999), §2.2: targets (n1 + 1) / (n1 + 2) and 1 / (n0 + 2).
    """
    ones, zeros = weights[y == 1].sum(), weights[y == 0].sum()
    target = np.where(y == 1, (ones + 1) / (ones + 2), 1 / (zeros + 2))
    return _newton(inputs, target, weights, penalty=0.0)


def _newton(
    design: Floats, y: Floats, w: Floats, penalty: float = 1.0, start: Floats | None = None
) -> tuple[Floats, Floats]:
    """Return the optimum and the Hessian there; steps are halved until the loss falls."""
    # The constant column's sliver of a penalty only keeps the Hessian invertible.
    ridge = np.append(np.full(design.shape[1] - 1, max(penalty, 1e-9)), 1e-9)
    beta = np.zeros(design.shape[1]) if start is None else start
    loss = _loss(design, y, w, beta, ridge)
    hessian = np.diag(ridge)
    for _ in range(_STEPS):
        p = special.expit(design @ beta)
        curvature = np.maximum(w * p * (1 - p), _FLAT)
        hessian = (design * curvature[:, None]).T @ design + np.diag(ridge)
        step = _solve(hessian, design.T @ (w * (y - p)) - ridge * beta)
        share = 1.0
        while (new := _loss(design, y, w, beta + share * step, ridge)) > loss and share > 1e-4:
            share /= 2
        beta, fallen, loss = beta + share * step, loss - new, new
        if np.abs(share * step).max() < _TOLERANCE or fallen <= 1e-12 * abs(loss):
            break
    return beta, hessian


def _solve(hessian: Floats, gradient: Floats) -> Floats:
    try:
        solution = linalg.cho_solve(linalg.cho_factor(hessian), gradient)
    except linalg.LinAlgError:
        solution = np.linalg.lstsq(hessian, gradient, rcond=None)[0]
    return np.asarray(solution, dtype=np.float64)


def _loss(design: Floats, y: Floats, w: Floats, beta: Floats, ridge: Floats) -> float:
    eta = design @ beta
    return float(w @ (np.logaddexp(0.0, eta) - y * eta) + 0.5 * ridge @ np.square(beta))
