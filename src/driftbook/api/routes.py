"""The API's own endpoints: health, readiness, card, predictions and feedback."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import PlainTextResponse, RedirectResponse, Response
from pydantic import BaseModel

from driftbook.api.answers import (
    FeedbackStored,
    Health,
    ModelCard,
    Prediction,
    Predictions,
    Ready,
    ValueWarning,
)
from driftbook.api.dependencies import (
    CurrentService,
    check_batch_size,
    require_model,
    require_ready,
    validate_for_model,
)
from driftbook.api.json_body import JSON_MEDIA_TYPE, read_json_body
from driftbook.api.log.rows import GivenLabel
from driftbook.api.metrics import METRICS_MEDIA_TYPE
from driftbook.api.output import note_prediction
from driftbook.api.problems import ProblemError, WrongField, document_answers, invalid_request
from driftbook.api.requests import UNSERVED_REQUESTS, find_repeated_id, list_labels, list_rows
from driftbook.api.served import ServedModel
from driftbook.api.service import Scored, Service, log_problem
from driftbook.api.value_limits import find_value_warnings
from driftbook.data.prediction_log import LogUnavailableError

api_router = APIRouter()
# Whoever watches the process needs no token.
OPEN: dict[str, Any] = {"security": []}


def send_json(answer: BaseModel) -> Response:
    """Return an answer that is serialised already."""
    # Built by this server itself: FastAPI's second validation would cost 5 µs of 450 a request.
    return Response(answer.model_dump_json(exclude_none=True), media_type=JSON_MEDIA_TYPE)


def document_body(name: str) -> dict[str, Any]:
    """Return the body of a request whose model is built for the served model's features."""
    schema = {"$ref": f"#/components/schemas/{name}"}
    return {"requestBody": {"required": True, "content": {JSON_MEDIA_TYPE: {"schema": schema}}}}


_FEEDBACK_LINK = {
    "feedback": {
        "operationId": "post_feedback",
        "requestBody": {"prediction_id": "$response.body#/prediction_id", "label": 1},
        "description": "Tell the true label once it is known.",
    }
}


@api_router.post(
    "/predict",
    operation_id="post_predict",
    response_model=Prediction | Predictions,
    responses=document_answers(401, 413, 415, 422, 503, links=_FEEDBACK_LINK),
    openapi_extra=document_body("PredictRequest"),
)
async def predict_rows(request: Request) -> Response:
    """Score one row (features) or a batch (records) with the champion."""
    # Read here: 165 µs of CPU a request, with dependencies for these lines 195, and 240 with a body
    # that FastAPI parses.
    service: Service = request.app.state.service
    served = service.require_model()
    body = validate_for_model(
        served.requests.predict.model_validate_json, await read_json_body(request), served.requests
    )
    given = list_rows(body)
    rows = given.rows
    check_batch_size(service, len(rows), "records")
    _check_ids(given.ids, served.requests.id_key)
    scored = await service.score_rows(served, rows, given.ids)
    note_prediction(request.scope, served, rows, scored, service.settings.serving.log_features)
    warned = find_value_warnings(served.limits, rows)
    predictions = [
        _prediction(one, served, warnings) for one, warnings in zip(scored, warned, strict=True)
    ]
    if given.single:
        return send_json(predictions[0])
    return send_json(Predictions(model_version=served.version, predictions=predictions))


def _check_ids(ids: Sequence[str | int | None], key: str) -> None:
    """Return if no two rows of a request have one id.

    Raises:
        ProblemError: 422, feedback could not tell the rows apart.
    """
    if found := find_repeated_id(ids):
        first, again = found
        expected = "an id that no other row of the request has"
        told = f"{ids[again]!r} as in records[{first}]"
        raise invalid_request(
            [WrongField(field=f"records[{again}].{key}", expected=expected, found=told)]
        )


def _prediction(scored: Scored, served: ServedModel, warnings: list[ValueWarning]) -> Prediction:
    return Prediction(
        prediction=scored.prediction,
        **served.task.describe(scored.score),
        model_version=served.version,
        prediction_id=scored.prediction_id,
        id=scored.own_id,
        warnings=warnings,
    )


@api_router.post(
    "/feedback",
    operation_id="post_feedback",
    responses=document_answers(401, 404, 409, 413, 415, 422, 503),
    openapi_extra=document_body("FeedbackRequest"),
)
async def store_feedback(request: Request, service: CurrentService) -> FeedbackStored:
    """Store true labels: all labels of a request or none.

    A label comes with the ``prediction_id`` of the answer or with your own ``id`` of the row. Where
    rows with that id were sent several times, as in a retry, it is the label of the newest
    prediction. The same label again changes nothing; another one is refused.
    """
    models = UNSERVED_REQUESTS if service.served is None else service.served.requests
    body = validate_for_model(
        models.feedback.model_validate_json, await read_json_body(request), models
    )
    labels = list_labels(body)
    check_batch_size(service, len(labels), "feedback", "labels")
    try:
        result = await service.log.add_feedback(labels, service.model_name)
    except LogUnavailableError as error:
        raise log_problem() from error
    service.metrics.count_feedback(result, len(labels))
    if result.unknown_ids:
        raise ProblemError(
            "not-found",
            "no prediction of that id was answered here, or it is past its retention",
            _by_id(labels, result.unknown_ids, "an answered prediction's id", "an unknown id"),
        )
    if result.contradicting_ids:
        raise ProblemError(
            "contradicting-label",
            "the first label stands; nothing of this request was stored",
            _by_id(labels, result.contradicting_ids, "the label that is known", "another label"),
        )
    return FeedbackStored(stored=result.stored, known=result.known)


def _by_id(
    labels: Sequence[GivenLabel], ids: Sequence[str], expected: str, found: str
) -> list[WrongField]:
    own = {label.id for label in labels if label.own}
    return [
        WrongField(
            field=f"{'id' if one in own else 'prediction_id'} {one}", expected=expected, found=found
        )
        for one in ids[:20]
    ]


@api_router.get("/health", openapi_extra=OPEN, responses=document_answers())
async def get_health() -> Health:
    """Is the process alive?"""
    return Health()


@api_router.get("/ready", openapi_extra=OPEN, responses=document_answers(503))
async def get_ready(served: Annotated[ServedModel, Depends(require_ready)]) -> Ready:
    """Is a verified champion loaded, and can the log be written?"""
    return Ready(model_version=served.version)


@api_router.get("/model", responses=document_answers(401, 503))
async def get_model(served: Annotated[ServedModel, Depends(require_model)]) -> ModelCard:
    """The served model's card."""
    return ModelCard(**{**served.card, "scorer": served.scorer.kind})


@api_router.get("/metrics", response_class=PlainTextResponse, responses=document_answers(401))
async def get_metrics(service: CurrentService) -> Response:
    """Metrics for Prometheus."""
    return Response(service.metrics.to_text(), media_type=METRICS_MEDIA_TYPE)


@api_router.get("/", include_in_schema=False)
async def redirect_to_docs() -> RedirectResponse:
    """Return the way to the documentation; relative, for a server behind a prefix."""
    return RedirectResponse("docs")
