"""Equal data, settings and versions give equal artifacts, and a finished run can be made again."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import nbformat
import pytest
from click.testing import CliRunner, Result
from nbformat.v4 import new_code_cell, new_notebook

from driftbook import paths
from driftbook.errors import UsageError
from driftbook.runbook import reproduce
from driftbook.runbook.cli import main
from driftbook.store import registry
from driftbook.store.comparison import RunPlace, compare_runs, settle_file

SETTINGS = """
data: {source: "synthetic:covariate", window: 2000, reference: 2}
runbook: {notebooks: [words.ipynb]}
"""
# What a notebook of the owner's finds in the order of a set is the same in each run, too.
WORDS = """
run_id = None
artifacts_dir = "artifacts"
"""
SHOWN = 'print({"north", "south", "east", "west", "up", "down"}, hash("a text"))'


def list_runs(artifacts: Path) -> list[str]:
    return sorted(folder.name for folder in (artifacts / paths.RUNS).iterdir())


def hash_files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def call_reproduce(artifacts: Path, run_id: str, *words: str) -> Result:
    settings = artifacts.parent / "runbook.yaml"
    given = ["--settings", str(settings), "--artifacts", str(artifacts), *words]
    return CliRunner().invoke(main, ["reproduce", run_id, *given])


@pytest.fixture
def copied(finished_run: Path, tmp_path: Path) -> Path:
    """Return a copy of two finished runs, beside their settings."""
    shutil.copy(finished_run.parent / "runbook.yaml", tmp_path)
    shutil.copytree(finished_run, tmp_path / "artifacts")
    return tmp_path / "artifacts"


def test_equal_runs_are_equal_to_the_byte_wherever_they_run(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    places = []
    odd = [
        {"TZ": "Asia/Kolkata", "PYTHONHASHSEED": "1", "LC_ALL": "C"},
        {"TZ": "America/St_Johns", "PYTHONHASHSEED": "99", "LC_ALL": "C.UTF-8"},
    ]
    for folder, environment in zip(
        (tmp_path, tmp_path_factory.mktemp("longer") / "Ünder"), odd, strict=True
    ):
        folder.mkdir(exist_ok=True)
        (folder / "runbook.yaml").write_text(SETTINGS, encoding="utf-8")
        cell = new_code_cell(WORDS, metadata={"tags": ["parameters"]})
        own = new_notebook(cells=[cell, new_code_cell(SHOWN)])
        for number, one in enumerate(own.cells):
            one.id = f"cell-{number}"  # each new one has a random id
        nbformat.write(own, folder / "words.ipynb")
        command = [sys.executable, "-m", "driftbook", "run", "--quick", "--quiet", "--no-render"]
        subprocess.run(command, cwd=folder, env=os.environ | environment, check=True, timeout=600)
        artifacts = folder / "artifacts" / "quick"
        places.append(RunPlace(artifacts, list_runs(artifacts)[0]))
    one, other = places
    versions = registry.read_index(one.artifacts / paths.MODELS).versions
    found = compare_runs(one, other, versions)
    assert found.different == {}
    # Nothing but an id, a time or a folder's name was left out.
    models = {f"models/{version}/{name}" for version in versions for name in registry.VERSION_FILES}
    assert models <= set(found.equal)
    in_documents = {"manifest.json", "run.json", "tracking/runs.csv"}
    for name in set(found.alike) - in_documents:
        if not name.endswith(".ipynb"):
            before, after = ((place.folder / name).read_bytes() for place in places)
            assert before.replace(one.run_id.encode(), b"") == after.replace(
                other.run_id.encode(), b""
            )


def test_a_run_from_a_later_step_is_the_same_again(finished_run: Path) -> None:
    before = hash_files(finished_run)
    _, second = list_runs(finished_run)
    done = call_reproduce(finished_run, second, "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["reproduced"] and not found["different"] and not found["versions"]
    assert "policy/retrain_recommendation.json" in found["alike"]
    assert "executed/02-drift.ipynb" in found["alike"]
    assert "executed/01-train-eval.ipynb" not in found["alike"]
    assert hash_files(finished_run) == before  # nothing was added either


def test_what_was_altered_in_the_archive_is_named_and_nothing_else(copied: Path) -> None:
    first, _ = list_runs(copied)
    folder = copied / paths.RUNS / first
    changes = {
        "drift/drift_report.csv": ("numeric", "numerik"),
        "policy/retrain_recommendation.json": ('"task": "binary"', '"task": "other"'),
        "executed/03-retrain-decision.ipynb": ('"image/png": "', '"image/png": "A'),
    }
    for name, (old, new) in changes.items():
        text = (folder / name).read_text(encoding="utf-8")
        assert old in text
        (folder / name).write_text(text.replace(old, new, 1), encoding="utf-8")
    (folder / "metrics" / "leakage.csv").unlink()
    done = call_reproduce(copied, first)
    assert done.exit_code == 1
    lines = [line for line in done.stdout.splitlines() if line.startswith("differs")]
    assert [line.split()[1].rstrip(":") for line in lines] == sorted(
        [*changes, "metrics/leakage.csv"]
    )
    assert "differs at line 2" in lines[0]
    assert "image/png" in lines[1] and "not in the archive" in lines[2]
    assert lines[3].endswith("differs at task")
    assert f"run {first} made again differs in drift/drift_report.csv" in done.stderr


def test_a_run_that_cannot_be_made_again_says_why(copied: Path) -> None:
    first, second = list_runs(copied)
    none = call_reproduce(copied, "20200101T000000Z-0000")
    assert none.exit_code == 2 and "no finished run" in none.stderr and second in none.stderr

    settings = copied / paths.RUNS / first / paths.RUN_SETTINGS
    text = settings.read_text(encoding="utf-8")
    settings.write_text(text.replace("false_alarms: 0.05", "false_alarms: 0.5"), encoding="utf-8")
    altered = call_reproduce(copied, first)
    assert altered.exit_code == 1 and f"runs/{first}/settings.yaml" in altered.stderr
    settings.write_text(text, encoding="utf-8")

    shutil.rmtree(copied / paths.RUNS / first)
    pruned = call_reproduce(copied, second)
    assert pruned.exit_code == 2 and "is kept no more" in pruned.stderr


@pytest.mark.parametrize("change", ["one value", "gone"])
def test_other_data_are_told_as_the_cause(tmp_path: Path, change: str) -> None:
    import finished

    chosen = finished.settings(tmp_path)
    (tmp_path / "runbook.yaml").write_text(chosen.to_yaml(), encoding="utf-8")
    run_id = finished.publish(tmp_path / "artifacts", chosen)
    source = Path(chosen.data.source)
    if change == "gone":
        source.unlink()
    else:
        lines = source.read_text(encoding="utf-8").splitlines()
        lines[5] = lines[6]
        source.write_text("\n".join(lines) + "\n", encoding="utf-8")
    done = call_reproduce(tmp_path / "artifacts", run_id)
    assert done.exit_code == 2, done.output
    told = "the data have changed since that run" if change == "one value" else source.name
    assert told in done.stderr


@pytest.mark.parametrize("served", [False, True])
def test_the_prediction_log_is_copied_whole_and_stays_as_it_is(
    tmp_path: Path, served: bool
) -> None:
    log = tmp_path / "log"
    log.mkdir()
    writer = sqlite3.connect(log / "predictions.sqlite")
    writer.execute("PRAGMA journal_mode = WAL")
    writer.execute("CREATE TABLE rows (value)")
    writer.execute("INSERT INTO rows VALUES (7)")
    writer.commit()
    if not served:
        writer.close()
    before = hash_files(log)
    assert ("predictions.sqlite-wal" in before) == served
    reproduce._copy_log(log, tmp_path / "copy")
    assert hash_files(log).keys() == before.keys()
    assert hash_files(log)["predictions.sqlite"] == before["predictions.sqlite"]
    with closing(sqlite3.connect(tmp_path / "copy" / "predictions.sqlite")) as copy:
        assert copy.execute("SELECT value FROM rows").fetchall() == [(7,)]
    writer.close()
    (log / "predictions.sqlite").write_bytes(b"no database at all" * 99)
    with pytest.raises(UsageError, match="cannot be read"):
        reproduce._copy_log(log, tmp_path / "other")


def test_a_file_that_is_not_what_its_name_says_is_compared_byte_by_byte(tmp_path: Path) -> None:
    place = RunPlace(tmp_path, "r1")
    for name in ("model.skops", "executed/a.ipynb", "manifest.json", "drift/x.csv"):
        content = b"\xff[1" if name.endswith("csv") else b"[1, 2]"
        assert settle_file(name, content, place) == content
