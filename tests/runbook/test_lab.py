"""JupyterLab on copies: tracked files stay, paths hold, and what a user changed is kept."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from driftbook.errors import UsageError
from driftbook.runbook.lab import copy_notebooks
from driftbook.runbook.notebooks import read_parameters
from driftbook.runbook.project import Project, locate_project
from driftbook.site import cells

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "runbook.yaml").write_text("{}\n", encoding="utf-8")
    shutil.copytree(NOTEBOOKS, tmp_path / "notebooks")
    return Project(tmp_path / "runbook.yaml", tmp_path / "artifacts")


def test_copies_lie_in_scratch_and_their_paths_hold(project: Project) -> None:
    folder, told = copy_notebooks(project, project.notebooks)
    assert told == []
    assert folder == project.artifacts / "scratch" / "notebooks"
    assert {path.name for path in folder.glob("*.ipynb")} == {
        path.name for path in NOTEBOOKS.glob("*.ipynb")
    }
    # The default names lead to the project from there, so they stay as a reader knows them.
    assert read_parameters(folder / "02-drift.ipynb")["settings_file"] == "runbook.yaml"
    text = (folder / "03-retrain-decision.ipynb").read_text(encoding="utf-8")
    links = re.findall(r"\]\((\.\./[^)]+)\)", text)
    assert links
    for link in links:
        assert (
            Path(os.path.normpath(folder / link)).parent == project.settings_file.parent / "reports"
        )


def test_of_another_model_the_copies_name_its_settings_and_artifacts(
    project: Project, tmp_path: Path
) -> None:
    other = Project(tmp_path / "mine.yaml", tmp_path / 'a "b\\c' / "mine")
    other.settings_file.write_text("{}", encoding="utf-8")
    folder, _ = copy_notebooks(other, project.notebooks)
    for path in folder.glob("*.ipynb"):
        found = read_parameters(path)
        assert found["settings_file"] == str(tmp_path / "mine.yaml")
        assert found["artifacts_dir"] == str(other.artifacts)
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            assert cell["source"] == cells.split_lines("".join(cell["source"]))


def test_the_owners_own_notebooks_are_copied_as_well(project: Project) -> None:
    own = project.settings_file.parent / "checks" / "fairness.ipynb"
    own.parent.mkdir()
    shutil.copy(NOTEBOOKS / "02-drift.ipynb", own)
    project.settings_file.write_text("runbook: {notebooks: [checks/fairness.ipynb]}\n")
    folder, _ = copy_notebooks(project, project.notebooks)
    names = {path.name for path in folder.glob("*.ipynb")}
    assert names == {"fairness.ipynb", *(path.name for path in NOTEBOOKS.glob("*.ipynb"))}


def test_an_untouched_copy_follows_its_notebook(project: Project) -> None:
    folder, _ = copy_notebooks(project, project.notebooks)
    source = project.notebooks / "02-drift.ipynb"
    source.write_text(source.read_text("utf-8").replace("# Drift", "# Drifting"), encoding="utf-8")
    assert copy_notebooks(project, project.notebooks)[1] == []
    assert "# Drifting" in (folder / "02-drift.ipynb").read_text(encoding="utf-8")


def test_a_changed_copy_is_kept_and_todays_lies_beside_it(project: Project) -> None:
    folder, _ = copy_notebooks(project, project.notebooks)
    copy, source = folder / "02-drift.ipynb", project.notebooks / "02-drift.ipynb"
    copy.write_text("mine", encoding="utf-8")
    _, told = copy_notebooks(project, project.notebooks)
    assert told == ["02-drift.ipynb: your changes are kept; delete it for a fresh copy"]
    source.write_text(source.read_text("utf-8").replace("# Drift", "# Drifting"), encoding="utf-8")
    _, told = copy_notebooks(project, project.notebooks)
    assert "02-drift.newer.ipynb" in told[0]
    assert copy.read_text(encoding="utf-8") == "mine"
    assert "# Drifting" in (folder / "02-drift.newer.ipynb").read_text(encoding="utf-8")
    copy.unlink()
    assert copy_notebooks(project, project.notebooks)[1] == []
    assert "# Drifting" in copy.read_text(encoding="utf-8")


def test_without_notebooks_it_says_where_it_looked(project: Project, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no notebook in"):
        copy_notebooks(project, tmp_path / "reports")


def execute(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=300
    )


def test_work_in_the_lab_leaves_tracked_files_unchanged(finished_run: Path, tmp_path: Path) -> None:
    """One notebook executed in place, as JupyterLab does, in the folder that is printed."""
    shutil.copy(finished_run.parent / "runbook.yaml", tmp_path)
    shutil.copytree(NOTEBOOKS, tmp_path / "notebooks")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    command = [sys.executable, "-m", "driftbook", "lab", "--print"]
    printed = execute(command, tmp_path)
    assert printed.returncode == 0, printed.stderr
    folder = Path(printed.stdout.strip())
    words = [sys.executable, "-m", "jupyter", "execute", "--inplace", "02-drift.ipynb"]
    done = execute(words, folder)
    assert done.returncode == 0, done.stderr[-3000:]
    shown = (folder / "02-drift.ipynb").read_text(encoding="utf-8")
    assert "8 windows exist" in shown and "db-folds" in shown
    assert all(path.read_bytes() == content for path, content in before.items())
    new = {path for path in tmp_path.rglob("*") if path.is_file()} - set(before)
    assert all(path.is_relative_to(tmp_path / "artifacts") for path in new)
    assert (tmp_path / "artifacts" / "scratch" / "drift" / "effects_by_window.csv").is_file()
    # Saved with its outputs, the copy counts as its user's work.
    again = execute(command, tmp_path)
    assert "02-drift.ipynb: your changes are kept" in again.stderr


def test_the_lab_starts_on_the_copies(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    from click.testing import CliRunner

    from driftbook.runbook import reopen
    from driftbook.runbook.cli import main

    started: list[str] = []
    monkeypatch.setattr(reopen, "find_spec", lambda name: name)
    monkeypatch.setattr(reopen.os, "execv", lambda _program, words: started.extend(words))
    monkeypatch.chdir(project.settings_file.parent)
    CliRunner().invoke(main, ["lab", "--", "--no-browser"])
    folder = locate_project().artifacts / "scratch" / "notebooks"
    assert started[1:] == ["-m", "jupyterlab", str(folder), "--no-browser"]
