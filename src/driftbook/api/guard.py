"""What every request passes: its id, the host, the token, the body's size and the time limit."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect

from driftbook.api.hosts import is_known_host
from driftbook.api.log.ids import new_prediction_id
from driftbook.api.problems import ProblemError, problem_response

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

OPEN_PATHS = frozenset({"/health", "/ready", "/v2/health/live", "/v2/health/ready"})
# What web servers log of a request whose client did not wait for the answer.
HUNG_UP = 499
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")

# the request's scope, the status of its answer, seconds
Observer = Callable[["Scope", int, float], None]


@dataclass(frozen=True)
class Limits:
    """What a request may cost, the token it must carry and the hosts it may name, if any."""

    max_body_bytes: int
    timeout_s: float
    token: str | None = None
    hosts: frozenset[str] | None = None


class Guard:
    """Middleware around all endpoints; it answers refusals of its own as problem documents."""

    def __init__(self, app: ASGIApp, limits: Limits, observe: Observer) -> None:
        self._app = app
        self._limits = limits
        self._observe = observe
        self._token = None if limits.token is None else _digest(limits.token.encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection event; only HTTP requests are guarded."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        head = _read_head(scope)
        scope["request_id"] = request_id = head.request_id
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
            await send(message)

        try:
            self._admit(scope, head)
            limited = self._limited(receive) if head.chunked else receive
            async with asyncio.timeout(self._limits.timeout_s):
                await self._app(scope, limited, send_with_id)
        except (ProblemError, TimeoutError) as error:
            if not status:
                problem = error if isinstance(error, ProblemError) else self._timed_out()
                await problem_response(problem, scope)(scope, receive, send_with_id)
        except ClientDisconnect:
            # Nobody is left to answer, and nothing failed here.
            status = status or HUNG_UP
        finally:
            self._observe(scope, status or 500, time.perf_counter() - started)

    def _admit(self, scope: Scope, head: _Head) -> None:
        self._check_host(scope["http_version"], head.hosts)
        # Digests have one length, so that the time taken tells nothing about the token.
        if (
            self._token is not None
            and scope["path"] not in OPEN_PATHS
            and not hmac.compare_digest(_digest(head.token), self._token)
        ):
            raise ProblemError(
                "unauthorised",
                "this server needs the header 'Authorization: Bearer TOKEN'",
                headers={"www-authenticate": "Bearer"},
            )
        if head.length > self._limits.max_body_bytes:
            raise self._too_large()

    def _check_host(self, version: str, given: Sequence[bytes]) -> None:
        known = self._limits.hosts
        if len(given) > 1 or (not given and version == "1.1"):
            detail = f"a request names one host in the header Host, this one {len(given)}"
        elif known is not None and given and not is_known_host(given[0], known):
            detail = "the header Host names another server; serving.allowed_hosts lists more names"
        else:
            return
        raise ProblemError("unknown-host", detail)

    def _limited(self, receive: Receive) -> Receive:
        read = 0

        async def counting() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._limits.max_body_bytes:
                raise self._too_large()
            return message

        return counting

    def _too_large(self) -> ProblemError:
        detail = f"the body may have at most {self._limits.max_body_bytes} bytes"
        return ProblemError("too-large", detail, headers={"connection": "close"})

    def _timed_out(self) -> ProblemError:
        detail = f"no answer within {self._limits.timeout_s:g} seconds; try again later"
        return ProblemError("timeout", detail, headers={"retry-after": "1"})


def _digest(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()


@dataclass
class _Head:
    """What the guard reads of a request's headers."""

    request_id: str
    hosts: list[bytes]
    length: int = 0  # as declared
    token: bytes = b""
    chunked: bool = False  # whether the body has no declared length


def _read_head(scope: Scope) -> _Head:
    head = _Head("", [])
    for name, value in scope["headers"]:
        if name == b"host":
            head.hosts.append(value)
        elif name == b"x-request-id":
            head.request_id = value.decode() if _REQUEST_ID.fullmatch(value) else ""
        elif name == b"content-length":
            head.length = int(value) if value.isdigit() else 0
        elif name == b"transfer-encoding":
            head.chunked = True
        elif name == b"authorization" and value[:7].lower() == b"bearer ":
            head.token = value[7:].strip()
    head.request_id = head.request_id or new_prediction_id()
    return head
