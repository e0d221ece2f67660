"""From an outage to a decision: the command line accepts a lasting change, and takes that back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner, Result

from driftbook.data import synthetic
from driftbook.runbook import run as runs
from driftbook.runbook.cli import main
from driftbook.runbook.project import locate_project
from driftbook.site import pages
from driftbook.store import evidence, registry, registry_models
from serving_models import numeric_model

BREAKS = "rows-0005"  # the first window in which f0 stands still
SETTINGS = "data: {source: rows.csv, target: target, window: 240, reference: 2}\n"


def driftbook(folder: Path, *arguments: str) -> Result:
    here = ["--settings", str(folder / "runbook.yaml")]
    return CliRunner().invoke(main, [*arguments, *here], prog_name="driftbook")


def judge(folder: Path, first: str, window: str = BREAKS) -> dict[str, Any]:
    done = driftbook(folder, "run", "--from", first, "--window", window, "--no-render", "--json")
    assert done.exit_code == 0, done.output
    found = json.loads((folder / "artifacts/policy/retrain_recommendation.json").read_text("utf-8"))
    return {**found, "told": done.stderr}


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("outage")
    frame = synthetic.make_scenario("none", rows=1920, seed=4)
    frame.loc[frame.index >= 960, "f0"] = 3.0
    frame.to_csv(folder / "rows.csv", index=False)
    (folder / "runbook.yaml").write_text(SETTINGS, encoding="utf-8")
    return folder


def test_before_the_first_run_there_is_nothing_to_accept(tmp_path: Path) -> None:
    (tmp_path / "runbook.yaml").write_text(SETTINGS, encoding="utf-8")
    early = driftbook(tmp_path, "acknowledge", "f0", "--why", "x")
    assert early.exit_code == 1 and "run 'driftbook run' first" in early.stderr
    assert not (tmp_path / "artifacts").exists()


def test_the_model_has_the_name_of_its_file(project: Path, tmp_path: Path) -> None:
    plain = locate_project(project / "runbook.yaml", tmp_path)
    assert plain.settings.model_name == "rows"
    registry_models.save_model(tmp_path / "models", numeric_model())
    registry.set_first_champion(tmp_path / "models", numeric_model().version)
    for source, name in (("rows.csv", "rows"), ("predictions", "small")):
        file = tmp_path / "runbook.yaml"
        file.write_text(SETTINGS.replace("rows.csv", source), encoding="utf-8")
        assert locate_project(file, tmp_path).settings.model_name == name
    (tmp_path / "models" / numeric_model().version / "card.json").write_text("{")
    assert locate_project(file, tmp_path).settings.model_name == "target"


def test_a_lasting_change_is_accepted_and_taken_back(project: Path) -> None:
    artifacts = project / "artifacts"
    broken = judge(project, "train-eval")
    assert broken["action"] == "investigate" and broken["acknowledged"] == []
    archived = artifacts / "runs" / broken["run_id"]
    before = snapshot(archived), (artifacts / "manifest.json").read_bytes()

    accepted = driftbook(project, "acknowledge", "f0", "--why", "a new | sensor")
    assert accepted.exit_code == 0, accepted.stderr
    assert "no fault, no alarm" in accepted.stdout and "--from drift" in accepted.stdout
    assert before == (snapshot(archived), (artifacts / "manifest.json").read_bytes())
    assert driftbook(project, "verify").exit_code == 0

    again = judge(project, "decision")
    assert "f0 has changed since the last run, so this run starts with drift" in again["told"]
    assert again["action"] == "retrain" and "a lasting change of f0" in again["reason"]
    (signed,) = again["acknowledged"]
    assert (signed["column"], signed["why"], signed["window"]) == ("f0", "a new | sensor", BREAKS)
    assert {"who", "when"} <= set(signed)
    quality = pd.read_csv(artifacts / "drift" / "quality.csv")
    assert quality[["feature", "severity"]].to_numpy().tolist() == [["f0", "accepted"]]
    made = registry_models.load_model(artifacts / "models", again["challenger_version"])
    assert made.feature_names == [f"f{k}" for k in range(1, 8)]
    assert driftbook(project, "verify").exit_code == 0

    page = (artifacts / "runs" / again["run_id"] / "executed" / "02-drift.ipynb").read_text("utf-8")
    assert "`f0` is accepted as changed for good" in page and "a new \\\\| sensor" in page
    history, _ = pages.compose_history_page(evidence.load_published_run(artifacts))
    assert "| acknowledge f0 |" in history and "a new \\| sensor" in history

    # What was judged before stays as it was, also where somebody opens it again.
    opened = runs.open_run("unused", artifacts, None, broken["run_id"])
    assert opened.assessment.action == "investigate" and opened.acknowledged == ()
    assert judge(project, "drift", "rows-0004")["acknowledged"] == []

    undone = driftbook(project, "acknowledge", "f0", "--undo", "--json")
    assert undone.exit_code == 0 and json.loads(undone.stdout)["event"] == "withdraw"
    assert judge(project, "drift")["action"] == "investigate"
    assert driftbook(project, "verify").exit_code == 0
    assert registry.read_index(artifacts / "models").aliases["champion"] == broken["model_version"]
