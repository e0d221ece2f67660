"""Pieces that every part of the contract is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from driftbook.prediction_request import LARGEST_NUMBER
from driftbook.problems import MEDIA_TYPE

TEXT: Mapping[str, Any] = {"type": "string"}
NUMBER: Mapping[str, Any] = {"type": ["number", "null"]}

# The schema of a feature's value, by its kind.
VALUES: Mapping[str, str] = {
    "numeric": "Number",
    "boolean": "Boolean",
    "categorical": "Category",
}
_MEANINGS = {
    401: "The token is missing or wrong.",
    404: "Nothing of that name or id.",
    409: "Another label is known for a prediction; nothing was stored.",
    413: "The body or the batch is too large.",
    415: "The body is not JSON.",
    422: "The body is wrong; errors name the fields and what was expected.",
    503: "No verified model is loaded, the log cannot be written, or the answer took too long.",
}


def ref(name: str) -> dict[str, str]:
    """Return a reference to a schema of the document."""
    return {"$ref": f"#/components/schemas/{name}"}


def nothing_else(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of an object with exactly these properties."""
    return {
        "type": "object",
        "required": list(properties),
        "additionalProperties": False,
        "properties": dict(properties),
    }


def value_schema(kind: str) -> dict[str, Any]:
    """Return the schema of a feature's value; null is a missing value."""
    if kind == "boolean":
        return {"type": ["boolean", "null"]}
    if kind == "categorical":
        return {"type": ["string", "null"]}
    return {"type": ["number", "null"], "minimum": -LARGEST_NUMBER, "maximum": LARGEST_NUMBER}


def operation(
    summary: str,
    answer: Mapping[str, Any],
    refusals: Sequence[int],
    body: Mapping[str, Any] | None = None,
    parameters: Sequence[Mapping[str, Any]] = (),
    security: Sequence[Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """Return an operation that answers JSON and refuses with problem documents."""
    found: dict[str, Any] = {"summary": summary, "responses": responses(answer, refusals)}
    if body is not None:
        content = {"application/json": {"schema": dict(body)}}
        found["requestBody"] = {"required": True, "content": content}
    if parameters:
        found["parameters"] = list(parameters)
    if security is not None:
        found["security"] = list(security)
    return found


def responses(answer: Mapping[str, Any], refusals: Sequence[int]) -> dict[str, Any]:
    """Return the responses of an operation by status."""
    headers = {"X-Request-Id": {"$ref": "#/components/headers/RequestId"}}
    content = {"application/json": {"schema": dict(answer)}}
    found: dict[str, Any] = {
        "200": {"description": "The answer.", "headers": headers, "content": content}
    }
    for status in refusals:
        found[str(status)] = {
            "description": _MEANINGS[status],
            "headers": headers,
            "content": {MEDIA_TYPE: {"schema": ref("Problem")}},
        }
    return found
