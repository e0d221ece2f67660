"""Rows as a model's last step takes them, in which single features are exchanged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder

Floats = NDArray[np.float64]

# Exchanged tables are scored together as long as they hold no more numbers than this (16 MB).
_MOST_CELLS = 2_000_000


@dataclass(frozen=True)
class PreparedRows:
    """Imputed, scaled and one-hot rows, shape (rows, width), and which columns a feature fills.

    Preparing treats every row and every feature by itself, so a feature may be exchanged after it:
    a model of a hundred features prepares its rows once, not once a feature.
    """

    pipeline: Pipeline
    table: Floats
    places: Mapping[str, slice]

    def exchanged(self, others: Iterable[tuple[str, Floats]]) -> Floats:
        """Return the probability of each row with one feature exchanged, shape (others, rows).

        ``others``: a feature and the prepared table, shape (rows, width), whose columns of it are
        taken; all other features stay as they are here.
        """
        tables, found = [], []
        for name, other in others:
            table = self.table.copy()
            table[:, self.places[name]] = other[:, self.places[name]]
            tables.append(table)
            if (len(tables) + 1) * self.table.size > _MOST_CELLS:
                found.append(self._scored(tables))
                tables = []
        return np.vstack([*found, self._scored(tables)])

    def _scored(self, tables: list[Floats]) -> Floats:
        if not tables:
            return np.empty((0, len(self.table)))
        probability = self.pipeline[-1].predict_proba(np.vstack(tables))[:, 1]
        return np.asarray(probability, dtype=np.float64).reshape(len(tables), -1)


def prepare_inputs(pipeline: Pipeline, inputs: pd.DataFrame) -> PreparedRows:
    """Return ``inputs`` as a pipeline of ``training.pipeline`` prepares them for its last step."""
    prepare = pipeline.named_steps["prepare"]
    places, start = {}, 0
    for part, step, columns in prepare.transformers_:
        widths = _widths(step) if part == "categorical" else [1] * len(columns)
        for column, width in zip(columns, widths, strict=True):
            places[str(column)] = slice(start, start + width)
            start += width
    table = np.asarray(prepare.transform(inputs), dtype=np.float64)
    return PreparedRows(pipeline, table, places)


def _widths(encoder: OneHotEncoder) -> list[int]:
    """Return how many columns each feature fills; all infrequent values of it share one."""
    rare = encoder.infrequent_categories_
    return [
        len(known) - (0 if few is None else len(few) - 1)
        for known, few in zip(encoder.categories_, rare, strict=True)
    ]
