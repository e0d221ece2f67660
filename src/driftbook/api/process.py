"""A server process on a free port of this machine, for checks, tests and benchmarks."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from driftbook.errors import DriftbookError
from driftbook.settings import Settings
from driftbook.store import temporary

START_S = 60.0
# What the surroundings must not decide for the server.
_NEUTRAL = {"DRIFTBOOK_API_TOKEN": "", "DRIFTBOOK_LOG_URL": ""}


class ServerError(DriftbookError):
    """The server process did not start."""


@dataclass(frozen=True)
class Server:
    """A running server: its address, its process, and the file that its log lines go to."""

    url: str
    process: subprocess.Popen[str]
    log: Path


@contextlib.contextmanager
def running_server(
    settings: Settings, artifacts: Path, environment: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """Yield a server process on a free loopback port, and stop it afterwards.

    Raises:
        ServerError: the process ended, or did not listen within a minute.
    """
    with temporary.hold_temporary_folder("driftbook-server-") as folder:
        file, log = folder / "settings.yaml", folder / "log"
        file.write_text(settings.to_yaml(), encoding="utf-8")
        command = [sys.executable, "-m", "driftbook", "serve", "--port", "0"]
        command += ["--host", "127.0.0.1", "--settings", str(file), "--artifacts", str(artifacts)]
        own = _find_own_modules(settings)
        with log.open("w", encoding="utf-8") as lines:
            process = subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=lines,
                text=True,
                env={**os.environ, **_NEUTRAL, **own, **(environment or {})},
            )
        try:
            yield Server(_url(process, log), process, log)
        finally:
            process.terminate()
            process.communicate(timeout=START_S)


def _find_own_modules(settings: Settings) -> dict[str, str]:
    """Return where an estimator of the owner's is imported from: the settings moved elsewhere."""
    if not settings.model.is_imported:
        return {}
    known = os.environ.get("PYTHONPATH")
    folders = [*map(str, settings.model.folders), *([known] if known else [])]
    return {"PYTHONPATH": os.pathsep.join(folders)} if folders else {}


def _url(process: subprocess.Popen[str], log: Path) -> str:
    watchdog = threading.Timer(START_S, process.kill)
    watchdog.start()
    line = process.stdout.readline() if process.stdout else ""
    watchdog.cancel()
    if line:
        return str(json.loads(line)["url"])
    last = log.read_text(encoding="utf-8").strip().splitlines()[-1:]
    raise ServerError(f"the server did not start: {' '.join(last) or 'it printed nothing'}")
