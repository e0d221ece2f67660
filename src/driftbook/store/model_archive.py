"""The one way to write an archive of skops: equal estimators give equal bytes.

skops names the members of its zip file by memory addresses and random numbers, repeats these
addresses in its table of the objects, and stamps each member with the local time.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from typing import Any
from zipfile import ZipFile, ZipInfo

SCHEMA = "schema.json"
# The earliest that a zip file can say.
_NO_TIME = (1980, 1, 1, 0, 0, 0)
_READABLE = 0o644 << 16


def settle_archive(content: bytes) -> bytes:
    """Return an archive of skops with the same content and nothing of when or where it was made.

    Objects and members are numbered in the order in which the table names them, members are
    sorted by name, and all bear the same time. Which arrays and estimators are one and the same
    object stays as it is.

    Raises:
        KeyError, ValueError, BadZipFile: it is no archive of skops.
    """
    with ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    objects: dict[int, int] = {}
    names: dict[str, str] = {}

    def settle(key: str, value: Any) -> Any:
        if key == "__id__" and isinstance(value, int):
            return objects.setdefault(value, len(objects) + 1)  # zero would stand for no object
        if key == "file" and isinstance(value, str) and value in members:
            return names.setdefault(value, f"{len(names) + 1:04d}.{value.rpartition('.')[2]}")
        return _settle_inside(value, settle)

    table = _settle_inside(json.loads(members.pop(SCHEMA)), settle)
    settled = {names.get(name, name): kept for name, kept in members.items()}
    settled[SCHEMA] = json.dumps(table, indent=2).encode()
    return _write_archive(settled)


def _settle_inside(value: Any, settle: Callable[[str, Any], Any]) -> Any:
    if isinstance(value, list):
        return [settle("", inner) for inner in value]
    if not isinstance(value, dict):
        return value
    # Whether two equal texts or numbers are one object is the interpreter's business alone.
    plain = value.get("__loader__") == "JsonNode"
    return {
        key: settle(key, inner) for key, inner in value.items() if not (plain and key == "__id__")
    }


def _write_archive(members: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with ZipFile(buffer, "w") as archive:
        for name, kept in sorted(members.items()):
            about = ZipInfo(name, _NO_TIME)
            about.create_system, about.external_attr = 3, _READABLE  # alike on each system
            archive.writestr(about, kept)
    return buffer.getvalue()
