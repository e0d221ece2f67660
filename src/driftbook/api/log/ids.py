"""Ids that sort by time: the log's primary key alone orders and finds rows."""

from __future__ import annotations

import os
import random
import time


class _Ids:
    """Makes ids that sort in the order they were made, also within one millisecond."""

    def __init__(self) -> None:
        # Unique, not secret: the system's own source lets go of the interpreter lock at every call.
        self._random = random.Random(os.urandom(32))  # noqa: S311
        self._latest = 0

    def make(self) -> str:
        # Milliseconds, then a counter of 12 bits, which borrows from the next millisecond.
        self._latest = max(self._latest + 1, time.time_ns() // 1_000_000 << 12)
        return _to_uuid(self._latest, self._random.getrandbits(62))


_ids = _Ids()


def _to_uuid(moment: int, tail: int) -> str:
    time_ms, count = divmod(moment, 1 << 12)
    text = f"{time_ms:012x}7{count:03x}{1 << 63 | tail:016x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def new_prediction_id() -> str:
    """Return a UUID of version 7: ids of one process sort in the order they were made.

    Source: RFC 9562, sections 5.7 and 6.2 (a counter of fixed length).
    """
    return _ids.make()


def first_id_at(time_ms: int) -> str:
    """Return the smallest id that a prediction at ``time_ms`` can have.

    >>> first_id_at(0)
    '00000000-0000-7000-8000-000000000000'
    """
    return _to_uuid(max(time_ms, 0) << 12, 0)
