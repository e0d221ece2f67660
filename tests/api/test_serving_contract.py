"""The tracked OpenAPI document is what the code says, and what a live server does."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fastapi.routing import APIRoute

from driftbook.api import protocol, routes
from driftbook.api.app import create_app
from driftbook.api.process import running_server
from serving_models import TestClient, enthrone, mixed_model, numeric_model, settings_of

PROBLEM = {"$ref": "#/components/schemas/Problem"}


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the document of an API that serves nothing: the built-in runbook's features."""
    return create_app(settings_of(), tmp_path_factory.mktemp("nothing")).openapi()


def test_the_tracked_document_is_what_the_code_says(root: Path, document: dict[str, Any]) -> None:
    tracked = json.loads((root / "openapi.json").read_text(encoding="utf-8"))
    again = "run `python -m driftbook.api > openapi.json` and read the difference"
    assert tracked == document, again


def test_the_document_covers_every_endpoint(document: dict[str, Any]) -> None:
    served = {
        (route.path, method.lower())
        for route in (*routes.api_router.routes, *protocol.protocol_router.routes)
        if isinstance(route, APIRoute) and route.include_in_schema
        for method in route.methods
    }
    found = document["paths"]
    assert {(path, method) for path, item in found.items() for method in item} == served
    assert len(served) == 16


def test_every_refusal_is_documented_as_a_problem(document: dict[str, Any]) -> None:
    refusals = [
        response["content"]
        for item in document["paths"].values()
        for operation in item.values()
        for status, response in operation["responses"].items()
        if status != "200"
    ]
    assert len(refusals) == 50
    assert all(one == {"application/problem+json": {"schema": PROBLEM}} for one in refusals)
    assert {"HTTPValidationError", "ValidationError"}.isdisjoint(document["components"]["schemas"])


def test_a_server_tells_the_contract_of_its_own_model(tmp_path: Path) -> None:
    model = enthrone(tmp_path, mixed_model())
    with TestClient(create_app(settings_of(), tmp_path, token="t")) as client:
        found = client.get("/openapi.json", headers={"authorization": "Bearer t"}).json()
    record = found["components"]["schemas"]["Record"]
    assert record["required"] == model.feature_names
    text = {"anyOf": [{"type": "string"}, {"type": "null"}], "title": "City"}
    assert record["properties"]["city"] == text
    assert found["security"] == [{"bearer": []}]
    assert found["paths"]["/health"]["get"]["security"] == []


def test_contract_and_validation_follow_the_champion(tmp_path: Path) -> None:
    enthrone(tmp_path, mixed_model())
    app = create_app(settings_of(), tmp_path)
    with TestClient(app) as client:
        old = client.get("/openapi.json").json()["components"]["schemas"]["Record"]
        eight = {"features": [0.5] * 8}
        assert client.post("/predict", json=eight).status_code == 422
        enthrone(tmp_path, numeric_model())
        app.state.service.refresh()
        new = client.get("/openapi.json").json()["components"]["schemas"]["Record"]
        assert client.post("/predict", json=eight).status_code == 200
    assert old["required"] == mixed_model().feature_names
    assert new["required"] == numeric_model().feature_names


def test_the_documentation_needs_no_other_server(tmp_path: Path) -> None:
    with TestClient(create_app(settings_of(), tmp_path)) as client:
        root = client.get("/", follow_redirects=False)
        assert root.status_code == 307
        assert root.headers["location"] == "docs"
        page = client.get("/docs")
        links = re.findall(r"""(?:src|href)=["']([^"']+)""", page.text)
        assert len(links) == 3
        for link in links:
            assert link.startswith("/static-offline-docs/")
            assert client.get(link).status_code == 200
        assert "://" not in page.text


@pytest.mark.network
@pytest.mark.slow
@pytest.mark.parametrize(("kind", "examples"), [("numeric", 10), ("mixed", 5)])
def test_a_live_server_keeps_the_whole_contract(tmp_path: Path, kind: str, examples: int) -> None:
    enthrone(tmp_path, numeric_model() if kind == "numeric" else mixed_model())
    with running_server(settings_of(), tmp_path) as server:
        program = str(Path(sys.executable).with_name("st"))
        command = [program, "run", f"{server.url}/openapi.json", "--seed=1"]
        command.append(f"--max-examples={examples}")
        # The model and the version that the paths under /v2 name.
        version = numeric_model().version if kind == "numeric" else mixed_model().version
        names = f'[parameters]\n"path.name" = "small"\n"path.version" = "{version}"\n'
        (tmp_path / "schemathesis.toml").write_text(names)
        # The working directory keeps any configuration of this repository out.
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-6000:]
