"""What MLflow is told about a finished run: names, settings and metrics as plain values."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from driftbook import paths
from driftbook.settings import Settings
from driftbook.store import files, registry

RUN_TAG = "driftbook.run_id"


def describe_tracked_run(artifacts: Path, folder: Path) -> dict[str, Any]:
    """Return what MLflow is told about the finished run in ``folder``: plain JSON values only."""
    note = files.read_json_object(folder / paths.RUN_NOTE)
    settings = Settings.load(folder / paths.RUN_SETTINGS)
    decision = files.read_json_object(folder / paths.RECOMMENDATION)
    card = registry.read_card(decision["model_version"], artifacts / paths.MODELS)
    started = datetime.fromisoformat(note["started_utc"])
    started = started if started.tzinfo else started.replace(tzinfo=UTC)
    return {
        "run_id": note["run_id"],
        "run_name": f"{settings.model_name} {decision['window']}",
        "experiment": settings.tracking.experiment or settings.model_name,
        "started_ms": round(started.timestamp() * 1000),
        "params": dict(flatten_settings(settings.model_dump(mode="json"))),
        "metrics": list_tracked_metrics(card, decision),
        "tags": {
            RUN_TAG: note["run_id"],
            "driftbook.model_version": decision["model_version"],
            "driftbook.window": str(decision["window"]),
            "driftbook.action": decision["action"],
            "driftbook.notes": note["notes"],
            "mlflow.note.content": f"{decision['action']}: {decision['reason']}",
        },
    }


def flatten_settings(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield nested settings as dotted names with values as text.

    >>> dict(flatten_settings({"data": {"source": "flights", "reference": 2}, "note": None}))
    {'data.source': 'flights', 'data.reference': '2', 'note': 'None'}
    """
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from flatten_settings(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", str(value)


def list_tracked_metrics(card: Mapping[str, Any], decision: Mapping[str, Any]) -> dict[str, float]:
    """Return what a run measured, by name: holdout, window and drift, with interval bounds.

    ``roc_auc``, ``roc_auc_ci_low`` and ``roc_auc_ci_high`` are the model's holdout,
    ``realised/…`` and ``estimated/…`` the window's, ``psi/<feature>`` its drift. A value that
    does not exist is left out: MLflow has no missing metric.
    """
    evidence = decision["evidence"]
    judged = {row["metric"]: row for row in card["metrics"]} | {
        f"{row['basis']}/{row['metric']}": row
        for row in evidence.get("performance") or []
        if row.get("status") == "ok" and row.get("basis") != "alternative"
    }
    columns = {"": "value", "_ci_low": "ci_low", "_ci_high": "ci_high"}
    gain = evidence.get("challenger") or {}
    values = {
        **{
            name + end: row.get(key) for name, row in judged.items() for end, key in columns.items()
        },
        **{f"psi/{row['feature']}": row.get("psi") for row in evidence.get("drift") or []},
        **{f"challenger/{name}": gain.get(name) for name in ("gain", "gain_low", "gain_high")},
        "drift_ratio": decision.get("drift_ratio"),
    }
    return {
        re.sub(r"[^\w\-. /]", "_", name): float(value)
        for name, value in values.items()
        if isinstance(value, int | float) and math.isfinite(value)
    }
