"""Runs made without notebooks: what they would write is written by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from driftbook import paths
from driftbook.runbook import run as runs
from driftbook.settings import Settings
from driftbook.store import transaction
from driftbook.store.transaction import StagedRun

SETTINGS = Settings.parse({"data": {"source": "synthetic:none", "window": 800}})


def stage(root: Path, action: str = "hold", first: bool = True, **decided: Any) -> StagedRun:
    """Stage a run and write by hand what the notebooks would write."""
    staged = transaction.stage_run(SETTINGS, root)
    run = runs.open_run("unused.yaml", root, None, staged.run_id)
    run.write_data_note()
    champion = run.champion
    if first:
        run.write_csv(str(paths.TRAIN_EVAL_SUMMARY), champion.metrics, model=champion)
    run.write_csv(str(paths.DRIFT_REPORT), pd.DataFrame({"feature": ["f0"], "psi": [0.01]}))
    document = {"action": action, "reason": "calm", **decided}
    run.write_json(str(paths.RECOMMENDATION), document)
    run.write_json(str(paths.API_CHECKS), {"passed": True})
    before = root / paths.RUNS_TABLE
    row = pd.DataFrame({"run_id": [run.run_id], "model_version": [champion.version]})
    rows = pd.concat([pd.read_csv(before), row]) if before.exists() else row
    (staged.folder / "tracking").mkdir()
    rows.to_csv(staged.folder / paths.RUNS_TABLE, index=False)
    (staged.folder / "executed").mkdir()
    (staged.folder / "executed" / "02-drift.ipynb").write_text("{}", encoding="utf-8")
    return staged


def publish(root: Path, action: str = "hold", first: bool = True) -> str:
    """Return the id of such a run, committed and published."""
    staged = stage(root, action, first)
    transaction.commit_run(staged, root)
    transaction.publish_run(root, staged.run_id)
    return staged.run_id
