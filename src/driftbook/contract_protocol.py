"""The contract of the Open Inference Protocol's endpoints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from driftbook.contract_parts import TEXT, VALUES, nothing_else, operation, ref
from driftbook.inference_protocol import DATATYPES, OUTPUTS
from driftbook.tensors import BYTES, CODES, NUMBERS

# JSON Schema cannot tie the length of data to the shape, so batches are spelt out.
SHOWN_ROWS = (1, 2)

_INFER = """\
Score the rows of one tensor a feature, of shape [rows, 1] or [rows]; where all features are
numbers, also of one tensor of shape [rows, features] under another name. Tensors may be nested, in
any order, and in the binary form of Triton's binary tensor data extension. The schema shows
batches of one and two rows; larger ones look alike.
"""


def paths(name: str, version: str) -> dict[str, Any]:
    """Return the paths under ``/v2``, with the served model's name and version as examples."""
    text = {"type": "string", "minLength": 1}
    part = {"in": "path", "required": True, "schema": text}
    model = {"name": "name", "example": name, **part}
    version_part = {"name": "version", "example": version, **part}
    found: dict[str, Any] = {
        "/v2": {"get": operation("The server.", ref("ServerMetadata"), [401])},
        "/v2/health/live": {"get": _open("Is the process alive?", "Live", [])},
        "/v2/health/ready": {"get": _open("Is a verified champion loaded?", "V2Ready", [503])},
        "/v2/models/{name}/versions": {
            "get": operation(
                "The served versions.", ref("Versions"), [401, 404, 503], None, [model]
            )
        },
    }
    for prefix, parameters in (
        ("/v2/models/{name}", [model]),
        ("/v2/models/{name}/versions/{version}", [model, version_part]),
    ):
        found[prefix] = {
            "get": operation(
                "The model's tensors.", ref("ModelMetadata"), [401, 404, 503], None, parameters
            )
        }
        found[f"{prefix}/ready"] = {
            "get": operation(
                "Is this model served?", ref("ModelReady"), [401, 404, 503], None, parameters
            )
        }
        infer = operation(
            "Score tensors.",
            ref("InferResponse"),
            [401, 404, 413, 415, 422, 503],
            ref("InferRequest"),
            parameters,
        )
        infer["responses"]["200"]["content"]["application/octet-stream"] = {
            "schema": {"type": "string", "format": "binary"}
        }
        found[f"{prefix}/infer"] = {"post": {**infer, "description": _INFER}}
    return found


def _open(summary: str, schema: str, refusals: Sequence[int]) -> dict[str, Any]:
    return operation(summary, ref(schema), refusals, security=[{}])


def schemas(features: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Return the schemas of the requests and answers under ``/v2``."""
    inputs = [{"$ref": f"#/components/schemas/Inputs{rows}"} for rows in SHOWN_ROWS]
    request = {
        "type": "object",
        "required": ["inputs"],
        "additionalProperties": False,
        "properties": {
            "id": TEXT,
            "parameters": {
                "type": "object",
                "properties": {"binary_data_output": {"type": "boolean"}},
            },
            "inputs": {"oneOf": inputs},
            "outputs": {"type": "array", "minItems": 1, "items": ref("RequestedOutput")},
        },
    }
    requested = {
        "type": "object",
        "required": ["name"],
        "additionalProperties": False,
        "properties": {
            "name": {"type": "string", "enum": list(OUTPUTS)},
            "parameters": {"type": "object", "properties": {"binary_data": {"type": "boolean"}}},
        },
    }
    return {
        "ServerMetadata": nothing_else(
            {"name": TEXT, "version": TEXT, "extensions": {"type": "array", "items": TEXT}}
        ),
        "Live": nothing_else({"live": {"const": True}}),
        "V2Ready": nothing_else({"ready": {"const": True}}),
        "ModelReady": nothing_else({"name": TEXT, "ready": {"const": True}}),
        "Versions": nothing_else({"name": TEXT, "versions": {"type": "array", "items": TEXT}}),
        "ModelMetadata": _metadata(),
        "InferRequest": request,
        **{f"Inputs{rows}": _inputs(features, rows) for rows in SHOWN_ROWS},
        "NumberType": {"type": "string", "enum": sorted(NUMBERS)},
        "RequestedOutput": requested,
        "InferResponse": _response(),
    }


def _inputs(features: Sequence[tuple[str, str]], rows: int) -> dict[str, Any]:
    tensors = [_tensor(name, kind, rows) for name, kind in features]
    return {
        "type": "array",
        "minItems": len(tensors),
        "maxItems": len(tensors),
        "prefixItems": tensors,
        "items": False,
    }


def _tensor(name: str, kind: str, rows: int) -> dict[str, Any]:
    data = {"type": "array", "minItems": rows, "maxItems": rows, "items": ref(VALUES[kind])}
    return nothing_else(
        {
            "name": {"const": name},
            "shape": {"enum": [[rows, 1], [rows]]},
            "datatype": ref("NumberType") if kind == "numeric" else {"const": DATATYPES[kind]},
            "data": data,
        }
    )


def _metadata() -> dict[str, Any]:
    shape = {"type": "array", "items": {"type": "integer"}}
    datatype = {"type": "string", "enum": [*CODES, BYTES]}
    tensors = {
        "type": "array",
        "items": nothing_else({"name": TEXT, "datatype": datatype, "shape": shape}),
    }
    return nothing_else(
        {
            "name": TEXT,
            "versions": {"type": "array", "items": TEXT},
            "platform": TEXT,
            "inputs": tensors,
            "outputs": tensors,
        }
    )


def _response() -> dict[str, Any]:
    output = {
        "type": "object",
        "required": ["name", "datatype", "shape"],
        "additionalProperties": False,
        "properties": {
            "name": {"type": "string", "enum": list(OUTPUTS)},
            "datatype": {"type": "string", "enum": sorted(set(OUTPUTS.values()))},
            "shape": {"type": "array", "items": {"type": "integer", "minimum": 1}},
            "data": {"type": "array"},
            "parameters": {"type": "object"},
        },
    }
    return {
        "type": "object",
        "required": ["model_name", "model_version", "outputs"],
        "additionalProperties": False,
        "properties": {
            "model_name": TEXT,
            "model_version": TEXT,
            "id": TEXT,
            "outputs": {"type": "array", "minItems": 1, "items": output},
        },
    }
