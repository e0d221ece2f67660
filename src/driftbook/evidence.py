"""Everything that pages are written from, read once from the artifacts folder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from driftbook import registry
from driftbook.errors import DriftbookError

# Which published folder each notebook fills; the manifest says which run filled it last.
NOTEBOOKS = {
    "01-train-eval": "metrics",
    "02-drift": "drift",
    "03-retrain-decision": "policy",
    "04-serving": "serving",
    "05-backtest": "backtest",
}


@dataclass(frozen=True)
class Evidence:
    """What a committed run left, and what all runs before it decided."""

    artifacts: Path
    manifest: dict[str, Any]
    recommendation: dict[str, Any]
    performance: pd.DataFrame
    drift: pd.DataFrame
    quality: pd.DataFrame
    metrics: pd.DataFrame
    checks: dict[str, Any]
    history: pd.DataFrame
    ledger: list[dict[str, Any]]
    champion: str | None
    backtest: pd.DataFrame

    @property
    def run_id(self) -> str:
        """Return the run that the pages are about."""
        return str(self.manifest["run_id"])

    @property
    def window(self) -> str:
        """Return the window under judgement."""
        return str(self.recommendation.get("window") or "–")

    def executed(self, notebook: str) -> Path | None:
        """Return the executed copy of a notebook in the run that filled its folder, if any."""
        run_id = self.manifest.get("parts", {}).get(NOTEBOOKS[notebook])
        path = self.artifacts / "runs" / str(run_id) / "executed" / f"{notebook}.ipynb"
        return path if path.is_file() else None


def load(artifacts: Path) -> Evidence:
    """Return the evidence of the run that is published in ``artifacts``.

    Tables that a run may lack (quality, backtest, …) are empty then.

    Raises:
        DriftbookError: nothing has been published there yet.
    """
    if not (artifacts / "manifest.json").is_file():
        raise DriftbookError(
            f"{artifacts} holds no finished run to report on; start one with `driftbook run`"
        )
    models = artifacts / "models"
    return Evidence(
        artifacts=artifacts,
        manifest=_json(artifacts / "manifest.json"),
        recommendation=_json(artifacts / "policy" / "retrain_recommendation.json"),
        performance=_csv(artifacts / "policy" / "performance.csv"),
        drift=_csv(artifacts / "drift" / "drift_report.csv"),
        quality=_csv(artifacts / "drift" / "quality.csv"),
        metrics=_csv(artifacts / "metrics" / "train_eval_summary.csv"),
        checks=_json(artifacts / "serving" / "api_checks.json"),
        history=history(artifacts),
        ledger=registry.ledger(models),
        champion=registry.index(models).aliases.get("champion"),
        backtest=_csv(artifacts / "backtest" / "windows.csv"),
    )


def history(artifacts: Path) -> pd.DataFrame:
    """Return a row a finished run, oldest first: window, action, reason, drift and performance.

    ``metric``, ``now``, ``now_low``, ``now_high`` and ``baseline`` describe the Brier loss of the
    run's window (realised where labels were known, else estimated); NaN where it was not judged.
    """
    rows = [
        _past(path) for path in sorted((artifacts / "runs").glob("*/policy/*_recommendation.json"))
    ]
    columns = [
        "run_id", "model_version", "window", "action", "reason", "drift_ratio",
        "basis", "now", "now_low", "now_high", "baseline",
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def _past(path: Path) -> dict[str, Any]:
    document = _json(path)
    judged = headline(pd.DataFrame(document["evidence"]["performance"] or []))
    keys = ("run_id", "model_version", "window", "action", "reason", "drift_ratio")
    row = {key: document.get(key) for key in keys}
    if judged is not None:
        row |= {
            "basis": judged["basis"],
            "now": judged["value"],
            "now_low": judged["ci_low"],
            "now_high": judged["ci_high"],
            "baseline": judged["baseline"],
        }
    return row


def headline(performance: pd.DataFrame, metric: str = "brier") -> pd.Series | None:
    """Return the row of ``metric`` that counts: realised where it is there, else estimated."""
    if performance.empty:
        return None
    known = performance[(performance["metric"] == metric) & performance["value"].notna()]
    if known.empty:
        return None
    realised = known[known["basis"] == "realised"]
    return (realised if len(realised) else known).iloc[0]


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return values


def _csv(path: Path) -> pd.DataFrame:
    return pd.read_csv(path) if path.is_file() and path.stat().st_size > 1 else pd.DataFrame()
