"""Old runs go where the settings say so; what is in use, or was, never does."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import finished
from driftbook import paths
from driftbook.errors import IntegrityError
from driftbook.model import training
from driftbook.runbook import flow
from driftbook.runbook.project import locate_project
from driftbook.runbook.terminal import Terminal
from driftbook.settings import Settings
from driftbook.store import evidence, files, pruning, registry, registry_models, transaction, verify


def list_runs(artifacts: Path) -> list[str]:
    return sorted(path.name for path in (artifacts / paths.RUNS).iterdir())


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Settings, list[str]]:
    """Return artifacts after five runs, the third of which a promotion rests on."""
    folder = tmp_path_factory.mktemp("pruned")
    artifacts, settings = folder / "artifacts", finished.settings(folder, "concept")
    models = artifacts / paths.MODELS
    runs = []
    for number in range(4, 9):
        # Ids tell seconds apart, and these runs take less than one.
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(transaction, "new_run_id", lambda k=number: f"20260105T00000{k}Z-a1b2")
            runs.append(finished.publish(artifacts, settings, f"rows-000{number}"))
        if number == 6:
            reference = registry_models.load_model(models).reference
            promoted, stray = (
                registry_models.save_model(models, training.train(reference, settings, recipe=name))
                for name in ("promoted", "stray")
            )
            decided = (artifacts / paths.RECOMMENDATION).read_bytes()
            registry.promote_version(models, promoted, "better", files.hash_bytes(decided))
    assert stray in registry.read_index(models).versions
    return artifacts, settings, runs


@pytest.fixture
def artifacts(published: tuple[Path, Settings, list[str]], tmp_path: Path) -> Path:
    return Path(shutil.copytree(published[0], tmp_path / "artifacts"))


def test_nothing_goes_by_default(artifacts: Path) -> None:
    before = list_runs(artifacts)
    assert Settings().runbook.keep_runs is None
    assert pruning.prune_artifacts(artifacts, None) == pruning.PrunedArtifacts()
    assert list_runs(artifacts) == before


def test_what_the_champion_rests_on_stays_and_verify_is_content(
    artifacts: Path, published: tuple[Path, Settings, list[str]]
) -> None:
    _, settings, runs = published
    models = artifacts / paths.MODELS
    ledger = (models / paths.LEDGER).read_bytes()
    evidence_of_promotion = artifacts / paths.RUNS / runs[2] / paths.RECOMMENDATION
    assert files.hash_bytes(evidence_of_promotion.read_bytes()) in ledger.decode()
    gone = pruning.prune_artifacts(artifacts, 1)
    assert gone.runs == (runs[0], runs[1], runs[3])
    assert list_runs(artifacts) == [runs[2], runs[4]]
    assert verify.verify_artifacts(artifacts) == []
    assert (models / paths.LEDGER).read_bytes() == ledger
    known = registry.read_index(models)
    moved = {json.loads(line)["to"] for line in ledger.splitlines()}
    assert moved <= set(known.versions) and known.aliases["champion"] in moved
    assert gone.versions and not set(gone.versions) & set(known.versions)
    folders = {path.name for path in models.iterdir() if path.is_dir()}
    assert folders == set(known.versions)
    # All of it goes on: pages, a rollback to the first champion, another run.
    assert [one.run_id for one in evidence.load_past_runs(artifacts)] == [runs[2], runs[4]]
    registry.roll_back(models, None, "back")
    newest = finished.publish(artifacts, settings, "rows-0008")
    assert verify.verify_artifacts(artifacts) == []
    pruning.prune_artifacts(artifacts, 1)
    assert list_runs(artifacts) == [runs[2], newest]


def test_the_run_that_proposed_the_challenger_stays(artifacts: Path) -> None:
    first, second = list_runs(artifacts)[:2]
    path = artifacts / paths.RUNS / first / paths.RECOMMENDATION
    version = next(iter(registry.read_index(artifacts / paths.MODELS).versions))
    document = files.read_json_object(path) | {"challenger_version": version}
    path.write_text(files.format_json(document), encoding="utf-8")
    registry.nominate_challenger(artifacts / paths.MODELS, version)
    pruning.prune_artifacts(artifacts, 1)
    left = list_runs(artifacts)
    assert first in left and second not in left


@pytest.mark.parametrize("unfinished", ["unpublished", "untold", "unreadable"])
def test_what_is_not_done_or_cannot_be_read_stays(artifacts: Path, unfinished: str) -> None:
    first, second = list_runs(artifacts)[:2]
    folder = artifacts / paths.RUNS / first
    if unfinished == "unpublished":
        (folder / paths.PUBLISHED_MARK).unlink()
    elif unfinished == "untold":
        (folder / paths.ALERT_DUE).touch()
    else:
        (folder / paths.RECOMMENDATION).write_text("{", encoding="utf-8")
    pruning.prune_artifacts(artifacts, 1)
    left = list_runs(artifacts)
    assert first in left and second not in left


def test_a_broken_ledger_prunes_nothing(artifacts: Path) -> None:
    before = list_runs(artifacts)
    (artifacts / paths.MODELS / paths.LEDGER).write_text("[]\n", encoding="utf-8")
    with pytest.raises(IntegrityError):
        pruning.prune_artifacts(artifacts, 1)
    assert list_runs(artifacts) == before


def test_a_stop_half_way_is_cleared_by_the_next_command(
    artifacts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(_path: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(pruning.shutil, "rmtree", stop)
        with pytest.raises(KeyboardInterrupt):
            pruning.prune_artifacts(artifacts, 1)
    assert list(artifacts.glob(files.PARTIAL))
    assert verify.verify_artifacts(artifacts) == []
    assert transaction.recover_artifacts(artifacts) == []
    assert not list(artifacts.glob(files.PARTIAL))


def test_the_end_of_a_run_prunes_as_the_settings_say(
    artifacts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = list_runs(artifacts)
    settings = tmp_path / "runbook.yaml"
    for text, left in (("{}", runs), ("runbook: {keep_runs: 2}", [runs[2], *runs[3:]])):
        settings.write_text(text, encoding="utf-8")
        flow._prune(locate_project(settings, artifacts), Terminal())
        assert list_runs(artifacts) == left
    told = capsys.readouterr().err.strip()
    assert told.startswith(f"driftbook: removed 2 old runs ({runs[0]}, {runs[1]})")
    assert told.endswith("runbook.keep_runs is 2") and "\n" not in told
