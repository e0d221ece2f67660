"""Runs: staged, committed by one rename, published again and again, verified."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from driftbook.errors import DriftbookError, UsageError
from driftbook.model import training
from driftbook.runbook.run import open_run
from driftbook.settings import Settings
from driftbook.store import manifest, registry, transaction
from driftbook.store.transaction import StagedRun

SETTINGS = Settings.parse({"data": {"source": "synthetic:none", "window": 800}})


class Crash(BaseException):
    """Stands for the process dying at that point."""


def _write_run(root: Path, action: str = "hold", first: bool = True) -> StagedRun:
    """Stage a run and write by hand what the notebooks would write."""
    staged = transaction.stage_run(SETTINGS, root)
    run = open_run("unused.yaml", root, None, staged.run_id)
    run.write_data_note()
    champion = run.champion
    if first:
        run.write_csv("metrics/train_eval_summary.csv", champion.metrics, model=champion)
    run.write_csv("drift/drift_report.csv", pd.DataFrame({"feature": ["f0"], "psi": [0.01]}))
    run.write_json("policy/retrain_recommendation.json", {"action": action, "reason": "calm"})
    run.write_json("serving/api_checks.json", {"passed": True})
    before = root / "tracking" / "runs.csv"
    row = pd.DataFrame({"run_id": [run.run_id], "model_version": [champion.version]})
    rows = pd.concat([pd.read_csv(before), row]) if before.exists() else row
    (staged.folder / "tracking").mkdir()
    rows.to_csv(staged.folder / "tracking" / "runs.csv", index=False)
    (staged.folder / "executed").mkdir()
    (staged.folder / "executed" / "02-drift.ipynb").write_text("{}", encoding="utf-8")
    return staged


def _run(root: Path, action: str = "hold", first: bool = True) -> str:
    staged = _write_run(root, action, first)
    transaction.commit_run(staged, root)
    transaction.publish_run(root, staged.run_id)
    return staged.run_id


@pytest.fixture(scope="module")
def one_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published")
    _run(folder)
    return folder


@pytest.fixture
def root(tmp_path: Path, one_run: Path) -> Path:
    return Path(shutil.copytree(one_run, tmp_path / "artifacts"))


def test_a_run_is_published_whole_and_verifies(root: Path) -> None:
    document = manifest.read_manifest(root / "manifest.json")
    assert set(manifest.REQUIRED_FILES) <= set(document["files"])
    assert f"runs/{document['run_id']}/executed/02-drift.ipynb" in document["files"]
    assert f"models/{document['model_version']}/model.skops" in document["required_files"]
    assert registry.read_index(root / "models").aliases["champion"] == document["model_version"]
    assert manifest.verify_artifacts(root) == []
    assert not list((root / ".staging").iterdir())


def test_a_second_run_replaces_the_first_and_keeps_its_folder(root: Path) -> None:
    first = manifest.read_manifest(root / "manifest.json")["run_id"]
    second = _run(root)
    assert manifest.read_manifest(root / "manifest.json")["run_id"] == second
    assert {p.name for p in (root / "runs").iterdir()} == {first, second}
    assert list(pd.read_csv(root / "tracking" / "runs.csv")["run_id"]) == [first, second]
    assert len(registry.read_index(root / "models").versions) == 1
    assert manifest.verify_artifacts(root) == []


def test_a_run_from_drift_carries_the_metrics_over(root: Path) -> None:
    first = manifest.read_manifest(root / "manifest.json")
    second = _run(root, first=False)
    document = manifest.read_manifest(root / "manifest.json")
    assert document["parts"]["metrics"] == first["run_id"]
    assert document["parts"]["drift"] == second
    path = "metrics/train_eval_summary.csv"
    assert document["files"][path] == first["files"][path]
    assert manifest.verify_artifacts(root) == []


def test_a_run_that_left_something_out_is_not_committed(root: Path) -> None:
    before = (root / "manifest.json").read_bytes()
    other = root / "fresh"
    staged = _write_run(other)
    (staged.folder / "serving" / "api_checks.json").unlink()
    with pytest.raises(DriftbookError, match=r"serving/api_checks\.json"):
        transaction.commit_run(staged, other)
    assert not (other / "manifest.json").exists()
    assert (root / "manifest.json").read_bytes() == before


def _crash_after(monkeypatch: pytest.MonkeyPatch, name: str, calls: int) -> None:
    original: Callable[..., None] = getattr(transaction, name)
    made = 0

    def dying(*words: object) -> None:
        nonlocal made
        if made == calls:
            raise Crash
        made += 1
        original(*words)

    monkeypatch.setattr(transaction, name, dying)


@pytest.mark.parametrize("calls", range(6))
def test_a_crash_while_publishing_is_finished_by_the_next_command(
    root: Path, monkeypatch: pytest.MonkeyPatch, calls: int
) -> None:
    staged = _write_run(root)
    transaction.commit_run(staged, root)
    with monkeypatch.context() as patch:
        _crash_after(patch, "_replace", calls)
        with pytest.raises(Crash):
            transaction.publish_run(root, staged.run_id)
    messages = transaction.recover_artifacts(root)
    assert messages == [f"finished publishing run {staged.run_id}, which had stopped half-way"]
    assert manifest.read_manifest(root / "manifest.json")["run_id"] == staged.run_id
    assert manifest.verify_artifacts(root) == []
    assert transaction.recover_artifacts(root) == []


def test_a_crash_before_the_commit_leaves_the_previous_run_whole(root: Path) -> None:
    before = manifest.read_manifest(root / "manifest.json")
    staged = _write_run(root)
    assert manifest.verify_artifacts(root) == []
    assert transaction.recover_artifacts(root) == [
        f"dropped run {staged.run_id}, which had stopped before it was whole"
    ]
    assert (
        manifest.read_manifest(root / "manifest.json") == before
        and manifest.verify_artifacts(root) == []
    )


def test_publishing_again_changes_nothing(root: Path) -> None:
    run_id = manifest.read_manifest(root / "manifest.json")["run_id"]
    before = {p: p.read_bytes() for p in root.rglob("*") if p.is_file()}
    transaction.publish_run(root, run_id)
    assert {p: p.read_bytes() for p in root.rglob("*") if p.is_file()} == before


def test_a_dropped_run_keeps_its_notebooks(root: Path) -> None:
    staged = _write_run(root)
    transaction.drop_run(staged, keep=root / "failed" / staged.run_id)
    assert (root / "failed" / staged.run_id / "02-drift.ipynb").exists()
    assert not staged.folder.exists() and manifest.verify_artifacts(root) == []


def test_only_one_command_at_a_time(root: Path) -> None:
    with (
        transaction.lock_artifacts(root),
        pytest.raises(DriftbookError, match="another driftbook command"),
        transaction.lock_artifacts(root),
    ):
        pass
    with transaction.lock_artifacts(root):
        pass


def _published(root: Path) -> list[str]:
    return list(manifest.read_manifest(root / "manifest.json")["files"])


def test_every_flipped_byte_is_named(root: Path) -> None:
    for name in _published(root):
        content = bytearray((root / name).read_bytes())
        content[-1] ^= 1
        (root / name).write_bytes(bytes(content))
        assert any(
            p.startswith(name) and "altered" in p for p in manifest.verify_artifacts(root)
        ), name
        content[-1] ^= 1
        (root / name).write_bytes(bytes(content))
    assert manifest.verify_artifacts(root) == []


def test_every_missing_file_is_named(root: Path) -> None:
    for name in _published(root):
        content = (root / name).read_bytes()
        (root / name).unlink()
        assert f"{name} is missing" in manifest.verify_artifacts(root)
        (root / name).write_bytes(content)


@pytest.mark.parametrize("name", ["drift/old_report.csv", "policy/x.json", "metrics/.keep.csv.bak"])
def test_a_stale_file_is_named(root: Path, name: str) -> None:
    (root / name).write_text("old", encoding="utf-8")
    found = manifest.verify_artifacts(root)
    assert found == ([] if "/." in name else [f"{name} is stale: no run in the manifest made it"])


def test_a_report_of_another_run_is_named_even_with_its_hash_in_order(root: Path) -> None:
    report = pd.read_csv(root / "drift" / "drift_report.csv").assign(run_id="20200101T000000Z-dead")
    report.to_csv(root / "drift" / "drift_report.csv", index=False)
    document = manifest.read_manifest(root / "manifest.json")
    document["files"].update(manifest._hashed(root, root / "drift", ""))
    manifest.write_manifest(root / "manifest.json", document)
    assert manifest.verify_artifacts(root) == [
        f"drift report names run_id 20200101T000000Z-dead, the manifest {document['run_id']}"
    ]


def test_a_champion_moved_without_this_evidence_is_named(root: Path) -> None:
    run = open_run(
        "unused.yaml", root, None, manifest.read_manifest(root / "manifest.json")["run_id"]
    )
    other = training.train(run.model.reference, SETTINGS, recipe="other")
    registry.save_model(root / "models", other)
    registry.promote_version(
        root / "models", other.version, why="x", evidence_sha256="none of this"
    )
    (problem,) = manifest.verify_artifacts(root)
    assert f"the champion is {other.version}" in problem


def test_a_promotion_on_this_evidence_is_in_order(root: Path) -> None:
    document = manifest.read_manifest(root / "manifest.json")
    run = open_run("unused.yaml", root, None, document["run_id"])
    other = training.train(run.model.reference, SETTINGS, recipe="other")
    registry.save_model(root / "models", other)
    evidence = document["files"]["policy/retrain_recommendation.json"]["sha256"]
    registry.promote_version(root / "models", other.version, why="x", evidence_sha256=evidence)
    assert manifest.verify_artifacts(root) == []


@pytest.mark.parametrize("text", [None, "{", '{"files": 3}'])
def test_without_a_readable_manifest_there_is_nothing_to_verify(
    root: Path, text: str | None
) -> None:
    path = root / "manifest.json"
    path.unlink() if text is None else path.write_text(text, encoding="utf-8")
    with pytest.raises(DriftbookError, match="manifest"):
        manifest.verify_artifacts(root)


def test_a_finished_run_opens_as_a_scratch_copy(root: Path) -> None:
    run_id = manifest.read_manifest(root / "manifest.json")["run_id"]
    run = open_run("unused.yaml", root, None, run_id)
    run.write_json("policy/retrain_recommendation.json", {"action": "retrain"})
    assert run.folder == root / "scratch" / run_id
    assert manifest.verify_artifacts(root) == []
    assert json.loads((root / "policy/retrain_recommendation.json").read_text())["action"] == "hold"


def test_an_unknown_run_is_refused(root: Path) -> None:
    with pytest.raises(UsageError, match="no run 'gone'"):
        open_run("unused.yaml", root, None, "gone")
