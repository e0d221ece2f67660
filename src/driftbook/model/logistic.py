"""Logistic regression by Newton's method: many small fits in little time.

The optimum is that of scikit-learn's logistic regression; a backtest needs hundreds of such fits,
and the general machinery costs ten times as much as the few matrix products. A design of more
columns than rows is fitted in the space that its rows span, which holds the optimum.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import linalg, optimize, special

from driftbook.data.arrays import Floats, Ints

_STEPS = 50
# Steps that may rest on the curvature of a fit near by; after them it is found anew.
_FEW_STEPS = 5
# A Newton step costs the square of the number of columns, a gradient only that number: beyond this
# many columns (a step takes a tenth of a second) hundreds of gradients are cheaper.
_WIDEST_NEWTON = 1000
_GRADIENTS = 1000
# What is added to the squared lengths of rows, as a share, so that equal rows can be told apart;
# a decision moves by less than Newton's tolerance.
_JITTER = 1e-12
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
    reduced, to_columns = _span_design(design)
    return to_columns(_fit(reduced, y, np.ones(len(y)) if weights is None else weights))


def fit_crossfitted(design: Floats, y: Floats, fold: Ints, folds: int) -> tuple[Floats, Floats]:
    """Return the optimum on all rows (d,) and each row's decision by a fit without its fold (n,).

    ``design`` and penalty as for :func:`fit_logistic`; ``fold`` (n,) counts from 0 to ``folds``.
    """
    reduced, to_columns = _span_design(design)
    reduced = np.asfortranarray(reduced)  # columns in one piece: no fit has to copy them
    beta = _fit(reduced, y, np.ones(len(y)))
    decision = np.empty(len(y))
    places = [np.flatnonzero(fold == k) for k in range(folds)]
    curves = None
    if reduced.shape[1] <= _WIDEST_NEWTON:
        p = special.expit(reduced @ beta)
        curves = [_find_curvature(reduced[rows].T, p[rows] * (1 - p[rows])) for rows in places]
    for k, rows in enumerate(places):
        kept = np.ones(len(y))
        kept[rows] = 0.0
        near = None if curves is None else sum(curves) - curves[k]
        without = _fit(reduced, y, kept, beta, near)
        decision[rows] = reduced[rows] @ without
    return to_columns(beta), decision


def span_rows(inputs: Floats) -> tuple[Floats, Callable[[Floats], Floats]]:
    """Return inputs (n, r) with r <= n columns whose rows have the same inner products.

    ``inputs``: shape (n, d). A fit with a penalty on the length of its coefficients is the same on
    both; the function returned turns coefficients (r, …) into those of ``inputs``, (d, …). With
    d <= n both are as they were.

    Source: representer theorem, Kimeldorf and Wahba (1971), J. Math. Anal. Appl. 33.
    """
    if inputs.shape[1] <= len(inputs):
        return inputs, lambda found: found
    products = inputs @ inputs.T
    products[np.diag_indices_from(products)] += max(_JITTER * float(np.trace(products)), 1e-300)
    lower = linalg.cholesky(products, lower=True)

    def to_columns(found: Floats) -> Floats:
        shares = linalg.solve_triangular(lower, found, lower=True, trans="T")
        return np.asarray(inputs.T @ shares)

    return lower, to_columns


def _span_design(design: Floats) -> tuple[Floats, Callable[[Floats], Floats]]:
    """Return :func:`span_rows` of a design; its last column, the constant, stays the last."""
    if design.shape[1] <= len(design):
        return design, lambda beta: beta
    inputs, to_columns = span_rows(design[:, :-1])
    reduced = np.column_stack([inputs, np.ones(len(design))])
    return reduced, lambda beta: np.append(to_columns(beta[:-1]), beta[-1])


def fit_sigmoid(inputs: Floats, y: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Return the coefficients (d,) that turn ``inputs`` (n, d) into chances, and the Hessian there.

    Platt's smoothed targets, which stay finite where ``inputs`` separate the classes.

    Source: Platt (1999), §2.2: targets (n1 + 1) / (n1 + 2) and 1 / (n0 + 2).
    """
    ones, zeros = weights[y == 1].sum(), weights[y == 0].sum()
    target = np.where(y == 1, (ones + 1) / (ones + 2), 1 / (zeros + 2))
    return _newton(inputs, target, weights, penalty=0.0)


