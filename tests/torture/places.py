"""Projects to torture, each a folder with settings and artifacts, and what must hold afterwards."""

from __future__ import annotations

import json
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import forked
import nbformat
import staged_runs
from nbformat.v4 import new_code_cell, new_notebook

import finished
from driftbook import paths
from driftbook.model import training
from driftbook.store import ledger, manifest, registry, registry_models, transaction, verify

RUN_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{4}")
Outcome = tuple[tuple[str | None, int], list[str]]  # champion, lines of the ledger, files


@dataclass(frozen=True)
class Places:
    """Project folders (settings and artifacts) to start from."""

    empty: Path
    published: Path
    committed: Path
    promotable: Path
    promoted: Path
    accepted: Path


def commit_staged(root: Path, action: str = "hold") -> str:
    """Commit a run as the notebooks would leave it, without publishing it."""
    staged = staged_runs.stage(root, action)
    transaction.commit_run(staged, root)
    return staged.run_id


def publish_staged(root: str) -> None:
    """Do what a run does around its notebooks: hold, put right, stage, commit, publish."""
    artifacts = Path(root)
    with transaction.lock_artifacts(artifacts):
        for message in transaction.recover_artifacts(artifacts):
            sys.stderr.write(f"{message}\n")
        run_id = commit_staged(artifacts)
        try:
            transaction.publish_run(artifacts, run_id)
        except transaction.UnpublishedError:
            transaction.withdraw_run(artifacts, run_id)
            raise


def recover(root: str) -> None:
    """Do what every command does first."""
    from driftbook.runbook.project import locate_project

    artifacts = Path(root)
    project = locate_project(artifacts.parent / "runbook.yaml", artifacts)
    with project.hold_artifacts(print):
        pass


def call(root: Path, *words: str, stop_at: int | None = None) -> forked.Ended:
    """Return how a command about this artifacts folder ended."""
    given = (*words, *words_for(root))
    return forked.finish(forked.call_driftbook, *given, root=root, stop_at=stop_at)


def words_for(root: Path) -> list[str]:
    """Return the options that make a command one about this artifacts folder."""
    return ["--settings", str(root.parent / "runbook.yaml"), "--artifacts", str(root)]


def copy_place(before: Path, after: Path) -> Path:
    """Return the artifacts folder of a copy of a project; no file is ever written in place."""
    shutil.copytree(before, after)
    return after / "artifacts"


def make_places(folder: Path) -> Places:
    """Return a project before its first run, after it, and before and after a promotion."""

    def grow(name: str, before: str | None = None) -> Path:
        if before is None:
            (folder / name / "artifacts").mkdir(parents=True)
            (folder / name / "runbook.yaml").write_text(staged_runs.SETTINGS.to_yaml())
        else:
            copy_place(folder / before, folder / name)
        return folder / name / "artifacts"

    grow("empty")
    staged_runs.publish(grow("published", "empty"))
    commit_staged(grow("committed", "published"))
    root = grow("promotable", "published")
    champion = registry_models.load_model(root / paths.MODELS)
    other = training.train(champion.reference, staged_runs.SETTINGS, recipe="other")
    two = staged_runs.stage(root, "retrain", challenger_version=other.version)
    registry_models.save_model(two.folder / paths.MODELS, other)
    transaction.commit_run(two, root)
    transaction.publish_run(root, two.run_id)
    for name, before, words in (
        ("promoted", "promotable", ["promote"]),
        ("accepted", "published", ["acknowledge", "f0", "--why", "a new sensor"]),
    ):
        done = call(grow(name, before), *words)
        assert done.code == 0, done.err
    names = ("empty", "published", "committed", "promotable", "promoted", "accepted")
    return Places(*(folder / name for name in names))


POLICIES_CELL = """
import pandas as pd
row = {"policy": "driftbook", "retrains": 0, "mean_loss": 0.1, "total_cost": 1.0, "excess": 0.0}
_ = run.write_csv("backtest/policies.csv", pd.DataFrame([row]))
"""
# Leaves what the runbook's own notebook would, without computing for minutes.
STAND_INS = {
    "run": (
        "04-serving.ipynb",
        "run.write_json('serving/api_checks.json', {'passed': True, 'checks': []}, run.champion)",
    ),
    "backtest": (
        "05-backtest.ipynb",
        POLICIES_CELL,
    ),
}


