"""The one way artifacts change: staged, committed by one rename, then published.

A run writes to ``.staging/<run_id>``; renaming that folder to ``runs/<run_id>`` commits it.
Publishing copies its files to the paths users know, can be repeated at any point, and ends with
``manifest.json``. What a crash leaves behind is finished or dropped by the next command.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from driftbook import paths
from driftbook.errors import BusyError, DriftbookError
from driftbook.settings import Settings
from driftbook.store import files, layout, ledger, manifest, pruning, registry

# Within a staging folder: held as long as the run's process lives.
_IN_PROGRESS = ".in-progress"


@dataclass(frozen=True)
class StagedRun:
    """A run in progress and the folder that holds all it writes."""

    run_id: str
    folder: Path


class UnpublishedError(DriftbookError):
    """A run is whole, but could not be brought to the paths that users rely on."""


@contextmanager
def lock_artifacts(artifacts: Path, wait: Callable[[str], None] | None = None) -> Iterator[None]:
    """Hold the artifacts folder; two commands never write to it at the same time.

    Where another command holds it, ``wait`` is told so and this one waits.

    Raises:
        BusyError: another command holds it, and there is no ``wait``.
    """
    path = artifacts / ".lock"
    with ExitStack() as held:
        try:
            stream = held.enter_context(files.hold_lock(path, wait=False))
        except BlockingIOError as error:
            holder = path.read_text(encoding="utf-8").strip() or "unknown"
            told = f"another driftbook command (process {holder}) is at work on {artifacts}"
            if wait is None:
                raise BusyError(f"{told}; wait for it to end") from error
            wait(f"{told}; waiting for it to end")
            stream = held.enter_context(files.hold_lock(path))
        with suppress(OSError):  # whose name it is helps others; on a full disk it has none
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
    staged = StagedRun(run_id, folder)
    try:
        files.write_whole(folder / paths.RUN_SETTINGS, settings.to_yaml())
        files.write_whole(folder / paths.RUN_NOTE, files.format_json(note))
    except OSError:
        drop_run(staged)
        raise
    return staged


@contextmanager
def keep_staged(staged: StagedRun) -> Iterator[None]:
    """Keep a run in progress from being taken for one that has stopped, also between locks."""
    with files.hold_lock(staged.folder / _IN_PROGRESS):
        yield


def commit_run(staged: StagedRun, artifacts: Path) -> None:
    """Complete the run with its manifest and commit it by one rename.

    It replaces the published folders that it wrote to; all others are carried over from the
    manifest in force.

    Raises:
        DriftbookError: an artifact that the run must leave is missing.
    """
    (staged.folder / _IN_PROGRESS).unlink(missing_ok=True)
    document = manifest.build_manifest(staged.folder, staged.run_id, artifacts)
    files.write_whole(staged.folder / paths.MANIFEST, files.format_json(document))
    files.sync_tree(staged.folder)
    target = artifacts / paths.RUNS / staged.run_id
    target.parent.mkdir(exist_ok=True)
    staged.folder.rename(target)
    files.sync_path(target.parent)


def publish_run(artifacts: Path, run_id: str) -> None:
    """Bring a committed run to the paths that users rely on; repeating it changes nothing.

    Raises:
        UnpublishedError: the disk is full, or a folder cannot be written; nothing was brought.
    """
    folder, models = artifacts / paths.RUNS / run_id, artifacts / paths.MODELS
    document = manifest.read_manifest(folder / paths.MANIFEST)
    own = [
        path
        for path in document["files"]
        if path.partition("/")[0] in paths.PUBLISHED_PARTS and (folder / path).is_file()
    ]
    contents: dict[Path, str | Path] = {artifacts / path: folder / path for path in own}
    last, number = artifacts / paths.MANIFEST, artifacts / paths.LAYOUT
    contents |= {last: folder / paths.MANIFEST, folder / paths.PUBLISHED_MARK: ""}
    contents |= {number: layout.format_layout()}
    with ExitStack() as prepared:
        try:
            # All that takes space comes first, while the published run is as it was.
            registry.adopt_versions(models, folder / paths.MODELS)
            place = prepared.enter_context(files.prepare_files(contents))
            _move_aliases(models, folder)
        except OSError as error:
            raise UnpublishedError(
                f"run {run_id} could not be published ({error.filename or artifacts}: "
                f"{error.strerror}); the one before it stays: free the place and try again"
            ) from error
        for path in own:
            place(artifacts / path)
        for stale in manifest.find_unlisted(artifacts, document):
            stale.unlink()
        for part in {(artifacts / path).parent for path in own}:
            files.sync_path(part)
        place(number)
        place(last)
        files.sync_path(artifacts)
        shutil.rmtree(folder / paths.MODELS, ignore_errors=True)
        place(folder / paths.PUBLISHED_MARK)


def _move_aliases(models: Path, folder: Path) -> None:
    """Nominate whom the run wants promoted, or nobody; make its first version champion."""
    if (folder / paths.RECOMMENDATION).exists():
        found = files.read_json_object(folder / paths.RECOMMENDATION)
        nominee = found.get("challenger_version") if found["action"] == "retrain" else None
        if nominee != registry.read_index(models).aliases["champion"]:
            registry.nominate_challenger(models, nominee)
    first = registry.read_index(folder / paths.MODELS).aliases["champion"]
    if first is None or registry.set_first_champion(models, first):
        return
    # A backtest may have begun before there was a champion: it replaces none that came since.
    if files.read_json_object(folder / paths.RUN_NOTE)["kind"] == "run":
        registry.follow_served_version(models, first)


def withdraw_run(artifacts: Path, run_id: str) -> None:
    """Remove a committed run that could not be published, so that no later command does it."""
    staged = StagedRun(run_id, artifacts / paths.STAGING / run_id)
    (artifacts / paths.RUNS / run_id).rename(staged.folder)
    brought = registry.read_index(staged.folder / paths.MODELS).versions
    drop_run(staged)
    with suppress(OSError):  # on a full disk: a version too many does no harm
        pruning.prune_versions(artifacts, brought)


def drop_run(staged: StagedRun) -> None:
    """Remove a run that failed."""
    shutil.rmtree(staged.folder, ignore_errors=True)


def recover_artifacts(artifacts: Path) -> list[str]:
    """Finish or drop what a stopped command left half-done; return a sentence for each.

    The caller holds the lock.
    """
    messages = []
    for folder in sorted((artifacts / paths.STAGING).glob("*")):
        if _is_in_progress(folder):
            continue
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


def _is_in_progress(folder: Path) -> bool:
    if not (folder / _IN_PROGRESS).exists():
        return False
    try:
        with files.hold_lock(folder / _IN_PROGRESS, wait=False):
            return False
    except BlockingIOError:
        return True


def _drop_partials(artifacts: Path) -> None:
    models, runs = artifacts / paths.MODELS, artifacts / paths.RUNS
    # In there whatever is hidden is on its way, also under the names of earlier releases.
    found = [path for path in models.glob(".*") if path.name != ".lock"]
    found += [*artifacts.glob(files.PARTIAL), *runs.glob(f"*/{files.PARTIAL}")]
    for part in paths.PUBLISHED_PARTS:
        found += (artifacts / part).rglob(files.PARTIAL)
    for leftover in found:
        shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