def _fit(
    design: Floats,
    y: Floats,
    w: Floats,
    start: Floats | None = None,
    curvature: Floats | None = None,
) -> Floats:
    """Return the optimum by the method that is cheaper for so many columns."""
    if design.shape[1] <= _WIDEST_NEWTON:
        return _newton(design, y, w, start=start, curvature=curvature)[0]
    ridge = np.append(np.ones(design.shape[1] - 1), 1e-9)

    def loss(beta: Floats) -> tuple[float, Floats]:
        pull = design.T @ (w * (special.expit(design @ beta) - y)) + ridge * beta
        return _loss(design, y, w, beta, ridge), pull

    first = np.zeros(design.shape[1]) if start is None else start
    options = {"maxiter": _GRADIENTS, "gtol": 1e-4, "ftol": 1e-10}
    found = optimize.minimize(loss, first, jac=True, method="L-BFGS-B", options=options)
    return np.asarray(found.x)


def _newton(
    design: Floats,
    y: Floats,
    w: Floats,
    penalty: float = 1.0,
    start: Floats | None = None,
    curvature: Floats | None = None,
) -> tuple[Floats, Floats]:
    """Return the optimum and the Hessian there; steps are halved until the loss falls.

    ``curvature``: the loss's at ``start``, close to the optimum, which serves the first steps.
    """
    # The constant column's sliver of a penalty only keeps the Hessian invertible.
    ridge = np.append(np.full(design.shape[1] - 1, max(penalty, 1e-9)), 1e-9)
    # A column in one piece is scaled in a third of the time.
    columns = np.ascontiguousarray(design.T)
    beta = np.zeros(design.shape[1]) if start is None else start
    loss, p = _loss_and_chances(columns, y, w, beta, ridge)
    hessian = np.diag(ridge)
    for number in range(_STEPS):
        near = curvature if number < _FEW_STEPS else None
        hessian = _find_curvature(columns, w * p * (1 - p)) if near is None else near
        hessian = hessian + np.diag(ridge)
        step = _solve(hessian, columns @ (w * (y - p)) - ridge * beta)
        share = 1.0
        while True:
            tried = beta + share * step
            new, p = _loss_and_chances(columns, y, w, tried, ridge)
            if new <= loss or share <= 1e-4:
                break
            share /= 2
        beta, fallen, loss = tried, loss - new, new
        if np.abs(share * step).max() < _TOLERANCE or fallen <= 1e-12 * abs(loss):
            break
    return beta, hessian


def _find_curvature(columns: Floats, weights: Floats) -> Floats:
    """Return the Hessian (d, d) of the loss without its penalty; ``columns``: (d, n)."""
    # One matrix times its own transpose is half the work of two.
    scaled = columns * np.sqrt(np.maximum(weights, _FLAT))
    return np.asarray(scaled @ scaled.T)


def _solve(hessian: Floats, gradient: Floats) -> Floats:
    try:
        solution = linalg.cho_solve(linalg.cho_factor(hessian), gradient)
    except linalg.LinAlgError:
        solution = np.linalg.lstsq(hessian, gradient, rcond=None)[0]
    return np.asarray(solution, dtype=np.float64)


def _loss(design: Floats, y: Floats, w: Floats, beta: Floats, ridge: Floats) -> float:
    return _loss_and_chances(design.T, y, w, beta, ridge)[0]


def _loss_and_chances(
    columns: Floats, y: Floats, w: Floats, beta: Floats, ridge: Floats
) -> tuple[float, Floats]:
    """Return the penalised loss of ``beta`` and the chance of each row; ``columns``: (d, n)."""
    eta = beta @ columns
    # log(1 + exp(eta)), in a quarter of logaddexp's time; no exponent is above 0.
    softplus = np.maximum(eta, 0.0) + np.log(1.0 + np.exp(-np.abs(eta)))
    loss = float(w @ (softplus - y * eta) + 0.5 * ridge @ np.square(beta))
    return loss, np.exp(eta - softplus)
