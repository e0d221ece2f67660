"""The tracked OpenAPI document is what the code says, and what a live server does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from driftbook import api, contract, endpoints, inference_protocol
from driftbook.server_process import running_server
from serving_models import TestClient, enthrone, mixed_model, numeric_model, settings_of


def test_the_tracked_document_is_what_the_code_says(root: Path, tmp_path: Path) -> None:
    tracked = (root / "openapi.json").read_text(encoding="utf-8")
    again = "run `python -m driftbook.contract > openapi.json` and read the difference"
    assert tracked == contract.text(contract.document()), again
    assert json.loads(tracked) == api.create_app(settings_of(), tmp_path).openapi()


def test_the_document_covers_every_route() -> None:
    served = {
        (path, method.lower())
        for path, _, method in (*endpoints.ROUTES, *inference_protocol.ROUTES)
    }
    found = contract.document()["paths"]
    assert {(path, method) for path, item in found.items() for method in item} == served


def test_a_server_tells_the_contract_of_its_own_model(tmp_path: Path) -> None:
    model = enthrone(tmp_path, mixed_model())
    with TestClient(api.create_app(settings_of(), tmp_path, token="t")) as client:
        found = client.get("/openapi.json", headers={"authorization": "Bearer t"}).json()
    record = found["components"]["schemas"]["Record"]
    assert record["required"] == model.feature_names
    assert record["properties"]["city"] == {"$ref": "#/components/schemas/Category"}
    assert found["security"] == [{"bearer": []}]


@pytest.mark.network
@pytest.mark.slow
@pytest.mark.parametrize(("kind", "examples"), [("numeric", 10), ("mixed", 5)])
def test_a_live_server_keeps_the_whole_contract(tmp_path: Path, kind: str, examples: int) -> None:
    enthrone(tmp_path, numeric_model() if kind == "numeric" else mixed_model())
    with running_server(settings_of(), tmp_path) as server:
        program = str(Path(sys.executable).with_name("st"))
        command = [program, "run", f"{server.url}/openapi.json", "--seed=1"]
        command.append(f"--max-examples={examples}")
        # The working directory keeps any configuration of this repository out.
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-6000:]