def _write_stand_in(place: Path, command: str) -> None:
    """Give a project notebooks of its own, of which the one to execute is short."""
    shutil.copytree(Path(__file__).resolve().parents[2] / "notebooks", place / "notebooks")
    name, cell = STAND_INS[command]
    window = "window = None\n" * (command == "run")
    parameters = f'settings_file = ""\nartifacts_dir = ""\n{window}run_id = None'
    opening = (
        "from driftbook.runbook.run import open_run\n"
        f"run = open_run(settings_file, artifacts_dir, {'window' if window else None}, run_id)"
    )
    notebook = new_notebook()
    notebook.cells = [new_code_cell(parameters, metadata={"tags": ["parameters"]})]
    notebook.cells += [new_code_cell(opening), new_code_cell(cell)]
    nbformat.write(notebook, place / "notebooks" / name)


def make_finished(place: Path, command: str) -> Path:
    """Return a project with a finished run, whose ``command`` executes a short notebook."""
    place.mkdir()
    chosen = finished.settings(place)
    (place / "runbook.yaml").write_text(chosen.to_yaml(), encoding="utf-8")
    finished.publish(place / "artifacts", chosen, "rows-0004")
    _write_stand_in(place, command)
    return place


def list_names(root: Path) -> list[str]:
    """Return the files of a folder but its locks, whatever ids its runs have.

    A hidden folder counts as well: it would be what is left of something on its way.
    """
    found = [
        path.relative_to(root).as_posix()
        for path in root.rglob("*")
        if path.is_file() or path.name.startswith(".")
    ]
    known = (".lock", paths.STAGING.name)
    return sorted(RUN_ID.sub("RUN", name) for name in found if not name.endswith(known))


def read_kept(root: Path) -> dict[str, bytes]:
    """Return what is in every file of published runs, which nothing may change."""
    marks = sorted((root / paths.RUNS).glob(f"*/{paths.PUBLISHED_MARK}"))
    kept = [path for mark in marks for path in mark.parent.rglob("*") if path.is_file()]
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in kept}


def read_state(root: Path) -> tuple[str | None, int]:
    """Return champion and length of the ledger; both are readable at any time, no line twice."""
    models = root / paths.MODELS
    lines = [json.dumps(line, sort_keys=True) for line in ledger.read_ledger(models)]
    assert len(set(lines)) == len(lines), "a line of the ledger is there twice"
    return registry.read_index(models).aliases["champion"], len(lines)


def check_killed(root: Path, before: Path, after: Path) -> None:
    """Check what a killed command left: old or new, and never half of both."""
    champion, lines = read_state(root)
    (old, had), (new, has) = read_state(before), read_state(after)
    assert champion in (old, new), champion
    assert had <= lines <= has, lines
    kept = read_kept(root)
    assert read_kept(before).items() <= kept.items(), "an earlier run changed"
    if (before / paths.MANIFEST).exists():
        manifest.read_manifest(root / paths.MANIFEST)
    problems = verify.verify_artifacts(root) if (root / paths.MANIFEST).exists() else []
    waiting = [one for one in problems if "stopped half-way" in one]
    assert not problems or waiting, problems


def check_recovered(root: Path, before: Path, after: Path, told: forked.Ended) -> None:
    """Check what the next command made of it: all of the old or all of the new, and no remains."""
    assert "Traceback" not in told.err, told.err[-500:]
    found = (read_state(root), list_names(root))
    outcomes: list[Outcome] = [(read_state(one), list_names(one)) for one in (before, after)]
    assert found in outcomes, (found[0], sorted(set(found[1]) ^ set(outcomes[1][1]))[:8], told.out)
    if (root / paths.MANIFEST).exists():
        assert verify.verify_artifacts(root) == []
    assert transaction.recover_artifacts(root) == []
