"""Commands in processes of their own, forked from one that has imported all they need.

A fork takes milliseconds where a fresh interpreter takes a second, so that hundreds of commands can
be killed for real: by the signal that no process can answer.
"""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from file_changes import name_change

PRELOADED = [
    "forked", "pandas", "staged_runs", "driftbook.runbook.cli", "driftbook.runbook.flow",
    "driftbook.runbook.run", "driftbook.runbook.summary", "driftbook.runbook.notebooks",
    "driftbook.store.acknowledging", "driftbook.store.gate", "driftbook.store.mlflow",
    "driftbook.store.verify", "driftbook.site.render",
]  # fmt: skip
TIMEOUT_S = 900.0


@dataclass(frozen=True)
class Ended:
    """How a command ended, what it said, and the changes of files that it made or was killed at."""

    code: int
    out: str
    err: str
    changes: tuple[str, ...]

    @property
    def last(self) -> str:
        """Return the last line of what it said to people."""
        return (self.err.strip().splitlines() or [""])[-1]


@dataclass(frozen=True)
class Started:
    """A command under way."""

    process: ForkServerProcess
    folder: Path

    def wait(self) -> Ended:
        """Return how it ended.

        Raises:
            TimeoutError: it hangs; it is killed then.
        """
        self.process.join(TIMEOUT_S)
        if self.process.exitcode is None:
            self.process.kill()
            raise TimeoutError(f"still at work after {TIMEOUT_S:g} s")
        said = {
            name: (self.folder / name).read_text(encoding="utf-8", errors="replace")
            for name in ("out", "err", "changes")
            if (self.folder / name).exists()
        }
        changes = tuple(said.get("changes", "").splitlines())
        return Ended(self.process.exitcode, said.get("out", ""), said.get("err", ""), changes)


def start(
    act: Callable[..., object], *given: Any, root: Path, stop_at: int | None = None
) -> Started:
    """Start ``act(*given)``; it is killed at change number ``stop_at`` of a file under ``root``.

    ``act`` is a function of a module; what it raises or exits with is its exit code.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    folder = Path(tempfile.mkdtemp(prefix="forked-", dir=root.parent))
    process = context.Process(target=_perform, args=(act, given, folder, root, stop_at))
    process.start()
    return Started(process, folder)


def finish(
    act: Callable[..., object], *given: Any, root: Path, stop_at: int | None = None
) -> Ended:
    """Return how such a command ended."""
    return start(act, *given, root=root, stop_at=stop_at).wait()


def call_driftbook(*words: str) -> None:
    """Do what the command line does."""
    from driftbook.runbook.cli import main

    main.main(list(words), prog_name="driftbook")


def _perform(
    act: Callable[..., object],
    given: tuple[Any, ...],
    folder: Path,
    root: Path,
    stop_at: int | None,
) -> None:
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT), number)
    os.chdir(root.parent)
    log = os.open(folder / "changes", os.O_WRONLY | os.O_CREAT)
    seen = 0

    def note(change: str, descriptor: int | None = None) -> None:
        nonlocal seen
        os.write(log, f"{change}\n".encode(errors="replace"))
        if seen == stop_at:
            if descriptor is not None:  # a flush that never came: half of the file is lost
                os.ftruncate(descriptor, os.fstat(descriptor).st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)
        seen += 1

    def hear(event: str, words: tuple[Any, ...]) -> None:
        change = name_change(event, words, root)
        if change is not None:
            note(change)

    def flush(descriptor: int) -> None:
        writes = fcntl.fcntl(descriptor, fcntl.F_GETFL) & (os.O_WRONLY | os.O_RDWR)
        note("os.fsync" if writes else "os.fsync of names", descriptor if writes else None)

    os.fsync = flush  # type: ignore[assignment]  # this process is one command's, and spares the disk
    sys.addaudithook(hear)
    act(*given)
