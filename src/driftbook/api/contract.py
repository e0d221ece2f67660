"""The contract: the OpenAPI document that FastAPI generates, for the features that are served."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic.json_schema import models_json_schema

from driftbook.api.problems import Problem
from driftbook.api.requests import Features, build_request_models
from driftbook.api.served_task import ServedTask
from driftbook.api.tensors import build_infer_request

if TYPE_CHECKING:
    from driftbook.api.served import ServedModel

CONTRACT_VERSION = "1.0.0"

# What the document shows while nothing is served: the built-in runbook's features.
DEFAULT_FEATURES: Features = tuple(
    (name, "numeric")
    for name in ("hour", "distance", "temp", "dewp", "humid", "wind_speed", "precip", "visib")
)

CONTRACT_INTRODUCTION = """\
Serves the champion of a Driftbook registry. Every answered prediction is in the prediction log
before its answer is sent. null is a missing value and is imputed as in training; a category that
training never saw counts as none of the known ones. `warnings` of an answer name values outside the
reference's range and categories that are not in it.

A row may carry an `id` of your own (in a record under the key `record_id` where a feature is named
`id`); it comes back in the answer, and `/feedback` takes it in place of the `prediction_id`. No two
rows of one request may have the same (422). A row that is sent again with its id, as in a retry, is
another prediction, and its feedback goes to the newest one.

Batches hold at most `serving.max_batch` rows and bodies at most `serving.max_body_bytes` bytes
(413). A body says that it is JSON (`Content-Type: application/json`, else 415), and no object in it
has a key twice (422). A request's line and headers hold at most `serving.max_header_bytes` bytes
and `serving.max_headers` headers (431) and come within `serving.header_timeout_s` seconds (408). A
connection beyond `serving.max_connections` is refused (503), a `Host` that is not the server's too
(400, see `serving.allowed_hosts`).

Errors are problem documents (RFC 9457). Every response carries `X-Request-Id`: the request's own,
or a new one.
"""


def complete_contract(
    generated: Mapping[str, Any], served: ServedModel | None, auth: bool
) -> dict[str, Any]:
    """Return the generated document with what depends on the model that is served.

    ``auth`` tells whether requests need the bearer token; otherwise the document says they may.
    """
    features = DEFAULT_FEATURES if served is None else served.features
    task = ServedTask() if served is None else served.task
    requests = build_request_models(features, task)
    models = (requests.predict, requests.feedback, build_infer_request(features, task), Problem)
    _, found = models_json_schema(
        [(model, "validation") for model in models], ref_template="#/components/schemas/{model}"
    )
    components = generated["components"]
    return {
        **generated,
        "security": [{"bearer": []}] if auth else [{}, {"bearer": []}],
        "components": {
            "schemas": {**components["schemas"], **found["$defs"]},
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }
