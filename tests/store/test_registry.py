"""The registry: hashes before loading, aliases, and the ledger that is only appended to."""

from __future__ import annotations

import hashlib
import json
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.ensemble import RandomForestClassifier

from driftbook.data import synthetic
from driftbook.errors import IntegrityError, UsageError
from driftbook.model import training
from driftbook.model.training import Model
from driftbook.settings import Settings
from driftbook.store import ledger, registry, registry_models

SETTINGS = Settings.parse({"data": {"source": "synthetic:none"}})


@pytest.fixture(scope="module")
def versions() -> list[Model]:
    frame = synthetic.make_scenario("none", rows=1500, onset=1500)
    return [training.train(frame, SETTINGS, recipe=recipe) for recipe in ("first", "b", "c")]


@pytest.fixture
def models(tmp_path: Path, versions: list[Model]) -> Path:
    for model in versions:
        registry_models.save_model(tmp_path, model)
    registry.set_first_champion(tmp_path, versions[0].version)
    return tmp_path


@pytest.mark.parametrize("estimator", ["logistic_regression", "hist_gradient_boosting"])
def test_a_model_comes_back_as_it_was(tmp_path: Path, estimator: str) -> None:
    frame = synthetic.make_scenario("none", rows=1500, onset=1500).assign(
        colour=np.where(np.arange(1500) % 3 == 0, "red", "blue"),
        member=np.arange(1500) % 2 == 0,
    )
    settings = Settings.parse(
        {"data": {"source": "synthetic:none"}, "model": {"estimator": estimator}}
    )
    model = training.train(frame, settings, origin={"windows": "1 to 2"})
    registry_models.save_model(tmp_path, model)
    loaded = registry_models.load_model(tmp_path, model.version)
    np.testing.assert_array_equal(loaded.predict_proba(frame), model.predict_proba(frame))
    pd.testing.assert_frame_equal(loaded.reference, model.reference)
    pd.testing.assert_frame_equal(loaded.metrics, model.metrics)
    assert loaded.importance == model.importance
    assert (loaded.features, loaded.n_train) == (model.features, model.n_train)
    assert loaded.origin == model.origin and loaded.origin["windows"] == "1 to 2"


def test_saving_twice_makes_no_second_version(tmp_path: Path, versions: list[Model]) -> None:
    registry_models.save_model(tmp_path, versions[0])
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.name != ".lock"}
    registry_models.save_model(tmp_path, versions[0])
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.name != ".lock"} == before


@pytest.mark.parametrize("name", registry.VERSION_FILES)
def test_one_flipped_byte_is_not_loaded(models: Path, versions: list[Model], name: str) -> None:
    path = models / versions[0].version / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(IntegrityError, match=name):
        registry_models.load_model(models)


@pytest.mark.parametrize("name", registry.VERSION_FILES)
def test_a_missing_file_is_named(models: Path, versions: list[Model], name: str) -> None:
    (models / versions[0].version / name).unlink()
    with pytest.raises(IntegrityError, match=name):
        registry_models.load_model(models)


def test_a_type_outside_the_list_is_not_loaded(models: Path, versions: list[Model]) -> None:
    version = versions[0].version
    path = models / version / "model.skops"
    skops.io.dump({"rogue": np.random.RandomState, "x": RandomForestClassifier}, path)
    index = json.loads((models / "index.json").read_text("utf-8"))
    index["versions"][version]["files"]["model.skops"] = hashlib.sha256(
        path.read_bytes()
    ).hexdigest()
    (models / "index.json").write_text(json.dumps(index), encoding="utf-8")
    with pytest.raises(IntegrityError, match="not trusted"):
        registry_models.load_model(models)


def test_a_folder_beside_the_index_is_no_version(models: Path) -> None:
    (models / "m00000000000").mkdir()
    with pytest.raises(UsageError, match="no model version 'm00000000000'"):
        registry_models.load_model(models, "m00000000000")


def test_the_first_stays_champion_until_a_promotion(models: Path, versions: list[Model]) -> None:
    assert registry.read_index(models).aliases["champion"] == versions[0].version
    assert not registry.set_first_champion(models, versions[1].version)
    assert registry_models.load_model(models).version == versions[0].version


def test_promotion_and_rollback_are_ledger_lines(models: Path, versions: list[Model]) -> None:
    a, b, c = (m.version for m in versions)
    registry.nominate_challenger(models, b)
    registry.promote_version(models, b, why="better", evidence_sha256="e1")
    assert registry.read_index(models).aliases == {"champion": b, "challenger": None}
    registry.promote_version(models, c, why="again", evidence_sha256="e2", forced=True)
    registry.roll_back(models, None, why="worse")
    assert registry.read_index(models).aliases["champion"] == b
    registry.roll_back(models, None, why="worse still")
    assert registry.read_index(models).aliases["champion"] == a
    lines = ledger.read_ledger(models)
    assert [(x["event"], x["from"], x["to"]) for x in lines] == [
        ("first", None, a),
        ("promotion", a, b),
        ("promotion", b, c),
        ("rollback", c, b),
        ("rollback", b, a),
    ]
    assert [x["seq"] for x in lines] == [1, 2, 3, 4, 5]
    assert (lines[2]["forced"], lines[1]["evidence_sha256"]) == (True, "e1")


