"""The Open Inference Protocol: the same scores to standard clients under ``/v2``.

Source: Open Inference Protocol, REST API (kserve/open-inference-protocol), and Triton's binary
tensor data extension.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic_core import to_json
from starlette.responses import Response

from driftbook import tensors
from driftbook.endpoints import json_response, media_type_of, ready, service_of
from driftbook.prediction_request import describe, parse_json
from driftbook.problems import ProblemError, invalid
from driftbook.serving import Scored, Served

if TYPE_CHECKING:
    from starlette.requests import Request

    from driftbook.prediction_request import RequestReader

DATATYPES: Mapping[str, str] = {"numeric": "FP64", "boolean": "BOOL", "categorical": "BYTES"}
OUTPUTS: Mapping[str, str] = {
    "probability": "FP64",
    "prediction": "INT64",
    "prediction_id": "BYTES",
}
HEADER_LENGTH = "inference-header-content-length"
_MEDIA_TYPES = ("application/json", "application/octet-stream", "")
_REQUEST_KEYS = frozenset({"id", "parameters", "inputs", "outputs"})
_TENSOR_KEYS = frozenset({"name", "shape", "datatype", "parameters", "data"})


async def server_metadata(_request: Request) -> Response:
    """Return the server's name, version and protocol extensions."""
    return json_response(
        {"name": "driftbook", "version": "1.0.0", "extensions": ["binary_tensor_data"]}
    )


async def live(_request: Request) -> Response:
    """Return 200 while the process lives."""
    return json_response({"live": True})


async def server_ready(request: Request) -> Response:
    """Return 200 when a verified champion is loaded and the log can be written."""
    await ready(request)
    return json_response({"ready": True})


async def model_metadata(request: Request) -> Response:
    """Return the served model's tensors; only the champion's version is served."""
    champion = _served(request).champion
    return json_response(
        {
            "name": champion.name,
            "versions": [champion.version],
            "platform": "driftbook",
            "inputs": [
                {"name": name, "datatype": DATATYPES[kind], "shape": [-1, 1]}
                for name, kind in champion.features
            ],
            "outputs": [
                {"name": name, "datatype": datatype, "shape": [-1]}
                for name, datatype in OUTPUTS.items()
            ],
        }
    )


async def model_versions(request: Request) -> Response:
    """Return the versions that are served: the champion's."""
    champion = _served(request).champion
    return json_response({"name": champion.name, "versions": [champion.version]})


async def model_ready(request: Request) -> Response:
    """Return 200 when this very model is served."""
    name = _served(request).champion.name
    return json_response({"name": name, "ready": True})


async def infer(request: Request) -> Response:
    """Return the scores of the rows that the input tensors hold, each logged under its id."""
    served = _served(request)
    if media_type_of(request) not in _MEDIA_TYPES:
        detail = "send the header 'Content-Type: application/json'"
        raise ProblemError("unsupported-media-type", detail)
    body, binary = _split(await request.body(), request.headers.get(HEADER_LENGTH))
    message = _message(parse_json(body))
    wanted = _wanted_outputs(message)
    rows = _rows(message["inputs"], binary, served.reader)
    service = service_of(request)
    scored = await service.score(served, rows)
    service.note(request.scope, served, rows, scored)
    return _response(served, message, scored, wanted)


def _served(request: Request) -> Served:
    """Return what is served, if it is the model that the path names.

    Raises:
        ProblemError: 404, another model or version; 503, nothing is served.
    """
    served = service_of(request).ready()
    wanted = request.path_params
    version = wanted.get("version", served.champion.version)
    if (wanted["name"], version) != (served.champion.name, served.champion.version):
        detail = "no such model or version is served here; see the path's parent"
        raise ProblemError("not-found", detail)
    return served


def _split(body: bytes, header_length: str | None) -> tuple[bytes, bytes]:
    if header_length is None:
        return body, b""
    if not header_length.isdecimal() or len(header_length) > 12 or int(header_length) > len(body):
        expected = f"the length of the JSON part, at most {len(body)}"
        found = "another value"
        raise invalid([{"field": HEADER_LENGTH, "expected": expected, "found": found}])
    return body[: int(header_length)], body[int(header_length) :]


