"""What the server prints: one JSON object a line, on standard error, without feature values."""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, BinaryIO, Self

from pydantic_core import to_json

FLUSH_EVERY_S = 0.25
MAX_WAITING_LINES = 100_000


class JsonFormatter(logging.Formatter):
    """One JSON object a record: time, level, logger, message, and the traceback if any."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class AccessLog:
    """One line a request, written by a thread, so that no request waits for who reads the lines.

    A context manager: the thread runs inside of it. When nobody reads, the oldest lines go.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._lines: deque[bytes] = deque(maxlen=MAX_WAITING_LINES)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="access-log", daemon=True)

    def __enter__(self) -> Self:
        """Start the thread."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Write what is left and stop the thread."""
        self._stopped.set()
        self._thread.join(timeout=2.0)

    def write(self, scope: Mapping[str, Any], status: int, seconds: float) -> None:
        """Take the line of one request; ``scope["note"]`` adds what its endpoint noted down."""
        line = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "level": "info",
            "logger": "driftbook.access",
            "message": f"{scope['method']} {scope['path']} {status}",
            "request_id": scope["request_id"],
            "method": scope["method"],
            "path": scope["path"],
            "status": status,
            "duration_ms": round(seconds * 1000, 3),
            **scope.get("note", {}),
        }
        self._lines.append(to_json(line) + b"\n")

    def _work(self) -> None:
        while not self._stopped.wait(FLUSH_EVERY_S):
            self._flush()
        self._flush()

    def _flush(self) -> None:
        waiting = len(self._lines)
        if waiting:
            self._stream.write(b"".join(self._lines.popleft() for _ in range(waiting)))
            self._stream.flush()


def configure_logging() -> None:
    """Send the logs of the API and of its server to standard error as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    for name in ("driftbook", "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(logging.INFO)
        logger.propagate = False


def announce(host: str, port: int) -> None:
    """Print the address that is being listened on, for people and for scripts that chose port 0."""
    shown = f"[{host}]" if ":" in host else host
    print(json.dumps({"message": "listening", "url": f"http://{shown}:{port}"}), flush=True)  # noqa: T201
