"""The API's own endpoints: health, readiness, card, predictions and feedback."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic_core import to_json
from starlette.responses import Response

from driftbook import serving_metrics
from driftbook.data.prediction_log import FeedbackResult, LogUnavailableError
from driftbook.prediction_request import describe, parse_json
from driftbook.problems import ProblemError, invalid
from driftbook.serving import Scored, Service, log_problem

if TYPE_CHECKING:
    from starlette.requests import Request


def service_of(request: Request) -> Service:
    """Return the service of the application that got the request."""
    service: Service = request.app.service
    return service


def json_response(values: Any, status: int = 200) -> Response:
    """Return ``values`` as a JSON response."""
    return Response(to_json(values), status, media_type="application/json")


async def health(_request: Request) -> Response:
    """Return 200 while the process lives, with or without a model."""
    return json_response({"status": "alive"})


async def ready(request: Request) -> Response:
    """Return 200 when a verified champion is loaded and the log can be written."""
    service = service_of(request)
    served = service.ready()
    if service.log.failure is not None:
        raise log_problem()
    return json_response({"status": "ready", "model_version": served.champion.version})


async def model(request: Request) -> Response:
    """Return the champion's card."""
    champion = service_of(request).ready().champion
    return json_response({**champion.card, "scorer": champion.scorer.kind})


async def metrics(request: Request) -> Response:
    """Return the metrics in the Prometheus text format."""
    text = serving_metrics.exposition(service_of(request))
    return Response(text, headers={"content-type": serving_metrics.CONTENT_TYPE})


async def openapi(request: Request) -> Response:
    """Return the contract, made for the model that is served."""
    return json_response(request.app.openapi())


async def predict(request: Request) -> Response:
    """Return the scores of one row or a batch, each logged under its id."""
    service = service_of(request)
    served = service.ready()
    _require_json(request)
    single, rows = served.reader.read(parse_json(await request.body()))
    scored = await service.score(served, rows)
    service.note(request.scope, served, rows, scored)
    version = served.champion.version
    if single:
        return json_response(_answer(scored[0], version))
    answers = [_answer(one, version) for one in scored]
    return json_response({"model_version": version, "predictions": answers})


def _answer(scored: Scored, version: str) -> dict[str, Any]:
    return {
        "prediction": scored.prediction,
        "probability": scored.probability,
        "model_version": version,
        "prediction_id": scored.prediction_id,
    }


async def feedback(request: Request) -> Response:
    """Store true labels by prediction id; all labels of a request or none."""
    _require_json(request)
    service = service_of(request)
    labels = _labels(parse_json(await request.body()))
    if len(labels) > service.settings.serving.max_batch:
        limit = service.settings.serving.max_batch
        detail = f"feedback: at most {limit} labels a request, found {len(labels)}"
        raise ProblemError("too-large", detail)
    try:
        result = await service.log.add_feedback(labels)
    except LogUnavailableError as error:
        raise log_problem() from error
    _count_feedback(service, result, len(labels))
    if result.unknown_ids:
        raise ProblemError(
            "not-found",
            "no prediction of that id was answered here, or it is past its retention",
            _by_id(result.unknown_ids, "the id of an answered prediction", "an unknown id"),
        )
    if result.contradicting_ids:
        raise ProblemError(
            "contradicting-label",
            "the first label stands; nothing of this request was stored",
            _by_id(result.contradicting_ids, "the label that is known", "the other label"),
        )
    return json_response({"stored": result.stored, "known": result.known})


def _count_feedback(service: Service, result: FeedbackResult, labels: int) -> None:
    counts = service.metrics.feedback
    if result.refused:
        counts["unknown" if result.unknown_ids else "contradicting"] += labels
    else:
        counts["stored"] += result.stored
        counts["known"] += result.known


def _by_id(ids: tuple[str, ...], expected: str, found: str) -> list[dict[str, str]]:
    return [{"field": f"prediction_id {i}", "expected": expected, "found": found} for i in ids[:20]]


def _labels(body: Any) -> list[tuple[str, int]]:
    """Return the (prediction id, label) pairs of a feedback request, single or batch."""
    if type(body) is dict and "feedback" in body:
        items = body["feedback"]
        if len(body) != 1 or type(items) is not list or not items:
            expected = "a list of at least one object, and no other key"
            raise invalid([{"field": "feedback", "expected": expected, "found": describe(items)}])
        return [_label(item, f"feedback[{i}].") for i, item in enumerate(items)]
    return [_label(body, "")]


def _label(item: Any, place: str) -> tuple[str, int]:
    keys = {"prediction_id", "label"}
    if type(item) is not dict or item.keys() != keys:
        expected = "an object with exactly prediction_id and label"
        found = describe(item) if type(item) is not dict else "other keys"
        field = place.rstrip(".") or "body"
        raise invalid([{"field": field, "expected": expected, "found": found}])
    prediction_id, label = item["prediction_id"], item["label"]
    if type(prediction_id) is not str or not 1 <= len(prediction_id) <= 64:
        field, expected = f"{place}prediction_id", "the id of an answered prediction"
        raise invalid([{"field": field, "expected": expected, "found": describe(prediction_id)}])
    if type(label) not in (int, float) or label not in (0, 1):
        raise invalid([{"field": f"{place}label", "expected": "0 or 1", "found": describe(label)}])
    return prediction_id, int(label)


def media_type_of(request: Request) -> str:
    """Return the body's media type without parameters, in lower case; "" where none is given."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _require_json(request: Request) -> None:
    """Refuse a body of another media type than JSON.

    Raises:
        ProblemError: 415.
    """
    if media_type_of(request) != "application/json":
        detail = "send the header 'Content-Type: application/json'"
        raise ProblemError("unsupported-media-type", detail)


# The router asks them in this order.
ROUTES = (
    ("/predict", predict, "POST"),
    ("/feedback", feedback, "POST"),
    ("/health", health, "GET"),
    ("/ready", ready, "GET"),
    ("/model", model, "GET"),
    ("/metrics", metrics, "GET"),
    ("/openapi.json", openapi, "GET"),
)
