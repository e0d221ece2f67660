"""Files written whole, hashed, and held by one lock: the only home of each of these."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

# Files and folders on their way to their names; what a stopped command left of them is worthless.
PARTIAL = ".*.partial"


def write_whole(path: Path, content: bytes | str) -> None:
    """Write a file so that a reader, or a crash, finds the old one or the new one, never a part."""
    write_in_order({path: content})


def write_in_order(contents: Mapping[Path, bytes | str]) -> None:
    """Write files as :func:`write_whole` does, in their order, or none of them.

    All are on the disk beside their places before the first takes its own, so that a disk that is
    full leaves each as it was. Only a crash in between leaves the first without the last.
    """
    with prepare_files(contents) as place:
        for number, path in enumerate(contents):
            if number:  # no power cut may keep the next one without those before
                sync_path(path.parent)
            place(path)


@contextmanager
def prepare_files(contents: Mapping[Path, bytes | str | Path]) -> Iterator[Callable[[Path], None]]:
    """Bring files to the disk beside their places; give what puts one of them into its own.

    A content that is a path is copied from there. What was not put into its place is removed.

    Raises:
        OSError: the disk is full, or a folder cannot be written; it names the file.
    """
    partials: dict[Path, Path] = {}

    def place(path: Path) -> None:
        partials[path].replace(path)
        del partials[path]

    try:
        for path, content in contents.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            partials[path] = partial_path(path)
            try:
                _fill(partials[path], content)
            except OSError as error:
                error.filename = str(path)  # a failed write does not say of which file
                raise
        yield place
    finally:
        for partial in partials.values():
            partial.unlink(missing_ok=True)


def _fill(path: Path, content: bytes | str | Path) -> None:
    with path.open("wb") as stream:
        if isinstance(content, Path):
            with content.open("rb") as source:
                shutil.copyfileobj(source, stream)
        else:
            stream.write(content.encode() if isinstance(content, str) else content)
        stream.flush()
        os.fsync(stream.fileno())


@contextmanager
def fill_folder(path: Path) -> Iterator[Path]:
    """Give a folder's free name beside ``path`` to be filled and moved; what is left is removed."""
    partial = partial_path(path)
    try:
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def sync_tree(folder: Path) -> None:
    """Bring a folder to the disk, so that a rename never commits an empty one."""
    for path in (folder, *folder.rglob("*")):
        sync_path(path)


def sync_path(path: Path) -> None:
    """Bring a file, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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
