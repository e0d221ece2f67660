"""The layout of an artifacts folder has a number: older ones are brought up to date, newer refused.

1: no file says the number; the registry's index knows nothing of the ledger's end.
2: ``layout.json`` says it; the index holds the hash of the ledger's last line.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from driftbook import paths
from driftbook.errors import IntegrityError, UsageError
from driftbook.store import files, ledger, registry

PRESENT_LAYOUT = 2
_FIRST = 1


def read_layout(artifacts: Path) -> int:
    """Return the number of the layout of a folder that this release can read.

    Raises:
        UsageError: it is a newer release's.
        IntegrityError: the file that says it was altered.
    """
    path = artifacts / paths.LAYOUT
    if not path.exists():
        return _FIRST
    try:
        found = files.read_json_object(path).get("layout")
    except (OSError, ValueError) as error:
        raise IntegrityError(
            f"{path} cannot be read ({error}); restore it from a backup, or move {artifacts} away "
            "and run 'driftbook run'"
        ) from error
    if not isinstance(found, int) or found < _FIRST:
        raise IntegrityError(
            f"{path} names layout {found!r}, which is none; restore it from a backup, or move "
            f"{artifacts} away and run 'driftbook run'"
        )
    if found > PRESENT_LAYOUT:
        raise UsageError(
            f"{artifacts} was written by a newer Driftbook (layout {found}; this one knows up to "
            f"{PRESENT_LAYOUT}); install that release, or give another folder with --artifacts"
        )
    return found


def migrate_layout(artifacts: Path) -> str | None:
    """Bring a folder of an earlier release up to date; return a sentence if there was one.

    The caller holds the folder. A folder in which nothing was published yet stays as it is.

    Raises:
        UsageError, IntegrityError: see :func:`read_layout`; or the ledger is not in order.
    """
    if read_layout(artifacts) == PRESENT_LAYOUT:
        return None
    models = artifacts / paths.MODELS
    if not (artifacts / paths.MANIFEST).exists():
        return None
    with registry.lock_registry(models) as known:
        if known.head is None and registry.find_unsettled(models, known) is None:
            registry.write_index(models, replace(known, head=ledger.read_head(models)))
    write_layout(artifacts)
    return f"brought {artifacts} from layout {_FIRST} to {PRESENT_LAYOUT}; no result has changed"


def write_layout(artifacts: Path) -> None:
    """Note in a folder that it has the present layout."""
    files.write_whole(artifacts / paths.LAYOUT, format_layout())


def format_layout() -> str:
    """Return the text of the file that says the present layout."""
    return files.format_json({"layout": PRESENT_LAYOUT})
