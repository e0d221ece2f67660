"""Compiling a fitted pipeline into a document that scores without scikit-learn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from driftbook.model import scoring
from driftbook.model.design import feature_places, model_inputs
from driftbook.model.scoring import WireRow, WireValue

if TYPE_CHECKING:
    import pandas as pd

    from driftbook.data.columns import Feature
    from driftbook.model.training import Model

SCORER_TOLERANCE = 1e-6
PROBE_ROWS = 256
# Of a column with more different texts no list is kept: a new one is no news there.
MOST_LEVELS = 10_000
_LARGEST = 1.7976931348623157e308


class NotCompiledError(Exception):
    """The model is of a kind that has no compiled form, or the compiled form is not exact."""


def compile_model(model: Model) -> dict[str, Any]:
    """Return the compiled form of ``model``, proven against scikit-learn on its reference.

    The document carries a probe (reference rows with scikit-learn's probabilities), so that a
    server can prove it again where scikit-learn is not loaded. Where compiling fails the
    document's ``kind`` is ``none`` and ``reason`` says why; the probe is there all the same.
    ``seen``: what the reference holds of each feature, see :func:`list_seen_values`.
    """
    if model.prediction:
        reason = "the model is served elsewhere"
        return {"format": scoring.SCORER_FORMAT, "kind": "none", "reason": reason}
    rows = to_wire_rows(model.reference, model.features)
    expected = model.predict(model.reference)
    chosen = np.unique(np.linspace(0, len(rows) - 1, min(PROBE_ROWS, len(rows))).astype(int))
    probe = {"rows": [rows[i] for i in chosen], "probabilities": expected[chosen].tolist()}
    known = {"probe": probe, "seen": list_seen_values(rows, model.features)}
    try:
        document = _document(model)
        scorer = scoring.build_scorer(document)
        difference = measure_largest_difference(scorer, rows, expected.tolist())
        if not difference <= SCORER_TOLERANCE:
            raise NotCompiledError(f"differs from scikit-learn by {difference:.1e}")
    except NotCompiledError as error:
        document = {"format": scoring.SCORER_FORMAT, "kind": "none", "reason": str(error)}
        return {**document, **known}
    proof = {"rows": len(rows), "largest_difference": difference}
    return {**document, "proof": proof, **known}


def list_seen_values(
    rows: Sequence[WireRow], features: Sequence[Feature]
) -> list[list[float] | list[str] | None]:
    """Return by feature its least and largest number, or its categories in order.

    None where nothing can be said: of booleans, of a column without any value, and of more
    different texts than ``MOST_LEVELS``.

    >>> from driftbook.data.columns import Feature
    >>> features = [Feature("x", "numeric"), Feature("y", "categorical")]
    >>> list_seen_values([[1.5, "b"], [None, "a"]], features)
    [[1.5, 1.5], ['a', 'b']]
    """
    found: list[list[float] | list[str] | None] = []
    for place, feature in enumerate(features):
        values = {row[place] for row in rows} - {None}
        if not values or feature.kind == "boolean":
            found.append(None)
        elif feature.kind == "categorical":
            found.append(sorted(values) if len(values) <= MOST_LEVELS else None)
        else:
            found.append([float(min(values)), float(max(values))])
    return found


def measure_largest_difference(
    scorer: scoring.Scorer, rows: Sequence[WireRow], expected: Sequence[scoring.WireScore]
) -> float:
    """Return the largest difference to ``expected``; NaN where a score is not a number.

    Of numbers larger than 1 it counts as a share of them.
    """
    wanted = np.asarray(expected, dtype=np.float64)
    apart = np.abs(np.subtract(scorer.many(rows), wanted)) / np.maximum(1.0, np.abs(wanted))
    return float(apart.max(initial=0.0))


def to_wire_rows(frame: pd.DataFrame, features: Sequence[Feature]) -> list[list[WireValue]]:
    """Return the rows as a client would send them: numbers, booleans, text, None for missing.

    Raises:
        UsageError: a feature is no column of ``frame``.
    """
    table = model_inputs(frame, tuple(features))
    columns: list[list[WireValue]] = []
    for feature in features:
        values = table[feature.name].tolist()
        if feature.kind == "categorical":
            columns.append([value or None for value in values])
        else:
            numbers = np.asarray(values, dtype=np.float64)
            sent = numbers.astype(bool if feature.kind == "boolean" else float).tolist()
            for gap in np.flatnonzero(np.isnan(numbers)).tolist():
                sent[gap] = None
            columns.append(sent)
    return [list(row) for row in zip(*columns, strict=True)]


def _document(model: Model) -> dict[str, Any]:
    steps = getattr(model.estimator, "named_steps", {})
    if "take" in steps:
        raise NotCompiledError("the estimator takes the features as they are")
    if list(steps) != ["prepare", "estimator"]:
        raise NotCompiledError(f"unknown pipeline steps {list(steps)}")
    columns, width = _columns(steps["prepare"], model.features)
    calibrated = steps["estimator"]
    outputs = len(model.task.outputs)
    kind, parts = _split_estimator(calibrated.estimator, outputs)
    common = {"format": scoring.SCORER_FORMAT, "kind": kind, "columns": columns, "width": width}
    if calibrated.link == "logit":
        return {**common, "calibration": [-calibrated.slope, -calibrated.intercept], **parts[0]}
    moved = np.broadcast_to(calibrated.intercept, outputs).tolist()
    return {**common, "outputs": parts, "slope": calibrated.slope, "intercepts": moved}


def _columns(prepare: Any, features: Sequence[Feature]) -> tuple[list[Mapping[str, Any]], int]:
    """Return by feature where its values go in the prepared row and how, and that row's width."""
    places = feature_places(prepare)
    missing = [f.name for f in features if f.name not in places]
    if missing:
        raise NotCompiledError(f"no transformer for {', '.join(missing)}")
    found: dict[str, Mapping[str, Any]] = {}
    for part, step, names in prepare.transformers_:
        for j, name in enumerate(names):
            learnt = _codes(step, j) if part == "categorical" else _number(step[0], step[1], j)
            found[name] = {"start": places[name].start, **learnt}
    return [found[f.name] for f in features], max(place.stop for place in places.values())


def _number(impute: Any, scale: Any, position: int) -> Mapping[str, Any]:
    """Return what fills a number's gaps, and how it is scaled."""
    learnt = {"fill": impute.statistics_, "mean": scale.mean_, "scale": scale.scale_}
    return {name: float(values[position]) for name, values in learnt.items()}


def _codes(encoder: Any, position: int) -> Mapping[str, Any]:
    """Return the column of each category of one feature, counted from the feature's first.

    Rare categories share the last column, and so do unseen ones; without rare categories an
    unseen one has no column.
    """
    categories = [str(category) for category in encoder.categories_[position]]
    rare = encoder.infrequent_categories_[position]
    shared = set() if rare is None else {str(category) for category in rare}
    kept = [category for category in categories if category not in shared]
    codes = {category: code for code, category in enumerate(kept)}
    codes.update(dict.fromkeys(shared, len(kept)))
    return {"codes": codes, "other": len(kept) if shared else None}


def _split_estimator(estimator: Any, outputs: int) -> tuple[str, list[dict[str, Any]]]:
    """Return the kind of a fitted estimator, and its parameters output by output."""
    if hasattr(estimator, "coef_"):
        weights, starts = np.atleast_2d(estimator.coef_), np.atleast_1d(estimator.intercept_)
        if len(weights) != outputs:
            raise NotCompiledError(f"{len(weights)} rows of coefficients for {outputs} outputs")
        return "linear", [
            {"coefficients": weights[k].tolist(), "intercept": float(starts[k])}
            for k in range(outputs)
        ]
    parts = getattr(estimator, "__dict__", {})
    if "_predictors" not in parts:
        raise NotCompiledError(f"unknown estimator {type(estimator).__name__}")
    baselines = np.ravel(parts["_baseline_prediction"])
    if len(baselines) != outputs:
        raise NotCompiledError(f"{len(baselines)} baselines for {outputs} outputs")
    return "trees", [
        {
            "baseline": float(baselines[k]),
            "trees": [_tree(predictors[k].nodes) for predictors in parts["_predictors"]],
        }
        for k in range(outputs)
    ]


def _tree(nodes: Any) -> dict[str, Any]:
    leaf = nodes["is_leaf"].astype(bool)
    if leaf.sum() > scoring.LEAVES or nodes["is_categorical"].any():
        raise NotCompiledError(f"a tree has {int(leaf.sum())} leaves or splits on categories")
    return {
        "feature": nodes["feature_idx"].tolist(),
        "threshold": np.minimum(nodes["num_threshold"], _LARGEST).tolist(),
        "left": np.where(leaf, -1, nodes["left"].astype(int)).tolist(),
        "right": np.where(leaf, -1, nodes["right"].astype(int)).tolist(),
        "value": nodes["value"].tolist(),
    }
