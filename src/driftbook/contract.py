"""The API's contract: one OpenAPI document, made for the features of the model that is served."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from driftbook import contract_protocol
from driftbook.contract_parts import (
    NUMBER,
    TEXT,
    VALUES,
    nothing_else,
    operation,
    ref,
    responses,
    value_schema,
)
from driftbook.problems import KINDS

VERSION = "1.0.0"
Features = Sequence[tuple[str, str]]

# What the tracked file is written for: the built-in runbook's model.
DEFAULT_NAME = "delayed"
DEFAULT_FEATURES: Features = tuple(
    (name, "numeric")
    for name in ("hour", "distance", "temp", "dewp", "humid", "wind_speed", "precip", "visib")
)

_ABOUT = """\
Serves the champion of a Driftbook registry. Every answered prediction is in the prediction log
before its answer is sent. null is a missing value and is imputed as in training; a category that
training never saw counts as none of the known ones. Batches hold at most `serving.max_batch` rows
and bodies at most `serving.max_body_bytes` bytes (413). Errors are problem documents (RFC 9457).
Every response carries `X-Request-Id`: the request's own, or a new one.
"""


def document(
    name: str = DEFAULT_NAME,
    features: Features = DEFAULT_FEATURES,
    version: str = "m0123456789a",
    auth: bool = False,
) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of an API that serves ``features``.

    ``name`` and ``version`` are examples in the paths under ``/v2``.
    ``auth``: whether requests need the bearer token; otherwise the document says they may.
    """
    security: list[dict[str, list[str]]] = [{"bearer": []}] if auth else [{}, {"bearer": []}]
    return {
        "openapi": "3.1.0",
        "info": {"title": "Driftbook", "version": VERSION, "description": _ABOUT},
        "security": security,
        "paths": {**_paths(), **contract_protocol.paths(name, version)},
        "components": {
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
            "headers": {
                "RequestId": {
                    "description": "Names this request in the server's log.",
                    "required": True,
                    "schema": {"type": "string"},
                }
            },
            "schemas": {**_schemas(features), **contract_protocol.schemas(features)},
        },
    }


def _paths() -> dict[str, Any]:
    open_to_all: list[dict[str, list[str]]] = [{}]
    return {
        "/health": {
            "get": operation("Is the process alive?", ref("Health"), [], security=open_to_all)
        },
        "/ready": {
            "get": operation(
                "Is a verified champion loaded, and can the log be written?",
                ref("Ready"),
                [503],
                security=open_to_all,
            )
        },
        "/model": {"get": operation("The served model's card.", ref("Card"), [401, 503])},
        "/predict": {"post": _predict()},
        "/feedback": {
            "post": operation(
                "Store true labels by prediction id: all labels of a request or none. The same "
                "label again changes nothing; another one is refused.",
                ref("FeedbackResult"),
                [401, 404, 409, 413, 415, 422, 503],
                body=ref("FeedbackRequest"),
            )
            | {"operationId": "post_feedback"}
        },
        "/metrics": {"get": _metrics()},
        "/openapi.json": {"get": operation("This document.", {"type": "object"}, [401])},
    }


def _predict() -> dict[str, Any]:
    found = operation(
        "Score one row (features) or a batch (records) with the champion.",
        {"oneOf": [ref("Prediction"), ref("Predictions")]},
        [401, 413, 415, 422, 503],
        body=ref("PredictRequest"),
    )
    found["responses"]["200"]["links"] = {
        "feedback": {
            "operationId": "post_feedback",
            "requestBody": {"prediction_id": "$response.body#/prediction_id", "label": 1},
            "description": "Tell the true label once it is known.",
        }
    }
    return {**found, "operationId": "post_predict"}


def _metrics() -> dict[str, Any]:
    found = responses({"type": "string"}, [401])
    found["200"]["content"] = {"text/plain": {"schema": {"type": "string"}}}
    return {"summary": "Metrics for Prometheus.", "responses": found}


