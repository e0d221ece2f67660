"""Scorers that run a compiled model in plain Python and NumPy, without scikit-learn.

A compiled model is a JSON document (see :mod:`driftbook.model.compilation`): the fill, mean and
scale of every number, the column of every category, a linear or a tree classifier, and its
calibration.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from driftbook.data.arrays import Floats

WireValue = float | bool | str | None
WireRow = Sequence[Any]

SCORER_FORMAT = 1
BATCH_ROWS = 1024
# The bits of a mask, and so the most leaves that a tree may have.
LEAVES = 64
ALL_LEAVES = 2**LEAVES - 1
# Chances of classes are no smaller than this where their logarithms are taken.
SMALLEST_CHANCE = 1e-12


# What is predicted of one row: the chance of 1, a value, or a chance a class.
WireScore = float | list[float]


class Scorer(Protocol):
    """What turns rows, in the model's feature order, into predictions of the task's form."""

    kind: str

    def one(self, row: WireRow) -> WireScore:
        """Return the prediction for one row; ``None`` is a missing value and is imputed."""

    def many(self, rows: Sequence[WireRow]) -> Sequence[WireScore]:
        """Return one prediction a row."""


def build_scorer(document: Mapping[str, Any]) -> Scorer:
    """Return the scorer that a compiled model describes.

    Raises:
        ValueError: the document is of another format, or of a kind that cannot be compiled.
    """
    kind = document.get("kind")
    if document.get("format") != SCORER_FORMAT or kind not in ("linear", "trees"):
        found = f"kind {kind!r} in format {document.get('format')!r}"
        raise ValueError(f"no compiled scorer of {found}")
    build: type[LinearScorer | TreeScorer] = LinearScorer if kind == "linear" else TreeScorer
    if "outputs" not in document:
        return build(document)
    shared = {key: document[key] for key in ("columns", "width")} | {"calibration": [-1.0, 0.0]}
    return OutputsScorer(document, [build(shared | one) for one in document["outputs"]])


def logistic_function(margin: float) -> float:
    """Return ``1 / (1 + exp(-margin))`` without overflow.

    >>> logistic_function(0.0)
    0.5
    >>> logistic_function(-1e9)
    0.0
    """
    if margin >= 0.0:
        return 1.0 / (1.0 + math.exp(-margin))
    odds = math.exp(margin)
    return odds / (1.0 + odds)


class LinearScorer:
    """A calibrated logistic regression: one multiplication or look-up a feature."""

    kind = "linear"

    def __init__(self, document: Mapping[str, Any]) -> None:
        coefficients = document["coefficients"]
        self._intercept = float(document["intercept"])
        self._slope, self._offset = document["calibration"]
        self._terms: list[tuple[float, float, float, dict[str, float] | None]] = []
        for column in document["columns"]:
            start = column["start"]
            if "codes" in column:
                codes = {text: coefficients[start + code] for text, code in column["codes"].items()}
                other = column["other"]
                unknown = 0.0 if other is None else coefficients[start + other]
                self._terms.append((0.0, 0.0, unknown, codes))
            else:
                weight = coefficients[start] / column["scale"]
                self._terms.append((column["fill"], column["mean"], weight, None))

    def one(self, row: WireRow) -> float:
        """Return the probability of one row."""
        return logistic_function(-(self._slope * self.margin(row) + self._offset))

    def margin(self, row: WireRow) -> float:
        """Return the row's weighted sum, before calibration and link."""
        total = self._intercept
        for value, (fill, mean, weight, codes) in zip(row, self._terms, strict=True):
            if codes is not None:
                total += codes.get(value or "", weight)
            else:
                total += ((fill if value is None else value) - mean) * weight
        return total

    def many(self, rows: Sequence[WireRow]) -> list[float]:
        """Return one probability a row."""
        return list(map(self.one, rows))

    def margins(self, rows: Sequence[WireRow]) -> list[float]:
        """Return one margin a row."""
        return list(map(self.margin, rows))


