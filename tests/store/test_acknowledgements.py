"""Acknowledgements: what may be accepted, for whom it holds, and what is told of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import staged_runs

from driftbook import paths
from driftbook.errors import DriftbookError, UsageError
from driftbook.model import training
from driftbook.store import (
    acknowledgements,
    acknowledging,
    gate,
    ledger,
    registry,
    registry_models,
    transaction,
    verify,
)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published")
    staged_runs.publish(folder)
    return folder


@pytest.fixture
def root(tmp_path: Path, published: Path) -> Path:
    return Path(shutil.copytree(published, tmp_path / "artifacts"))


def accept(root: Path, column: str = "f0", why: str | None = "new sensor") -> None:
    acknowledging.acknowledge_column(root, column, why)


def accepted(root: Path) -> list[str]:
    models = root / paths.MODELS
    champion = str(registry.read_index(models).aliases["champion"])
    found = acknowledgements.read_acknowledgements(models).get(champion, ())
    return [one.column for one in found]


def other_version(root: Path, recipe: str = "other") -> str:
    champion = registry_models.load_model(root / paths.MODELS)
    other = training.train(champion.reference, staged_runs.SETTINGS, recipe=recipe)
    return registry_models.save_model(root / paths.MODELS, other)


def test_it_is_a_line_of_the_ledger_that_moves_no_champion(root: Path) -> None:
    before = registry.read_index(root / paths.MODELS).aliases
    accept(root)
    first, line = ledger.read_ledger(root / paths.MODELS)
    document = json.loads((root / paths.RECOMMENDATION).read_text("utf-8"))
    assert line["event"] == "acknowledge" and line["from"] == line["to"] == before["champion"]
    assert (line["column"], line["why"]) == ("f0", "new sensor")
    assert (line["run_id"], line["window"]) == (document["run_id"], document["window"])
    assert line["evidence_sha256"] == gate.read_evidence(root)[1]
    assert registry.read_index(root / paths.MODELS).aliases == before
    assert ledger.list_moves([first, line]) == [first]
    assert registry.settle_promotion(root / paths.MODELS) is None
    assert verify.verify_artifacts(root) == []
    acknowledging.withdraw_acknowledgement(root, "f0", None)
    assert accepted(root) == [] and verify.verify_artifacts(root) == []
    accept(root, why="after all")
    assert accepted(root) == ["f0"]


@pytest.mark.parametrize(
    ("column", "why", "words"),
    [
        ("f00", "x", "has no column 'f00'; did you mean 'f0'"),
        ("wibble", "x", "has no column 'wibble'; its features: f0, f1"),
        ("target", "x", "target is no feature"),
        ("f0", None, "--why"),
        ("f0", " \n", "--why"),
    ],
)
def test_what_cannot_be_accepted_is_refused(
    root: Path, column: str, why: str | None, words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        accept(root, column, why)
    assert len(ledger.read_ledger(root / paths.MODELS)) == 1


def test_twice_and_taken_back_twice_are_refused(root: Path) -> None:
    with pytest.raises(UsageError, match=r"nothing of column 'f0' is accepted.*none"):
        acknowledging.withdraw_acknowledgement(root, "f0", None)
    accept(root)
    with pytest.raises(UsageError, match=r"accepted already, by .* \(new sensor\)"):
        accept(root)
    with pytest.raises(UsageError, match="accepted are: f0"):
        acknowledging.withdraw_acknowledgement(root, "f1", "mended")
    acknowledging.withdraw_acknowledgement(root, "f0", "mended")
    assert ledger.read_ledger(root / paths.MODELS)[-1]["why"] == "mended"


def test_nothing_is_accepted_before_a_run_has_shown_it(tmp_path: Path) -> None:
    with pytest.raises(gate.GateError, match="run 'driftbook run' first") as told:
        accept(tmp_path)
    assert told.value.exit_code == 1


def test_it_holds_for_the_version_whose_reference_it_is_about(root: Path) -> None:
    """Another champion asks anew; a rollback finds it in force again."""
    accept(root)
    registry.promote_version(root / paths.MODELS, other_version(root), "better", None)
    assert accepted(root) == []
    with pytest.raises(DriftbookError, match="judge it first"):
        accept(root)
    registry.roll_back(root / paths.MODELS, None, "worse")
    assert accepted(root) == ["f0"]


def test_a_rollback_passes_over_what_was_accepted(root: Path) -> None:
    models = root / paths.MODELS
    first = registry.read_index(models).aliases["champion"]
    accept(root)
    with pytest.raises(UsageError, match="no earlier champion"):
        registry.roll_back(models, None, "x")
    registry.promote_version(models, other_version(root), "better", None)
    with registry.lock_registry(models) as known:
        about = {"column": "f1", "run_id": "r", "window": "rows-0004"}
        registry.record_event(models, known, ledger.ACKNOWLEDGE, "x", None, about)
    assert registry.roll_back(models, None, "worse")["to"] == first


def test_a_promotion_needs_a_run_that_knew_what_is_accepted(root: Path) -> None:
    version = other_version(root)
    staged = staged_runs.stage(root, "retrain", challenger_version=version)
    transaction.commit_run(staged, root)
    transaction.publish_run(root, staged.run_id)
    assert gate.check_gate(root).version == version
    accept(root)
    assert acknowledgements.find_changed_since(root, staged.run_id) == ["f0"]
    with pytest.raises(gate.GateError, match="accepted, or withdrew, a change of f0"):
        gate.check_gate(root)
    acknowledging.withdraw_acknowledgement(root, "f0", None)
    assert gate.check_gate(root).version == version
    accept(root)
    again = staged_runs.stage(root, "retrain", challenger_version=version)
    transaction.commit_run(again, root)
    transaction.publish_run(root, again.run_id)
    assert gate.check_gate(root).version == version


def test_an_altered_reason_is_noticed(root: Path) -> None:
    accept(root)
    path = root / paths.MODELS / paths.LEDGER
    path.write_text(path.read_text("utf-8").replace("new sensor", "no reason"), encoding="utf-8")
    assert any("another ending" in one for one in verify.verify_artifacts(root))


def test_a_recommendation_cannot_call_accepted_what_nobody_signed(root: Path) -> None:
    models = root / paths.MODELS
    accept(root)
    (signed,) = acknowledgements.read_acknowledgements(models).values()
    version = registry.read_index(models).aliases["champion"]
    document = {"model_version": version, "acknowledged": [signed[0].to_dict()]}
    assert acknowledgements.find_unknown(models, document) == []
    forged = {**document, "acknowledged": [{**signed[0].to_dict(), "why": "another"}]}
    assert acknowledgements.find_unknown(models, forged) == ["f0"]
    staged = staged_runs.stage(root, acknowledged=[{"column": "f3", "why": "x"}])
    transaction.commit_run(staged, root)
    transaction.publish_run(root, staged.run_id)
    (problem,) = verify.verify_artifacts(root)
    assert "calls f3 accepted, which no line of the ledger does" in problem
