"""Notebooks of the owner's own: executed after 04, rendered, listed, hashed; refused in time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
import yaml
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from driftbook.errors import UsageError
from driftbook.settings import Settings
from driftbook.site import cells, own_pages
from driftbook.store import verify

OPEN = "from driftbook.runbook.run import open_run\nrun = open_run(settings_file, artifacts_dir, "
OPEN += "window, run_id)\n"
PARAMETERS = 'settings_file = ""\nartifacts_dir = ""\nwindow = None\nrun_id = None\nmine = 7'


def write(path: Path, *code: str, parameters: str | None = PARAMETERS, title: str = "") -> None:
    """Write a notebook of a heading, a parameters cell and code cells."""
    path.parent.mkdir(parents=True, exist_ok=True)
    found = new_notebook()
    if title:
        found.cells.append(new_markdown_cell(title))
    if parameters is not None:
        found.cells.append(new_code_cell(parameters, metadata={"tags": ["parameters"]}))
    found.cells += [new_code_cell(cell) for cell in code]
    nbformat.write(found, path)


def settings(*notebooks: str) -> str:
    """Return a settings file with these notebooks."""
    values: dict[str, Any] = {"data": {"source": "synthetic:concept", "window": 1200}}
    return yaml.safe_dump({**values, "runbook": {"notebooks": list(notebooks)}})


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command in ``folder``."""
    return subprocess.run(
        [sys.executable, "-m", "driftbook", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


class TestRefused:
    @pytest.mark.parametrize(
        ("notebook", "cause"),
        [
            ("02-drift.ipynb", "has a name that is taken"),
            ("sub/05-Backtest.ipynb", "has a name that is taken"),
            ("my checks.ipynb", "is no name for a page"),
            ("_hidden.ipynb", "is no name for a page"),
            ("checks.py", "is no name for a page"),
        ],
    )
    def test_by_its_name(self, notebook: str, cause: str) -> None:
        with pytest.raises(UsageError, match=cause):
            Settings.parse({"runbook": {"notebooks": [notebook]}})

    def test_two_of_one_name(self) -> None:
        with pytest.raises(UsageError, match="taken"):
            Settings.parse({"runbook": {"notebooks": ["a/x.ipynb", "b/X.ipynb"]}})

    @pytest.mark.parametrize(
        ("name", "parameters", "cause"),
        [
            ("gone.ipynb", None, "gone.ipynb cannot be read"),
            ("bare.ipynb", None, "bare.ipynb has no cell tagged 'parameters'"),
            ("code.ipynb", "x = 1 + y", "write only names set to plain literals"),
            ("Guide.ipynb", PARAMETERS, "the page Guide.html is the runbook's own"),
            ("run-1.ipynb", PARAMETERS, "the page run-1.html is the runbook's own"),
        ],
    )
    def test_before_anything_is_written(
        self, tmp_path: Path, name: str, parameters: str | None, cause: str
    ) -> None:
        (tmp_path / "runbook.yaml").write_text(settings(name), encoding="utf-8")
        if name != "gone.ipynb":
            write(tmp_path / name, parameters=parameters)
        done = run(tmp_path, "run")
        assert (done.returncode, done.stdout) == (2, "")
        assert cause in done.stderr and done.stderr.count("\n") == 1
        assert not (tmp_path / "artifacts").exists()


class TestTitle:
    @pytest.mark.parametrize(
        ("first", "title", "left"),
        [
            ("# Are they *alike*?\n\nText", "Are they *alike*?", ["Text", "1"]),
            ('---\ntitle: "Fair"\nsubtitle: S\n---', "Fair", ["1"]),
            ("---\nsubtitle: S\n---\n# Fair\nText", "Fair", ["Text\n", "1"]),
            ("Only text", "My check", ["Only text", "1"]),
        ],
    )
    def test_comes_from_front_matter_heading_or_name(
        self, first: str, title: str, left: list[str]
    ) -> None:
        code = {"cell_type": "code", "metadata": {}, "source": "1", "outputs": []}
        found, page = own_pages.title_page([cells.make_markdown_cell(first), code], "my-check")
        front, rest = cells.split_front_matter(page[0]["source"])
        assert (found, front["title"], rest) == (title, title, "")
        assert page[0]["cell_type"] == "raw"
        assert (front.get("subtitle") == "S") == ("subtitle" in first)
        assert [cell["source"] for cell in page[1:] if cell["source"]] == left


@pytest.fixture(scope="module")
def finished_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of two own notebooks in which one run was made."""
    folder = tmp_path_factory.mktemp("own")
    check = OPEN + "import beside\nrun.write_json('own/check.json', {'mine': mine, **beside.it})"
    shown = "print('12 groups', 'seen')\nimport pandas as pd\npd.DataFrame({'group': ['a<b']})"
    write(folder / "extra" / "fair-rates.ipynb", check, shown, title="# Are rates fair?\n\nWhy.")
    (folder / "extra" / "beside.py").write_text("it = {'beside': True}\n", encoding="utf-8")
    window_only = "window = None"
    write(folder / "last.ipynb", "assert window == 'rows-0012'", parameters=window_only)
    text = settings("extra/fair-rates.ipynb", "last.ipynb")
    (folder / "runbook.yaml").write_text(text, encoding="utf-8")
    done = run(folder, "run")
    assert done.returncode == 0, done.stderr
    steps = [line.split()[1] for line in done.stderr.splitlines() if " done in " in line]
    assert steps[-4:] == ["04-serving", "fair-rates", "last", "pages"]
    return folder


@pytest.mark.slow
class TestRun:
    def test_they_are_hashed_into_the_manifest(self, finished_folder: Path) -> None:
        artifacts = finished_folder / "artifacts"
        document = json.loads((artifacts / "manifest.json").read_text(encoding="utf-8"))
        executed = f"runs/{document['run_id']}/executed"
        for name in (f"{executed}/fair-rates.ipynb", f"{executed}/last.ipynb"):
            assert name in document["files"] and name in document["required_files"]
        found = json.loads((artifacts / "own" / "check.json").read_text(encoding="utf-8"))
        assert found["run_id"] == document["run_id"]
        assert (found["mine"], found["beside"]) == (7, True)
        assert verify.verify_artifacts(artifacts) == []
        path = artifacts / executed / "last.ipynb"
        kept = path.read_bytes()
        path.write_bytes(kept + b" ")
        try:
            assert [str(one) for one in verify.verify_artifacts(artifacts)] != []
        finally:
            path.write_bytes(kept)

    def test_they_are_pages_in_the_navigation(self, finished_folder: Path) -> None:
        html = finished_folder / "artifacts" / "reports" / "html"
        for page in ("index", "fair-rates", "guide"):
            soup = BeautifulSoup((html / f"{page}.html").read_text("utf-8"), "html.parser")
            links = {str(a["href"]): a.get_text() for a in soup.select("nav#site-nav a")}
            assert links["fair-rates.html"] == "Are rates fair?"
            assert links["last.html"] == "Last"
        text = (html / "fair-rates.html").read_text("utf-8")
        soup = BeautifulSoup(text, "html.parser")
        assert [h.get_text() for h in soup.find_all("h1")] == ["Are rates fair?"]
        assert "12 groups seen" in soup.get_text()
        assert soup.select_one("main table td") is not None and "a&lt;b" in text

    def test_quarto_finds_them_in_the_sidebar_and_among_the_sources(
        self, finished_folder: Path, tmp_path: Path
    ) -> None:
        from driftbook.site import render
        from driftbook.store.evidence import load_published_run

        found = load_published_run(finished_folder / "artifacts")
        render.assemble_sources(found, tmp_path / "build")
        quarto = yaml.safe_load((tmp_path / "build" / "_quarto.yml").read_text(encoding="utf-8"))
        section = quarto["website"]["sidebar"]["contents"][0]["contents"]
        own = [{"text": "Are rates fair?", "href": "fair-rates.ipynb"}]
        assert section[-2:] == [*own, {"text": "Last", "href": "last.ipynb"}]
        assert "*.ipynb" in quarto["project"]["render"] and quarto["execute"] == {"enabled": False}
        page = cells.read_cells(tmp_path / "build" / "fair-rates.ipynb")
        assert page[0]["source"] == "---\ntitle: Are rates fair?\n---"
        assert not [cell for cell in page if "# Parameters" in cell["source"]]

    def test_a_later_start_executes_them_again_and_a_failing_one_fails_the_run(
        self, finished_folder: Path
    ) -> None:
        artifacts = finished_folder / "artifacts"
        before = (artifacts / "manifest.json").read_bytes()
        write(finished_folder / "last.ipynb", "#| label: rule\nassert 1 > 2, 'too few'")
        done = run(finished_folder, "run", "--from", "serving", "--quiet")
        assert done.returncode == 1
        assert "last.ipynb, cell [3] rule: AssertionError: too few; the notebook is kept at" in (
            done.stderr
        )
        assert (artifacts / "manifest.json").read_bytes() == before
        (finished_folder / "runbook.yaml").write_text(settings(), encoding="utf-8")
        done = run(finished_folder, "run", "--from", "serving", "--quiet")
        assert done.returncode == 0, done.stderr
        assert not (artifacts / "own" / "check.json").exists()
        assert not (artifacts / "reports" / "html" / "last.html").exists()
        assert verify.verify_artifacts(artifacts) == []
