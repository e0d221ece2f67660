"""The ledger: a line for each move of the champion and each acknowledgement, only appended to."""

from __future__ import annotations

import getpass
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from driftbook import paths
from driftbook.errors import IntegrityError, UsageError
from driftbook.store import files

# Events that leave the champion where it is; all others move it. Their lines name a column.
ACKNOWLEDGE, WITHDRAW = "acknowledge", "withdraw"
_NAMES = {
    "first": "promotion",
    ACKNOWLEDGE: "acknowledgement",
    WITHDRAW: "withdrawal of the acknowledgement",
}


@dataclass(frozen=True)
class LedgerHead:
    """How many lines a ledger has, and the SHA-256 of the last of them."""

    lines: int
    sha256: str


def read_head(models: Path, lines: int | None = None) -> LedgerHead:
    """Return where the ledger ends, or where it ended when it had so many ``lines``."""
    found = _read_finished_lines(models / paths.LEDGER)[:lines]
    return LedgerHead(len(found), files.hash_bytes(found[-1].encode()) if found else "")


def read_text(models: Path, lines: int) -> str:
    """Return the text of the ledger's first ``lines``."""
    return "".join(f"{line}\n" for line in _read_finished_lines(models / paths.LEDGER)[:lines])


def read_ledger(models: Path) -> list[dict[str, Any]]:
    """Return the lines of the ledger in folder ``models``, oldest first; none where there is none.

    A last line without its line end was never finished, took no effect and is left out.

    Raises:
        IntegrityError: a line was altered or removed; each holds the hash of the one before.
    """
    path = models / paths.LEDGER
    lines: list[dict[str, Any]] = []
    previous = ""
    for number, text in enumerate(_read_finished_lines(path), start=1):
        try:
            line = dict(json.loads(text))
        except (ValueError, TypeError) as error:
            raise IntegrityError(
                f"the ledger {path} has a broken line {number}; restore the file"
            ) from error
        if line.get("previous_sha256") != previous:
            raise IntegrityError(
                f"the ledger {path} was altered before line {number}; restore the file"
            )
        previous = files.hash_bytes(text.encode())
        lines.append(line)
    return lines


@dataclass(frozen=True)
class NextLine:
    """A line to be added: its values, the ledger's text with it, and where that ends."""

    line: dict[str, Any]
    text: str
    head: LedgerHead


def compose_line(
    models: Path,
    event: str,
    old: str | None,
    new: str,
    why: str,
    evidence_sha256: str | None,
    forced: bool,
    about: Mapping[str, Any] | None = None,
) -> NextLine:
    """Return the ledger's next line; the caller holds the registry's lock and writes it.

    ``about``: keys of this kind of event alone, such as the column of an acknowledgement.

    Raises:
        IntegrityError: the lines so far are not in order.
    """
    read_ledger(models)
    before = _read_finished_lines(models / paths.LEDGER)
    line = {
        "seq": len(before) + 1,
        "event": event,
        "who": _name_user(),
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "from": old,
        "to": new,
        "why": why,
        "evidence_sha256": evidence_sha256,
        "forced": forced,
        **(about or {}),
        "previous_sha256": files.hash_bytes(before[-1].encode()) if before else "",
    }
    lines = [*before, json.dumps(line, sort_keys=True)]
    head = LedgerHead(len(lines), files.hash_bytes(lines[-1].encode()))
    return NextLine(line, "\n".join(lines) + "\n", head)


def list_moves(lines: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the lines that moved the champion, without those that accept a change of the data."""
    return [line for line in lines if line.get("event") not in (ACKNOWLEDGE, WITHDRAW)]


def name_event(line: Mapping[str, Any]) -> str:
    """Return what a line did, in words.

    >>> name_event({"event": "first", "to": "m1"})
    'promotion of m1'
    >>> name_event({"event": "acknowledge", "to": "m1", "column": "temp"})
    'acknowledgement of temp'
    """
    event = str(line.get("event"))
    return f"{_NAMES.get(event, event)} of {line.get('column', line.get('to'))}"


def find_previous_champion(lines: Sequence[dict[str, Any]], champion: str) -> str:
    """Return whom ``champion`` replaced when it was promoted.

    Raises:
        UsageError: it replaced nobody.
    """
    for line in reversed(list_moves(lines)):
        if line["to"] == champion and line["event"] != "rollback" and line["from"]:
            return str(line["from"])
    raise UsageError(f"model {champion} was the first champion; name another with --to")


def _read_finished_lines(path: Path) -> list[str]:
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return text.split("\n")[:-1]


def _name_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
