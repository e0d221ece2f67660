"""Who accepts a lasting change of the data, or takes that back: each is a line in the ledger."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from driftbook import paths
from driftbook.errors import UsageError
from driftbook.store import gate, ledger, registry
from driftbook.store.acknowledgements import Acknowledgement, read_acknowledgements
from driftbook.store.manifest import read_manifest

# Columns that the settings of data give another role.
_ROLES = ("timestamp", "record_id", "weight", "exclude", "segments", "model_version")


def acknowledge_column(artifacts: Path, column: str, why: str | None) -> dict[str, Any]:
    """Accept what the last run shows of a feature of the champion; return the line in the ledger.

    The caller holds the artifacts folder.

    Raises:
        GateError: nothing is published yet, or the last run judged another champion.
        UsageError: no reason, no such feature, or it is accepted already.
    """
    why = _require_reason(why)
    document, digest = gate.read_evidence(artifacts)
    models = artifacts / paths.MODELS
    with registry.lock_registry(models) as known:
        gate.require_judged(document, known.aliases.get("champion"))
        champion = known.resolve("champion")
        _require_feature(artifacts, champion, column)
        before = _find(models, champion, column)
        if before is not None:
            raise UsageError(
                f"{column} is accepted already, by {before.who} on {before.when[:10]} "
                f"({before.why}); withdraw that first with --undo to give another reason"
            )
        about = _describe(column, document)
        return registry.record_event(models, known, ledger.ACKNOWLEDGE, why, digest, about)


def withdraw_acknowledgement(artifacts: Path, column: str, why: str | None) -> dict[str, Any]:
    """Take back what was accepted of a column and return the line in the ledger.

    From then on it is as if it had never been accepted, in whichever window. The caller holds the
    artifacts folder.

    Raises:
        UsageError: the reason is empty, or nothing of that column is accepted.
        GateError: nothing is published yet.
    """
    why = _require_reason("withdrawn by hand" if why is None else why)
    document, digest = gate.read_evidence(artifacts)
    models = artifacts / paths.MODELS
    with registry.lock_registry(models) as known:
        champion = known.resolve("champion")
        if _find(models, champion, column) is None:
            accepted = [one.column for one in read_acknowledgements(models).get(champion, ())]
            raise UsageError(
                f"nothing of column {column!r} is accepted for model {champion}; accepted are: "
                f"{', '.join(accepted) or 'none'}"
            )
        about = _describe(column, document)
        return registry.record_event(models, known, ledger.WITHDRAW, why, digest, about)


def _require_reason(why: str | None) -> str:
    if why is None or not why.strip():
        raise UsageError("an acknowledgement writes your reason into the ledger; give --why TEXT")
    return why.strip()


def _describe(column: str, document: Mapping[str, Any]) -> dict[str, str]:
    return {"column": column, "run_id": document["run_id"], "window": document["window"]}


def _find(models: Path, version: str, column: str) -> Acknowledgement | None:
    accepted = read_acknowledgements(models).get(version, ())
    return next((one for one in accepted if one.column == column), None)


def _require_feature(artifacts: Path, version: str, column: str) -> None:
    card = registry.read_card(version, artifacts / paths.MODELS)
    features = [str(feature["name"]) for feature in card["features"]]
    if column in features:
        return
    data = read_manifest(artifacts / paths.MANIFEST)["settings"].get("data", {})
    if column in (card["target"], *card.get("prediction", ()), *_list_roles(data)):
        raise UsageError(
            f"{column} is no feature of model {version}; only a change of one can be accepted: "
            f"{', '.join(features)}"
        )
    near = difflib.get_close_matches(column, features, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"its features: {', '.join(features)}"
    raise UsageError(f"model {version} has no column {column!r}; {hint}")


def _list_roles(data: Mapping[str, Any]) -> list[str]:
    found: list[str] = []
    for role in _ROLES:
        named: str | Sequence[str] | None = data.get(role)
        found += [named] if isinstance(named, str) else [*(named or ())]
    return found