class TreeScorer:
    """Calibrated boosted trees, scored by masks: a feature's value strikes out leaves of all trees.

    For every feature and every position among its sorted thresholds, one row of masks (a 64-bit
    word a tree) tells which leaves are still open; the AND over the features leaves the exit leaf
    of each tree as the lowest set bit.

    Source: QuickScorer, Lucchese et al. (2015), SIGIR, section 3.
    """

    kind = "trees"

    def __init__(self, document: Mapping[str, Any]) -> None:
        import numpy as np

        self._np = np
        self._columns = document["columns"]
        self._width = int(document["width"])
        self._baseline = float(document["baseline"])
        self._slope, self._offset = document["calibration"]
        trees = document["trees"]
        self._values = np.zeros((len(trees), LEAVES))
        splits: dict[int, list[tuple[float, int, int]]] = {}
        for number, tree in enumerate(trees):
            leaves, masks = _split_masks(tree)
            self._values[number, : len(leaves)] = [tree["value"][leaf] for leaf in leaves]
            for feature, threshold, mask in masks:
                splits.setdefault(feature, []).append((threshold, number, mask))
        self._splits = [(f, *_mask_table(splits[f], len(trees))) for f in sorted(splits)]
        self._all_open = np.full(len(trees), np.uint64(ALL_LEAVES))
        self._numbers = np.arange(len(trees))
        self._one = np.uint64(1)

    def one(self, row: WireRow) -> float:
        """Return the probability of one row."""
        return self._probability(self.margin(row))

    def margin(self, row: WireRow) -> float:
        """Return the sum of the row's exit leaves, before calibration and link."""
        prepared = self._prepared(row)
        still_open = self._all_open
        for feature, thresholds, masks in self._splits:
            still_open = still_open & masks[bisect_left(thresholds, prepared[feature])]
        return float(self._raw(still_open))

    def many(self, rows: Sequence[WireRow]) -> list[float]:
        """Return one probability a row."""
        return list(map(self._probability, self.margins(rows)))

    def margins(self, rows: Sequence[WireRow]) -> list[float]:
        """Return one margin a row; works through the rows in blocks."""
        found: list[float] = []
        for start in range(0, len(rows), BATCH_ROWS):
            block = [self._prepared(row) for row in rows[start : start + BATCH_ROWS]]
            still_open = self._np.tile(self._all_open, (len(block), 1))
            for feature, thresholds, masks in self._splits:
                passed = [bisect_left(thresholds, row[feature]) for row in block]
                still_open &= masks[passed]
            found += self._raw(still_open).tolist()
        return found

    def _prepared(self, row: WireRow) -> list[float]:
        prepared = [0.0] * self._width
        for value, column in zip(row, self._columns, strict=True):
            start = column["start"]
            if "codes" in column:
                code = column["codes"].get(value or "", column["other"])
                if code is not None:
                    prepared[start + code] = 1.0
            else:
                number = column["fill"] if value is None else value
                prepared[start] = (number - column["mean"]) / column["scale"]
        return prepared

    def _raw(self, still_open: NDArray[np.uint64]) -> Floats:
        """Return the sum of the exit leaves; the last axis of ``still_open`` are the trees."""
        lowest = still_open & (~still_open + self._one)
        leaf = self._np.bitwise_count(lowest - self._one)
        exits: Floats = self._values[self._numbers, leaf].sum(axis=-1)
        return self._baseline + exits

    def _probability(self, raw: float) -> float:
        return logistic_function(-(self._slope * raw + self._offset))


class OutputsScorer:
    """Several margins and a link: a softmax over the classes, or one value as it is."""

    def __init__(
        self, document: Mapping[str, Any], margins: Sequence[LinearScorer | TreeScorer]
    ) -> None:
        self.kind = str(document["kind"])
        self._margins = margins
        self._slope = float(document["slope"])
        self._intercepts = document["intercepts"]

    def one(self, row: WireRow) -> WireScore:
        """Return the prediction for one row."""
        return self._linked([scorer.margin(row) for scorer in self._margins])

    def many(self, rows: Sequence[WireRow]) -> list[WireScore]:
        """Return one prediction a row."""
        columns = [scorer.margins(rows) for scorer in self._margins]
        return [self._linked(margins) for margins in zip(*columns, strict=True)]

    def _linked(self, margins: Sequence[float]) -> WireScore:
        shifts: Sequence[float] = self._intercepts
        if len(margins) == 1:
            return self._slope * margins[0] + shifts[0]
        chances = _softmax(margins)
        if self._slope == 1.0 and not any(shifts):
            return chances
        # The calibration was fitted on, and moves, logarithms of chances that are cut like this.
        logs = [math.log(max(chance, SMALLEST_CHANCE)) for chance in chances]
        return _softmax([self._slope * one + b for one, b in zip(logs, shifts, strict=True)])


def _softmax(margins: Sequence[float]) -> list[float]:
    # Less the largest, so that no power overflows.
    largest = max(margins)
    powers = [math.exp(one - largest) for one in margins]
    whole = sum(powers)
    return [power / whole for power in powers]


def _split_masks(tree: Mapping[str, Any]) -> tuple[list[int], list[tuple[int, float, int]]]:
    """Return the leaves from left to right, as nodes, and (feature, threshold, mask) a split.

    A mask clears the leaves on the left of its split.
    """
    leaves: list[int] = []
    splits: list[tuple[int, float, int]] = []

    def leaves_below(node: int) -> int:
        if tree["left"][node] < 0:
            leaves.append(node)
            return 1 << len(leaves) - 1
        left = leaves_below(tree["left"][node])
        splits.append((tree["feature"][node], tree["threshold"][node], ALL_LEAVES ^ left))
        return left | leaves_below(tree["right"][node])

    leaves_below(0)
    return leaves, splits


def _mask_table(
    splits: list[tuple[float, int, int]], trees: int
) -> tuple[list[float], NDArray[np.uint64]]:
    """Return a feature's thresholds, and the open leaves by how many of them a value passes.

    The table has the shape (thresholds + 1, trees).
    """
    import numpy as np

    thresholds = sorted({threshold for threshold, _, _ in splits})
    table = np.full((len(thresholds) + 1, trees), np.uint64(ALL_LEAVES))
    for threshold, tree, mask in splits:
        table[bisect_left(thresholds, threshold) + 1 :, tree] &= np.uint64(mask)
    return thresholds, table