def _schemas(features: Features) -> dict[str, Any]:
    values = [ref(VALUES[kind]) for _, kind in features]
    row: dict[str, Any] = {"type": "array", "minItems": len(values), "maxItems": len(values)}
    if all(value == values[0] for value in values):
        row["items"] = values[0]
    else:
        row |= {"prefixItems": values, "items": False}
    names = ", ".join(name for name, _ in features)
    record = nothing_else({name: ref(VALUES[kind]) for name, kind in features})
    single = nothing_else({"features": {**row, "description": f"In this order: {names}."}})
    batch = nothing_else({"records": {"type": "array", "minItems": 1, "items": ref("Record")}})
    return {
        **{VALUES[kind]: value_schema(kind) for kind in VALUES},
        "Record": {**record, "description": "A key a feature."},
        "PredictRequest": {"oneOf": [single, batch]},
        **_ANSWERS,
        "Problem": _problem(),
    }


_PROBABILITY = {"type": "number", "minimum": 0, "maximum": 1}
_LABEL = nothing_else(
    {
        "prediction_id": {"type": "string", "minLength": 1, "maxLength": 64},
        "label": {"type": "integer", "enum": [0, 1]},
    }
)
_PREDICTION = nothing_else(
    {
        "prediction": {"type": "integer", "enum": [0, 1]},
        "probability": {**_PROBABILITY, "description": "Of the target being 1."},
        "model_version": TEXT,
        "prediction_id": {"type": "string", "format": "uuid"},
    }
)
_FEATURE = nothing_else(
    {"name": TEXT, "kind": {"type": "string", "enum": ["numeric", "boolean", "categorical"]}}
)
_METRIC = {
    "type": "object",
    "required": ["metric", "value", "ci_low", "ci_high"],
    "properties": {"metric": TEXT, "value": NUMBER, "ci_low": NUMBER, "ci_high": NUMBER},
}
_ANSWERS: Mapping[str, Any] = {
    "Health": nothing_else({"status": {"const": "alive"}}),
    "Ready": nothing_else({"status": {"const": "ready"}, "model_version": TEXT}),
    "Prediction": _PREDICTION,
    "Predictions": nothing_else(
        {
            "model_version": TEXT,
            "predictions": {"type": "array", "minItems": 1, "items": ref("Prediction")},
        }
    ),
    "Label": _LABEL,
    "FeedbackRequest": {
        "oneOf": [
            ref("Label"),
            nothing_else({"feedback": {"type": "array", "minItems": 1, "items": ref("Label")}}),
        ]
    },
    "FeedbackResult": nothing_else(
        {
            "stored": {"type": "integer", "minimum": 0, "description": "Labels that are new."},
            "known": {"type": "integer", "minimum": 0, "description": "Labels known before."},
        }
    ),
    "Card": {
        "type": "object",
        "required": ["name", "version", "target", "features", "metrics", "origin", "scorer"],
        "properties": {
            "name": TEXT,
            "version": TEXT,
            "target": TEXT,
            "features": {"type": "array", "minItems": 1, "items": _FEATURE},
            "metrics": {"type": "array", "items": _METRIC},
            "origin": {"type": "object", "description": "Source and windows it learnt from."},
            "scorer": {"type": "string", "enum": ["linear", "trees", "scikit-learn"]},
        },
    },
}


def _problem() -> dict[str, Any]:
    wrong = nothing_else({"field": TEXT, "expected": TEXT, "found": TEXT})
    kinds = [f"urn:driftbook:problem:{kind}" for kind in KINDS]
    return {
        "type": "object",
        "required": ["type", "title", "status", "detail", "instance"],
        "additionalProperties": False,
        "properties": {
            "type": {"type": "string", "enum": kinds},
            "title": TEXT,
            "status": {"type": "integer"},
            "detail": TEXT,
            "instance": {"type": "string", "description": "Holds the request's id."},
            "errors": {"type": "array", "minItems": 1, "items": wrong},
            "error": {"type": "string", "description": "The detail again, under /v2."},
        },
    }


def text(found: Mapping[str, Any]) -> str:
    """Return the document as the tracked file holds it."""
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(text(document()))
