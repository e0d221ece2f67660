"""Which events of the interpreter change a file under a folder: heard of, never listed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate", "os.link")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def name_change(event: str, words: tuple[Any, ...], root: Path) -> str | None:
    """Return what an audited event does to which file under ``root``; None where it changes none.

    Flushes are no audited events; whoever counts them replaces ``os.fsync``.
    """
    changes = event in CHANGES or (event == "open" and words[2] & WRITING)
    if not changes or isinstance(words[0], int):
        return None
    path = Path(os.fsdecode(words[0]))
    # Without a folder it is a name within an open one, as in the removal of a tree.
    under = not path.is_absolute() or path.is_relative_to(root)
    return f"{event} {path.name}" if under else None
