"""The runbook for classes and for values: notebooks, files, pages and the terminal's lines."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from driftbook.data import synthetic
from driftbook.runbook import summary
from driftbook.runbook.flow import FinishedJob
from driftbook.runbook.project import Project
from driftbook.settings import Settings
from driftbook.store import runs_table

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
# What serves a model is tested with the API.
NOTEBOOKS = ("01-train-eval", "02-drift", "03-retrain-decision", "05-backtest")
METRICS = {
    "regression": ["mae", "rmse", "r2", "squared_error"],
    "multiclass": ["roc_auc", "accuracy", "log_loss", "brier"],
}
WORDS = {
    "regression": ["R²", "squared error", "in the target's units", "RMSE"],
    "multiclass": ["Brier loss", "`high`, `low` and `middle`", "class"],
}


@pytest.fixture(scope="module", params=METRICS)
def scratch(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scratch folder of a project of one task, each notebook executed in its own kernel."""
    folder = tmp_path_factory.mktemp(request.param)
    frame = synthetic.make_scenario("concept", rows=1800, seed=3, task=request.param)
    frame["route"] = ["north", "south", "a|b"] * 600
    frame.to_csv(folder / "table.csv", index=False)
    data = {"source": "table.csv", "window": 300, "reference": 3}
    (folder / "runbook.yaml").write_text(Settings.parse({"data": data}).to_yaml(), "utf-8")
    shutil.copytree(FOLDER, folder / "notebooks")
    names = [f"{name}.ipynb" for name in NOTEBOOKS]
    done = subprocess.run(
        [sys.executable, "-m", "jupyter", "execute", "--inplace", *names],
        cwd=folder / "notebooks",
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder / "artifacts" / "scratch"


def task_of(scratch: Path) -> str:
    return str(read_recommendation(scratch)["task"])


def read_recommendation(scratch: Path) -> dict[str, Any]:
    path = scratch / "policy" / "retrain_recommendation.json"
    return dict(json.loads(path.read_text("utf-8")))


def test_the_metrics_are_those_of_the_task_beside_no_skill_at_all(scratch: Path) -> None:
    table = pd.read_csv(scratch / "metrics" / "train_eval_summary.csv").set_index("metric")
    assert list(table.index) == [*METRICS[task_of(scratch)], "n_train", "n_test"]
    assert list(table.columns[:4]) == ["value", "ci_low", "ci_high", "no_skill"]
    loss = read_recommendation(scratch)["loss"]
    assert table.loc[loss, "ci_high"] < table.loc[loss, "no_skill"]


def test_every_table_of_the_first_notebook_fits_the_task(scratch: Path) -> None:
    def columns(name: str) -> set[str]:
        return set(pd.read_csv(scratch / "metrics" / f"{name}.csv").columns)

    values = task_of(scratch) == "regression"
    assert ("residual_low" if values else "class") in columns("calibration")
    assert ("observed" if values else "said") in columns("outcomes")
    assert ("no_skill_error" if values else "right_share") in columns("actions")
    leaks = pd.read_csv(scratch / "metrics" / "leakage.csv")
    assert leaks["measure"].unique().tolist() == ["R²" if values else "ROC AUC"]
    assert ("mean" if values else "commonest") in columns("parts")
    card = json.loads((scratch / "metrics" / "model_card.json").read_text("utf-8"))
    assert card["task"]["name"] == task_of(scratch)


def test_what_the_notebooks_show_speaks_of_the_task(scratch: Path) -> None:
    shown = ""
    for name in NOTEBOOKS:
        path = scratch.parents[1] / "notebooks" / f"{name}.ipynb"
        for cell in json.loads(path.read_text("utf-8"))["cells"]:
            for output in cell.get("outputs", []):
                assert output["output_type"] in {"execute_result", "display_data"}, output
                shown += "".join(output["data"].get("text/markdown", []))
    assert all(word in shown for word in WORDS[task_of(scratch)])
    assert ("Brier" in shown) is (task_of(scratch) == "multiclass")
    assert "false alarm" not in shown
    assert "None" not in shown and "nan" not in shown.replace("finance", "")


def test_the_terminal_says_the_task_and_its_loss(scratch: Path) -> None:
    task = task_of(scratch)
    place = Project(scratch.parents[1] / "runbook.yaml", scratch)
    found = summary.summarise_run(place, FinishedJob("r1", None, 1.0))
    assert (found["task"], found["task_found"]) == (task, True)
    assert found["quality"]["metric"] == read_recommendation(scratch)["loss"]
    lines = summary.write_run_lines(found)
    assert len(lines) <= 10
    assert f"task       {task}, found from the target; set model.task to change it" in lines
    quality = next(line for line in lines if line.startswith("quality"))
    assert ("RMSE" in quality) is (task == "regression")
    assert ("Brier loss" in quality) is (task == "multiclass")
    assert "(realised), baseline 0." in quality


def test_a_table_of_earlier_runs_takes_runs_of_any_task(scratch: Path, tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_text("run_id,roc_auc,legacy\na,0.70,x\n", encoding="utf-8")
    metrics = pd.read_csv(scratch / "metrics" / "train_eval_summary.csv")
    row = {"run_id": "b", "task": task_of(scratch), **metrics.set_index("metric")["value"]}
    runs_table.append_run_row(runs_table.read_runs(path), row).to_csv(path, index=False)
    first, second = runs_table.read_runs(path).to_dict("records")
    assert (first["roc_auc"], first["legacy"], first["task"]) == ("0.70", "x", "")
    assert (second["roc_auc"] == "") is (task_of(scratch) == "regression")
    assert set(METRICS["regression"]) < set(runs_table.RUNS_COLUMNS)
