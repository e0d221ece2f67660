"""May the challenger become champion? Only on evidence that still stands, or by a signed force."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from driftbook import paths
from driftbook.errors import DriftbookError, UsageError
from driftbook.store import files, registry
from driftbook.store.acknowledgements import find_changed_since


class GateError(DriftbookError):
    """The evidence does not support the promotion."""


@dataclass(frozen=True)
class Promotable:
    """What may be promoted, why, and the hash of the evidence that says so."""

    version: str
    why: str
    evidence_sha256: str | None


def check_gate(artifacts: Path, version: str | None = None) -> Promotable:
    """Return the challenger that the published recommendation wants promoted.

    Raises:
        GateError: there is no recommendation, it is not the one in the manifest, it says something
            other than ``retrain``, it is about another champion or another challenger, or what is
            accepted of the champion's columns has changed since.
    """
    recommendation, digest = read_evidence(artifacts)
    run = recommendation.get("run_id")
    if recommendation.get("served_elsewhere"):
        raise GateError(
            f"run {run} is about a model that is served elsewhere; deploy a newer one there, and "
            "its first rows (data.model_version) start a new reference here"
        )
    if recommendation["action"] != "retrain":
        raise GateError(
            f"run {run} recommends {recommendation['action']!r}, not 'retrain' "
            f"({recommendation['reason']}); wait, or override with --force --why TEXT"
        )
    champion = registry.read_index(artifacts / paths.MODELS).aliases["champion"]
    require_judged(recommendation, champion)
    changed = find_changed_since(artifacts, str(run))
    if changed:
        raise GateError(
            f"since run {run} somebody accepted, or withdrew, a change of {', '.join(changed)}; "
            "judge it again with 'driftbook run --from drift'"
        )
    challenger = recommendation.get("challenger_version")
    if challenger is None or version not in (None, challenger):
        raise GateError(
            f"run {run} has graded challenger {challenger}, not {version or 'any other'}; promote "
            "that one, or override with --force --why TEXT"
        )
    return Promotable(challenger, recommendation["reason"], digest)


def require_judged(recommendation: Mapping[str, Any], champion: str | None) -> None:
    """Return nothing where the recommendation is about the champion in force.

    Raises:
        GateError: it is about another one.
    """
    if recommendation["model_version"] != champion:
        raise GateError(
            f"run {recommendation.get('run_id')} judged model {recommendation['model_version']}, "
            f"but the champion is {champion}; judge it first with 'driftbook run --from drift'"
        )


def force_promotion(artifacts: Path, version: str | None, why: str | None) -> Promotable:
    """Return a promotion that someone answers for by name instead of by evidence.

    Raises:
        UsageError: no reason was given, or nothing is there to promote.
    """
    if not why:
        raise UsageError("--force writes your reason into the ledger; give it with --why TEXT")
    chosen = version or registry.read_index(artifacts / paths.MODELS).aliases.get("challenger")
    if chosen is None:
        raise UsageError("there is no challenger to promote; name a version with --to VERSION")
    try:
        digest: str | None = read_evidence(artifacts)[1]
    except GateError:
        digest = None
    return Promotable(chosen, why, digest)


def read_evidence(artifacts: Path) -> tuple[dict[str, Any], str]:
    """Return the published recommendation and the SHA-256 of its file.

    Raises:
        GateError: there is none, or it is not the one in the manifest.
    """
    try:
        content = (artifacts / paths.RECOMMENDATION).read_bytes()
        listed = files.read_json_object(artifacts / paths.MANIFEST)["files"]
        document: dict[str, Any] = json.loads(content)
    except FileNotFoundError as error:
        raise GateError(
            f"there is no {Path(str(error.filename)).name} under {artifacts}; "
            "run 'driftbook run' first"
        ) from error
    except (OSError, ValueError, KeyError) as error:
        raise GateError(
            f"the evidence under {artifacts} cannot be read ({error}); see 'driftbook verify'"
        ) from error
    digest = files.hash_bytes(content)
    if listed.get(paths.RECOMMENDATION.as_posix(), {}).get("sha256") != digest:
        raise GateError(
            f"{paths.RECOMMENDATION} is not the one in the manifest; see 'driftbook verify'"
        )
    return document, digest
