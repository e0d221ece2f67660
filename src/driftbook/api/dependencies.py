"""What endpoints depend on: the service, the served model, and bodies read by its models."""

from collections.abc import Callable
from typing import Annotated, TypeVar

from fastapi import Depends, Request
from pydantic import ValidationError

from driftbook.api.problems import ProblemError
from driftbook.api.refusals import explain_errors
from driftbook.api.requests import RequestModels
from driftbook.api.served import ServedModel
from driftbook.api.service import Service

Validated = TypeVar("Validated")
Given = TypeVar("Given")


async def get_service(request: Request) -> Service:
    """Return the service of the application that got the request."""
    service: Service = request.app.state.service
    return service


CurrentService = Annotated[Service, Depends(get_service)]


async def require_model(service: CurrentService) -> ServedModel:
    """Return the served model; 503 without one."""
    return service.require_model()


async def require_ready(service: CurrentService) -> ServedModel:
    """Return the served model, where the log can be written too; 503 otherwise."""
    return service.require_ready()


def validate_for_model(
    validate: Callable[[Given], Validated], given: Given, requests: RequestModels
) -> Validated:
    """Return what was given as what the models of the served features make of it.

    Raises:
        ProblemError: 422, the wrong fields.
    """
    try:
        return validate(given)
    except ValidationError as error:
        raise explain_errors(error.errors(include_url=False), requests) from error


def check_batch_size(service: Service, size: int, field: str, what: str = "rows") -> None:
    """Return if a batch is not larger than the server takes.

    Raises:
        ProblemError: 413.
    """
    limit = service.settings.serving.max_batch
    if size > limit:
        detail = f"{field}: at most {limit} {what} a request, found {size}"
        raise ProblemError("too-large", detail)