def test_rollback_needs_an_earlier_champion(models: Path, versions: list[Model]) -> None:
    with pytest.raises(UsageError, match="no earlier champion"):
        registry.roll_back(models, None, why="x")
    registry.promote_version(models, versions[1].version, why="x", evidence_sha256=None)
    with pytest.raises(UsageError, match="never was champion"):
        registry.roll_back(models, versions[2].version, why="x")
    registry.roll_back(models, versions[0].version, why="x")
    with pytest.raises(UsageError, match="first champion"):
        registry.roll_back(models, None, why="x")


def test_promoting_the_champion_or_a_stranger_is_refused(
    models: Path, versions: list[Model]
) -> None:
    for name, words in ((versions[0].version, "already"), ("m1", "no model version")):
        with pytest.raises(UsageError, match=words):
            registry.promote_version(models, name, why="x", evidence_sha256=None)


def test_a_damaged_challenger_is_not_promoted(models: Path, versions: list[Model]) -> None:
    (models / versions[1].version / "model.skops").write_bytes(b"")
    with pytest.raises(IntegrityError):
        registry.promote_version(models, versions[1].version, why="x", evidence_sha256=None)
    assert registry.read_index(models).aliases["champion"] == versions[0].version


@pytest.mark.parametrize("damage", ["edit", "remove", "garble"])
def test_an_altered_ledger_is_noticed(models: Path, versions: list[Model], damage: str) -> None:
    for model in versions[1:]:
        registry.promote_version(models, model.version, why="x", evidence_sha256=None)
    path = models / "ledger.jsonl"
    lines = path.read_text("utf-8").splitlines()
    if damage == "edit":
        lines[1] = lines[1].replace('"why": "x"', '"why": "y"')
    elif damage == "remove":
        del lines[1]
    else:
        lines[1] = lines[1][:20]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    with pytest.raises(IntegrityError, match="ledger"):
        ledger.read_ledger(models)


def test_a_promotion_stopped_half_way_is_finished(models: Path, versions: list[Model]) -> None:
    before = (models / "index.json").read_bytes()
    registry.promote_version(models, versions[1].version, why="x", evidence_sha256=None)
    (models / "index.json").write_bytes(before)  # as if the process died after the ledger
    assert "finished the promotion" in str(registry.settle_promotion(models))
    assert registry.read_index(models).aliases["champion"] == versions[1].version
    assert registry.settle_promotion(models) is None


@pytest.mark.parametrize("damage", ["last line gone", "who edited", "index of an earlier time"])
def test_a_champion_never_goes_back_by_itself(
    models: Path, versions: list[Model], damage: str
) -> None:
    """What lacks lines that the index knows is an error, not a move that was never finished."""
    first = registry.read_index(models).aliases["champion"]
    registry.promote_version(models, versions[1].version, why="x", evidence_sha256=None)
    early = (models / "index.json").read_bytes()
    registry.roll_back(models, first, why="back")
    path = models / "ledger.jsonl"
    lines = path.read_text("utf-8").splitlines()
    if damage == "last line gone":
        path.write_text("\n".join(lines[:-1]) + "\n", encoding="utf-8")
    elif damage == "who edited":
        found = json.loads(lines[-1]) | {"who": "somebody else"}
        path.write_text("\n".join([*lines[:-1], json.dumps(found, sort_keys=True)]) + "\n")
    else:  # forward only: the rollback had been written before the index
        (models / "index.json").write_bytes(early)
        assert "finished the rollback" in str(registry.settle_promotion(models))
        assert registry.read_index(models).aliases["champion"] == first
        return
    with pytest.raises(IntegrityError, match="restore both files of one backup"):
        registry.settle_promotion(models)
    assert registry.read_index(models).aliases["champion"] == first


def test_an_index_of_an_earlier_release_has_no_head_and_is_still_read(models: Path) -> None:
    path = models / "index.json"
    known = json.loads(path.read_text("utf-8"))
    del known["ledger"]
    path.write_text(json.dumps(known), encoding="utf-8")
    assert registry.settle_promotion(models) is None
    (models / "ledger.jsonl").write_text("", encoding="utf-8")
    with pytest.raises(IntegrityError, match="names None"):
        registry.settle_promotion(models)


def test_a_line_that_was_never_finished_took_no_effect(models: Path, versions: list[Model]) -> None:
    path = models / "ledger.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"event": "promotion", "from": "m')
    assert len(ledger.read_ledger(models)) == 1
    registry.promote_version(models, versions[1].version, why="x", evidence_sha256=None)
    assert path.read_bytes().startswith(whole + b"{") and len(ledger.read_ledger(models)) == 2


def test_a_torn_index_is_an_error_not_an_empty_registry(models: Path) -> None:
    (models / "index.json").write_text('{"versions": {', encoding="utf-8")
    with pytest.raises(IntegrityError, match="cannot be read"):
        registry_models.load_model(models)


def test_readers_always_see_a_whole_index(models: Path, versions: list[Model]) -> None:
    seen: set[str | None] = set()
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            seen.add(registry.read_index(models).aliases["champion"])

    reader = threading.Thread(target=read)
    reader.start()
    for turn in range(20):
        registry.promote_version(
            models, versions[1 + turn % 2].version, why="x", evidence_sha256=None
        )
    stop.set()
    reader.join()
    assert seen <= {m.version for m in versions} and len(seen) > 1


def test_adopting_copies_what_is_new(tmp_path: Path, models: Path, versions: list[Model]) -> None:
    other = tmp_path / "other"
    assert sorted(registry.adopt_versions(other, models)) == sorted(m.version for m in versions)
    assert registry.adopt_versions(other, models) == []
    assert registry_models.load_model(other, versions[2].version).version == versions[2].version
