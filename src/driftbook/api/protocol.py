"""The Open Inference Protocol: the same scores to standard clients under ``/v2``, in JSON.

Source: Open Inference Protocol, REST API (kserve/open-inference-protocol).
"""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from driftbook.api.answers import (
    InferResponse,
    Live,
    ModelMetadata,
    ModelReady,
    ModelVersions,
    OutputTensor,
    ServerMetadata,
    ServerReady,
    TensorMetadata,
)
from driftbook.api.dependencies import (
    CurrentService,
    check_batch_size,
    require_ready,
    validate_for_model,
)
from driftbook.api.json_body import read_json_body
from driftbook.api.output import note_prediction
from driftbook.api.problems import ProblemError, document_answers
from driftbook.api.routes import OPEN, document_body, send_json
from driftbook.api.served import ServedModel, list_numbers
from driftbook.api.service import Scored
from driftbook.api.tensors import DATATYPES, OutputName, list_outputs, read_rows_of_tensors

protocol_router = APIRouter()

_MODEL = "/v2/models/{name}"
_VERSION = f"{_MODEL}/versions/{{version}}"


async def require_named_model(request: Request, service: CurrentService, name: str) -> ServedModel:
    """Return what is served, if it is the model, and the version, that the path names.

    Raises:
        ProblemError: 404, another model or version; 503, nothing is served.
    """
    served = service.require_model()
    version = request.path_params.get("version", served.version)
    if (name, version) != (served.name, served.version):
        detail = "no such model or version is served here; see the path's parent"
        raise ProblemError("not-found", detail)
    return served


async def declare_version(version: str) -> str:
    """Return the version in the path; declared for the paths that have one."""
    return version


NamedModel = Annotated[ServedModel, Depends(require_named_model)]
_VERSIONED = [Depends(declare_version)]
_REFUSALS = document_answers(401, 404, 422, 503)


@protocol_router.get("/v2", responses=document_answers(401))
async def get_server() -> ServerMetadata:
    """The server."""
    return ServerMetadata(name="driftbook", version="1.0.0", extensions=[])


@protocol_router.get("/v2/health/live", openapi_extra=OPEN, responses=document_answers())
async def get_live() -> Live:
    """Is the process alive?"""
    return Live()


@protocol_router.get(
    "/v2/health/ready",
    openapi_extra=OPEN,
    responses=document_answers(503),
    dependencies=[Depends(require_ready)],
)
async def get_server_ready() -> ServerReady:
    """Is a verified champion loaded, and can the log be written?"""
    return ServerReady()


@protocol_router.get(_MODEL, responses=_REFUSALS)
@protocol_router.get(_VERSION, responses=_REFUSALS, dependencies=_VERSIONED)
async def get_model_metadata(served: NamedModel) -> ModelMetadata:
    """The model's tensors; only the champion's version is served."""
    return ModelMetadata(
        name=served.name,
        versions=[served.version],
        platform="driftbook",
        inputs=[
            TensorMetadata(name=name, datatype=DATATYPES[kind], shape=[-1, 1])
            for name, kind in served.features
        ],
        outputs=[
            TensorMetadata(name=name, datatype=datatype, shape=_shape(served, name, -1))
            for name, datatype in list_outputs(served.task).items()
        ],
    )


@protocol_router.get(f"{_MODEL}/versions", responses=_REFUSALS)
async def get_model_versions(served: NamedModel) -> ModelVersions:
    """The served versions."""
    return ModelVersions(name=served.name, versions=[served.version])


@protocol_router.get(f"{_MODEL}/ready", responses=_REFUSALS)
@protocol_router.get(f"{_VERSION}/ready", responses=_REFUSALS, dependencies=_VERSIONED)
async def get_model_ready(served: NamedModel) -> ModelReady:
    """Is this model served?"""
    return ModelReady(name=served.name)


def _shape(served: ServedModel, name: OutputName, rows: int) -> list[int]:
    """Return the shape of an output: the probability of several classes has one a class."""
    several = name == "probability" and served.task.name == "multiclass"
    return [rows, len(served.task.classes)] if several else [rows]


def _list_data(scored: Sequence[Scored], name: OutputName) -> list[Any]:
    if name in ("probability", "value"):
        return list_numbers([one.score for one in scored])
    return [getattr(one, name) for one in scored]


_INFER: dict[str, Any] = {
    "response_model": InferResponse,
    "responses": document_answers(401, 404, 413, 415, 422, 503),
    "openapi_extra": document_body("InferRequest"),
}


@protocol_router.post(f"{_MODEL}/infer", **_INFER)
@protocol_router.post(f"{_VERSION}/infer", dependencies=_VERSIONED, **_INFER)
async def infer_rows(request: Request, service: CurrentService, served: NamedModel) -> Response:
    """Score the rows of one tensor a feature, of shape [rows, 1] or [rows].

    Where all features are numbers, also of one tensor of shape [rows, features] under another
    name. Tensors may be nested, in any order. The schema shows batches of one and two rows; larger
    ones look alike.
    """
    if "inference-header-content-length" in request.headers:
        detail = "binary tensors are not taken; send JSON (the client's binary_data=False)"
        raise ProblemError("unsupported-media-type", detail)
    wanted = validate_for_model(
        served.infer_request.model_validate_json, await read_json_body(request), served.requests
    )
    for position, tensor in enumerate(wanted.inputs):
        check_batch_size(service, tensor.shape[0], f"inputs[{position}]")
    rows = validate_for_model(
        served.requests.rows.validate_python,
        read_rows_of_tensors(wanted.inputs, served.features),
        served.requests,
    )
    scored = await service.score_rows(served, rows)
    note_prediction(request.scope, served, rows, scored, service.settings.serving.log_features)
    known = list_outputs(served.task)
    names = [output.name for output in wanted.outputs] or list(known)
    outputs = [
        OutputTensor(
            name=name,
            datatype=known[name],
            shape=_shape(served, name, len(scored)),
            data=_list_data(scored, name),
        )
        for name in names
    ]
    return send_json(
        InferResponse(
            model_name=served.name, model_version=served.version, id=wanted.id, outputs=outputs
        )
    )
