"""What the server prints: one JSON object a line, on standard error, without feature values."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import sys
import threading
import time
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from datetime import UTC, datetime
from logging.handlers import QueueHandler, QueueListener
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from driftbook.api.served import ServedModel
    from driftbook.api.service import Scored
    from driftbook.model.scoring import WireRow

MAX_WAITING_LINES = 100_000
FLUSH_EVERY_S = 0.25
STOP_S = 2.0
NOTED_IDS = 10

_access = logging.getLogger("driftbook.access")


class JsonFormatter(logging.Formatter):
    """One JSON object a record: time, level, logger, message, what it adds, the traceback if any.

    What a record adds is its attribute ``fields``.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class _LineHandler(logging.Handler):
    """Gathers lines and writes them at once; used by the listener's thread alone."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: list[str] = []

    def createLock(self) -> None:  # noqa: N802
        """Have no lock: a thread that nobody reads would hold it when the process ends."""
        self.lock = None

    def emit(self, record: logging.LogRecord) -> None:
        """Take the line of one record."""
        self._lines.append(f"{self.format(record)}\n")

    def flush(self) -> None:
        """Write the lines, past the buffer of ``sys.stderr``, whose lock would be held as well."""
        lines, self._lines = self._lines, []
        left = "".join(lines).encode(errors="backslashreplace")
        while left:
            left = left[os.write(sys.stderr.fileno(), left) :]


class _DroppingQueueHandler(QueueHandler):
    """Hands records over to the listener; while nobody reads standard error, new ones go."""

    queue: queue.SimpleQueue[logging.LogRecord]

    def enqueue(self, record: logging.LogRecord) -> None:
        """Put the record where the listener finds it, unless too many wait there."""
        if self.queue.qsize() < MAX_WAITING_LINES:
            self.queue.put(record)

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """Return the record as it is: it stays in this process."""
        return record


class _BurstListener(QueueListener):
    """Writes what has gathered: 195 µs of CPU a logged prediction, woken for every line 225."""

    queue: queue.SimpleQueue[logging.LogRecord]

    def dequeue(self, block: bool) -> logging.LogRecord:
        """Return the next record; where there is none, write those so far and wait a moment."""
        if self.queue.empty():
            self.handlers[0].flush()
            time.sleep(FLUSH_EVERY_S)
        return super().dequeue(block)


@contextlib.contextmanager
def json_logs() -> Iterator[None]:
    """Send the logs of the API and of its server to standard error as JSON lines.

    A thread writes them, so that nothing waits for who reads them; at the end of the context no
    longer than two seconds.
    """
    handler = _LineHandler()
    handler.setFormatter(JsonFormatter())
    lines: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    listener = _BurstListener(lines, handler)
    for name in ("driftbook", "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers = [_DroppingQueueHandler(lines)]
        logger.setLevel(logging.INFO)
        logger.propagate = False
    listener.start()

    def stop() -> None:
        """Write what is left."""
        listener.stop()
        handler.flush()

    try:
        yield
    finally:
        stopping = threading.Thread(target=stop, name="log-lines", daemon=True)
        stopping.start()
        stopping.join(STOP_S)


def log_access(scope: Mapping[str, Any], status: int, seconds: float) -> None:
    """Log the line of one request; ``scope["note"]`` adds what its endpoint noted down."""
    fields = {
        "request_id": scope["request_id"],
        "method": scope["method"],
        "path": scope["path"],
        "status": status,
        "duration_ms": round(seconds * 1000, 3),
        **scope.get("note", {}),
    }
    _access.info("%s %s %s", scope["method"], scope["path"], status, extra={"fields": fields})


def note_prediction(
    scope: MutableMapping[str, Any],
    served: ServedModel,
    rows: Sequence[WireRow],
    scored: Sequence[Scored],
    with_features: bool,
) -> None:
    """Note a prediction down for its line in the log, with feature values only where asked."""
    note = scope["note"] = {
        "model_version": served.version,
        "rows": len(rows),
        "prediction_ids": [one.prediction_id for one in scored[:NOTED_IDS]],
    }
    if with_features:
        names = served.requests.names
        note["features"] = [dict(zip(names, row, strict=True)) for row in rows]


def announce_address(host: str, port: int) -> None:
    """Print the address that is being listened on, for people and for scripts that chose port 0."""
    shown = f"[{host}]" if ":" in host else host
    print(json.dumps({"message": "listening", "url": f"http://{shown}:{port}"}), flush=True)  # noqa: T201
