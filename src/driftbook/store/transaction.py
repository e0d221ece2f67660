"""The one way artifacts change: staged, committed by one rename, then published.

A run writes to ``.staging/<run_id>``; renaming that folder to ``runs/<run_id>`` commits it.
Publishing copies its files to the paths users know, can be repeated at any point, and ends with
``manifest.json``. What a crash leaves behind is finished or dropped by the next command.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from driftbook.errors import DriftbookError
from driftbook.settings import Settings
from driftbook.store import manifest, registry

RUN_PARTS = ("metrics", "drift", "policy", "serving", "tracking")
BACKTEST_PARTS = ("backtest",)


@dataclass(frozen=True)
class StagedRun:
    """A run in progress and the folder that holds all it writes."""

    run_id: str
    folder: Path


@contextmanager
def lock_artifacts(artifacts: Path) -> Iterator[None]:
    """Hold the artifacts folder; two commands never write to it at the same time.

    Raises:
        DriftbookError: another command holds it.
    """
    artifacts.mkdir(parents=True, exist_ok=True)
    with (artifacts / ".lock").open("a+", encoding="utf-8") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            stream.seek(0)
            holder = stream.read().strip() or "unknown"
            raise DriftbookError(
                f"another driftbook command (process {holder}) is at work on {artifacts}; wait "
                "for it to end"
            ) from error
        stream.truncate(0)
        stream.write(str(os.getpid()))
        stream.flush()
        yield


def new_run_id(now: datetime | None = None) -> str:
    """Return an id that sorts by time: UTC to the second and four random hex digits."""
    return f"{(now or datetime.now(UTC)):%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"


def stage_run(
    settings: Settings,
    artifacts: Path,
    window: str | None = None,
    notes: str = "",
    kind: Literal["run", "backtest"] = "run",
    about_data: Mapping[str, Any] | None = None,
) -> StagedRun:
    """Return a new staging folder holding the settings and what the run starts from.

    ``about_data`` becomes the manifest's ``data``.
    """
    run_id = new_run_id()
    folder = artifacts / ".staging" / run_id
    folder.mkdir(parents=True)
    (folder / "settings.yaml").write_text(settings.to_yaml(), encoding="utf-8")
    note = {
        "run_id": run_id,
        "kind": kind,
        "started_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "bases": [str(base) for base in settings.bases],
        "window": window,
        "notes": notes,
        "champion": registry.read_index(artifacts / "models").aliases["champion"],
    }
    (folder / "run.json").write_text(json.dumps(note, indent=2), encoding="utf-8")
    if about_data is not None:
        (folder / "data.json").write_text(json.dumps(about_data, indent=2), encoding="utf-8")
    return StagedRun(run_id, folder)


def commit_run(staged: StagedRun, artifacts: Path, parts: Sequence[str] = RUN_PARTS) -> None:
    """Complete the run with its manifest and commit it by one rename.

    ``parts`` are the top folders that this run replaces, where it wrote to them; all others are
    carried over from the manifest in force.

    Raises:
        DriftbookError: an artifact that the run must leave is missing.
    """
    written = [part for part in parts if (staged.folder / part).exists()]
    document = manifest.build_manifest(staged.folder, staged.run_id, artifacts, written)
    manifest.write_manifest(staged.folder / "manifest.json", document)
    _sync(staged.folder)
    target = artifacts / "runs" / staged.run_id
    target.parent.mkdir(exist_ok=True)
    staged.folder.rename(target)
    _sync_folder(target.parent)


def publish_run(artifacts: Path, run_id: str) -> None:
    """Bring a committed run to the paths that users rely on; repeating it changes nothing."""
    folder = artifacts / "runs" / run_id
    document = manifest.read_manifest(folder / "manifest.json")
    models = artifacts / "models"
    if (folder / "models").exists():
        registry.adopt_versions(models, folder / "models")
        first = registry.read_index(folder / "models").aliases["champion"]
        if first is not None:
            registry.set_first_champion(models, first)
    nominated = manifest.find_nominee(folder)
    if (
        nominated is not None
        and nominated.version != registry.read_index(models).aliases["champion"]
    ):
        registry.nominate_challenger(models, nominated.version)
    for path in document["files"]:
        if (folder / path).is_file() and not path.startswith("runs/"):
            _replace(folder / path, artifacts / path)
    for stale in manifest.find_unlisted(artifacts, document):
        stale.unlink()
    _replace(folder / "manifest.json", artifacts / "manifest.json")
    shutil.rmtree(folder / "models", ignore_errors=True)
    (folder / ".published").touch()


def drop_run(staged: StagedRun, keep: Path | None = None) -> None:
    """Remove a run that failed; its ``executed`` notebooks are kept under ``keep``."""
    executed = staged.folder / "executed"
    if keep is not None and executed.exists():
        keep.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(keep, ignore_errors=True)
        executed.rename(keep)
    shutil.rmtree(staged.folder, ignore_errors=True)


def recover_artifacts(artifacts: Path) -> list[str]:
    """Finish or drop what a stopped command left half-done; return a sentence for each.

    The caller holds the lock.
    """
    messages = []
    for folder in sorted((artifacts / ".staging").glob("*")):
        shutil.rmtree(folder)
        messages.append(f"dropped run {folder.name}, which had stopped before it was whole")
    committed = sorted(path.parent for path in (artifacts / "runs").glob("*/manifest.json"))
    for folder in committed:
        if not (folder / ".published").exists():
            publish_run(artifacts, folder.name)
            messages.append(f"finished publishing run {folder.name}, which had stopped half-way")
    for leftover in (*artifacts.glob("*/.*.publishing"), *artifacts.glob(".*.publishing")):
        leftover.unlink()
    settled = (
        registry.settle_promotion(artifacts / "models") if (artifacts / "models").exists() else None
    )
    return [*messages, *([settled] if settled else [])]


def _replace(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.publishing")
    shutil.copyfile(source, partial)
    partial.replace(target)


def _sync(folder: Path) -> None:
    """Bring a folder's files to the disk, so that the rename never commits an empty one."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as stream:
                os.fsync(stream.fileno())
        else:
            _sync_folder(path)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
