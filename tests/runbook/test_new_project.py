"""`driftbook new`: a folder that runs at once, from the checkout and from an installed wheel."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from click.testing import CliRunner, Result

from driftbook.data import synthetic
from driftbook.runbook import new_project
from driftbook.runbook.cli import main
from driftbook.settings import Settings


def invoke(*words: str | Path) -> Result:
    """Run ``driftbook new`` in this process."""
    return CliRunner().invoke(main, ["new", *map(str, words)], prog_name="driftbook")


def write_table(path: Path, rows: int = 2400, days: float | None = None) -> Path:
    """Write a table with a time column that spans ``days``, where that is given."""
    frame = synthetic.make_scenario("concept", rows=rows, seed=3)
    if days is not None:
        step = pd.Timedelta(days=days) / rows
        frame["when"] = pd.Timestamp("2024-01-01") + step * frame.index
    frame.to_csv(path, index=False)
    return path


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


class TestRefused:
    def test_a_folder_that_is_not_empty(self, here: Path) -> None:
        (here / "full").mkdir()
        (here / "full" / "note.txt").write_text("mine")
        result = invoke("full")
        assert result.exit_code == 2
        assert "full exists and is not empty; name a folder that is new or empty" in result.stderr
        assert [path.name for path in here.rglob("*") if path.is_file()] == ["note.txt"]

    @pytest.mark.parametrize(
        ("words", "cause"),
        [
            (["--data", "t.csv"], "needs --target"),
            (["--target", "target"], "--target is about a table; name that with --data"),
            (["--data", "gone.csv", "--target", "target"], "gone.csv' names no file"),
            (["--data", "t.csv", "--target", "tarxet"], "'tarxet' is no column"),
            (["--data", "t.csv", "--target", "target", "--timestamp", "x"], "'x' is no column"),
            (["--data", "few.csv", "--target", "target"], "give more rows"),
        ],
    )
    def test_a_wish_that_cannot_be_met_leaves_nothing(
        self, here: Path, words: list[str], cause: str
    ) -> None:
        write_table(here / "t.csv")
        write_table(here / "few.csv", rows=20)
        result = invoke("churn", *words)
        assert result.exit_code == 2, result.output
        assert cause in result.stderr and result.stderr.count("\n") == 1
        assert sorted(path.name for path in here.iterdir()) == ["few.csv", "t.csv"]


class TestLaidOut:
    def test_an_empty_folder_is_taken_and_holds_what_a_project_needs(
        self, here: Path, root: Path
    ) -> None:
        (here / "my churn").mkdir()
        result = invoke("my churn", "--json")
        assert result.exit_code == 0, result.output
        folder = here / "my churn"
        assert json.loads(result.stdout)["folder"] == str(folder)
        found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
        pages = {f"reports/{page.name}" for page in (root / "reports").glob("*.qmd")}
        books = {f"notebooks/{book.name}" for book in (root / "notebooks").glob("*.ipynb")}
        own = {"runbook.yaml", "_quarto.yml", "Makefile", "README.md", ".gitignore"}
        assert found == pages | books | own
        for name in pages | books | {"_quarto.yml"}:
            assert (folder / name).read_bytes() == (root / name).read_bytes()
        chosen = Settings.load(folder / "runbook.yaml")
        assert chosen.model_name == "my-churn"
        assert chosen.data == Settings.parse({"data": {"source": "synthetic:concept"}}).data
        assert [path.name for path in here.iterdir()] == ["my churn"]

    @pytest.mark.parametrize(
        ("days", "rows", "window", "reference"),
        [
            (None, 2400, 200, 3),
            (None, 150, 30, 2),
            (730, 2400, "quarter", 2),
            (300, 2400, "month", 2),
            (60, 2400, "week", 2),
            (9, 2400, "day", 2),
            (3, 2400, 200, 3),
        ],
    )
    def test_windows_suit_the_table(
        self, here: Path, days: float | None, rows: int, window: object, reference: int
    ) -> None:
        write_table(here / "t.csv", rows, days)
        timed = ["--timestamp", "when"] if days else []
        result = invoke("churn", "--data", "t.csv", "--target", "target", *timed)
        assert result.exit_code == 0, result.output
        chosen = Settings.load(here / "churn" / "runbook.yaml").data
        assert (chosen.window, chosen.reference) == (window, reference)
        assert chosen.source == "../t.csv"
        assert chosen.timestamp == ("when" if days else None)

    def test_settings_keep_their_comments_and_odd_names_are_quoted(self, root: Path) -> None:
        text = (root / "runbook.yaml").read_text(encoding="utf-8")
        values: dict[str, dict[str, Any]] = {
            "data": {"source": "/a b/#1: x.csv", "target": "yes", "timestamp": None, "window": 70},
            "model": {"name": "m-1"},
        }
        filled = new_project.fill_settings(text, values)
        before, after = yaml.safe_load(text), yaml.safe_load(filled)
        for section, changed in values.items():
            before[section] |= changed
        assert after == before
        comments = [line.partition(" # ")[2] for line in text.splitlines()]
        assert [line.rpartition(" # ")[2] for line in filled.splitlines() if " # " in line] == [
            comment.rpartition(" # ")[2] for comment in comments if comment
        ]

    @pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
    def test_make_names_every_target_that_pages_name(self, here: Path, root: Path) -> None:
        assert invoke("churn").exit_code == 0
        listed = subprocess.run(
            ["make", "-s"], cwd=here / "churn", capture_output=True, text=True, check=True
        ).stdout
        targets = set(re.findall(r"^  make ([a-z-]+)", listed, re.M))
        assert targets >= {"run", "run-drift", "backtest", "promote", "rollback", "verify", "serve"}
        planned = subprocess.run(
            ["make", "-s", "-n", "run-drift", "WINDOW=2013-06"],
            cwd=here / "churn", capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        assert planned.split("driftbook ", 1)[1].split() == (
            "run --from drift --window 2013-06".replace("2013-06", '"2013-06"').split()
        )


class TestWheel:
    def test_carries_the_tracked_files_and_nothing_generated(self, wheel: Path, root: Path) -> None:
        with zipfile.ZipFile(wheel) as archive:
            inside = {
                name.removeprefix("driftbook/layout/"): archive.read(name)
                for name in archive.namelist()
                if name.startswith("driftbook/layout/")
            }
            packed = set(archive.namelist())
        tracked = [root / "_quarto.yml", root / "runbook.yaml"]
        tracked += [*root.glob("notebooks/*.ipynb"), *root.glob("reports/*.qmd")]
        assert inside == {str(path.relative_to(root)): path.read_bytes() for path in tracked}
        templates = root / "src" / "driftbook" / "site" / "templates"
        for path in templates.rglob("*"):
            if path.is_file():
                assert f"driftbook/site/templates/{path.relative_to(templates)}" in packed

    @pytest.mark.slow
    @pytest.mark.network
    def test_installed_by_pip_it_lays_out_and_runs_a_model_of_one_s_own(
        self, installed: dict[str, str], tmp_path: Path
    ) -> None:
        def driftbook(folder: Path, *words: str) -> str:
            done = subprocess.run(
                ["driftbook", *words],
                cwd=folder,
                env=installed,
                capture_output=True,
                text=True,
                check=False,
                timeout=300,
            )
            assert done.returncode == 0, done.stderr
            return done.stdout

        subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
        write_table(tmp_path / "churn.csv", days=300)
        words = ["--data", "churn.csv", "--target", "target", "--timestamp", "when"]
        told = driftbook(tmp_path, "new", "churn", *words)
        assert "cd churn && driftbook run\n" in told
        folder = tmp_path / "churn"
        assert "DRIFTBOOK ?= driftbook\n" in (folder / "Makefile").read_text(encoding="utf-8")
        found = json.loads(driftbook(folder, "run", "--json"))
        assert Path(found["page"]) == folder / "reports" / "html" / "index.html"
        assert found["window"] == "2024-09"
        driftbook(folder, "verify")
        document = json.loads((folder / "artifacts" / "manifest.json").read_text(encoding="utf-8"))
        assert set(document["code"]) == {"version"}  # not the commit of the user's repository
        shown = "".join(page.read_text("utf-8") for page in folder.glob("reports/html/*.html"))
        assert "driftbook open" in shown and ".venv/bin/driftbook" not in shown
        ignored = subprocess.run(
            ["git", "status", "--porcelain", "-uall"],
            cwd=folder, capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        assert "artifacts/" not in ignored and "html" not in ignored and "runbook.yaml" in ignored

    @pytest.mark.slow
    @pytest.mark.network
    def test_settings_alone_are_enough(self, installed: dict[str, str], tmp_path: Path) -> None:
        (tmp_path / "s.yaml").write_text("data: {source: 'synthetic:none'}\n", encoding="utf-8")
        done = subprocess.run(
            ["driftbook", "run", "--quick", "--quiet", "--settings", "s.yaml"],
            cwd=tmp_path, env=installed, capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
        page = tmp_path / "artifacts" / "quick" / "reports" / "html" / "index.html"
        assert page.is_file()
