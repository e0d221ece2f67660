"""The model card: what a version is, for what it is meant, how it was judged, what to mind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from driftbook.model import scores
from driftbook.model.score_calibration import ScoreCalibration
from driftbook.model.training import Model
from driftbook.settings import CardSettings, Settings
from driftbook.wording import interval, listed, number, percent, prose

UNSTATED = "Not stated by the owner; the settings have a place for it under `card`."


def model_card(
    model: Model, parts: pd.DataFrame, leaks: pd.DataFrame, settings: Settings
) -> dict[str, Any]:
    """Return the card of a version as plain values: measured, or stated in the settings.

    ``parts`` comes from :func:`driftbook.model.exploration.describe_parts`, ``leaks`` from
    :func:`driftbook.model.exploration.find_leaks`.
    """
    # The settings of today need not be those of the version: its own scores tell.
    served = model.predict_proba(model.holdout)
    refit = not np.allclose(served, model.holdout_scores, rtol=0.0, atol=1e-9)
    # JSON has no NaN: what a metric lacks becomes null.
    metrics = model.metrics.astype(object).where(model.metrics.notna(), None)
    return {
        "name": model.name,
        "version": model.version,
        "target": model.target,
        "features": [{"name": f.name, "kind": f.kind} for f in model.features],
        "origin": dict(model.origin),
        "refit": refit,
        "rows_learnt": len(model.reference) if refit else model.n_train,
        **settings.card.model_dump(),
        "metrics": metrics.to_dict("records"),
        "parts": parts.astype(object).where(parts.notna(), None).to_dict("records"),
        "ranks_backwards": scores.ranks_backwards(model.metrics),
        "calibration": asdict(model.calibration),
        "importance": model.importance,
        "suspicious_features": list(leaks.loc[leaks["suspicious"], "feature"]),
    }


def card_text(card: Mapping[str, Any]) -> str:
    """Return the card as Markdown under the headings of Model Cards.

    Source: Mitchell et al. (2019), "Model Cards for Model Reporting".
    """
    stated = {key: prose(card[key]) if card[key] else UNSTATED for key in CardSettings.model_fields}
    sections = {
        "Model details": _details(card),
        "Intended use": stated["intended_use"],
        "Factors": _factors(card),
        "Metrics": _metrics(card),
        "Evaluation data": _part(card, "holdout"),
        "Training data": _part(card, "training") + _refit(card),
        "Quantitative analyses": (
            "Calibration, the ROC curve and the cost of each threshold are above; drift and "
            "performance since then are judged anew in every window."
        ),
        "Ethical considerations": stated["ethical_considerations"],
        "Caveats and recommendations": _caveats(card),
    }
    return "\n\n".join(f"### {title}\n\n{text}" for title, text in sections.items())


def _details(card: Mapping[str, Any]) -> str:
    origin = card["origin"]
    return (
        f"`{card['name']}`, version `{card['version']}`: "
        f"{origin.get('estimator', 'a model').replace('_', ' ')}, "
        f"recipe `{origin.get('recipe', '–')}`, "
        f"from source `{origin.get('source', '–')}`, windows {origin.get('windows', '–')}. "
        f"{calibration_text(ScoreCalibration(**card['calibration']))}"
    )


def calibration_text(found: ScoreCalibration) -> str:
    """Return in plain words what was done to the estimator's own probabilities, and why."""
    if found.is_identity:
        return (
            "Its probabilities are the estimator's own: no correction learnt on rows later than a "
            "like fit's own surely brought them nearer to what happened."
        )
    spread = "drawn together" if found.slope < 1 else "spread apart"
    level = "raised" if found.intercept > 0 else "lowered"
    return (
        "Its probabilities were corrected on rows later than those a like fit had learnt from: "
        f"{spread} and {level} (log odds times {number(found.slope)}, plus "
        f"{number(found.intercept)}), because that surely brought them nearer to what happened on "
        "rows later still. Which row comes before which is as the estimator says."
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


def _refit(card: Mapping[str, Any]) -> str:
    if not card["refit"]:
        return ""
    return (
        " The version that serves then learnt from the evaluation data too, by the same recipe: "
        f"{number(card['rows_learnt'])} rows in all."
    )


def _caveats(card: Mapping[str, Any]) -> str:
    suspects = card["suspicious_features"]
    leak = f" {listed(suspects)} may give the target away." if suspects else ""
    order = "It puts rows with the outcome *below* those without it on its holdout. "
    return (
        f"{order if card['ranks_backwards'] else ''}It was evaluated on one stretch of time right "
        "after its training rows; other seasons may look different, which is what the monitoring "
        f"is for.{leak}"
    )
