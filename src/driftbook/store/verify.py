"""Is what lies in the artifacts folder what the last run published? Reads files, changes none."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from driftbook import paths
from driftbook.errors import DriftbookError
from driftbook.store import acknowledgements, files, layout, ledger, registry
from driftbook.store.manifest import find_unlisted, list_unpublished_runs, read_manifest


def verify_artifacts(artifacts: Path) -> list[str]:
    """Return a sentence for everything that is off: files, hashes, stale files, lineage, registry.

    Raises:
        DriftbookError: there is no manifest to check against.
    """
    document = read_manifest(artifacts / paths.MANIFEST)
    problems = [*_check_files(artifacts, document), *_check_lineage(artifacts, document)]
    problems += _check_registry(artifacts, document)
    problems += _check_versions(artifacts / paths.MODELS, document)
    problems += _check_layout(artifacts)
    problems += _check_archive(artifacts, document)
    # Where a run was published meanwhile, the files of one were held against the other's manifest.
    if problems and read_manifest(artifacts / paths.MANIFEST) != document:
        return verify_artifacts(artifacts)
    unfinished = list_unpublished_runs(artifacts) if problems else []
    told = "is being published or stopped half-way; the next run or report finishes it"
    return [*problems, *(f"run {run_id} {told}" for run_id in unfinished)]


def _check_files(artifacts: Path, document: Mapping[str, Any]) -> list[str]:
    listed = document["files"]
    unlisted = [path for path in document["required_files"] if path not in listed]
    problems = [f"{path} is required but not in the manifest" for path in unlisted]
    for name, entry in listed.items():
        problems += _check_file(artifacts / name, name, entry)
    for path in find_unlisted(artifacts, document):
        name = path.relative_to(artifacts).as_posix()
        problems.append(f"{name} is stale: no run in the manifest made it")
    return problems


def _check_file(path: Path, name: str, entry: Any) -> list[str]:
    known = entry if isinstance(entry, dict) else {}
    if not path.is_file():
        return [f"{name} is missing"]
    try:
        content = path.read_bytes()
    except OSError as error:
        return [f"{name} cannot be read ({error.strerror})"]
    if files.hash_bytes(content) == known.get("sha256"):
        return []
    size = known.get("bytes")
    if len(content) != size:
        return [f"{name} has {len(content)} bytes, the manifest says {size}: it was altered"]
    return [f"{name} was altered: its SHA-256 is not the manifest's"]


def _check_lineage(artifacts: Path, document: Mapping[str, Any]) -> list[str]:
    """Check that recommendation, drift report and tracked run name one run and one model."""
    run_id = document.get("run_id")
    try:
        named = {
            "recommendation": [files.read_json_object(artifacts / paths.RECOMMENDATION)],
            "drift report": _read_rows(artifacts / paths.DRIFT_REPORT),
        }
        tracked = _read_rows(artifacts / paths.RUNS_TABLE)
    except (OSError, ValueError, csv.Error) as error:
        return [f"lineage cannot be checked: {error}"]
    own = [row for row in tracked if row.get("run_id") == run_id]
    problems = []
    if len(own) == 1:
        named["runs.csv"] = own
    else:
        problems.append(f"runs.csv has {len(own)} rows of run {run_id}, not one")
    for name, rows in named.items():
        for key in ("run_id", "model_version"):
            found = sorted({str(row.get(key)) for row in rows})
            if found != [document.get(key)]:
                told = ", ".join(found) or "none"
                problems.append(f"{name} names {key} {told}, the manifest {document.get(key)}")
    try:
        unsigned = acknowledgements.find_unknown(
            artifacts / paths.MODELS, named["recommendation"][0]
        )
    except DriftbookError:
        return problems  # told with the registry's
    told = "the recommendation calls {} accepted, which no line of the ledger does"
    return problems + [told.format(column) for column in unsigned]


def _read_rows(path: Path) -> list[dict[str, Any]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def _check_registry(artifacts: Path, document: Mapping[str, Any]) -> list[str]:
    models, judged = artifacts / paths.MODELS, document.get("model_version")
    try:
        known = registry.read_index(models)
        champion = known.aliases.get("champion")
        waiting = registry.find_unsettled(models, known)
        known.resolve("champion")
    except DriftbookError as error:
        return [str(error)]
    if waiting is not None:
        event = ledger.name_event(waiting)
        return [f"the {event} stopped half-way; the next run or report finishes it"]
    last = ledger.list_moves(ledger.read_ledger(models))[-1]
    evidence = document["files"].get(paths.RECOMMENDATION.as_posix(), {}).get("sha256")
    rests_on = last.get("from"), last.get("evidence_sha256")
    if champion == judged or rests_on == (judged, evidence):
        return []
    return [f"the champion is {champion}, but the last run judged {judged}; run `make run-drift`"]


def _check_layout(artifacts: Path) -> list[str]:
    try:
        found, known = layout.read_layout(artifacts), registry.read_index(artifacts / paths.MODELS)
    except DriftbookError as error:
        return [str(error)]
    if found == layout.PRESENT_LAYOUT or known.head is None:  # an earlier release's is in order
        return []
    return [f"{paths.LAYOUT} is missing; the next run or report writes it"]


def _check_versions(models: Path, document: Mapping[str, Any]) -> list[str]:
    """Check every version of the registry, not the one that the manifest lists file by file."""
    try:
        versions = registry.read_index(models).versions
    except DriftbookError:
        return []  # told already
    problems = []
    for version, entry in versions.items():
        hashes = entry.get("files") if isinstance(entry, dict) else None
        for name in registry.VERSION_FILES:
            path = (paths.MODELS / version / name).as_posix()
            if path in document["files"]:
                continue
            known = hashes.get(name) if isinstance(hashes, dict) else None
            if known is None:
                problems.append(f"{path} has no SHA-256 in the registry's index")
            else:
                problems += _check_hash(models / version / name, path, known)
    return problems


def _check_archive(artifacts: Path, document: Mapping[str, Any]) -> list[str]:
    """Check what every archived run has kept: what it made itself, and its executed notebooks."""
    problems, published = [], False
    archive = document.get("archive")
    hashes = archive if isinstance(archive, dict) else {}  # an earlier release kept none
    for folder in sorted((artifacts / paths.RUNS).glob("*/")):
        own, name = folder.name, folder.relative_to(artifacts).as_posix()
        try:
            known = read_manifest(folder / paths.MANIFEST)
        except DriftbookError as error:
            problems.append(str(error))
            continue
        published = published or known == document
        if own in hashes:
            problems += _check_file(
                folder / paths.MANIFEST, f"{name}/{paths.MANIFEST}", hashes[own]
            )
        made = known.get("parts")
        problems += check_kept_files(folder, known)
        for path, entry in known["files"].items():
            part = path.partition("/")[0]
            if path.startswith(f"{name}/"):
                if path not in document["files"]:
                    problems += _check_file(artifacts / path, path, entry)
            elif part != paths.MODELS.name and isinstance(made, dict) and made.get(part) == own:
                problems += _check_file(folder / path, f"{name}/{path}", entry)
    if not published:
        told = f"is that of no run in {paths.RUNS}/: it, or that run's own, was altered"
        problems.append(f"{paths.MANIFEST} {told}")
    return problems


def check_kept_files(folder: Path, document: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each file that an archived run began with and that is off now.

    ``document``: its manifest; one of an earlier release kept no hash of them.
    """
    kept, name = document.get("kept"), f"{paths.RUNS}/{folder.name}"
    return [
        problem
        for path, entry in (kept.items() if isinstance(kept, dict) else ())
        for problem in _check_file(folder / path, f"{name}/{path}", entry)
    ]


def _check_hash(path: Path, name: str, known: object) -> list[str]:
    try:
        content = path.read_bytes()
    except OSError as error:
        return [f"{name} cannot be read ({error.strerror})"]
    altered = files.hash_bytes(content) != known
    return [f"{name} was altered: its SHA-256 is not the registry's"] if altered else []
