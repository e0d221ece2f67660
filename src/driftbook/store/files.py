"""Files written whole, hashed, and held by one lock: the only home of each of these."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

# Files and folders on their way to their names; what a stopped command left of them is worthless.
PARTIAL = ".*.partial"


def write_whole(path: Path, content: bytes | str) -> None:
    """Write a file so that a reader, or a crash, finds the old one or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_path(path)
    data = content.encode() if isinstance(content, str) else content
    try:
        with partial.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def partial_path(path: Path) -> Path:
    """Return a free name beside ``path``, to be filled there and renamed to it."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")


@contextmanager
def hold_lock(path: Path, *, wait: bool = True) -> Iterator[IO[str]]:
    """Hold the lock file at ``path`` and give it open, so that a holder can leave its name there.

    Raises:
        BlockingIOError: another process holds it and ``wait`` is false.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield stream


def hash_bytes(content: bytes) -> str:
    """Return the SHA-256 of ``content`` in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def format_json(values: Mapping[str, Any]) -> str:
    """Return ``values``, plain JSON values only, as the text of a file, in the order given."""
    return json.dumps(values, indent=2, allow_nan=False) + "\n"


def read_json_object(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file.

    Raises:
        OSError: the file cannot be read.
        ValueError: it holds no JSON object.
    """
    values = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(values, dict):
        raise ValueError(f"{path} holds no JSON object")  # noqa: TRY004 (a wrong file, no wrong call)
    return values
