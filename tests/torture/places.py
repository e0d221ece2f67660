"""Projects to torture, each a folder with settings and artifacts, and what must hold afterwards."""

from __future__ import annotations

import json
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import forked
import staged_runs

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
        staged_runs.publish(artifacts)


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
