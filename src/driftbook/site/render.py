"""The HTML runbook: sources assembled, rendered with or without Quarto, swapped in by renames."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from driftbook import paths
from driftbook.errors import DriftbookError
from driftbook.site import cells, decision_page, own_pages, pages, procedures, render_without_quarto
from driftbook.site.cells import Cell
from driftbook.site.figures.theme import Picture
from driftbook.store.evidence import NOTEBOOK_PARTS, PublishedRun, load_published_run
from driftbook.words import TEMPLATES, render_words

# In the tracked _quarto.yml, so that it works from the root as well.
SOURCE_PREFIX = "reports/executed/"
QUARTO_TIMEOUT_S = 600
OWN_PROGRAM = ".venv/bin/driftbook"
# Links between notebooks/ and reports/ hold in the repository; the build folder is flat.
_LEVEL_UP = re.compile(r"\]\(\.\./(?:reports|notebooks)/")


def render_site(artifacts: Path, reports: Path | None = None, options: str = "") -> Path:
    """Return the path of ``index.html`` after the published run has been rendered.

    Sources go to ``<reports>/executed``, pages to ``<reports>/html``; both are swapped in whole,
    so that a failed render leaves the earlier pages as they were. ``reports`` is by default
    the ``reports`` folder beside ``artifacts`` that holds the hand-written pages, else
    ``<artifacts>/reports``. ``options`` are those of the command line, for the commands that the
    pages show.

    Raises:
        DriftbookError: no run is published, a source is missing, or Quarto failed.
    """
    reports = reports or find_pages_folder(artifacts)
    found = load_published_run(artifacts)
    build, html = reports / "executed-new", reports / "html-new"
    # What a stopped render may have left.
    for folder in (build, html):
        shutil.rmtree(folder, ignore_errors=True)
    try:
        quarto = assemble_sources(found, build, options)
        if find_quarto() is None:
            _render_without_quarto(build, quarto, html)
        else:
            _render_with_quarto(build, html)
        # A project file in there would hide the folder from `quarto render` at the root.
        (build / "_quarto.yml").unlink()
        _swap(build, reports / "executed")
        _swap(html, reports / "html")
    finally:
        for folder in (build, html):
            shutil.rmtree(folder, ignore_errors=True)
    return reports / "html" / "index.html"


def find_quarto() -> str | None:
    """Return the path of the Quarto program, or None."""
    return shutil.which("quarto")


def find_pages_folder(artifacts: Path) -> Path:
    """Return where the pages of ``artifacts`` go by default: see :func:`render_site`."""
    beside = artifacts.parent / "reports"
    own = artifacts.name == "artifacts" and (beside / "index.qmd").is_file()
    return beside if own else artifacts / "reports"


def assemble_sources(found: PublishedRun, build: Path, options: str = "") -> dict[str, Any]:
    """Return the site's Quarto settings after all its sources were written into ``build``.

    Raises:
        DriftbookError: the project's hand-written pages or an executed notebook are missing.
    """
    root = _project()
    build.mkdir(parents=True)
    for source in sorted((root / "reports").glob("*.qmd")):
        text = _LEVEL_UP.sub("](", source.read_text(encoding="utf-8"))
        (build / source.name).write_text(_call_program(text), encoding="utf-8")
    command = decision_page.CommandLine(options or _options(found.artifacts))
    _write(build, "decision", *decision_page.compose_decision_page(found, command))
    for action, text in procedures.compose_procedures(found, command).items():
        _write(build, f"when-{action}", text)
    _write(build, "performance", *pages.compose_performance_page(found))
    _write(build, "history", *pages.compose_history_page(found))
    _write(build, "artifacts", pages.compose_artifacts_page(found))
    _write(build, "settings", pages.compose_settings(found))
    for past in found.history[-pages.MOST_RUN_PAGES :]:
        text = pages.compose_run_page(past) + "\n"
        (build / pages.name_run_page(past)).write_text(_call_program(text), encoding="utf-8")
    for name in NOTEBOOK_PARTS:
        cells.write_cells(build / f"{name}.ipynb", _notebook(found, name))
    for name in ("driftbook.css", "dark.scss", "after-body.html"):
        shutil.copyfile(TEMPLATES / "page" / name, build / name)
    text = (root / "_quarto.yml").read_text(encoding="utf-8")
    text = text.replace("output-dir: reports/html", "output-dir: _site").replace(SOURCE_PREFIX, "")
    quarto: dict[str, Any] = yaml.safe_load(text)
    if found.own_notebooks:
        own_pages.add_to_sidebar(quarto, _write_own_pages(found, build))
        text = yaml.safe_dump(quarto, sort_keys=False, allow_unicode=True)
    (build / "_quarto.yml").write_text(text, encoding="utf-8")
    return quarto


def _write_own_pages(found: PublishedRun, build: Path) -> dict[str, str]:
    """Return the titles of the owner's notebooks, by the names of the pages that were written."""
    titles = {}
    for path in found.own_notebooks:
        titles[path.stem], titled = own_pages.title_page(_read_shown(path), path.stem)
        cells.write_cells(build / path.name, titled)
    return titles


