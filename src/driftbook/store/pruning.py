"""Old runs and model versions that nothing refers to are removed, where the settings say so."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from driftbook import paths
from driftbook.store import files, ledger, manifest, registry


@dataclass(frozen=True)
class PrunedArtifacts:
    """The ids of the runs, and the model versions, that were removed."""

    runs: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()


def prune_artifacts(artifacts: Path, keep_runs: int | None) -> PrunedArtifacts:
    """Remove all but the newest ``keep_runs`` runs, and what only they referred to; None: nothing.

    What stays whatever its age: runs that the manifest in force names or takes a folder from;
    those that a line of the ledger rests on; those that proposed the champion or the challenger;
    those that are not published or told yet, or cannot be read. And every version that is or was
    champion or challenger, or that a run which stays names. The caller holds the folder.

    Raises:
        DriftbookError: manifest, ledger or index cannot be read; nothing was removed.
    """
    if keep_runs is None or not (artifacts / paths.MANIFEST).exists():
        return PrunedArtifacts()
    folders = sorted(path.parent for path in (artifacts / paths.RUNS).glob(f"*/{paths.MANIFEST}"))
    lines = ledger.read_ledger(artifacts / paths.MODELS)
    known = registry.read_index(artifacts / paths.MODELS)
    in_force = manifest.read_manifest(artifacts / paths.MANIFEST)
    needed = _list_needed_runs(in_force, lines)
    old = [
        folder
        for folder in folders[:-keep_runs]
        if folder.name not in needed and _is_forgotten(folder, known.aliases, lines)
    ]
    for folder in old:
        # Under a name that the next command clears, should this one be stopped.
        gone = files.partial_path(artifacts / folder.name)
        folder.rename(gone)
        shutil.rmtree(gone)
    versions = prune_versions(artifacts, known.versions) if old else ()
    return PrunedArtifacts(tuple(folder.name for folder in old), versions)


def _list_needed_runs(in_force: Mapping[str, Any], lines: list[dict[str, Any]]) -> set[str]:
    named = {str(in_force.get("run_id")), *map(str, in_force.get("parts", {}).values())}
    listed = (name.split("/") for name in in_force["files"] if name.startswith(f"{paths.RUNS}/"))
    accepted = {str(line["run_id"]) for line in lines if line.get("run_id")}
    return named | {parts[1] for parts in listed} | accepted


def _is_forgotten(
    folder: Path, aliases: Mapping[str, str | None], lines: list[dict[str, Any]]
) -> bool:
    """Tell whether a run is published and told, and neither a model nor a line rests on it."""
    if not (folder / paths.PUBLISHED_MARK).exists() or (folder / paths.ALERT_DUE).exists():
        return False
    path = folder / paths.RECOMMENDATION
    try:
        content = path.read_bytes() if path.exists() else b"{}"  # a backtest decides nothing
        proposed = files.read_json_object(path).get("challenger_version") if path.exists() else None
    except (OSError, ValueError):
        return False
    rests_on = {line.get("evidence_sha256") for line in lines}
    return files.hash_bytes(content) not in rests_on and (
        proposed is None or proposed not in aliases.values()
    )


def prune_versions(artifacts: Path, among: Iterable[str]) -> tuple[str, ...]:
    """Remove those versions ``among`` some that no alias, no line of the ledger and no run names.

    The caller holds the folder.
    """
    models, chosen = artifacts / paths.MODELS, {*among}
    notes = (paths.MANIFEST, paths.RECOMMENDATION, paths.RUN_NOTE)
    texts = [
        path.read_text(encoding="utf-8")
        for note in notes
        for path in (artifacts / paths.RUNS).glob(f"*/{note}")
    ]
    moved = {line.get(key) for line in ledger.read_ledger(models) for key in ("from", "to")}
    with registry.lock_registry(models) as known:
        old = [
            version
            for version in known.versions
            if version in chosen - moved
            and version not in known.aliases.values()
            and not any(version in text for text in texts)
        ]
        if not old:
            return ()
        stays = {name: about for name, about in known.versions.items() if name not in old}
        registry.write_index(models, replace(known, versions=stays))
        for version in old:
            gone = files.partial_path(models / version)
            with suppress(FileNotFoundError):
                (models / version).rename(gone)
                shutil.rmtree(gone)
    return tuple(old)
