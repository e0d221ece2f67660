"""Errors of the API as problem documents: what was wrong, where, and what was expected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic_core import to_json

MEDIA_TYPE = "application/problem+json"

# kind -> (status, title); the kind is the last part of the problem's type.
KINDS: Mapping[str, tuple[int, str]] = {
    "bad-request": (400, "The request is no valid HTTP"),
    "invalid-request": (422, "The request is not valid"),
    "unauthorised": (401, "A valid bearer token is needed"),
    "not-found": (404, "There is no such resource"),
    "method-not-allowed": (405, "The resource does not know this method"),
    "contradicting-label": (409, "Another label is known for this prediction"),
    "too-large": (413, "The request is too large"),
    "unsupported-media-type": (415, "The body is of another media type"),
    "internal-error": (500, "The server failed"),
    "not-ready": (503, "No verified model is loaded"),
    "log-unavailable": (503, "The prediction log cannot be written"),
    "timeout": (503, "The answer took too long"),
}


class ProblemError(Exception):
    """A refused request; becomes a problem document.

    ``detail`` is one sentence for the caller. ``errors`` holds one mapping a wrong field with
    ``field``, ``expected`` and ``found``; values that were sent are never repeated.
    """

    def __init__(
        self,
        kind: str,
        detail: str,
        errors: Sequence[Mapping[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.status, self.title = KINDS[kind]
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = dict(headers or {})

    def document(self, request_id: str, path: str) -> dict[str, Any]:
        """Return the problem document; ``request_id`` names this occurrence of the problem.

        Under ``/v2`` it carries the member ``error`` that clients of the Open Inference Protocol
        read.

        Source: RFC 9457, sections 3.1 and 3.2.
        """
        document: dict[str, Any] = {
            "type": f"urn:driftbook:problem:{self.kind}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "instance": f"urn:driftbook:request:{request_id}",
        }
        if self.errors:
            document["errors"] = [dict(error) for error in self.errors]
        if path == "/v2" or path.startswith("/v2/"):
            document["error"] = self.detail
        return document

    def body(self, request_id: str, path: str) -> bytes:
        """Return the problem document as JSON text."""
        return to_json(self.document(request_id, path))


def invalid(errors: Sequence[Mapping[str, str]]) -> ProblemError:
    """Return the problem of a request whose fields are wrong; the detail names the first.

    >>> invalid([{"field": "features", "expected": "8 values", "found": "3"}]).detail
    'features: expected 8 values, found 3'
    """
    first = errors[0]
    detail = f"{first['field']}: expected {first['expected']}, found {first['found']}"
    if len(errors) > 1:
        detail += f" (and {len(errors) - 1} more, see errors)"
    return ProblemError("invalid-request", detail, errors)
