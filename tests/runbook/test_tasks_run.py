"""Whole runs of the other two tasks: four notebooks, a real server, pages and the record."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner, Result

from driftbook import paths
from driftbook.runbook.cli import main

METRICS = {
    "multiclass": ["roc_auc", "accuracy", "log_loss", "brier"],
    "regression": ["mae", "rmse", "r2", "squared_error"],
}


def invoke(folder: Path, *words: str) -> Result:
    """Run a command on the settings and the artifacts of ``folder``."""
    given = ["--settings", str(folder / "s.yaml"), "--artifacts", str(folder / "a")]
    return CliRunner().invoke(main, [*words, *given], prog_name="driftbook")


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.parametrize("task", METRICS)
def test_a_run_of_every_task_ends_with_its_pages(task: str, tmp_path: Path) -> None:
    text = f"data:\n  source: synthetic:concept?task={task}\n"
    (tmp_path / "s.yaml").write_text(text, encoding="utf-8")
    artifacts = tmp_path / "a"
    done = invoke(tmp_path, "run")
    assert done.exit_code == 0, done.output
    summary = pd.read_csv(artifacts / paths.TRAIN_EVAL_SUMMARY)
    assert summary["metric"].tolist() == [*METRICS[task], "n_train", "n_test"]
    document = json.loads((artifacts / paths.RECOMMENDATION).read_text(encoding="utf-8"))
    assert (document["action"], document["task"]) == ("retrain", task)
    assert json.loads((artifacts / paths.API_CHECKS).read_text(encoding="utf-8"))["passed"]
    runs = pd.read_csv(artifacts / paths.RUNS_TABLE)
    assert runs[METRICS[task]].notna().all(axis=None) and "roc_auc" in runs
    pages = artifacts / "reports" / "html"
    shown = {name: (pages / f"{name}.html").read_text("utf-8") for name in ("index", "performance")}
    assert "Retrain" in shown["index"]
    assert ("Brier" in shown["performance"]) == (task == "multiclass")
    assert invoke(tmp_path, "promote").exit_code == 0
    assert invoke(tmp_path, "verify").exit_code == 0
