"""An archived run made again in a folder of its own, and compared with what it left."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from driftbook import paths
from driftbook.errors import UsageError
from driftbook.runbook import flow
from driftbook.runbook.project import Project
from driftbook.runbook.terminal import Terminal
from driftbook.store import archive, manifest, registry, temporary
from driftbook.store.archive import ArchivedRun
from driftbook.store.comparison import RunPlace, compare_runs
from driftbook.words import render_words


def reproduce_run(
    project: Project, run_id: str, terminal: Terminal, cell_timeout: int
) -> dict[str, Any]:
    """Return how the files of a run made again compare with the archived ones, as plain values.

    It has the settings, window, champion and data source that the run had; the artifacts folder
    stays as it is.

    Raises:
        UsageError: no such run, or its data or what it began from are not there any more.
        DriftbookError: it does not come to an end this time, or what it began with was altered.
    """
    artifacts = project.require_artifacts()
    archived = archive.read_archived_run(artifacts, run_id)
    settings = archived.load_settings(project.settings_file.parent)
    kind = archived.note["kind"]
    job = flow.RunbookJob(
        kind,
        archived.first_step,
        archived.note["window"],
        archived.note["notes"],
        repeats=archived.data,
    )
    with temporary.hold_temporary_folder("driftbook-again-") as scratch:
        again = replace(project, artifacts=scratch / paths.ARTIFACTS, given=settings)
        began = archive.restore_beginning(artifacts, archived, again.artifacts)
        if settings.data.source == "predictions":
            _copy_log(artifacts / paths.LOG, again.artifacts / paths.LOG)
        done = flow.perform_job(again, job, terminal, cell_timeout=cell_timeout, render=False)
        made = set(registry.read_index(again.artifacts / paths.MODELS).versions) - began
        kept = made & set(registry.read_index(artifacts / paths.MODELS).versions)
        found = compare_runs(
            RunPlace(artifacts, run_id), RunPlace(again.artifacts, done.run_id), kept
        )
        versions = _list_other_versions(archived, again.artifacts, done.run_id)
    return {
        "run_id": run_id,
        "reproduced": not found.different,
        "equal": list(found.equal),
        "alike": list(found.alike),
        "different": dict(found.different),
        "gone": sorted(f"{paths.MODELS}/{version}" for version in made - kept),
        "versions": versions,
    }


def _copy_log(log: Path, target: Path) -> None:
    """Copy the prediction log as it is at this moment: reading it where it lies would change it."""
    for file in log.glob("*.sqlite"):
        target.mkdir(parents=True, exist_ok=True)
        # Where nobody has it open, SQLite must not leave files of its own beside it.
        idle = not file.with_name(f"{file.name}-wal").exists()
        address = f"{file.absolute().as_uri()}?{'immutable=1' if idle else 'mode=ro'}"
        try:
            with (
                closing(sqlite3.connect(address, uri=True)) as source,
                closing(sqlite3.connect(target / file.name)) as copy,
            ):
                source.backup(copy)
        except sqlite3.Error as error:
            raise UsageError(f"the prediction log {file} cannot be read ({error})") from error


def write_reproduction_lines(found: Mapping[str, Any]) -> list[str]:
    """Return for people what is equal, what is alike, what differs, and what may be the cause."""
    return render_words("reproduced.j2", **found).splitlines()


def _list_other_versions(archived: ArchivedRun, artifacts: Path, run_id: str) -> dict[str, Any]:
    """Return by name the code and packages that are others now, as ``[then, now]``."""
    path = artifacts / paths.RUNS / run_id / paths.MANIFEST
    then, now = (
        {**document.get("packages", {}), **{f"code {k}": v for k, v in document["code"].items()}}
        for document in (archived.manifest, manifest.read_manifest(path))
    )
    names = sorted(then.keys() | now.keys())
    return {
        name: [then.get(name), now.get(name)] for name in names if then.get(name) != now.get(name)
    }
