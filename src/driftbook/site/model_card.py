"""The model card: what a version is, for what it is meant, how it was judged, what to mind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from driftbook.settings import CardSettings
from driftbook.words import render_words

MEASURED = (
    "name", "version", "task", "target", "features", "origin", "rows_learnt", "metrics",
    "ranks_backwards", "calibration", "importance",
)  # fmt: skip


def build_model_card(
    described: Mapping[str, Any], parts: pd.DataFrame, leaks: pd.DataFrame, stated: CardSettings
) -> dict[str, Any]:
    """Return the card of a version as plain values: measured, or stated by its owner.

    ``described``: what the registry says about the version; ``parts`` and ``leaks``: the tables of
    notebook 01, rows by part and the leakage check.
    """
    return {
        **{key: described[key] for key in MEASURED},
        "refit": described["rows_learnt"] > described["n_train"],
        **stated.model_dump(),
        "parts": _list_records(parts),
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
