"""The layout of an artifacts folder: noted, brought up to date, or refused with the next step."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import finished
from driftbook import paths
from driftbook.errors import IntegrityError
from driftbook.runbook.cli import main
from driftbook.store import layout, ledger, registry, verify


@pytest.fixture
def artifacts(tmp_path: Path) -> Path:
    chosen = finished.settings(tmp_path)
    (tmp_path / "runbook.yaml").write_text(chosen.to_yaml(), encoding="utf-8")
    finished.publish(tmp_path / "artifacts", chosen)
    return tmp_path / "artifacts"


def call(artifacts: Path, *words: str) -> Result:
    settings = artifacts.parent / "runbook.yaml"
    given = ["--settings", str(settings), "--artifacts", str(artifacts)]
    return CliRunner().invoke(main, [*words, *given])


def test_a_published_run_notes_the_layout(artifacts: Path) -> None:
    noted = json.loads((artifacts / paths.LAYOUT).read_text(encoding="utf-8"))
    assert noted == {"layout": layout.PRESENT_LAYOUT}
    assert layout.migrate_layout(artifacts) is None
    assert verify.verify_artifacts(artifacts) == []


def test_an_earlier_layout_is_brought_up_to_date_by_the_next_command(artifacts: Path) -> None:
    models = artifacts / paths.MODELS
    index = json.loads((models / paths.INDEX).read_text(encoding="utf-8"))
    index["ledger"] = None
    (models / paths.INDEX).write_text(json.dumps(index), encoding="utf-8")
    (artifacts / paths.LAYOUT).unlink()
    # Who only looks may do so, and changes nothing.
    assert call(artifacts, "verify").exit_code == 0
    assert not (artifacts / paths.LAYOUT).exists()
    done = call(artifacts, "promote")
    assert "from layout 1 to 2" in done.stderr
    assert registry.read_index(models).head == ledger.read_head(models)
    assert layout.read_layout(artifacts) == layout.PRESENT_LAYOUT
    assert "layout" not in call(artifacts, "promote").stderr
    assert verify.verify_artifacts(artifacts) == []


@pytest.mark.parametrize(
    "words", [["run"], ["backtest"], ["promote"], ["rollback"], ["verify"], ["serve"], ["report"]]
)
def test_a_newer_layout_is_refused_and_left_alone(artifacts: Path, words: list[str]) -> None:
    newer = json.dumps({"layout": layout.PRESENT_LAYOUT + 1})
    (artifacts / paths.LAYOUT).write_text(newer, encoding="utf-8")
    before = {path: path.read_bytes() for path in artifacts.rglob("*.json")}
    done = call(artifacts, *words)
    assert done.exit_code == 2
    assert "newer Driftbook (layout 3" in done.stderr and "install that release" in done.stderr
    assert {path: path.read_bytes() for path in artifacts.rglob("*.json")} == before


@pytest.mark.parametrize("text", ["", "[]", '{"layout": null}', '{"layout": 0}', "\xff"])
def test_a_damaged_number_is_refused_with_the_next_step(artifacts: Path, text: str) -> None:
    (artifacts / paths.LAYOUT).write_bytes(text.encode("latin-1"))
    with pytest.raises(IntegrityError, match="restore it from a backup, or move"):
        layout.read_layout(artifacts)
    assert call(artifacts, "verify").exit_code == 1
