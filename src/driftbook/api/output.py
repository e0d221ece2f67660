"""What the server prints: one JSON object a line, on standard error, without feature values."""

from __future__ import annotations

import contextlib
import json
import logging
import logging.handlers
import queue
import sys
import time
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from driftbook.api.served import ServedModel
    from driftbook.api.service import Scored
    from driftbook.model.scoring import WireRow
    from driftbook.settings import Settings

MAX_WAITING_LINES = 100_000
FLUSH_EVERY_S = 0.25
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


class _DroppingQueueHandler(logging.handlers.QueueHandler):
    """Hands records over to the listener; when nobody reads them for long, new ones go."""

    def enqueue(self, record: logging.LogRecord) -> None:
        """Put the record where the listener finds it, unless that is full."""
        with contextlib.suppress(queue.Full):
            self.queue.put_nowait(record)

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """Return the record as it is: it stays in this process."""
        return record


class _PatientListener(logging.handlers.QueueListener):
    """Writes what has gathered, instead of waking for every line."""

    def dequeue(self, block: bool) -> logging.LogRecord:
        """Return the next record; wait a moment where there is none."""
        if self.queue.empty():
            time.sleep(FLUSH_EVERY_S)
        return super().dequeue(block)


@contextlib.contextmanager
def json_logs() -> Iterator[None]:
    """Send the logs of the API and of its server to standard error as JSON lines.

    Inside of the context the lines of requests are written by a thread, so that no request waits
    for who reads them.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    for name in ("driftbook", "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(logging.INFO)
        logger.propagate = False
    lines: queue.Queue[logging.LogRecord] = queue.Queue(MAX_WAITING_LINES)
    listener = _PatientListener(lines, handler)
    _access.handlers = [_DroppingQueueHandler(lines)]
    _access.propagate = False
    listener.start()
    try:
        yield
    finally:
        listener.stop()


def log_access(scope: Mapping[str, Any], status: int, seconds: float) -> None:
    """Log the line of one request; ``scope["note"]`` adds what its endpoint noted down."""
    if not _access.isEnabledFor(logging.INFO):
        return
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
    settings: Settings,
    served: ServedModel,
    rows: Sequence[WireRow],
    scored: Sequence[Scored],
) -> None:
    """Note a prediction down for its line in the log, with features only if settings say so."""
    note = scope["note"] = {
        "model_version": served.version,
        "rows": len(rows),
        "prediction_ids": [one.prediction_id for one in scored[:NOTED_IDS]],
    }
    if settings.serving.log_features:
        names = served.requests.names
        note["features"] = [dict(zip(names, row, strict=True)) for row in rows]


def announce_address(host: str, port: int) -> None:
    """Print the address that is being listened on, for people and for scripts that chose port 0."""
    shown = f"[{host}]" if ":" in host else host
    print(json.dumps({"message": "listening", "url": f"http://{shown}:{port}"}), flush=True)  # noqa: T201
