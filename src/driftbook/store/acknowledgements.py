"""Acknowledgements: which lasting changes of the data somebody has accepted, and why.

One is about a column as one champion's reference shows it, and from one window on. So it holds for
that version: another one has another reference, or does without the column, and asks anew;
whoever rolls back to the version finds it in force again. It holds for the window it was made on
and later ones: what was judged before that is judged alike ever after.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from driftbook import paths
from driftbook.store import files, ledger, registry


@dataclass(frozen=True)
class Acknowledgement:
    """A change of ``column`` that is accepted from ``window`` on: why, by whom and when."""

    column: str
    why: str
    who: str
    when: str
    window: str

    def to_dict(self) -> dict[str, str]:
        """Return it as ``retrain_recommendation.json`` holds it."""
        return asdict(self)


def read_acknowledgements(
    models: Path, lines: int | None = None
) -> dict[str, tuple[Acknowledgement, ...]]:
    """Return by model version what is accepted of its columns and was not withdrawn, by column.

    ``lines``: as the ledger was when it had so many of them.

    Raises:
        IntegrityError: the ledger was altered.
    """
    found: dict[str, dict[str, Acknowledgement]] = {}
    for line in ledger.read_ledger(models)[:lines]:
        accepted = found.setdefault(str(line["to"]), {})
        if line["event"] == ledger.WITHDRAW:
            accepted.pop(line["column"], None)
        elif line["event"] == ledger.ACKNOWLEDGE:
            keys = ("column", "why", "who", "when", "window")
            one = Acknowledgement(*(str(line[key]) for key in keys))
            accepted[one.column] = one
    return {
        version: tuple(sorted(accepted.values(), key=lambda one: one.column))
        for version, accepted in found.items()
        if accepted
    }


def find_changed_since(artifacts: Path, run_id: str) -> list[str]:
    """Return the columns of the champion that were accepted or withdrawn since a run began."""
    note = artifacts / paths.RUNS / run_id / paths.RUN_NOTE
    before = files.read_json_object(note).get("ledger_lines", 0) if note.is_file() else 0
    models = artifacts / paths.MODELS
    champion = str(registry.read_index(models).aliases.get("champion"))
    then, now = (
        set(read_acknowledgements(models, lines).get(champion, ())) for lines in (before, None)
    )
    return sorted({one.column for one in then ^ now})


def find_unknown(models: Path, document: Mapping[str, Any]) -> list[str]:
    """Return the columns that a recommendation calls accepted although no line of the ledger is."""
    signed = [line for line in ledger.read_ledger(models) if line["event"] == ledger.ACKNOWLEDGE]
    keys = ("column", "why", "who", "when")
    known = {tuple(line.get(key) for key in ("to", *keys)) for line in signed}
    version = document.get("model_version")
    return [
        str(one.get("column"))
        for one in document.get("acknowledged") or []
        if (version, *(one.get(key) for key in keys)) not in known
    ]
