"""Ids that sort by time: the log's primary key alone orders and finds rows."""

from __future__ import annotations

import os
import random
import time


class _Ids:
    """Makes ids that sort in the order they were made, also within one millisecond."""

    def __init__(self) -> None:
        # The system's own source would let go of the interpreter lock at every call. Ids are
        # unique, not secret.
        self._random = random.Random(os.urandom(32))  # noqa: S311
        self._at = self._count = 0

    def make(self) -> str:
        now = time.time_ns() // 1_000_000
        self._count += 1
        if now > self._at:
            self._at, self._count = now, 0
        elif self._count > 0xFFF:  # borrow from the next millisecond
            self._at, self._count = self._at + 1, 0
        return self.at(self._at, self._count)

    def at(self, time_ms: int, count: int) -> str:
        stamp, tail = f"{time_ms:012x}", f"{self._random.getrandbits(60):015x}"
        variant = "89ab"[time_ms & 3]
        return f"{stamp[:8]}-{stamp[8:]}-7{count:03x}-{variant}{tail[:3]}-{tail[3:]}"


_ids = _Ids()


def new_prediction_id() -> str:
    """Return a UUID of version 7: ids of one process sort in the order they were made.

    Source: RFC 9562, sections 5.7 and 6.2 (a counter of fixed length).
    """
    return _ids.make()


def prediction_id_at(time_ms: int) -> str:
    """Return a UUID of version 7 for a given time, in milliseconds since the epoch."""
    return _ids.at(time_ms, 0)


def first_id_at(time_ms: int) -> str:
    """Return the smallest id that a prediction at ``time_ms`` can have.

    >>> first_id_at(0)
    '00000000-0000-7000-8000-000000000000'
    """
    stamp = f"{max(time_ms, 0):012x}"
    return f"{stamp[:8]}-{stamp[8:]}-7000-8000-000000000000"
