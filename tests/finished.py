"""A finished run made without notebooks: the real decision, published, with stand-in pages."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from driftbook.data import synthetic
from driftbook.performance import trend
from driftbook.runbook import run as runs
from driftbook.settings import Settings
from driftbook.site import cells
from driftbook.store import transaction
from driftbook.store.evidence import NOTEBOOK_PARTS

ROWS, WINDOW = 2400, 300


def settings(folder: Path, scenario: str = "covariate") -> Settings:
    """Return settings for a small table with gaps and a text column, written into ``folder``."""
    path = folder / f"{scenario}.csv"
    if not path.exists():
        frame = synthetic.make_scenario(scenario, rows=ROWS, seed=3)
        rng = np.random.default_rng(0)
        frame["route"] = rng.choice(["north", "south", "a|b"], len(frame))
        frame.loc[frame.index % 41 == 0, "f5"] = np.nan
        frame.to_csv(path, index=False)
    data = {"source": str(path), "target": "target", "window": WINDOW, "reference": 3}
    return Settings.parse({"data": data})


def publish(artifacts: Path, chosen: Settings, window: str | None = None) -> str:
    """Return the id of a run that was assessed for real, committed and published."""
    artifacts.mkdir(parents=True, exist_ok=True)
    staged = transaction.stage_run(chosen, artifacts, window)
    run = runs.open_run("runbook.yaml", artifacts, window, staged.run_id)
    run = replace(run, settings=chosen)
    run.write_data_note()
    champion, assessment = run.champion, run.assessment
    proposed = (
        run.save_challenger(assessment.challenger.model)
        if assessment.challenger is not None and assessment.action == "retrain"
        else None
    )
    run.write_csv("metrics/train_eval_summary.csv", champion.metrics, champion)
    run.write_csv("drift/drift_report.csv", assessment.drift)
    run.write_csv("drift/quality.csv", assessment.quality)
    run.write_csv("policy/performance.csv", assessment.performance)
    run.write_csv("policy/decomposition.csv", assessment.decomposition)
    last, after = run.split.window, run.reference_end
    since = trend.trace_performance(
        champion, run.dataset, chosen, last, after, assessment.performance
    )
    run.write_csv("policy/performance_by_window.csv", since, champion)
    document = assessment.to_dict() | {"challenger_version": proposed}
    run.write_json("policy/retrain_recommendation.json", document)
    run.write_json("serving/api_checks.json", {"passed": True, "checks": []})
    _track(artifacts, staged.folder, staged.run_id, champion.version)
    for name in list(NOTEBOOK_PARTS)[:4]:
        path = staged.folder / "executed" / f"{name}.ipynb"
        path.parent.mkdir(exist_ok=True)
        cells.write_cells(path, [cells.make_markdown_cell(name)])
    transaction.commit_run(staged, artifacts)
    transaction.publish_run(artifacts, staged.run_id)
    return staged.run_id


def _track(artifacts: Path, folder: Path, run_id: str, version: str) -> None:
    past = artifacts / "tracking" / "runs.csv"
    row = pd.DataFrame([{"run_id": run_id, "model_version": version}])
    table = pd.concat([pd.read_csv(past), row]) if past.exists() else row
    (folder / "tracking").mkdir()
    table.to_csv(folder / "tracking" / "runs.csv", index=False)
