"""Folders in the system's temporary folder: held while in use, cleared by a later command."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIXES = ("driftbook-kernel-", "driftbook-server-", "driftbook-again-")
# A folder that somebody has just made is not held yet.
_FRESH_S = 60.0


@contextmanager
def hold_temporary_folder(prefix: str) -> Iterator[Path]:
    """Give a folder that is removed at the end; the system lets go of it when the process ends.

    ``prefix`` is one of ``PREFIXES``.
    """
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def clear_temporary_folders() -> None:
    """Remove such folders of this user's whose process was killed."""
    for prefix in PREFIXES:
        for folder in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
            with suppress(OSError):  # gone meanwhile, held, or another user's
                _clear(folder)


def _clear(folder: Path) -> None:
    found = folder.lstat()
    if found.st_uid != os.getuid() or time.time() - found.st_mtime < _FRESH_S:
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder)
    finally:
        os.close(descriptor)
