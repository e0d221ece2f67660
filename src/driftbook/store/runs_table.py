"""One row a run in ``runs.csv``: columns may grow, rows that are there never change."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from driftbook import paths
from driftbook.errors import UsageError
from driftbook.store import files, registry
from driftbook.words import escape_cell

RUNS_COLUMNS = (
    "run_id", "run_name", "timestamp_utc", "notes", "model_version", "roc_auc", "accuracy",
    "log_loss", "brier", "window", "action", "drift_ratio", "drifted_features", "challenger_gain",
    "task", "mae", "rmse", "r2", "squared_error",
)  # fmt: skip


def append_run_row(table: pd.DataFrame, row: Mapping[str, Any]) -> pd.DataFrame:
    """Return ``table`` with ``row`` as its last; a run that is there already changes nothing.

    ``table`` holds text; values of ``row`` become text as :func:`~driftbook.words.escape_cell`
    writes it, ``None`` and NaN an empty cell. Columns
    that only ``row`` has are added at the end and are empty in older rows; columns that only
    ``table`` has are empty in the new one.

    Raises:
        UsageError: the row has no ``run_id``.

    >>> table = append_run_row(pd.DataFrame({"run_id": ["a"]}), {"run_id": "b", "auc": 0.7})
    >>> table.to_dict("list")
    {'run_id': ['a', 'b'], 'auc': ['', '0.7']}
    """
    if not row.get("run_id"):
        raise UsageError(f"a row of {paths.RUNS_TABLE.name} needs a run_id; it has {sorted(row)}")
    if "run_id" in table.columns and row["run_id"] in set(table["run_id"]):
        return table
    cells = {name: "" if pd.isna(value) else escape_cell(str(value)) for name, value in row.items()}
    return pd.concat([table, pd.DataFrame([cells], dtype=str)], ignore_index=True).fillna("")


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
    row = describe_run(artifacts, folder, run_name)
    table = append_run_row(read_runs(artifacts / paths.RUNS_TABLE), row)
    files.write_whole(folder / paths.RUNS_TABLE, table.to_csv(index=False, lineterminator="\n"))
    return folder / paths.RUNS_TABLE


def describe_run(artifacts: Path, folder: Path, run_name: str) -> dict[str, Any]:
    """Return the row of the run in ``folder``: who it was, the model's holdout, the decision.

    The holdout's metrics are those of the task; what it has none of is left out.
    """
    note = files.read_json_object(folder / paths.RUN_NOTE)
    decision = files.read_json_object(folder / paths.RECOMMENDATION)
    version = decision["model_version"]
    card = registry.read_card(version, folder / paths.MODELS, artifacts / paths.MODELS)
    holdout = {
        row["metric"]: int(row["value"]) if row["metric"].startswith("n_") else row["value"]
        for row in card["metrics"]
    }
    return {
        "run_id": note["run_id"],
        "run_name": run_name,
        "timestamp_utc": note["started_utc"],
        "notes": note["notes"],
        "model_version": version,
        "task": decision.get("task", "binary"),
        **holdout,
        "window": decision["window"],
        "action": decision["action"],
        "drift_ratio": decision["drift_ratio"],
        "drifted_features": len(decision["drifted_features"]),
        "challenger_gain": (decision["evidence"].get("challenger") or {}).get("gain"),
    }
