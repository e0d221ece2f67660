"""A fold for each feature: its two distributions, its way since the reference, the model's view."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from driftbook.site.figures import small
from driftbook.site.table_words import choose_verdict, name_fold
from driftbook.words import render_words

# The lowest and the highest fifth of the rows tell in which direction a number works.
FIFTH = 0.2
LEVEL = "location"


def describe_features(report: pd.DataFrame, details: pd.DataFrame, readings: pd.DataFrame) -> str:
    """Return HTML with a fold for each feature, those that moved most first; the first one is open.

    ``report``: the drift report; ``details``: ``drift/distributions.csv``; ``readings``:
    ``drift/effects_by_window.csv``.
    """
    order = report.sort_values("effect", key=abs, ascending=False, na_position="last")
    known = set(details["feature"])
    rows = [row for row in order.to_dict("records") if row["feature"] in known]
    folds = [
        _describe_feature(
            row,
            details[details["feature"] == row["feature"]],
            readings[readings["feature"] == row["feature"]],
        )
        for row in rows
    ]
    return render_words("features.html.j2", folds=folds)


def _describe_feature(
    row: Mapping[Any, Any], detail: pd.DataFrame, readings: pd.DataFrame
) -> dict[str, Any]:
    aspect, way = _choose_aspect(readings)
    return {
        "id": name_fold(row["feature"]),
        "row": row,
        "verdict": choose_verdict(row),
        "distribution": small.draw_small_distribution(detail),
        "prediction": small.draw_small_prediction(detail),
        "class": _read_class(detail),
        "trend": small.draw_small_trend(way) if len(way) else None,
        "aspect": aspect,
        "windows": way["window"].nunique(),
        **_read_direction(detail),
    }


def _read_class(detail: pd.DataFrame) -> str:
    """Return the class that predictions are about; none, also as a file reads it, is empty."""
    name = detail["predicted_class"].iloc[0]
    return name if isinstance(name, str) else ""


def _choose_aspect(readings: pd.DataFrame) -> tuple[str, pd.DataFrame]:
    """Return what moved most surely in the newest window; of a number its level, if known."""
    if readings.empty:
        return "", readings
    aspects = set(readings["aspect"])
    if LEVEL not in aspects:
        now = readings[readings["window"] == readings["window"].iloc[-1]]
        half = (now["ci_high"] - now["value"]).clip(lower=1e-12)
        aspect = str(now.loc[(now["value"].abs() / half).idxmax(), "aspect"])
    else:
        aspect = LEVEL
    return aspect, readings[readings["aspect"] == aspect]


def _read_direction(detail: pd.DataFrame) -> dict[str, Any]:
    """Return the mean prediction at both ends: of a number's rows, or over all levels."""
    known = detail.dropna(subset=["predicted"])
    if known.empty:
        return {"at_low": None, "at_high": None, "low_level": "", "high_level": ""}
    means = known["predicted"].to_numpy(dtype=float)
    if known["kind"].iloc[0] != "numeric":
        low, high = int(np.argmin(means)), int(np.argmax(means))
        names = known["bin"].astype(str).to_numpy()
        return {
            "at_low": means[low], "at_high": means[high],
            "low_level": names[low], "high_level": names[high],
        }  # fmt: skip
    weights = known["holdout_rows"].to_numpy(dtype=float)
    return {
        "at_low": _mean_of_first(means, weights),
        "at_high": _mean_of_first(means[::-1], weights[::-1]),
        "low_level": "",
        "high_level": "",
    }


def _mean_of_first(means: Any, weights: Any) -> float:
    """Return the mean over the first fifth of the rows, a bin taken in part where need be."""
    before = np.concatenate([[0.0], np.cumsum(weights)[:-1]])
    taken = np.clip(FIFTH * weights.sum() - before, 0.0, weights)
    return float((means * taken).sum() / taken.sum())
