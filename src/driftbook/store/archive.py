"""Archived runs: what each began with, and that beginning laid out again in another folder."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from driftbook import paths
from driftbook.errors import IntegrityError, UsageError
from driftbook.settings import Settings
from driftbook.store import files, layout, ledger, manifest, registry, runs_table, verify
from driftbook.store.registry import RegistryIndex


@dataclass(frozen=True)
class ArchivedRun:
    """A finished run as its folder holds it: ``note`` is what it began with."""

    folder: Path
    note: Mapping[str, Any]
    data: Mapping[str, Any]
    manifest: Mapping[str, Any]

    @property
    def run_id(self) -> str:
        """Return the run's id, which is its folder's name."""
        return self.folder.name

    @property
    def first_step(self) -> str:
        """Return the first step whose notebook it executed; a backtest's is the first of all."""
        executed = {path.name for path in (self.folder / paths.EXECUTED).glob("*.ipynb")}
        steps = (step for step, name in paths.STEPS.items() if name in executed)
        return next(steps, paths.FIRST_STEP)

    def load_settings(self, *bases: Path) -> Settings:
        """Return its settings; a relative source is looked for in ``bases`` last."""
        known = [*map(Path, self.note["bases"]), *bases]
        return Settings.load(self.folder / paths.RUN_SETTINGS).based(*dict.fromkeys(known))


def read_archived_run(artifacts: Path, run_id: str) -> ArchivedRun:
    """Return a finished run.

    Raises:
        UsageError: there is no such run; the message lists the latest ones.
        IntegrityError: what it began with was altered.
    """
    folder = artifacts / paths.RUNS / run_id
    if Path(run_id).name != run_id or not (folder / paths.MANIFEST).is_file():
        known = sorted(path.parent.name for path in folder.parent.glob(f"*/{paths.MANIFEST}"))
        listed = ", ".join(reversed(known[-5:])) or "none yet; run 'driftbook run' first"
        raise UsageError(f"no finished run {run_id!r} under {artifacts}; latest: {listed}")
    document = manifest.read_manifest(folder / paths.MANIFEST)
    altered = verify.check_kept_files(folder, document)
    if altered:
        raise IntegrityError(
            f"run {run_id} cannot be run again as it was: {altered[0]}; restore it from a backup"
        )
    note, data = (
        files.read_json_object(folder / name) for name in (paths.RUN_NOTE, paths.RUN_DATA)
    )
    return ArchivedRun(folder, note, data, document)


def require_same_data(before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Return nothing where the source holds the rows that an archived run judged.

    Both are what a run notes about its data.

    Raises:
        UsageError: it holds others.
    """
    if before["sha256"] == now["sha256"]:
        return
    told = "{source} held {rows:,} rows with SHA-256 {sha256:.12}…"
    raise UsageError(
        f"the data have changed since that run: then {told.format(**before)}, now "
        f"{told.format(**now)}; it can be run again only where the source is as it was"
    )


def restore_beginning(artifacts: Path, archived: ArchivedRun, target: Path) -> set[str]:
    """Lay out in ``target`` what was published and registered when a run began.

    Returns the model versions that there were. Nothing in ``artifacts`` changes.

    Raises:
        UsageError: what it began from is kept no more.
    """
    _require_earlier_runs(artifacts, archived)
    before = _find_manifest_before(artifacts, archived)
    if before is not None:
        _restore_published(artifacts, before, target)
    return _restore_registry(artifacts / paths.MODELS, archived, target / paths.MODELS)


def _require_earlier_runs(artifacts: Path, archived: ArchivedRun) -> None:
    """Raise where a run is gone whose files this one carried over, or which was the last before."""
    needed = set(archived.manifest.get("parts", {}).values())
    table = runs_table.read_runs(archived.folder / paths.RUNS_TABLE)
    earlier = [run_id for run_id in table["run_id"] if run_id != archived.run_id]
    gone = [
        run_id
        for run_id in sorted({*needed, *earlier[-1:]})
        if not (artifacts / paths.RUNS / run_id / paths.MANIFEST).is_file()
    ]
    if gone:
        raise UsageError(
            f"that run began from run {gone[0]}, which is kept no more; it cannot be run again"
        )


def _find_manifest_before(artifacts: Path, archived: ArchivedRun) -> Mapping[str, Any] | None:
    """Return the manifest in force when a run began; None where nothing was published yet."""
    found = [
        document
        for path in (artifacts / paths.RUNS).glob(f"*/{paths.MANIFEST}")
        if path.parent != archived.folder
        and str((document := manifest.read_manifest(path))["created_utc"])
        <= archived.note["started_utc"]
    ]
    return max(found, key=lambda document: str(document["created_utc"]), default=None)


def _restore_published(artifacts: Path, before: Mapping[str, Any], target: Path) -> None:
    made = before.get("parts", {})
    for name in before["files"]:
        part = name.partition("/")[0]
        if part not in made:
            continue
        source = artifacts / paths.RUNS / made[part] / name
        try:
            files.write_whole(target / name, source.read_bytes())
        except FileNotFoundError as error:
            raise UsageError(
                f"that run began from run {made[part]}, of which {name} is kept no more; it "
                "cannot be run again"
            ) from error
    files.write_whole(target / paths.MANIFEST, files.format_json(before))
    layout.write_layout(target)
    for run_id in {*made.values(), str(before["run_id"])}:
        source = artifacts / paths.RUNS / run_id
        if source.is_dir():
            shutil.copytree(source, target / paths.RUNS / run_id)


def _restore_registry(models: Path, archived: ArchivedRun, target: Path) -> set[str]:
    champion, begun = archived.note["champion"], archived.note["started_utc"]
    known = registry.read_index(models).versions
    there = {name: about for name, about in known.items() if about["created"] <= begun}
    if champion is None:
        return set()
    if champion not in there:
        raise UsageError(
            f"that run began with champion {champion}, which is kept no more; it cannot be run "
            "again"
        )
    for version in there:
        shutil.copytree(models / version, target / version)
    lines = int(archived.note.get("ledger_lines", 0))
    aliases = {"champion": champion, "challenger": None}
    index = RegistryIndex(there, aliases, ledger.read_head(models, lines))
    files.write_whole(target / paths.LEDGER, ledger.read_text(models, lines))
    registry.write_index(target, index)
    return set(there)
