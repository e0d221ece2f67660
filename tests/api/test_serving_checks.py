"""The serving step's checks: a real server process, and servers that misbehave."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from driftbook.api import checks
from driftbook.api.process import ServerError, running_server
from driftbook.model.training import Model
from driftbook.settings import Settings
from serving_models import champion_in, mixed_rows, settings_of


@dataclass(frozen=True)
class FakeRun:
    """What the checks need of a run."""

    settings: Settings
    champion: Model
    folder: Path
    run_id: str = "run-1"

    def registry_of(self, version: str) -> Path:
        return self.folder / "models"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> FakeRun:
    artifacts = tmp_path_factory.mktemp("checks")
    model = champion_in(artifacts, mixed_rows(), settings_of())
    return FakeRun(settings_of(), model, artifacts)


def test_a_real_server_passes_every_check(run: FakeRun) -> None:
    results = checks.check_serving(run)
    assert results["passed"], results
    assert results["run_id"] == "run-1"
    assert results["model_version"] == run.champion.version
    assert len(results["checks"]) == 13
    assert all(set(c) == {"name", "expected", "found", "passed"} for c in results["checks"])
    checks.require_passed(results)
    assert not (run.folder / "log").exists(), "checks must not enter the log of served traffic"


def test_a_changed_model_fails_the_checks(run: FakeRun, tmp_path: Path) -> None:
    model = champion_in(tmp_path, mixed_rows(seed=4), settings_of())
    scorer = tmp_path / "models" / model.version / "scorer.json"
    scorer.write_text(scorer.read_text() + " ")
    results = checks.check_serving(FakeRun(run.settings, model, tmp_path))
    assert not results["passed"]
    assert [c["name"] for c in results["checks"] if c["passed"]] == ["alive"]
    with pytest.raises(checks.ServingCheckError, match="ready: expected status 200"):
        checks.require_passed(results)


def test_another_model_fails_the_known_rows(run: FakeRun, tmp_path: Path) -> None:
    champion_in(tmp_path, mixed_rows(seed=4), settings_of())
    results = checks.check_serving(FakeRun(run.settings, run.champion, tmp_path))
    failed = {c["name"] for c in results["checks"] if not c["passed"]}
    assert {"model card", "known rows, one by one", "known rows, as a batch"} <= failed


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    settings = settings_of(log={"url": "oracle://somewhere/db"})
    with (
        pytest.raises(ServerError, match=r"log\.url"),
        running_server(settings, tmp_path),
    ):
        pass


def test_a_refusal_must_name_the_field() -> None:
    vague = httpx.Response(
        422,
        headers={"content-type": "application/problem+json"},
        json={"errors": [{"field": "body"}]},
    )
    assert not checks._refused("text", vague, "age").passed
