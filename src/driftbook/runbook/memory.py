"""When memory runs out: how that is noticed, and what people are told."""

from __future__ import annotations

import os
import re
import resource
import signal
import time
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread

_SIGNS = re.compile(
    r"MemoryError|bad_alloc|can't start new thread|failed to map segment|unable to allocate"
    r"|cannot allocate memory",
    re.IGNORECASE,
)
# OpenBLAS asks again for ever where the system gives it no buffer, which is this large or smaller.
_BUFFER = 64 << 20
_PATIENCE_S = 10.0


def read_memory_limit() -> int | None:
    """Return how many bytes of addresses a process may have (``ulimit -v``); None: any number."""
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if limit == resource.RLIM_INFINITY else limit


def explain_cause(cause: str) -> str:
    """Return a cause with what to do about it, where it is that memory ran out."""
    if not _SIGNS.search(cause):
        return cause
    return f"{cause}: memory ran out{_tell_limit()}; allow more, or judge fewer rows (data.share)"


def explain_start(cause: str) -> str:
    """Return why a kernel did not start and what to do about it."""
    remedy = f"allow more memory{_tell_limit()}" if read_memory_limit() else "try 'make sync'"
    told = cause if "memory" in cause else f"{cause}; {remedy}"
    return f"the kernel did not start: {told}"


def _tell_limit() -> str:
    limit = read_memory_limit()
    return "" if limit is None else f" (a process may have {limit >> 20} MB here: ulimit -v)"


class MemoryWatch:
    """Kills a process group whose leader asks in vain for memory, again and again, and never ends.

    Only a limit of addresses leads there; without one nothing is watched, nor where there is no
    ``/proc``.
    """

    def __init__(self, pid: int, limit: int | None, patience_s: float = _PATIENCE_S) -> None:
        self.starved = False
        self._pid, self._limit, self._patience_s = pid, limit or 0, patience_s
        self._ended = Event()
        if limit is not None and Path(f"/proc/{pid}/stat").exists():
            # Where no thread can be had, whoever else needs one fails with a message of its own.
            with suppress(RuntimeError):
                Thread(target=self._watch, daemon=True).start()

    def stop(self) -> None:
        """Watch no longer."""
        self._ended.set()

    def _watch(self) -> None:
        since, before = time.monotonic(), self._measure()
        while not self._ended.wait(1.0):
            try:
                size, user, system = now = self._measure()
            except (OSError, ValueError, IndexError):
                return
            busy = system - before[2] > user - before[1]
            if self._limit - size > _BUFFER or size != before[0] or not busy:
                since, before = time.monotonic(), now
            elif time.monotonic() - since > self._patience_s:
                self.starved = True
                with suppress(OSError):
                    os.killpg(self._pid, signal.SIGKILL)
                return

    def _measure(self) -> tuple[int, int, int]:
        """Return the process's addresses in bytes, and its ticks of CPU outside and in the system.

        Source: proc(5), fields 23, 14 and 15 of ``/proc/PID/stat``.
        """
        text = Path(f"/proc/{self._pid}/stat").read_text(encoding="utf-8", errors="replace")
        fields = text.rpartition(")")[2].split()
        return int(fields[20]), int(fields[11]), int(fields[12])