def list_page_names() -> set[str]:
    """Return the names of all pages whose sources are the runbook's own.

    Raises:
        DriftbookError: the project's hand-written pages are missing.
    """
    return {path.stem.lower() for path in (_project() / "reports").glob("*.qmd")} | {
        *NOTEBOOK_PARTS
    }


def _project() -> Path:
    """Return the folder with the hand-written pages: the project at hand, else this package's."""
    for root in (paths.find_project_root(), paths.find_layout()):
        if (root / "reports" / "index.qmd").is_file() and (root / "_quarto.yml").is_file():
            return root
    raise DriftbookError(
        "the hand-written pages (reports/*.qmd, _quarto.yml) are not here; "
        "run from the project's folder"
    )


def _call_program(text: str) -> str:
    """Return the commands in a text as they are called here: from PATH, or a project's own folder.

    Sources say ``.venv/bin/driftbook``, which a checkout has once it is set up.
    """
    own = _project() / OWN_PROGRAM
    return text if own.exists() else text.replace(OWN_PROGRAM, "driftbook")


def _options(artifacts: Path) -> str:
    """Return the options that lead to these artifacts from anywhere; none where make does."""
    settings = artifacts.parent / "runbook.yaml"
    if artifacts.name == "artifacts" and settings.is_file():
        made = (artifacts.parent / "Makefile").is_file()
        return "" if made else f" --settings {shlex.quote(str(settings))}"
    return f" --artifacts {shlex.quote(str(artifacts))}"


def _write(
    build: Path, name: str, text: str, pictures: Mapping[str, Picture] | None = None
) -> None:
    (build / f"_{name}.md").write_text(_call_program(text) + "\n", encoding="utf-8")
    for file, picture in (pictures or {}).items():
        picture.save(build / "figures" / file)


def _notebook(found: PublishedRun, name: str) -> list[Cell]:
    """Return the executed cells as they are rendered: no injected one, no tool's metadata."""
    path = found.executed_notebook(name)
    return _placeholder(name) if path is None else _read_shown(path)


def _read_shown(path: Path) -> list[Cell]:
    clean = [{**cell, "metadata": {}} for cell in cells.select_shown(cells.read_cells(path))]
    for cell in clean:
        if cell["cell_type"] == "markdown":
            cell["source"] = _LEVEL_UP.sub("](", cell["source"])
    return clean


def _placeholder(name: str) -> list[Cell]:
    title = name.partition("-")[2].replace("-", " ").capitalize()
    text = render_words("absent_notebook.md.j2", name=name)
    return [cells.make_raw_cell(f'---\ntitle: "{title}"\n---'), cells.make_markdown_cell(text)]


def _render_without_quarto(build: Path, quarto: dict[str, Any], html: Path) -> None:
    sources = [
        _source(build, entry.stem) for entry in render_without_quarto.list_navigation(quarto)
    ]
    render_without_quarto.write_pages([*sources, *sorted(build.glob("run-*.qmd"))], quarto, html)
    if (build / "figures").is_dir():
        shutil.copytree(build / "figures", html / "figures", dirs_exist_ok=True)


def _source(build: Path, stem: str) -> Path:
    for suffix in (".qmd", ".ipynb"):
        if (build / f"{stem}{suffix}").is_file():
            return build / f"{stem}{suffix}"
    raise DriftbookError(f"_quarto.yml lists page {stem!r}, which is missing; mend its sidebar")


def _render_with_quarto(build: Path, html: Path) -> None:
    # Twice told not to execute: here and in _quarto.yml.
    command = [str(find_quarto()), "render", str(build), "--no-execute"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=QUARTO_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise DriftbookError(
            f"quarto gave no result within {QUARTO_TIMEOUT_S} s; try by hand: {' '.join(command)}"
        ) from error
    if done.returncode != 0 or not (build / "_site" / "index.html").is_file():
        last = (done.stderr.strip() or done.stdout.strip() or "it said nothing").splitlines()[-1]
        raise DriftbookError(
            f"quarto could not render the pages ({last}); the earlier pages are unchanged"
        )
    (build / "_site").rename(html)
    # Quarto's cache is neither a source nor a page.
    shutil.rmtree(build / ".quarto", ignore_errors=True)


def _swap(new: Path, place: Path) -> None:
    # A rename cannot replace a folder that has files, so the old one steps aside first.
    old = place.with_name(f"{place.name}-old")
    shutil.rmtree(old, ignore_errors=True)
    if place.exists():
        place.rename(old)
    new.rename(place)
    shutil.rmtree(old, ignore_errors=True)
