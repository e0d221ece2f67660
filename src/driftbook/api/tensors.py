"""Tensors of the Open Inference Protocol in JSON, and the rows that they hold."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictStr,
    TypeAdapter,
    WithJsonSchema,
    create_model,
)

from driftbook.api.problems import ProblemError, WrongField, invalid_request
from driftbook.api.requests import VALUE_TYPES, Expected, Features, round_whole
from driftbook.api.served_task import ServedTask

NumberType = Literal[
    "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64", "FP16", "FP32", "FP64"
]
Datatype = Literal[NumberType, "BOOL", "BYTES"]
OutputName = Literal["probability", "prediction", "value", "prediction_id"]

# The datatype that a feature's tensor is documented with, by the feature's kind.
DATATYPES: Mapping[str, Datatype] = {"numeric": "FP64", "boolean": "BOOL", "categorical": "BYTES"}
_ACCEPTED: Mapping[str, Sequence[str]] = {
    "numeric": get_args(NumberType),
    "boolean": ("BOOL",),
    "categorical": ("BYTES",),
}
_Length = Annotated[int, Field(strict=True, ge=1, le=2**53), BeforeValidator(round_whole)]


class InputTensor(BaseModel):
    """One feature's values, or those of all features row by row; the data may be nested."""

    model_config = ConfigDict(extra="forbid")
    name: Annotated[StrictStr, Expected("text")]
    shape: Annotated[
        list[_Length],
        Field(min_length=1, max_length=2),
        Expected("the number of rows, or of rows and columns, each at least 1"),
    ]
    datatype: Annotated[Datatype, Expected(f"one of {', '.join(get_args(Datatype))}")]
    parameters: dict[str, Any] = {}
    data: list[Any]

    def list_values(self) -> list[Any]:
        """Return the values of a list, or of a list of lists of one row each."""
        if self.data and all(type(row) is list for row in self.data):
            return [value for row in self.data for value in row]
        return self.data


def list_outputs(task: ServedTask) -> dict[OutputName, Datatype]:
    """Return the outputs of a task with their datatypes."""
    if not task.classes:
        return {"value": "FP64", "prediction_id": "BYTES"}
    named: Datatype = "INT64" if task.name == "binary" else "BYTES"
    return {"probability": "FP64", "prediction": named, "prediction_id": "BYTES"}


class RequestedOutput(BaseModel):
    """An output that is asked for."""

    model_config = ConfigDict(extra="forbid")
    name: OutputName
    parameters: dict[str, Any] = {}


class InferRequest(BaseModel):
    """Rows as tensors, in any order; all outputs are answered where none are named."""

    model_config = ConfigDict(extra="forbid")
    id: Annotated[StrictStr | None, Expected("text")] = None
    parameters: dict[str, Any] = {}
    inputs: list[InputTensor] = Field(min_length=1)
    outputs: list[RequestedOutput] = Field([], min_length=1)


def build_infer_request(features: Features, task: ServedTask) -> type[InferRequest]:
    """Return the model of inference requests, for ``features`` and the outputs of the task."""
    names = tuple(list_outputs(task))
    known: Any = Annotated[Literal.__getitem__(names), Expected(f"one of {', '.join(names)}")]
    wanted = create_model("RequestedOutput", __base__=RequestedOutput, name=(known, ...))
    outputs: Any = (list.__class_getitem__(wanted), Field([], min_length=1))
    # JSON Schema cannot tie the length of data to the shape, so batches are spelt out.
    shown = {"oneOf": [_documented_inputs(features, rows) for rows in (1, 2)]}
    inputs: Any = Annotated[list[InputTensor], WithJsonSchema(shown)]
    return create_model(
        "InferRequest",
        __base__=InferRequest,
        inputs=(inputs, Field(min_length=1)),
        outputs=outputs,
    )


def _documented_inputs(features: Features, rows: int) -> dict[str, Any]:
    return {
        "type": "array",
        "minItems": len(features),
        "maxItems": len(features),
        "prefixItems": [_documented_tensor(name, kind, rows) for name, kind in features],
        "items": False,
    }


def _documented_tensor(name: str, kind: str, rows: int) -> dict[str, Any]:
    values = TypeAdapter(VALUE_TYPES[kind]).json_schema()
    return {
        "type": "object",
        "required": ["name", "shape", "datatype", "data"],
        "additionalProperties": False,
        "properties": {
            "name": {"const": name},
            "shape": {"enum": [[rows, 1], [rows]]},
            "datatype": {"enum": list(_ACCEPTED[kind])},
            "data": {"type": "array", "minItems": rows, "maxItems": rows, "items": values},
        },
    }


def read_rows_of_tensors(inputs: Sequence[InputTensor], features: Features) -> list[list[Any]]:
    """Return the rows that the tensors hold: one tensor a feature, or one of all features.

    Raises:
        ProblemError: 422, the tensors do not fit the features or one another.
    """
    kinds = dict(features)
    first = inputs[0]
    if len(inputs) == 1 and first.shape[1:] == [len(kinds)] and first.name not in kinds:
        values, width = _values(first, "numeric", "inputs[0]"), len(kinds)
        return [values[start : start + width] for start in range(0, len(values), width)]
    columns: dict[str, list[Any]] = {}
    for position, tensor in enumerate(inputs):
        field = f"inputs[{position}]"
        if tensor.shape[1:] not in ([], [1]):
            expected = "a shape of [rows] or [rows, 1], for one feature"
            raise _refusal(f"{field}.shape", expected, f"{tensor.shape}")
        if tensor.name not in kinds or tensor.name in columns:
            raise _refusal(f"{field}.name", f"each of {', '.join(kinds)} once", "another")
        columns[tensor.name] = _values(tensor, kinds[tensor.name], field)
    if missing := [name for name in kinds if name not in columns]:
        expected = f"a tensor for each feature, also for {', '.join(missing)}"
        raise _refusal("inputs", expected, f"{len(columns)} tensors")
    if len({len(values) for values in columns.values()}) != 1:
        raise _refusal("inputs", "as many rows in every tensor", "different numbers")
    return [list(row) for row in zip(*(columns[name] for name in kinds), strict=True)]


def _values(tensor: InputTensor, kind: str, field: str) -> list[Any]:
    if tensor.datatype not in _ACCEPTED[kind]:
        expected = f"one of {', '.join(_ACCEPTED[kind])}, for a {kind} feature"
        raise _refusal(f"{field}.datatype", expected, tensor.datatype)
    values = tensor.list_values()
    size = math.prod(tensor.shape)
    if len(values) != size:
        raise _refusal(field, f"{size} values for the shape {tensor.shape}", str(len(values)))
    return values


def _refusal(field: str, expected: str, found: str) -> ProblemError:
    return invalid_request([WrongField(field=field, expected=expected, found=found)])
