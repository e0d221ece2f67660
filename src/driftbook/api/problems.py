"""Errors of the API as problem documents: what was wrong, where, and what was expected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import HTTPException
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

PROBLEM_MEDIA_TYPE = "application/problem+json"
MAX_ERRORS = 20

# kind -> (status, title); the kind is the last part of the problem's type.
KINDS: Mapping[str, tuple[int, str]] = {
    "invalid-request": (422, "The request is not valid"),
    "unauthorised": (401, "A valid bearer token is needed"),
    "not-found": (404, "There is no such resource"),
    "method-not-allowed": (405, "The resource does not know this method"),
    "contradicting-label": (409, "Another label is known for this prediction"),
    "too-large": (413, "The request is too large"),
    "headers-too-large": (431, "The request's headers are too large"),
    "not-http": (400, "This is no HTTP request"),
    "unknown-host": (400, "The server does not go by this name"),
    "head-timeout": (408, "The request did not come in time"),
    "too-busy": (503, "The server has too many connections"),
    "unsupported-media-type": (415, "The body is of another media type"),
    "internal-error": (500, "The server failed"),
    "not-ready": (503, "No verified model is loaded"),
    "log-unavailable": (503, "The prediction log cannot be written"),
    "timeout": (503, "The answer took too long"),
}


class WrongField(BaseModel):
    """A field that is wrong. The value that was sent is described, never repeated."""

    model_config = ConfigDict(extra="forbid")
    field: str
    expected: str
    found: str


class Problem(BaseModel):
    """A problem document.

    Source: RFC 9457, sections 3.1 and 3.2.
    """

    model_config = ConfigDict(extra="forbid")
    type: str = Field(pattern="^urn:driftbook:problem:[a-z-]+$")
    title: str
    status: int
    detail: str
    instance: str = Field(description="Holds the request's id.")
    errors: list[WrongField] | None = Field(None, min_length=1)
    error: str | None = Field(None, description="The detail again, under /v2.")


class ProblemError(HTTPException):
    """A refused request; becomes a problem document. ``detail`` is one sentence for the caller."""

    def __init__(
        self,
        kind: str,
        detail: str,
        errors: Sequence[WrongField] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.kind = kind
        status, self.title = KINDS[kind]
        self.errors = list(errors)
        super().__init__(status, detail, headers)


def problem_response(problem: ProblemError, scope: Mapping[str, Any]) -> Response:
    """Return the answer to the request of ``scope``, which holds its id.

    Under ``/v2`` it carries the member ``error`` that clients of the Open Inference Protocol read.
    """
    document = Problem(
        type=f"urn:driftbook:problem:{problem.kind}",
        title=problem.title,
        status=problem.status_code,
        detail=problem.detail,
        instance=f"urn:driftbook:request:{scope['request_id']}",
        errors=problem.errors or None,
        error=problem.detail if f"{scope['path']}/".startswith("/v2/") else None,
    )
    body = document.model_dump_json(exclude_none=True)
    return Response(body, problem.status_code, problem.headers, media_type=PROBLEM_MEDIA_TYPE)


def invalid_request(errors: Sequence[WrongField]) -> ProblemError:
    """Return the problem of a request whose fields are wrong; the detail names the first.

    >>> wrong = WrongField(field="features", expected="8 values", found="3")
    >>> invalid_request([wrong]).detail
    'features: expected 8 values, found 3'
    """
    first = errors[0]
    detail = f"{first.field}: expected {first.expected}, found {first.found}"
    if len(errors) > 1:
        detail += f" (and {len(errors) - 1} more, see errors)"
    return ProblemError("invalid-request", detail, errors[:MAX_ERRORS])


_NAMES: Mapping[type, str] = {
    bool: "a boolean",
    dict: "an object",
    float: "a number",
    int: "a number",
    list: "a list",
    str: "text",
    type(None): "null",
}


def describe_value(value: Any) -> str:
    """Return what ``value`` is, never its content.

    >>> describe_value("secret"), describe_value(float("nan")), describe_value([])
    ('text', 'NaN', 'an empty list')
    """
    if isinstance(value, float):
        if value != value:
            return "NaN"
        return "an infinite number" if abs(value) == float("inf") else "a number"
    if isinstance(value, list | dict) and not value:
        return f"an empty {'list' if isinstance(value, list) else 'object'}"
    return _NAMES.get(type(value), type(value).__name__)


# What the contract says of each status that an operation may refuse with.
_MEANINGS: Mapping[int, str] = {
    401: "The token is missing or wrong.",
    404: "Nothing of that name or id.",
    409: "Another label is known for a prediction; nothing was stored.",
    413: "The body or the batch is too large.",
    415: "The body is not JSON.",
    422: "The request is wrong; errors name the fields and what was expected.",
    503: "No verified model is loaded, the log cannot be written, or the answer took too long.",
}


_HEADERS = {
    "X-Request-Id": {
        "description": "Names this request in the server's log.",
        "required": True,
        "schema": {"type": "string"},
    }
}


def document_answers(*refusals: int, **of_200: Any) -> dict[int | str, dict[str, Any]]:
    """Return the ``responses`` of an operation: its answer, and the statuses it refuses with."""
    schema = {"$ref": "#/components/schemas/Problem"}
    documented: dict[int | str, dict[str, Any]] = {
        200: {"description": "The answer.", "headers": _HEADERS, **of_200}
    }
    for status in refusals:
        documented[status] = {
            "description": _MEANINGS[status],
            "headers": _HEADERS,
            "content": {PROBLEM_MEDIA_TYPE: {"schema": schema}},
        }
    return documented
