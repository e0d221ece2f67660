"""The application: its routers, its guard, its handlers of errors, its contract and its life."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException

from driftbook.api import protocol, routes
from driftbook.api.contract import (
    CONTRACT_INTRODUCTION,
    CONTRACT_VERSION,
    complete_contract,
)
from driftbook.api.guard import Guard, Limits, Observer
from driftbook.api.output import log_access
from driftbook.api.problems import ProblemError, problem_response
from driftbook.api.refusals import explain_errors
from driftbook.api.service import Service

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import Scope

    from driftbook.settings import Settings

_logger = logging.getLogger("driftbook.api")


def create_app(settings: Settings, artifacts_dir: str | Path, token: str | None = None) -> FastAPI:
    """Return the API on the registry and the prediction log of ``artifacts_dir``.

    The champion is verified and loaded here; without one the API starts and says that it is not
    ready. ``token`` is the bearer token that requests must carry, apart from health checks.
    """
    service = Service(settings, Path(artifacts_dir))
    service.refresh()
    app = FastAPIOffline(
        title="Driftbook",
        version=CONTRACT_VERSION,
        description=CONTRACT_INTRODUCTION,
        redoc_url=None,
        lifespan=_live,
    )
    app.state.service = service
    app.include_router(routes.api_router)
    app.include_router(protocol.protocol_router)
    limits = Limits(settings.serving.max_body_bytes, settings.serving.timeout_s, token)
    app.add_middleware(Guard, limits=limits, observe=_observer(service))
    app.add_exception_handler(ProblemError, _answer_problem)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.add_exception_handler(HTTPException, _answer_refusal)
    app.add_exception_handler(Exception, _answer_failure)

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


async def _answer_problem(request: Request, error: Exception) -> Response:
    if not isinstance(error, ProblemError):
        raise error
    return problem_response(error, request.scope)


async def _answer_invalid(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    return problem_response(explain_errors(error.errors()), request.scope)


async def _answer_refusal(request: Request, error: Exception) -> Response:
    """Return what routing refused as a problem document."""
    if not isinstance(error, HTTPException):
        raise error
    problem = {
        404: ProblemError("not-found", "no resource at this path; see /openapi.json"),
        405: ProblemError(
            "method-not-allowed",
            "see the header Allow for the methods of this path",
            headers=error.headers,
        ),
    }.get(error.status_code, ProblemError("invalid-request", "the request could not be read"))
    return problem_response(problem, request.scope)


async def _answer_failure(request: Request, error: Exception) -> Response:
    request_id = request.scope["request_id"]
    _logger.error("request %s failed", request_id, exc_info=error)
    detail = "the server failed; its log holds the cause under this request's id"
    response = problem_response(ProblemError("internal-error", detail), request.scope)
    # This answer goes out past the guard, which names the request in all others.
    response.headers["x-request-id"] = request_id
    return response
