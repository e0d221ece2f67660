"""One row a run in ``runs.csv``: columns may grow, rows that are there never change."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from driftbook.errors import UsageError

RUNS_FILE = Path("tracking", "runs.csv")
DECISION_FILE = Path("policy", "retrain_recommendation.json")
RUNS_COLUMNS = (
    "run_id", "run_name", "timestamp_utc", "notes", "model_version", "roc_auc", "accuracy",
    "log_loss", "brier", "window", "action", "drift_ratio", "drifted_features", "challenger_gain",
)  # fmt: skip


def append_run_row(table: pd.DataFrame, row: Mapping[str, Any]) -> pd.DataFrame:
    """Return ``table`` with ``row`` as its last; a run that is there already changes nothing.

    ``table`` holds text; values of ``row`` become text, ``None`` and NaN an empty cell. Columns
    that only ``row`` has are added at the end and are empty in older rows; columns that only
    ``table`` has are empty in the new one.

    Raises:
        UsageError: the row has no ``run_id``.

    >>> append_row(pd.DataFrame({"run_id": ["a"]}), {"run_id": "b", "auc": 0.7}).to_dict("list")
    {'run_id': ['a', 'b'], 'auc': ['', '0.7']}
    """
    if not row.get("run_id"):
        raise UsageError(f"a row of {RUNS.name} needs a run_id; it has {sorted(row)}")
    if "run_id" in table.columns and row["run_id"] in set(table["run_id"]):
        return table
    columns = list(dict.fromkeys([*table.columns, *row]))
    added = pd.DataFrame([{name: _text(value) for name, value in row.items()}], dtype=str)
    return pd.concat([table, added], ignore_index=True).reindex(columns=columns).fillna("")


def _text(value: Any) -> str:
    if value is None or (isinstance(value, float) and value != value):
        return ""
    return str(value)


def read_runs(path: Path) -> pd.DataFrame:
    """Return ``runs.csv`` as text, cell by cell as written; without a file the bare columns.

    Raises:
        UsageError: the file is no table of runs.
    """
    if not path.exists():
        return pd.DataFrame(columns=list(RUNS_COLUMNS), dtype=str)
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} can't be read ({error}); restore it or move it away") from error
    if "run_id" not in table.columns:
        raise UsageError(f"{path} has no column run_id; restore it or move it away")
    return table


def record_run(artifacts: Path, folder: Path, run_name: str) -> Path:
    """Write the staged ``runs.csv`` of the run in ``folder``: the published rows and its own."""
    table = append_run_row(
        read_runs(artifacts / RUNS_FILE), describe_run(artifacts, folder, run_name)
    )
    path = folder / RUNS_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, index=False, quoting=csv.QUOTE_MINIMAL, lineterminator="\n")
    return path


def describe_run(artifacts: Path, folder: Path, run_name: str) -> dict[str, Any]:
    """Return the row of the run in ``folder``: who it was, the model's holdout, the decision."""
    note, decision = read_json(folder / "run.json"), read_json(folder / DECISION_FILE)
    card = find_card(artifacts, folder, decision["model_version"])
    holdout = {metric["metric"]: metric["value"] for metric in card["metrics"]}
    counts = {name: int(value) for name, value in holdout.items() if name.startswith("n_")}
    gain = (decision["evidence"].get("challenger") or {}).get("gain")
    row = {
        "run_id": note["run_id"],
        "run_name": run_name,
        "timestamp_utc": note["started_utc"],
        "notes": note["notes"],
        "model_version": decision["model_version"],
        **holdout,
        **counts,
        "window": decision["window"],
        "action": decision["action"],
        "drift_ratio": decision["drift_ratio"],
        "drifted_features": len(decision["drifted_features"]),
        "challenger_gain": gain,
    }
    ordered = [name for name in RUNS_COLUMNS if name in row] + [
        n for n in row if n not in RUNS_COLUMNS
    ]
    return {name: row[name] for name in ordered}


def find_card(artifacts: Path, folder: Path, version: str) -> dict[str, Any]:
    """Return the card of a model version, from the run's own registry or the published one.

    Raises:
        UsageError: neither holds it.
    """
    for models in (folder / "models", artifacts / "models"):
        if (models / version / "card.json").exists():
            return read_json(models / version / "card.json")
    raise UsageError(f"model {version} of the run is in no registry under {artifacts}")


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file."""
    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return values