def _message(body: Any) -> dict[str, Any]:
    """Return the request, whose keys and their types are right; tensors are checked later."""
    if type(body) is not dict:
        raise invalid([_error("body", "an object with inputs", body)])
    unknown = sorted(body.keys() - _REQUEST_KEYS)
    if unknown:
        expected = "only id, parameters, inputs and outputs"
        raise invalid([{"field": unknown[0][:80], "expected": expected, "found": "an unknown key"}])
    if type(body.get("inputs")) is not list or not body["inputs"]:
        raise invalid([_error("inputs", "a list of at least one tensor", body.get("inputs"))])
    if type(body.get("id", "")) is not str:
        raise invalid([_error("id", "text", body["id"])])
    if type(body.get("parameters", {})) is not dict:
        raise invalid([_error("parameters", "an object", body["parameters"])])
    return body


def _wanted_outputs(message: Mapping[str, Any]) -> list[tuple[str, bool]]:
    """Return the names of the outputs asked for, each with whether in binary form."""
    by_default = _flag(message.get("parameters", {}), "binary_data_output", "parameters", False)
    if "outputs" not in message:
        return [(name, by_default) for name in OUTPUTS]
    outputs = message["outputs"]
    if type(outputs) is not list or not outputs:
        raise invalid([_error("outputs", "a list of at least one output", outputs)])
    wanted = []
    for position, output in enumerate(outputs):
        field = f"outputs[{position}]"
        if type(output) is not dict or not output.keys() <= {"name", "parameters"}:
            raise invalid([_error(field, "an object with name and parameters only", output)])
        if type(output.get("name")) is not str or output["name"] not in OUTPUTS:
            expected = f"one of {', '.join(OUTPUTS)}"
            raise invalid([_error(f"{field}.name", expected, output.get("name"))])
        parameters = output.get("parameters", {})
        if type(parameters) is not dict:
            raise invalid([_error(f"{field}.parameters", "an object", parameters)])
        in_binary = _flag(parameters, "binary_data", f"{field}.parameters", by_default)
        wanted.append((output["name"], in_binary))
    return wanted


def _flag(parameters: Mapping[str, Any], key: str, field: str, default: bool) -> bool:
    value = parameters.get(key, default)
    if type(value) is not bool:
        raise invalid([_error(f"{field}.{key}", "true or false", value)])
    return value


def _rows(inputs: Sequence[Any], binary: bytes, reader: RequestReader) -> list[list[Any]]:
    """Return the rows of the input tensors: one a feature, or one of all features."""
    columns: dict[str, list[Any]] = {}
    for position, tensor in enumerate(inputs):
        field = f"inputs[{position}]"
        name, datatype = _header(tensor, field)
        shape = tensors.shape_of(tensor, field)
        reader.check_batch(shape[0], field)
        values, binary = _values(tensor, datatype, binary, field)
        if len(values) != _size(shape):
            expected = f"{_size(shape)} values for the shape {shape}"
            raise invalid([{"field": field, "expected": expected, "found": str(len(values))}])
        if len(inputs) == 1 and shape[1:] == [len(reader.names)] and name not in reader.names:
            _check_datatype(datatype, "numeric", field)
            width = len(reader.names)
            rows = [values[i : i + width] for i in range(0, len(values), width)]
            return _checked(rows, reader)
        if shape[1:] not in ([], [1]):
            expected = "a shape of [rows] or [rows, 1], for one feature"
            raise invalid([{"field": f"{field}.shape", "expected": expected, "found": f"{shape}"}])
        if name not in reader.names or name in columns:
            expected = f"each of {', '.join(reader.names)} once"
            raise invalid([{"field": f"{field}.name", "expected": expected, "found": "another"}])
        _check_datatype(datatype, reader.kind_of(name), field)
        columns[name] = values
    return _checked(_transposed(columns, reader), reader)


def _transposed(columns: Mapping[str, list[Any]], reader: RequestReader) -> list[list[Any]]:
    missing = [name for name in reader.names if name not in columns]
    if missing:
        expected = f"a tensor for each feature, also for {', '.join(missing)}"
        found = f"{len(columns)} tensors"
        raise invalid([{"field": "inputs", "expected": expected, "found": found}])
    if len({len(values) for values in columns.values()}) != 1:
        expected = "as many rows in every tensor"
        raise invalid([{"field": "inputs", "expected": expected, "found": "different numbers"}])
    return [list(row) for row in zip(*(columns[name] for name in reader.names), strict=True)]


