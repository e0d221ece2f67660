"""Warnings: values that the reference never showed, by feature, and none for what it knows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from driftbook.api.app import create_app
from driftbook.api.served import load_served_model
from driftbook.api.value_limits import find_value_warnings, read_limits
from driftbook.data.columns import Feature
from driftbook.model import compilation
from driftbook.model.compilation import to_wire_rows
from driftbook.model.training import Model
from serving_models import TestClient, enthrone, mixed_model, settings_of


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TestClient, Model, Path]]:
    artifacts = tmp_path_factory.mktemp("mixed")
    model = enthrone(artifacts, mixed_model())
    with TestClient(create_app(settings_of(), artifacts)) as client:
        yield client, model, artifacts


def ask(client: TestClient, row: list[Any]) -> list[tuple[str, str]]:
    response = client.post("/predict", json={"features": row})
    assert response.status_code == 200, response.text
    return [(one["feature"], one["kind"]) for one in response.json()["warnings"]]


def test_rows_of_the_reference_are_not_warned_about(
    mixed: tuple[TestClient, Model, Path],
) -> None:
    client, model, _ = mixed
    wire = to_wire_rows(model.reference, model.features)
    records = [dict(zip(model.feature_names, row, strict=True)) for row in wire]
    answer = client.post("/predict", json={"records": records}).json()
    assert [one["warnings"] for one in answer["predictions"]] == [[]] * len(records)


def test_what_the_reference_never_showed_is_named(mixed: tuple[TestClient, Model, Path]) -> None:
    client, model, _ = mixed
    age = model.reference["age"]
    inside = [float(age.median()), 1e6, True, "Lima", "c1"]
    assert ask(client, inside) == []
    assert ask(client, [None] * 5) == []
    assert ask(client, [float(age.max()), *inside[1:]]) == []
    assert ask(client, [float(age.max()) + 0.001, *inside[1:]]) == [("age", "outside_range")]
    assert ask(client, [float(age.min()) - 0.001, *inside[1:]]) == [("age", "outside_range")]
    assert ask(client, [*inside[:3], "Atlantis", "c1"]) == [("city", "unseen_category")]
    every = [("age", "outside_range"), ("city", "unseen_category"), ("code", "unseen_category")]
    assert ask(client, [1e9, 1e6, False, "Atlantis", "no such"]) == every


def test_each_row_of_a_batch_has_its_own_and_no_value_is_repeated(
    mixed: tuple[TestClient, Model, Path],
) -> None:
    client, model, _ = mixed
    row = [40.0, 1e6, True, "Lima", "c1"]
    rows = [row, [*row[:3], "Atlantis", "c1"], row, [987654.25, *row[1:]]]
    records = [dict(zip(model.feature_names, one, strict=True)) for one in rows]
    response = client.post("/predict", json={"records": records})
    found = [one["warnings"] for one in response.json()["predictions"]]
    assert [[one["feature"] for one in each] for each in found] == [[], ["city"], [], ["age"]]
    low, high = model.reference["age"].min(), model.reference["age"].max()
    assert found[3][0]["detail"] == f"outside the reference's {low:.6g} to {high:.6g}"
    assert "Atlantis" not in response.text and "987654" not in response.text


def test_a_version_of_an_earlier_release_has_no_limits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = enthrone(tmp_path, mixed_model())
    path = tmp_path / "models" / model.version / "scorer.json"
    document = json.loads(path.read_text("utf-8"))
    assert len(document.pop("seen")) == len(model.features)
    path.write_text(json.dumps(document), encoding="utf-8")
    index = tmp_path / "models" / "index.json"
    known = json.loads(index.read_text("utf-8"))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    known["versions"][model.version]["files"]["scorer.json"] = digest
    index.write_text(json.dumps(known), encoding="utf-8")
    assert load_served_model(tmp_path / "models", model.version).limits == ()
    with TestClient(create_app(settings_of(), tmp_path)) as client:
        assert ask(client, [1e9, 1e6, False, "Atlantis", "no such"]) == []


def test_a_column_of_countless_texts_has_no_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    features = [Feature("x", "numeric"), Feature("name", "categorical"), Feature("gone", "numeric")]
    rows = [[float(n), f"n{n}", None] for n in range(5)]
    assert compilation.list_seen_values(rows, features)[1] == [f"n{n}" for n in range(5)]
    monkeypatch.setattr(compilation, "MOST_LEVELS", 4)
    seen = compilation.list_seen_values(rows, features)
    assert seen == [[0.0, 4.0], None, None]
    limits = read_limits({"seen": seen}, [(f.name, f.kind) for f in features])
    found = find_value_warnings(limits, [[5.0, "new", 1.0], [4.0, "n1", None]])
    assert [[one.feature for one in each] for each in found] == [["x"], []]


def test_models_without_a_compiled_form_keep_their_limits() -> None:
    model = mixed_model()
    document = compilation.compile_model(model)
    kept = {"kind": "none", "seen": document["seen"]}
    assert len(read_limits(kept, [(f.name, f.kind) for f in model.features])) == 4
