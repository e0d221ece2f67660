"""The one way artifacts change: staged, committed by one rename, then published.

A run writes to ``.staging/<run_id>``; renaming that folder to ``runs/<run_id>`` commits it.
Publishing copies its files to the paths users know, can be repeated at any point, and ends with
``manifest.json``. What a crash leaves behind is finished or dropped by the next command.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from driftbook import paths
from driftbook.errors import BusyError
from driftbook.settings import Settings
from driftbook.store import files, ledger, manifest, registry


@dataclass(frozen=True)
class StagedRun:
    """A run in progress and the folder that holds all it writes."""

    run_id: str
    folder: Path


@contextmanager
def lock_artifacts(artifacts: Path) -> Iterator[None]:
    """Hold the artifacts folder; two commands never write to it at the same time.

    Raises:
        BusyError: another command holds it.
    """
    path = artifacts / ".lock"
    with ExitStack() as held:
        try:
            stream = held.enter_context(files.hold_lock(path, wait=False))
        except BlockingIOError as error:
            holder = path.read_text(encoding="utf-8").strip() or "unknown"
            raise BusyError(
                f"another driftbook command (process {holder}) is at work on {artifacts}; wait "
                "for it to end"
            ) from error
        stream.truncate(0)
        stream.write(str(os.getpid()))
        stream.flush()
        yield


def new_run_id() -> str:
    """Return an id that sorts by time: UTC to the second and four random hex digits."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"


def stage_run(
    settings: Settings,
    artifacts: Path,
    window: str | None = None,
    notes: str = "",
    kind: Literal["run", "backtest"] = "run",
) -> StagedRun:
    """Return a new staging folder holding the settings and what the run starts from."""
    run_id = new_run_id()
    folder = artifacts / paths.STAGING / run_id
    files.write_whole(folder / paths.RUN_SETTINGS, settings.to_yaml())
    note = {
        "run_id": run_id,
        "kind": kind,
        "started_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "bases": [str(base) for base in settings.bases],
        "window": window,
        "notes": notes,
        "champion": registry.read_index(artifacts / paths.MODELS).aliases["champion"],
        "ledger_lines": ledger.read_head(artifacts / paths.MODELS).lines,
    }
    files.write_whole(folder / paths.RUN_NOTE, files.format_json(note))
    return StagedRun(run_id, folder)


def commit_run(staged: StagedRun, artifacts: Path) -> None:
    """Complete the run with its manifest and commit it by one rename.

    It replaces the published folders that it wrote to; all others are carried over from the
    manifest in force.

    Raises:
        DriftbookError: an artifact that the run must leave is missing.
    """
    document = manifest.build_manifest(staged.folder, staged.run_id, artifacts)
    files.write_whole(staged.folder / paths.MANIFEST, files.format_json(document))
    _sync_tree(staged.folder)
    target = artifacts / paths.RUNS / staged.run_id
    target.parent.mkdir(exist_ok=True)
    staged.folder.rename(target)
    _sync(target.parent)


def publish_run(artifacts: Path, run_id: str) -> None:
    """Bring a committed run to the paths that users rely on; repeating it changes nothing."""
    folder = artifacts / paths.RUNS / run_id
    document = manifest.read_manifest(folder / paths.MANIFEST)
    _publish_models(artifacts / paths.MODELS, folder)
    for path in document["files"]:
        if path.partition("/")[0] in paths.PUBLISHED_PARTS and (folder / path).is_file():
            files.write_whole(artifacts / path, (folder / path).read_bytes())
    for stale in manifest.find_unlisted(artifacts, document):
        stale.unlink()
    files.write_whole(artifacts / paths.MANIFEST, (folder / paths.MANIFEST).read_bytes())
    shutil.rmtree(folder / paths.MODELS, ignore_errors=True)
    (folder / paths.PUBLISHED_MARK).touch()


def _publish_models(models: Path, folder: Path) -> None:
    """Adopt what the run trained; nominate whom it wants promoted, or nobody."""
    registry.adopt_versions(models, folder / paths.MODELS)
    first = registry.read_index(folder / paths.MODELS).aliases["champion"]
    if first is not None and not registry.set_first_champion(models, first):
        registry.follow_served_version(models, first)
    if (folder / paths.RECOMMENDATION).exists():
        found = files.read_json_object(folder / paths.RECOMMENDATION)
        nominee = found.get("challenger_version") if found["action"] == "retrain" else None
        if nominee != registry.read_index(models).aliases["champion"]:
            registry.nominate_challenger(models, nominee)


def drop_run(staged: StagedRun) -> None:
    """Remove a run that failed."""
    shutil.rmtree(staged.folder, ignore_errors=True)


def recover_artifacts(artifacts: Path) -> list[str]:
    """Finish or drop what a stopped command left half-done; return a sentence for each.

    The caller holds the lock.
    """
    messages = []
    for folder in sorted((artifacts / paths.STAGING).glob("*")):
        shutil.rmtree(folder)
        messages.append(f"dropped run {folder.name}, which had stopped before it was whole")
    # Before anything else may move the champion: a first move that stopped is not made twice.
    settled = registry.settle_promotion(artifacts / paths.MODELS)
    messages += [settled] if settled else []
    for run_id in manifest.list_unpublished_runs(artifacts):
        publish_run(artifacts, run_id)
        messages.append(f"finished publishing run {run_id}, which had stopped half-way")
    _drop_partials(artifacts)
    return messages


def _drop_partials(artifacts: Path) -> None:
    parts = (artifacts / part for part in paths.PUBLISHED_PARTS)
    for folder in (artifacts, artifacts / paths.MODELS, *parts):
        for leftover in folder.glob(files.PARTIAL):
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()


def _sync_tree(folder: Path) -> None:
    """Bring a folder to the disk, so that the rename never commits an empty one."""
    for path in (folder, *folder.rglob("*")):
        _sync(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
