"""The contract: the OpenAPI document that FastAPI generates, for the features that are served.

``python -m driftbook.api.contract > openapi.json`` writes the tracked one.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping
from typing import Any

from pydantic.json_schema import models_json_schema

from driftbook.api.problems import Problem
from driftbook.api.requests import RequestModels, build_request_models
from driftbook.api.values import Features

API_VERSION = "1.0.0"

# What the document shows while nothing is served: the built-in runbook's features.
DEFAULT_FEATURES: Features = tuple(
    (name, "numeric")
    for name in ("hour", "distance", "temp", "dewp", "humid", "wind_speed", "precip", "visib")
)

ABOUT = """\
Serves the champion of a Driftbook registry. Every answered prediction is in the prediction log
before its answer is sent. null is a missing value and is imputed as in training; a category that
training never saw counts as none of the known ones. Batches hold at most `serving.max_batch` rows
and bodies at most `serving.max_body_bytes` bytes (413). Errors are problem documents (RFC 9457).
Every response carries `X-Request-Id`: the request's own, or a new one.
"""


def complete_contract(
    generated: Mapping[str, Any], requests: RequestModels | None, auth: bool
) -> dict[str, Any]:
    """Return the generated document with what depends on the model that is served.

    ``requests`` are its request models; ``auth`` tells whether requests need the bearer token;
    otherwise the document says they may.
    """
    requests = requests or build_request_models(DEFAULT_FEATURES)
    models = (requests.predict, requests.infer, Problem)
    _, found = models_json_schema(
        [(model, "validation") for model in models],
        ref_template="#/components/schemas/{model}",
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


def main() -> None:
    """Print the contract of the built-in runbook's features."""
    from driftbook.api.app import create_app
    from driftbook.settings import Settings

    with tempfile.TemporaryDirectory() as nothing_registered:
        document = create_app(Settings(), nothing_registered).openapi()
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
