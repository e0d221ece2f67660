"""The model card: what a version is, for what it is meant, how it was judged, what to mind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pandas as pd

from driftbook.words import render_words

if TYPE_CHECKING:
    from driftbook.model.training import Model
    from driftbook.settings import Settings


def build_model_card(
    model: Model, parts: pd.DataFrame, leaks: pd.DataFrame, settings: Settings
) -> dict[str, Any]:
    """Return the card of a version as plain values: measured, or stated in the settings.

    ``parts`` and ``leaks`` are the tables of notebook 01: rows by part, and the leakage check.
    """
    return {
        "name": model.name,
        "version": model.version,
        "target": model.target,
        "features": [{"name": f.name, "kind": f.kind} for f in model.features],
        "origin": dict(model.origin),
        "refit": model.rows_learnt > model.n_train,
        "rows_learnt": model.rows_learnt,
        **settings.card.model_dump(),
        "metrics": _list_records(model.metrics),
        "parts": _list_records(parts),
        "ranks_backwards": model.ranks_backwards,
        "calibration": asdict(model.calibration),
        "importance": model.importance,
        "suspicious_features": list(leaks.loc[leaks["suspicious"], "feature"]),
    }


def _list_records(frame: pd.DataFrame) -> list[dict[Any, Any]]:
    # JSON has no NaN: what is not known becomes null.
    return frame.astype(object).where(frame.notna(), None).to_dict("records")


def describe_model_card(card: Mapping[str, Any]) -> str:
    """Return the card as Markdown under the headings of Model Cards."""
    parts = {part["part"]: part for part in card["parts"]}
    leading = sorted(card["importance"].items(), key=lambda item: -item[1])[:3]
    return render_words(
        "model_card.md.j2",
        card=card,
        features=[feature["name"] for feature in card["features"]],
        leading=[name for name, _ in leading],
        judged=[metric for metric in card["metrics"] if metric["ci_low"] is not None],
        holdout=parts.get("holdout"),
        training=parts.get("training"),
    )
