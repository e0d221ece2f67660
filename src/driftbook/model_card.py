"""The model card: what a version is, for what it is meant, how it was judged, what to mind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from driftbook.training import Model
from driftbook.wording import interval, listed, number, percent

UNSTATED = "Not stated by the owner."


def model_card(model: Model, parts: pd.DataFrame, leaks: pd.DataFrame) -> dict[str, Any]:
    """Return the card of a version as plain values; nothing in it is typed in by hand.

    ``parts`` comes from :func:`driftbook.exploration.parts`, ``leaks`` from
    :func:`driftbook.exploration.leakage`.
    """
    metrics = model.metrics.astype(object).where(model.metrics.notna(), None)
    return {
        "name": model.name,
        "version": model.version,
        "target": model.target,
        "features": [{"name": f.name, "kind": f.kind} for f in model.features],
        "origin": dict(model.origin),
        "metrics": metrics.to_dict("records"),
        "parts": parts.astype(object).where(parts.notna(), None).to_dict("records"),
        "importance": model.importance,
        "suspicious_features": list(leaks.loc[leaks["suspicious"], "feature"]),
    }


def card_text(card: Mapping[str, Any]) -> str:
    """Return the card as Markdown under the headings of Model Cards.

    Source: Mitchell et al. (2019), "Model Cards for Model Reporting".
    """
    sections = {
        "Model details": _details(card),
        "Intended use": card.get("intended_use") or UNSTATED,
        "Factors": _factors(card),
        "Metrics": _metrics(card),
        "Evaluation data": _part(card, "holdout"),
        "Training data": _part(card, "training"),
        "Quantitative analyses": (
            "Calibration, the ROC curve and the cost of each threshold are above; drift and "
            "performance since then are judged anew in every window."
        ),
        "Ethical considerations": card.get("ethical_considerations") or UNSTATED,
        "Caveats and recommendations": _caveats(card),
    }
    return "\n\n".join(f"### {title}\n\n{text}" for title, text in sections.items())


def _details(card: Mapping[str, Any]) -> str:
    origin = card["origin"]
    return (
        f"`{card['name']}`, version `{card['version']}`: "
        f"{origin.get('estimator', 'a model').replace('_', ' ')} with calibrated "
        f"probabilities, recipe `{origin.get('recipe', '–')}`, "
        f"from source `{origin.get('source', '–')}`, windows {origin.get('windows', '–')}."
    )


def _factors(card: Mapping[str, Any]) -> str:
    leading = sorted(card["importance"].items(), key=lambda item: -item[1])[:3]
    names = listed([feature["name"] for feature in card["features"]])
    return f"It reads {names} and leans most on {listed([name for name, _ in leading])}."


def _metrics(card: Mapping[str, Any]) -> str:
    judged = [m for m in card["metrics"] if m["ci_low"] is not None]
    shown = [
        f"{m['metric'].replace('_', ' ')} {interval(m['value'], m['ci_low'], m['ci_high'])}"
        for m in judged
    ]
    return "On the temporal holdout, with 95% intervals: " + "; ".join(shown) + "."


def _part(card: Mapping[str, Any], name: str) -> str:
    part = next((p for p in card["parts"] if p["part"] == name), None)
    if part is None:
        return "Unknown."
    span = f" from {part['first']} to {part['last']}" if part["first"] else ""
    return (
        f"{number(part['rows'])} rows{span}, of which {percent(part['positive_share'])} have "
        f"`{card['target']}` = 1."
    )


def _caveats(card: Mapping[str, Any]) -> str:
    suspects = card["suspicious_features"]
    leak = f" {listed(suspects)} may give the target away." if suspects else ""
    return (
        "It was evaluated on one stretch of time right after its training rows; other seasons may "
        f"look different, which is what the monitoring is for.{leak}"
    )
