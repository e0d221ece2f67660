"""The application: its routers, its guard, its handlers of errors, its contract and its life."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException
from starlette.responses import Response

from driftbook.api import protocol, routes
from driftbook.api.contract import CONTRACT_INTRODUCTION, CONTRACT_VERSION, complete_contract
from driftbook.api.guard import Guard, Limits, Observer
from driftbook.api.hosts import list_known_hosts
from driftbook.api.output import log_access
from driftbook.api.problems import ProblemError, problem_response
from driftbook.api.refusals import explain_errors
from driftbook.api.service import Service

if TYPE_CHECKING:
    from starlette.types import Scope

    from driftbook.settings import Settings

_logger = logging.getLogger("driftbook.api")

# What routing itself refuses: kind of problem and detail by status.
_REFUSALS = {
    404: ("not-found", "no resource at this path; see /openapi.json"),
    405: ("method-not-allowed", "see the header Allow for the methods of this path"),
}
_UNREADABLE = ("invalid-request", "the request could not be read")


def create_app(
    settings: Settings,
    artifacts_dir: str | Path,
    token: str | None = None,
    host: str = "",
) -> FastAPI:
    """Return the API on the registry and the prediction log of ``artifacts_dir``.

    The champion is verified and loaded here; without one the API starts and says that it is not
    ready. ``token`` is the bearer token that requests must carry, apart from health checks.
    ``host``: the address that is listened on, if known; a loopback one is asked by its own names
    only, see :func:`list_known_hosts`.
    """
    service = Service(settings, Path(artifacts_dir))
    service.refresh()
    app = FastAPIOffline(
        title="Driftbook",
        version=CONTRACT_VERSION,
        description=CONTRACT_INTRODUCTION,
        redoc_url=None,
        # A redirect to the path without its slash would lead to whatever host the request named.
        redirect_slashes=False,
        # Not as included routers behind the documentation: matching took 60 µs of 400 a request.
        routes=[*routes.api_router.routes, *protocol.protocol_router.routes],
        lifespan=_live,
    )
    app.state.service = service
    serving = settings.serving
    hosts = list_known_hosts(host, serving.allowed_hosts)
    limits = Limits(serving.max_body_bytes, serving.timeout_s, token, hosts)
    app.add_middleware(Guard, limits=limits, observe=_observer(service))
    _add_error_handlers(app)

    def openapi() -> dict[str, Any]:
        """Return the contract, with the requests of the model that is served now."""
        return complete_contract(FastAPI.openapi(app), service.served, token is not None)

    app.openapi = openapi  # type: ignore[method-assign]
    return app


@contextlib.asynccontextmanager
async def _live(app: FastAPI) -> AsyncIterator[None]:
    service: Service = app.state.service
    await asyncio.to_thread(service.log.open)
    background = [
        asyncio.create_task(service.follow()),
        asyncio.create_task(service.log.keep_clean()),
    ]
    try:
        yield
    finally:
        for task in background:
            task.cancel()
        await asyncio.wait(background)
        await asyncio.to_thread(service.log.close)


def _observer(service: Service) -> Observer:
    known = {
        route.path
        for route in (*routes.api_router.routes, *protocol.protocol_router.routes)
        if isinstance(route, APIRoute)
    }

    def observe(scope: Scope, status: int, seconds: float) -> None:
        """Count an answered request, and log its line."""
        # Paths have few values as labels: a route's own, without the names and versions asked for.
        asked = scope["path"] if scope["path"] in known else "other"
        path = str(getattr(scope.get("route"), "path", asked)).replace("/versions/{version}", "")
        service.metrics.observe_request(path, scope["method"], status, seconds)
        log_access(scope, status, seconds)

    return observe


def _add_error_handlers(app: FastAPI) -> None:
    """Have every error answered as a problem document."""

    @app.exception_handler(ProblemError)
    async def answer_problem(request: Request, error: ProblemError) -> Response:
        return problem_response(error, request.scope)

    @app.exception_handler(RequestValidationError)
    async def answer_invalid(request: Request, error: RequestValidationError) -> Response:
        return problem_response(explain_errors(error.errors()), request.scope)

    @app.exception_handler(HTTPException)
    async def answer_refusal(request: Request, error: HTTPException) -> Response:
        """Return what routing refused."""
        kind, detail = _REFUSALS.get(error.status_code, _UNREADABLE)
        return problem_response(ProblemError(kind, detail, headers=error.headers), request.scope)

    @app.exception_handler(Exception)
    async def answer_failure(request: Request, error: Exception) -> Response:
        request_id = request.scope["request_id"]
        _logger.error("request %s failed", request_id, exc_info=error)
        detail = "the server failed; its log holds the cause under this request's id"
        response = problem_response(ProblemError("internal-error", detail), request.scope)
        # This answer goes out past the guard, which names the request in all others.
        response.headers["x-request-id"] = request_id
        return response