def _header(tensor: Any, field: str) -> tuple[str, str]:
    if type(tensor) is not dict or not tensor.keys() <= _TENSOR_KEYS:
        raise invalid([_error(field, f"an object with {', '.join(sorted(_TENSOR_KEYS))}", tensor)])
    name, datatype = tensor.get("name"), tensor.get("datatype")
    if type(name) is not str:
        raise invalid([_error(f"{field}.name", "text", name)])
    if type(datatype) is not str or datatype not in (*tensors.CODES, tensors.BYTES):
        expected = f"one of {', '.join((*tensors.CODES, tensors.BYTES))}"
        raise invalid([_error(f"{field}.datatype", expected, datatype)])
    return name, datatype


def _check_datatype(datatype: str, kind: str, field: str) -> None:
    known = tensors.NUMBERS if kind == "numeric" else {DATATYPES[kind]}
    if datatype not in known:
        expected = f"one of {', '.join(sorted(known))}, for a {kind} feature"
        raise invalid([{"field": f"{field}.datatype", "expected": expected, "found": datatype}])


def _values(
    tensor: Mapping[str, Any], datatype: str, binary: bytes, field: str
) -> tuple[list[Any], bytes]:
    """Return the tensor's values and what is left of the binary part."""
    parameters = tensor.get("parameters", {})
    if type(parameters) is not dict:
        raise invalid([_error(f"{field}.parameters", "an object", parameters)])
    size = parameters.get("binary_data_size")
    if size is None:
        values = tensor.get("data")
        if type(values) is not list:
            raise invalid([_error(f"{field}.data", "a list of values", values)])
        return _flat(values), binary
    if type(size) is not int or not 0 <= size <= len(binary) or "data" in tensor:
        expected = f"a size of at most the {len(binary)} bytes that follow, and no data"
        place = f"{field}.parameters.binary_data_size"
        raise invalid([{"field": place, "expected": expected, "found": "another"}])
    return tensors.decode(datatype, binary[:size], field), binary[size:]


def _flat(values: list[Any]) -> list[Any]:
    """Return the values of a list, or of a list of lists of one row each."""
    if values and all(type(row) is list for row in values):
        return [value for row in values for value in row]
    return values


def _checked(rows: list[list[Any]], reader: RequestReader) -> list[list[Any]]:
    errors = [e for i, row in enumerate(rows) for e in reader.values(row, f"row {i}")]
    if errors:
        raise invalid(errors[:20])
    return rows


def _size(shape: Sequence[int]) -> int:
    return shape[0] * (shape[1] if len(shape) == 2 else 1)


def _response(
    served: Served,
    message: Mapping[str, Any],
    scored: Sequence[Scored],
    wanted: Sequence[tuple[str, bool]],
) -> Response:
    outputs: list[dict[str, Any]] = []
    binary: list[bytes] = []
    for name, in_binary in wanted:
        values = [getattr(one, name) for one in scored]
        output: dict[str, Any] = {"name": name, "datatype": OUTPUTS[name], "shape": [len(values)]}
        if in_binary:
            binary.append(tensors.encode(OUTPUTS[name], values))
            output["parameters"] = {"binary_data_size": len(binary[-1])}
        else:
            output["data"] = values
        outputs.append(output)
    document: dict[str, Any] = {
        "model_name": served.champion.name,
        "model_version": served.champion.version,
        "outputs": outputs,
    }
    if "id" in message:
        document["id"] = message["id"]
    text = to_json(document)
    if not binary:
        return Response(text, media_type="application/json")
    headers = {HEADER_LENGTH: str(len(text))}
    return Response(text + b"".join(binary), headers=headers, media_type="application/octet-stream")


def _error(field: str, expected: str, value: Any) -> dict[str, str]:
    return {"field": field, "expected": expected, "found": describe(value)}


_MODEL = "/v2/models/{name}"
_VERSION = f"{_MODEL}/versions/{{version}}"
ROUTES = (
    ("/v2", server_metadata, "GET"),
    ("/v2/health/live", live, "GET"),
    ("/v2/health/ready", server_ready, "GET"),
    (_MODEL, model_metadata, "GET"),
    (f"{_MODEL}/versions", model_versions, "GET"),
    (f"{_MODEL}/ready", model_ready, "GET"),
    (f"{_MODEL}/infer", infer, "POST"),
    (_VERSION, model_metadata, "GET"),
    (f"{_VERSION}/ready", model_ready, "GET"),
    (f"{_VERSION}/infer", infer, "POST"),
)
