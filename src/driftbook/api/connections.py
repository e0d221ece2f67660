"""What a connection may cost before anything is known of who opened it.

Uvicorn limits none of this for httptools: a head may have any size and take any time, and a process
that has no descriptors left says nothing. Its own ``limit_concurrency`` counts idle connections but
refuses requests on those that are served already.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from driftbook.api.log.ids import new_prediction_id
from driftbook.api.problems import ProblemError, problem_response

if TYPE_CHECKING:
    from driftbook.settings import ServingSettings

# A connection with that many requests waiting for the answer to an earlier one is dropped.
MAX_QUEUED_REQUESTS = 100
# How long a refused connection is read on and thrown away: closed at once, its answer may be lost.
LINGER_S = 1.0
# Refused connections that may wait for that beside those that are served.
LINGERING = 64
# Descriptors for all else: files of the registry, the prediction log, pipes.
OTHER_DESCRIPTORS = 128
LOG_REFUSALS_EVERY_S = 1.0

_logger = logging.getLogger("driftbook.api")


class _HeadError(Exception):
    """Stops the parser in the middle of a head that is refused."""


class LimitedProtocol(HttpToolsProtocol):
    """HTTP/1.1 by httptools, whose heads, waiting times and connections have limits."""

    limits: ServingSettings
    _note_refusal: Callable[[tuple[str, int] | None, ProblemError], None]

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._unused = 0  # bytes since the parser last handed a whole head or a part of a body over
        self._refused: ProblemError | None = None
        self._closed = False
        self._waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a new connection, or refuse it where there are too many."""
        super().connection_made(transport)
        most = self.limits.max_connections
        if len(self.connections) > most:
            detail = f"the server has {most} connections, which is its limit; try again later"
            self._refuse(ProblemError("too-busy", detail, headers={"retry-after": "1"}))
        else:
            self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._closed = True
        self._stop_waiting()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Have what came parsed, within the limits."""
        if not self._closed:
            self._unused += len(data)
            super().data_received(data)
            self._check_progress()

    def _check_progress(self) -> None:
        if self._closed:
            return
        if self._unused > self.limits.max_header_bytes:
            self._refuse(self._too_large())
        elif len(self.pipeline) > MAX_QUEUED_REQUESTS:
            detail = f"at most {MAX_QUEUED_REQUESTS} requests may wait for an answer to another"
            self._refuse(ProblemError("too-busy", detail))
        elif not self._is_answering():
            self._wait_for_head()

    def _is_answering(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and not cycle.response_complete

    def on_headers_complete(self) -> None:
        """Begin the request whose head is whole, unless the head is too large."""
        many = len(self.headers) > self.limits.max_headers
        if many or (
            # Only then can it be: it takes no other work to know that most heads are small.
            self._unused > self.limits.max_header_bytes
            and len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
            > self.limits.max_header_bytes
        ):
            self._refused = self._too_large()
            raise _HeadError
        self._unused = 0
        self._stop_waiting()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self._unused = 0
        super().on_body(body)

    def on_response_complete(self) -> None:
        """Go on to the next request, reading no further ones while some wait."""
        super().on_response_complete()
        if self.pipeline and not self._closed:
            self.flow.pause_reading()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  (it tells nothing)
        """Refuse what the parser stopped at."""
        detail = "what came is no HTTP request"
        self._refuse(self._refused or ProblemError("not-http", detail))

    def _too_large(self) -> ProblemError:
        limits = self.limits
        detail = (
            f"a request's line and headers may have at most {limits.max_header_bytes} bytes and "
            f"{limits.max_headers} headers"
        )
        return ProblemError("headers-too-large", detail)

    def _wait_for_head(self) -> None:
        if self._waiting is None:
            self._waiting = self.loop.call_later(self.limits.header_timeout_s, self._time_out)

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _time_out(self) -> None:
        if not self._unused:  # it asked for nothing, so that there is nothing to answer
            self._closed = True
            self.transport.close()
            return
        detail = f"no whole request head within {self.limits.header_timeout_s:g} seconds"
        self._refuse(ProblemError("head-timeout", detail))

    def _refuse(self, problem: ProblemError) -> None:
        """Answer the problem, and close the connection once the other side had time to read it."""
        self._closed = True
        self._stop_waiting()
        self._note_refusal(self.client, problem)
        if self._is_answering():
            # The answer to an earlier request is under way; this one would be taken for it.
            self.transport.abort()
            return
        self.transport.write(_answer_of(problem))
        self.transport.write_eof()
        self.flow.resume_reading()
        crowded = len(self.connections) > self.limits.max_connections + LINGERING
        self.loop.call_later(0 if crowded else LINGER_S, self.transport.close)


def make_protocol(
    limits: ServingSettings, count_refusal: Callable[[str], None]
) -> type[LimitedProtocol]:
    """Return the protocol of a server with these limits, as Uvicorn takes it.

    ``count_refusal`` is called with the kind of each problem that a connection is refused with.
    """
    next_line: dict[str, float] = {}
    left_out: Counter[str] = Counter()

    def note_refusal(client: tuple[str, int] | None, problem: ProblemError) -> None:
        """Count a refusal, and log one of a kind a second at most, whoever sends how many."""
        kind = problem.kind
        count_refusal(kind)
        left_out[kind] += 1
        if (now := time.monotonic()) < next_line.get(kind, 0.0):
            return
        fields = {"client": client[0] if client else None, "since_last_line": left_out.pop(kind)}
        _logger.warning("connection refused: %s", problem.detail, extra={"fields": fields})
        next_line[kind] = now + LOG_REFUSALS_EVERY_S

    fields = {"limits": fit_descriptors(limits), "_note_refusal": staticmethod(note_refusal)}
    return type("Protocol", (LimitedProtocol,), fields)


def fit_descriptors(limits: ServingSettings) -> ServingSettings:
    """Return the limits with as many connections as the process can have descriptors for.

    The process's own limit is raised where the system lets it.
    """
    try:
        import resource
    except ImportError:  # no such limit on this system
        return limits
    wanted = limits.max_connections + LINGERING + OTHER_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        raised = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
            soft = raised
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return limits
    most = max(1, soft - LINGERING - OTHER_DESCRIPTORS)
    _logger.warning(
        "serving.max_connections is %d, and the system allows %d open files: at most %d connections"
        " are taken; raise `ulimit -n`",
        limits.max_connections,
        soft,
        most,
    )
    return limits.model_copy(update={"max_connections": most})


def _answer_of(problem: ProblemError) -> bytes:
    """Return a refusal as the bytes of a response, for a request that never became one."""
    request_id = new_prediction_id()
    response = problem_response(problem, {"request_id": request_id, "path": ""})
    headers = [
        *response.raw_headers, (b"x-request-id", request_id.encode()), (b"connection", b"close")
    ]  # fmt: skip
    lines = [STATUS_LINE[response.status_code], *(b"%b: %b\r\n" % pair for pair in headers)]
    return b"".join([*lines, b"\r\n", bytes(response.body)])
