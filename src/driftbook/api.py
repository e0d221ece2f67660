"""The HTTP API that serves the champion: the application and the server process."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import ipaddress
import logging
import os
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.responses import Response

from driftbook import contract, endpoints, inference_protocol
from driftbook.errors import UsageError
from driftbook.problems import MEDIA_TYPE, ProblemError
from driftbook.serving import Service
from driftbook.serving_guard import Guard, Limits
from driftbook.serving_http import http_protocol
from driftbook.serving_output import AccessLog, announce, configure_logging

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp

    from driftbook.settings import Settings

_logger = logging.getLogger("driftbook.api")

TOKEN_VARIABLE = "DRIFTBOOK_API_TOKEN"  # noqa: S105  (a name, not a token)


class _App(FastAPI):
    """FastAPI inside the guard, so that errors of every layer pass it on their way out."""

    def __init__(self, service: Service, limits: Limits, **options: Any) -> None:
        super().__init__(**options)
        self.service = service
        self._limits = limits

    def build_middleware_stack(self) -> ASGIApp:
        """Return the application with the guard around it."""
        return Guard(super().build_middleware_stack(), self._limits, self.service.observe)

    def openapi(self) -> dict[str, Any]:
        """Return the contract for the model that is served, or for the built-in runbook's."""
        served, auth = self.service.served, self._limits.token is not None
        if served is None:
            return contract.document(auth=auth)
        champion = served.champion
        return contract.document(champion.name, champion.features, champion.version, auth)


def create_app(
    settings: Settings,
    artifacts_dir: str | Path,
    token: str | None = None,
    access: AccessLog | None = None,
) -> FastAPI:
    """Return the API on the registry and the prediction log of ``artifacts_dir``.

    The champion is verified and loaded here; without one the API starts and says that it is not
    ready. ``token`` is the bearer token that requests must carry, apart from health checks;
    ``access`` is where a line a request goes, if anywhere.
    """
    service = Service(settings, Path(artifacts_dir), access)
    service.refresh()
    limits = Limits(settings.serving.max_body_bytes, settings.serving.timeout_s, token)
    # The stock documentation pages load scripts from elsewhere.
    app = _App(
        service,
        limits,
        title="Driftbook",
        version=contract.VERSION,
        openapi_url=None,
        lifespan=_lifespan,
        docs_url=None,
        redoc_url=None,
    )
    for path, endpoint, method in (*endpoints.ROUTES, *inference_protocol.ROUTES):
        app.add_route(path, endpoint, methods=[method], include_in_schema=False)
    app.add_exception_handler(ProblemError, _problem)
    app.add_exception_handler(HTTPException, _http_problem)
    app.add_exception_handler(Exception, _server_problem)
    return app


def serve(
    settings: Settings,
    artifacts_dir: str | Path,
    host: str | None = None,
    port: int | None = None,
    token: str | None = None,
    require_auth: bool = True,
) -> None:
    """Run the server until it is told to stop; host and port default to the settings'.

    ``token`` defaults to the environment's ``DRIFTBOOK_API_TOKEN``; a host that is not loopback
    needs one unless ``require_auth`` is false. Port 0 takes a free one. The first line on
    standard output is a JSON object with the ``url``.

    Raises:
        UsageError: no token where one is needed, or the address cannot be listened on.
    """
    host = host or settings.serving.host
    port = settings.serving.port if port is None else port
    token = token or os.environ.get(TOKEN_VARIABLE) or None
    if token is None and require_auth and not is_loopback(host):
        raise UsageError(
            f"host {host!r} is reachable from other machines and no token is set; "
            f"set {TOKEN_VARIABLE}, or give --no-auth to serve without one"
        )
    with listen(host, port) as listener, AccessLog(sys.stderr.buffer) as access:
        configure_logging()
        run(create_app(settings, artifacts_dir, token, access), listener)


def run(app: FastAPI, listener: socket.socket) -> None:
    """Serve ``app`` on a socket that listens already, until the process is told to stop."""
    import uvicorn

    config = uvicorn.Config(
        app,
        http=http_protocol(),
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=10,
    )
    host, port = listener.getsockname()[:2]
    # What was made so far stays: left out of garbage collection, it holds no answer up.
    gc.collect()
    gc.freeze()
    announce(host, port)
    uvicorn.Server(config).run(sockets=[listener])


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach ``host``.

    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens on the address.

    Raises:
        UsageError: it cannot be listened on.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise UsageError(
            f"cannot listen on {host} port {port} ({error.strerror}); "
            "choose another with --port, or stop the other server"
        ) from error


@contextlib.asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    if not isinstance(app, _App):
        raise TypeError(f"this lifespan is for the API, not for a {type(app).__name__}")
    service = app.service
    await asyncio.to_thread(service.log.open)
    following = asyncio.create_task(service.follow())
    try:
        yield
    finally:
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await following
        await asyncio.to_thread(service.log.close)


def _problem_response(request: Request, problem: ProblemError) -> Response:
    body = problem.body(request.scope["request_id"], request.scope["path"])
    return Response(body, problem.status, dict(problem.headers), media_type=MEDIA_TYPE)


async def _problem(request: Request, error: Exception) -> Response:
    if not isinstance(error, ProblemError):
        raise error
    return _problem_response(request, error)


async def _http_problem(request: Request, error: Exception) -> Response:
    """Return what routing refused as a problem document."""
    if not isinstance(error, HTTPException):
        raise error
    kinds: Mapping[int, str] = {404: "not-found", 405: "method-not-allowed"}
    kind = kinds.get(error.status_code, "invalid-request")
    details = {
        "not-found": "no resource at this path; see /openapi.json",
        "method-not-allowed": "see the header Allow for the methods of this path",
        "invalid-request": "the request could not be read",
    }
    return _problem_response(request, ProblemError(kind, details[kind], headers=error.headers))


async def _server_problem(request: Request, error: Exception) -> Response:
    _logger.error("request %s failed", request.scope["request_id"], exc_info=error)
    detail = "the server failed; its log holds the cause under this request's id"
    return _problem_response(request, ProblemError("internal-error", detail))
