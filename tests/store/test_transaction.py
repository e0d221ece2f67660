"""Runs: staged, committed by one rename, published again and again, verified."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest
import staged_runs

from driftbook import paths
from driftbook.errors import BusyError, DriftbookError, UsageError
from driftbook.model import training
from driftbook.runbook.flow import RunbookJob, perform_job
from driftbook.runbook.project import Project, locate_project
from driftbook.runbook.run import open_run
from driftbook.runbook.terminal import Terminal
from driftbook.store import manifest, registry, registry_models, temporary, transaction, verify


@pytest.fixture(scope="module")
def one_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published")
    staged_runs.publish(folder)
    return folder


@pytest.fixture
def root(tmp_path: Path, one_run: Path) -> Path:
    return Path(shutil.copytree(one_run, tmp_path / "artifacts"))


def test_a_run_is_published_whole_and_verifies(root: Path) -> None:
    document = manifest.read_manifest(root / "manifest.json")
    assert {path.as_posix() for path in paths.REQUIRED_FILES} <= set(document["files"])
    assert f"runs/{document['run_id']}/executed/02-drift.ipynb" in document["files"]
    assert f"models/{document['model_version']}/model.skops" in document["required_files"]
    assert registry.read_index(root / "models").aliases["champion"] == document["model_version"]
    assert verify.verify_artifacts(root) == []
    assert not list((root / ".staging").iterdir())


def test_a_second_run_replaces_the_first_and_keeps_its_folder(root: Path) -> None:
    first = manifest.read_manifest(root / "manifest.json")["run_id"]
    second = staged_runs.publish(root)
    assert manifest.read_manifest(root / "manifest.json")["run_id"] == second
    assert {p.name for p in (root / "runs").iterdir()} == {first, second}
    assert list(pd.read_csv(root / "tracking" / "runs.csv")["run_id"]) == [first, second]
    assert len(registry.read_index(root / "models").versions) == 1
    assert verify.verify_artifacts(root) == []


def test_a_run_from_drift_carries_the_metrics_over(root: Path) -> None:
    first = manifest.read_manifest(root / "manifest.json")
    second = staged_runs.publish(root, first=False)
    document = manifest.read_manifest(root / "manifest.json")
    assert document["parts"]["metrics"] == first["run_id"]
    assert document["parts"]["drift"] == second
    path = "metrics/train_eval_summary.csv"
    assert document["files"][path] == first["files"][path]
    assert verify.verify_artifacts(root) == []


def test_a_run_that_left_something_out_is_not_committed(root: Path) -> None:
    before = (root / "manifest.json").read_bytes()
    other = root / "fresh"
    staged = staged_runs.stage(other)
    (staged.folder / "serving" / "api_checks.json").unlink()
    with pytest.raises(DriftbookError, match=r"serving/api_checks\.json"):
        transaction.commit_run(staged, other)
    assert not (other / "manifest.json").exists()
    assert (root / "manifest.json").read_bytes() == before


def test_publishing_again_changes_nothing(root: Path) -> None:
    run_id = manifest.read_manifest(root / "manifest.json")["run_id"]
    before = {p: p.read_bytes() for p in root.rglob("*") if p.is_file()}
    transaction.publish_run(root, run_id)
    assert {p: p.read_bytes() for p in root.rglob("*") if p.is_file()} == before


def test_a_run_that_is_withdrawn_takes_the_versions_it_brought_with_it(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = registry.read_index(root / paths.MODELS).versions
    champion = registry_models.load_model(root / paths.MODELS)
    other = training.train(champion.reference, staged_runs.SETTINGS, recipe="other")
    staged = staged_runs.stage(root, "retrain", challenger_version=other.version)
    for model in (champion, other):  # of a version that is known already nothing is taken
        registry_models.save_model(staged.folder / paths.MODELS, model)
    transaction.commit_run(staged, root)

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(transaction, "_move_aliases", fail)
    with pytest.raises(transaction.UnpublishedError, match="No space left"):
        transaction.publish_run(root, staged.run_id)
    assert other.version in registry.read_index(root / paths.MODELS).versions
    transaction.withdraw_run(root, staged.run_id)
    assert registry.read_index(root / paths.MODELS).versions == known
    assert not (root / paths.MODELS / other.version).exists()
    assert verify.verify_artifacts(root) == []


def test_a_dropped_run_leaves_nothing(root: Path) -> None:
    staged = staged_runs.stage(root)
    transaction.drop_run(staged)
    assert not staged.folder.exists()
    assert verify.verify_artifacts(root) == []


def test_only_one_command_at_a_time(root: Path) -> None:
    with (
        transaction.lock_artifacts(root),
        pytest.raises(BusyError, match="another driftbook command"),
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
        assert any(p.startswith(name) and "altered" in p for p in verify.verify_artifacts(root)), (
            name
        )
        content[-1] ^= 1
        (root / name).write_bytes(bytes(content))
    assert verify.verify_artifacts(root) == []


def test_every_missing_file_is_named(root: Path) -> None:
    for name in _published(root):
        content = (root / name).read_bytes()
        (root / name).unlink()
        assert f"{name} is missing" in verify.verify_artifacts(root)
        (root / name).write_bytes(content)


@pytest.mark.parametrize("name", ["drift/old_report.csv", "policy/x.json", "metrics/.keep.csv.bak"])
def test_a_stale_file_is_named(root: Path, name: str) -> None:
    (root / name).write_text("old", encoding="utf-8")
    found = verify.verify_artifacts(root)
    assert found == ([] if "/." in name else [f"{name} is stale: no run in the manifest made it"])


def test_a_report_of_another_run_is_named_even_with_its_hash_in_order(root: Path) -> None:
    report = pd.read_csv(root / "drift" / "drift_report.csv").assign(run_id="20200101T000000Z-dead")
    report.to_csv(root / "drift" / "drift_report.csv", index=False)
    document = manifest.read_manifest(root / "manifest.json")
    document["files"].update(manifest.hash_folder(root / "drift", Path("drift")))
    (root / "manifest.json").write_text(json.dumps(document), encoding="utf-8")
    assert verify.verify_artifacts(root) == [
        f"drift report names run_id 20200101T000000Z-dead, the manifest {document['run_id']}",
        "manifest.json is that of no run in runs/: it, or that run's own, was altered",
    ]


def test_a_champion_moved_without_this_evidence_is_named(root: Path) -> None:
    run = open_run(
        "unused.yaml", root, None, manifest.read_manifest(root / "manifest.json")["run_id"]
    )
    other = training.train(run.model.reference, staged_runs.SETTINGS, recipe="other")
    registry_models.save_model(root / "models", other)
    registry.promote_version(
        root / "models", other.version, why="x", evidence_sha256="none of this"
    )
    (problem,) = verify.verify_artifacts(root)
    assert f"the champion is {other.version}" in problem


def test_a_lost_ledger_and_an_empty_report_are_named(root: Path) -> None:
    champion = registry.read_index(root / "models").aliases["champion"]
    (root / "models" / "ledger.jsonl").unlink()
    (root / "drift" / "drift_report.csv").write_text("feature,run_id,model_version\n")
    run_id = manifest.read_manifest(root / "manifest.json")["run_id"]
    first, *told = verify.verify_artifacts(root)[1:]
    assert first == f"drift report names run_id none, the manifest {run_id}"
    assert told[0] == f"drift report names model_version none, the manifest {champion}"
    assert "has 0 line(s), the registry's index knew 1 of them" in told[1]
    assert f"runs/{run_id}/drift/drift_report.csv" not in " ".join(told)


def test_the_code_is_described_as_git_knows_it() -> None:
    asked = [["rev-parse", "HEAD"], ["status", "--porcelain", "--", "src/driftbook"]]
    here = Path(__file__).resolve().parents[2]
    told = [
        subprocess.run(["git", "-C", here, *words], capture_output=True, text=True, check=False)
        for words in asked
    ]
    if told[0].returncode != 0:
        pytest.skip("not in a git checkout")
    code = manifest.describe_code()
    assert code["commit"] == told[0].stdout.strip()
    assert code["changes"] == bool(told[1].stdout.strip())


def test_a_promotion_on_this_evidence_is_in_order(root: Path) -> None:
    document = manifest.read_manifest(root / "manifest.json")
    run = open_run("unused.yaml", root, None, document["run_id"])
    other = training.train(run.model.reference, staged_runs.SETTINGS, recipe="other")
    registry_models.save_model(root / "models", other)
    evidence = document["files"]["policy/retrain_recommendation.json"]["sha256"]
    registry.promote_version(root / "models", other.version, why="x", evidence_sha256=evidence)
    assert verify.verify_artifacts(root) == []


@pytest.mark.parametrize("text", [None, "{", '{"files": 3}'])
def test_without_a_readable_manifest_there_is_nothing_to_verify(
    root: Path, text: str | None
) -> None:
    path = root / "manifest.json"
    path.unlink() if text is None else path.write_text(text, encoding="utf-8")
    with pytest.raises(DriftbookError, match="manifest"):
        verify.verify_artifacts(root)


def test_a_finished_run_opens_as_a_scratch_copy(root: Path) -> None:
    run_id = manifest.read_manifest(root / "manifest.json")["run_id"]
    run = open_run("unused.yaml", root, None, run_id)
    run.write_json("policy/retrain_recommendation.json", {"action": "retrain"})
    assert run.folder == root / "scratch" / run_id
    assert verify.verify_artifacts(root) == []
    assert json.loads((root / "policy/retrain_recommendation.json").read_text())["action"] == "hold"


def test_an_unknown_run_is_refused(root: Path) -> None:
    with pytest.raises(UsageError, match="no run 'gone'"):
        open_run("unused.yaml", root, None, "gone")


def test_an_older_run_without_its_mark_does_not_take_the_newest_one_s_place(root: Path) -> None:
    first = manifest.read_manifest(root / "manifest.json")["run_id"]
    second = staged_runs.publish(root)
    for run_id, made in ((first, "2026-01-01T00:00:00+00:00"), (second, "2026-01-02T00:00:00")):
        for path in [root / "runs" / run_id / "manifest.json", root / "manifest.json"]:
            document = manifest.read_manifest(path)
            if document["run_id"] == run_id:
                path.write_text(json.dumps(document | {"created_utc": made}), encoding="utf-8")
    (root / "runs" / first / paths.PUBLISHED_MARK).unlink()
    assert transaction.recover_artifacts(root) == []
    assert manifest.read_manifest(root / "manifest.json")["run_id"] == second
    (root / "runs" / second / paths.PUBLISHED_MARK).unlink()
    assert transaction.recover_artifacts(root) == [
        f"finished publishing run {second}, which had stopped half-way"
    ]


def test_what_killed_commands_left_is_cleared_by_the_next_one(root: Path) -> None:
    before = {path for path in root.rglob("*") if path.is_file()}
    for name in (
        ".m0123456789ab.00ff00ff", ".m0123456789ab.00ff00ff.partial",  # of earlier releases as well
    ):  # fmt: skip
        (root / "models" / name).mkdir()
        (root / "models" / name / "model.skops").touch()
    (run,) = (root / "runs").iterdir()
    left = (
        root / "models" / ".index.4711", root / "models" / ".index.json.00ff00ff.partial",
        root / "drift" / ".drift_report.csv.00ff00ff.partial", run / "..published.00ff.partial",
        root / ".manifest.json.00ff00ff.partial",
    )  # fmt: skip
    for path in left:
        path.touch()
    assert transaction.recover_artifacts(root) == []
    assert {path for path in root.rglob("*") if path.is_file()} == before
    assert [path for path in (root / "models").iterdir() if path.name.startswith(".m")] == []


def test_temporary_folders_of_killed_commands_are_cleared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    prefix = temporary.PREFIXES[0]
    left, fresh = (tmp_path / f"{prefix}{name}" for name in ("left", "fresh"))
    for folder in (left, fresh, tmp_path / "another"):
        folder.mkdir()
        (folder / "connection.json").touch()
    with temporary.hold_temporary_folder(prefix) as held:
        for folder in (left, held, tmp_path / "another"):
            os.utime(folder, (0.0, 0.0))
        temporary.clear_temporary_folders()
        assert sorted(tmp_path.iterdir()) == sorted([fresh, held, tmp_path / "another"])
    assert not held.exists()


def test_a_first_run_that_fails_keeps_what_another_one_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two first runs on a new folder: the other one publishes between a look and the lock."""
    settings = tmp_path / "runbook.yaml"
    settings.write_text(
        "data: {source: absent.csv, target: target, timestamp: null, window: 100}\n"
        "model: {name: target}\n",
        encoding="utf-8",
    )
    project = locate_project(settings, tmp_path / "artifacts")
    hold = Project.hold_artifacts

    @contextmanager
    def hold_later(
        self: Project, say: Callable[[str], None], create: bool = False
    ) -> Iterator[None]:
        staged_runs.publish(self.artifacts)
        with hold(self, say, create):
            yield

    with monkeypatch.context() as patched:
        patched.setattr(Project, "hold_artifacts", hold_later)
        with pytest.raises(UsageError, match=r"absent\.csv"):
            perform_job(project, RunbookJob(), Terminal(), cell_timeout=60, render=False)
    assert verify.verify_artifacts(project.artifacts) == []
    shutil.rmtree(project.artifacts)
    with pytest.raises(UsageError, match=r"absent\.csv"):
        perform_job(project, RunbookJob(), Terminal(), cell_timeout=60, render=False)
    assert not project.artifacts.exists()


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs and two versions, the second one a challenger that nobody published files of."""
    folder = tmp_path_factory.mktemp("grown")
    staged_runs.publish(folder)
    staged_runs.publish(folder)
    champion = registry_models.load_model(folder / "models")
    other = training.train(champion.reference.iloc[:700], staged_runs.SETTINGS)
    registry_models.save_model(folder / "models", other)
    registry.nominate_challenger(folder / "models", other.version)
    assert verify.verify_artifacts(folder) == []
    return folder


def _damage(path: Path, how: str) -> None:
    content = path.read_bytes()
    if how == "gone":
        path.unlink()
    elif how == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif how == "null":
        path.write_bytes(b"null\n")
    else:
        path.write_bytes(b"")


@pytest.mark.parametrize("how", ["gone", "cut", "null", "empty"])
def test_every_damage_is_a_line_and_never_a_traceback(
    grown: Path, tmp_path: Path, how: str
) -> None:
    listed = [
        path.relative_to(grown)
        for path in sorted(grown.rglob("*"))
        if path.is_file() and not path.name.startswith(".")  # marks and locks
    ]
    assert sum(path.parts[0] == "models" for path in listed) > 9
    assert sum(path.parts[0] == "runs" for path in listed) > 10
    for place, name in enumerate(listed):
        root = Path(shutil.copytree(grown, tmp_path / str(place)))
        _damage(root / name, how)
        if name.as_posix() == "manifest.json":
            with pytest.raises(DriftbookError):
                verify.verify_artifacts(root)
            continue
        problems = verify.verify_artifacts(root)
        assert problems, name
        assert all("\n" not in line for line in problems)
