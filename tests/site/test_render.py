"""The pages: right numbers from the right run, swapped in whole, the same sources for Quarto."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml
from bs4 import BeautifulSoup

from driftbook.errors import DriftbookError
from driftbook.site import cells, decision_page, render, render_without_quarto
from driftbook.store.evidence import choose_headline, load_published_run
from driftbook.words import format_interval


@pytest.fixture(scope="module")
def artifacts(finished_run: Path) -> Path:
    """Two real runs: an early window, then one after the drift, which is published."""
    return finished_run


@pytest.fixture(scope="module")
def site(artifacts: Path) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(render, "find_quarto", lambda: None)
        return render.render_site(artifacts).parent


def soup(site: Path, name: str) -> BeautifulSoup:
    return BeautifulSoup((site / f"{name}.html").read_text(encoding="utf-8"), "html.parser")


def test_index_shows_the_decision_its_run_and_when(site: Path, artifacts: Path) -> None:
    found = load_published_run(artifacts)
    page = soup(site, "index")
    text = page.get_text(" ", strip=True)
    banner = page.find(class_="db-banner")
    assert banner is not None
    assert banner.get_text(" ", strip=True).split()[1].lower() == found.recommendation["action"]
    assert found.recommendation["model_version"] in text
    assert "rows-0008" in text
    assert found.run_id in text
    assert found.manifest["created_utc"][:10] in text
    for condition in found.recommendation["reverses"]:
        assert condition in text


def test_quality_now_and_baseline_are_the_artifacts_numbers(site: Path, artifacts: Path) -> None:
    now = choose_headline(load_published_run(artifacts).performance, "brier")
    assert now is not None
    text = soup(site, "index").get_text(" ", strip=True)
    assert format_interval(now["value"], now["ci_low"], now["ci_high"]) in text
    assert format_interval(now["baseline"], now["baseline_low"], now["baseline_high"]) in text


def test_four_cards_lead_to_their_pages(site: Path) -> None:
    cards = soup(site, "index").find_all(class_="db-card")
    names = [card.find(class_="db-card-name") for card in cards]
    assert [name.get_text() for name in names if name] == [
        "Data quality",
        "Change of the data",
        "The model's quality",
        "A newer model",
    ]
    assert all((site / str(card["href"])).is_file() for card in cards)


def test_pages_are_those_of_the_sidebar_in_its_order(site: Path, root: Path) -> None:
    quarto = yaml.safe_load((root / "_quarto.yml").read_text(encoding="utf-8"))
    wanted = [entry.stem for entry in render_without_quarto.list_navigation(quarto)]
    links = soup(site, "index").select("nav#site-nav a")
    assert [str(link["href"]) for link in links] == [f"{stem}.html" for stem in wanted]
    assert wanted[0] == "index"
    assert {path.stem for path in site.glob("*.html")} >= set(wanted)


def test_every_link_and_image_of_every_page_is_there(site: Path) -> None:
    for path in site.glob("*.html"):
        page = soup(site, path.stem)
        places = [str(link["href"]) for link in page.find_all("a", href=True)]
        places += [str(image["src"]) for image in page.find_all("img")]
        for place in places:
            assert "://" not in place, f"{path.name} needs the network: {place}"
            file, _, fragment = place.partition("#")
            target = site / file if file else path
            assert target.is_file(), f"{path.name} links to {place}"
            if fragment:
                there = soup(site, target.stem)
                assert there.find(id=fragment) is not None, f"{path.name}: no {place}"


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    for path in site.glob("*.html"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"""(?:src|href)=["'](?:https?:)?//""", text)
        assert "@import" not in text


def test_a_notebooks_figures_tables_and_references(site: Path, artifacts: Path) -> None:
    page = soup(site, "02-drift")
    figure = page.find("figure", id="fig-effects")
    assert figure is not None
    assert figure.get_text(strip=True).startswith("Figure 1: How far every column has moved")
    image = figure.find("img")
    assert image is not None
    assert str(image["alt"]).startswith("A dot and an interval for each column")
    assert image["width"] == "560"
    picture = (site / str(image["src"])).read_bytes()
    assert picture.startswith(b"\x89PNG")
    table = page.find(id="tbl-drift")
    assert table is not None
    assert table.get_text().strip().startswith("Table 1: Every column with its verdict")
    report = pd.read_csv(artifacts / "drift" / "drift_report.csv")
    first = [row.td.get_text() for row in table.select("tbody")[0].select("tr") if row.td]
    largest = report.sort_values("effect", key=abs, ascending=False, kind="stable")
    assert first == list(largest["feature"])
    heading = page.find("h2")
    assert heading is not None
    assert heading["id"] == "are-the-columns-sound"
    assert page.select("nav.toc a")[0]["href"] == "#are-the-columns-sound"
    last = page.select("main p a")[-1]
    assert last["href"] == "03-retrain-decision.html"
    references = [a for a in soup(site, "01-train-eval").select("main p a") if a["href"] != "02"]
    assert ("Figure 3", "#fig-calibration") in [(a.get_text(), a["href"]) for a in references]


QMD = """---
title: "A & B"
---

## A heading: `what`, why?

See @fig-one, `@fig-one` and [02](02-drift.ipynb#a-heading-what-why).

![A <caption>.](figures/one.png){#fig-one fig-alt="An alt
text."}

## A heading: what, why?

::: {#runs}
:::

```{=html}
<p class="raw">

one</p>
```

```bash
make run  # and
```

| a | b |
| :-- | --: |
| 1 | \\*2 |
"""


def test_markdown_without_quarto(tmp_path: Path) -> None:
    (tmp_path / "page.qmd").write_text(QMD.replace("alt\ntext", "alt text"), encoding="utf-8")
    page, blocks = render_without_quarto.convert_source(tmp_path / "page.qmd")
    html = BeautifulSoup(blocks[0]["html"], "html.parser")
    assert page.front["title"] == "A & B"
    assert [heading["id"] for heading in page.headings] == [
        "a-heading-what-why",
        "a-heading-what-why-1",
    ]
    links = [(a.get_text(), a["href"]) for a in html.find_all("a")]
    assert links == [("Figure 1", "#fig-one"), ("02", "02-drift.html#a-heading-what-why")]
    assert [code.get_text() for code in html.select("p code")] == ["@fig-one"]
    figure = html.find("figure", id="fig-one")
    assert figure is not None and figure.img is not None
    assert figure.parent is html
    assert figure.get_text() == "Figure 1: A <caption>."
    assert figure.img["alt"] == "An alt text."
    assert '<p class="raw">\n\none</p>' in blocks[0]["html"]
    assert html.select_one(".highlight pre") is not None
    cell = html.select(".table-frame td")[1]
    assert cell.get_text() == "*2" and "right" in str(cell["style"])
    assert ":::" not in html.get_text()


def test_plain_output_keeps_its_lines_and_a_pictures_caption_its_names(tmp_path: Path) -> None:
    plain = {"output_type": "stream", "name": "stdout", "text": "a  <b>\nc"}
    data = {"image/png": "AA==", "text/plain": "Distribution of *a* and [b](javascript:c)"}
    picture = {"output_type": "display_data", "data": data, "metadata": {}}
    code = {"cell_type": "code", "metadata": {}}
    written = [
        {**code, "source": "print()", "outputs": [plain]},
        cells.caption_figure({**code, "source": "#| label: fig-a\na", "outputs": [picture]}),
    ]
    cells.write_cells(tmp_path / "one.ipynb", written)
    pages = [{"section": "S", "contents": [{"text": "One", "href": "one.ipynb"}]}]
    quarto = {"website": {"title": "T", "sidebar": {"contents": pages}}}
    render_without_quarto.write_pages([tmp_path / "one.ipynb"], quarto, tmp_path / "out")
    html = (tmp_path / "out" / "one.html").read_text()
    assert '<pre class="plain">a  &lt;b&gt;\nc</pre>' in html
    caption = "Distribution of *a* and [b](javascript:c)"
    assert f"<figcaption>Figure 1: {caption}</figcaption>" in html
    assert f'alt="{caption}"' in html


def test_injected_parameters_and_cell_options_are_not_shown(site: Path, artifacts: Path) -> None:
    run_id = load_published_run(artifacts).run_id
    executed = artifacts / "runs" / run_id / "executed" / "02-drift.ipynb"
    assert f'run_id = \\"{run_id}\\"' in executed.read_text(encoding="utf-8")
    for folder in (site, artifacts / "reports" / "executed"):
        for path in folder.glob("0*"):
            assert run_id not in path.read_text(encoding="utf-8"), path.name
    text = soup(site, "01-train-eval").get_text()
    assert "fig-cap" not in text
    assert "papermill" not in text


def test_sources_are_lists_of_lines(site: Path) -> None:
    paths = sorted((site.parent / "executed").glob("*.ipynb"))
    assert len(paths) == 5
    for path in paths:
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            assert isinstance(cell["source"], list), path.name
            assert all(line.index("\n") == len(line) - 1 for line in cell["source"][:-1])
            assert cell["source"][-1].find("\n") in (-1, len(cell["source"][-1]) - 1)
            for output in cell.get("outputs", []):
                for kind, text in output.get("data", {}).items():
                    assert isinstance(text, list) or not kind.startswith("text/"), path.name


def test_executed_sources_carry_no_tools_metadata(site: Path, artifacts: Path) -> None:
    for path in (site.parent / "executed").glob("*.ipynb"):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        assert all(cell["metadata"] == {} for cell in notebook["cells"])
        assert set(notebook["metadata"]) == {"kernelspec"}
        # No table of pandas: HTML is what a fold needs, and nothing else.
        pages = path.read_text(encoding="utf-8").count("text/html")
        assert pages == (1 if path.stem == "02-drift" else 0)
        assert "Try it here" not in path.read_text(encoding="utf-8")
        assert notebook["cells"][0]["cell_type"] == "raw"


def test_history_lists_runs_newest_first_and_links_them(site: Path, artifacts: Path) -> None:
    past = load_published_run(artifacts).history
    rows = soup(site, "history").select("main table")[0].select("tbody tr")
    links = [str(row.a["href"]) for row in rows if row.a]
    assert links == [f"run-{one.run_id}.html" for one in reversed(past)]
    for one in past:
        text = soup(site, f"run-{one.run_id}").get_text(" ", strip=True)
        assert one.document["action"].capitalize() in text
        assert one.document["window"] in text


def test_artifacts_page_names_every_file_of_the_manifest(site: Path, artifacts: Path) -> None:
    text = soup(site, "artifacts").get_text(" ", strip=True)
    for path, entry in load_published_run(artifacts).manifest["files"].items():
        assert path in text
        assert entry["sha256"][:16] in text


def test_a_notebook_that_did_not_run_has_a_page_that_says_so(site: Path) -> None:
    assert "make backtest" in soup(site, "05-backtest").get_text()


def test_site_is_small(site: Path) -> None:
    sizes = [path.stat().st_size for path in site.rglob("*") if path.is_file()]
    assert max(sizes) < 1.5e6
    assert sum(sizes) < 10e6


def test_rendering_again_gives_the_same_bytes(site: Path, artifacts: Path) -> None:
    before = {p.relative_to(site): p.read_bytes() for p in site.rglob("*") if p.is_file()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(render, "find_quarto", lambda: None)
        render.render_site(artifacts)
    after = {p.relative_to(site): p.read_bytes() for p in site.rglob("*") if p.is_file()}
    assert after == before


def test_a_failed_render_leaves_the_old_pages(
    site: Path, artifacts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (site / "index.html").read_bytes()

    def fail(*_: object) -> None:
        raise DriftbookError("no ink")

    monkeypatch.setattr(render, "find_quarto", lambda: None)
    monkeypatch.setattr(render_without_quarto, "write_pages", fail)
    with pytest.raises(DriftbookError, match="no ink"):
        render.render_site(artifacts)
    assert (site / "index.html").read_bytes() == before
    assert sorted(p.name for p in site.parent.iterdir()) == ["executed", "html"]


def test_without_a_run_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DriftbookError, match="driftbook run"):
        render.render_site(tmp_path)


def test_pages_go_beside_the_artifacts_where_hand_written_pages_are(
    artifacts: Path, tmp_path: Path
) -> None:
    assert render.find_pages_folder(artifacts) == artifacts / "reports"
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "index.qmd").touch()
    assert render.find_pages_folder(tmp_path / "artifacts") == tmp_path / "reports"
    assert render.find_pages_folder(tmp_path / "other") == tmp_path / "other" / "reports"


@pytest.mark.parametrize(
    ("action", "options", "command"),
    [
        ("hold", "", "make run-drift"),
        ("monitor", " --settings a.yaml", ".venv/bin/driftbook run --from drift --settings a.yaml"),
        ("retrain", "", "make promote"),
        ("retrain", " --settings a.yaml", ".venv/bin/driftbook promote --settings a.yaml"),
        ("investigate", "", ".venv/bin/driftbook open {run}"),
    ],
)
def test_next_step_is_a_command_that_exists(
    artifacts: Path, action: str, options: str, command: str
) -> None:
    found = load_published_run(artifacts)
    found.recommendation["action"] = action
    shown = decision_page.choose_next_command(found, decision_page.CommandLine(options))
    assert shown == command.format(run=found.run_id)


# A stand-in for the Quarto program: it notes how it was called and makes one page.
FAKE_QUARTO = """#!/bin/sh
echo "$@" > "{log}"
[ -n "$FAKE_FAIL" ] && {{ echo "ERROR: bad YAML" >&2; exit 1; }}
mkdir -p "$2/_site" && cp "$2/_quarto.yml" "$2/_site/"
echo made by quarto > "$2/_site/index.html"
"""


@pytest.fixture
def quarto(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program, log = tmp_path / "bin" / "quarto", tmp_path / "log"
    program.parent.mkdir()
    program.write_text(FAKE_QUARTO.format(log=log), encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    return log


def test_quarto_renders_where_it_is_found_and_never_executes(
    artifacts: Path, tmp_path: Path, quarto: Path
) -> None:
    assert render.find_quarto() is not None
    page = render.render_site(artifacts, tmp_path / "pages")
    assert page.read_text(encoding="utf-8") == "made by quarto\n"
    words = quarto.read_text(encoding="utf-8").split()
    assert words[0] == "render"
    assert "--no-execute" in words
    used = yaml.safe_load((page.parent / "_quarto.yml").read_text(encoding="utf-8"))
    assert used["execute"] == {"enabled": False}
    assert used["project"]["output-dir"] == "_site"
    assert not (tmp_path / "pages" / "executed" / "_site").exists()


def test_a_failing_quarto_is_one_sentence_and_changes_nothing(
    artifacts: Path, tmp_path: Path, quarto: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = render.render_site(artifacts, tmp_path / "pages")
    monkeypatch.setenv("FAKE_FAIL", "1")
    with pytest.raises(DriftbookError, match="bad YAML") as caught:
        render.render_site(artifacts, tmp_path / "pages")
    assert "\n" not in str(caught.value)
    assert page.read_text(encoding="utf-8") == "made by quarto\n"


def test_quarto_settings_name_files_that_are_there(site: Path, root: Path) -> None:
    build = site.parent / "executed"
    tracked = (root / "_quarto.yml").read_text(encoding="utf-8")
    used = yaml.safe_load(tracked.replace(render.SOURCE_PREFIX, ""))
    assert not (build / "_quarto.yml").exists()
    html = used["format"]["html"]
    named = [
        entry["href"]
        for part in used["website"]["sidebar"]["contents"]
        for entry in part["contents"]
    ]
    named += [html["css"], html["include-after-body"], html["theme"]["dark"][1]]
    for name in named:
        assert (build / name).is_file(), name
    assert html["html-math-method"] == "mathml"
    assert html["theme"]["light"] == "default"
    assert html["theme"]["dark"][0] == "default"


def test_quarto_follows_the_system_and_has_one_switch_for_all_code(root: Path) -> None:
    html = yaml.safe_load((root / "_quarto.yml").read_text(encoding="utf-8"))["format"]["html"]
    assert html["respect-user-color-scheme"] is True
    assert html["code-fold"] is True
    assert html["code-tools"] == {"source": False, "toggle": True, "caption": "Code"}


def luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize(
    ("ink", "paper"),
    [
        ("body-color", "body-bg"),
        ("link-color", "body-bg"),
        ("text-muted", "body-bg"),
        ("table-color", "body-bg"),
        ("code-color", "code-bg"),
        ("pre-color", "body-bg"),
        ("sidebar-fg", "sidebar-bg"),
        ("link-color", "sidebar-bg"),
        ("dropdown-link-color", "dropdown-bg"),
        ("dropdown-link-hover-color", "dropdown-link-hover-bg"),
        ("input-placeholder-color", "body-bg"),
    ],
)
def test_quartos_dark_theme_is_dark_and_has_contrast(ink: str, paper: str) -> None:
    text = (render.TEMPLATES / "page" / "dark.scss").read_text(encoding="utf-8")
    colours = dict(re.findall(r"^\$([\w-]+): (#[0-9a-f]{6});$", text, re.MULTILINE))
    light, dark = luminance(colours[ink]), luminance(colours[paper])
    assert dark < 0.05
    assert (light + 0.05) / (dark + 0.05) >= 4.5


def test_quarto_is_pinned_in_one_version(root: Path) -> None:
    project = (root / "pyproject.toml").read_text(encoding="utf-8")
    pins = re.findall(r"quarto-cli==([\d.]+)", project)
    declared = re.findall(r'name = "quarto-cli"\nversion = "([\d.]+)"', project)
    lock = (root / "requirements.lock").read_text(encoding="utf-8")
    assert len(pins) == 1 and pins == declared
    assert re.findall(r"^quarto-cli==([\d.]+)", lock, re.MULTILINE) == pins
    assert tuple(map(int, pins[0].split(".")[:2])) >= (1, 7)


def test_sources_keep_to_what_both_renderers_read(site: Path) -> None:
    build = site.parent / "executed"
    for path in [*build.glob("*.qmd"), *build.glob("_*.md")]:
        text = path.read_text(encoding="utf-8")
        assert "callout" not in text
        assert not re.search(r"^```\{(?!=html)", text, re.MULTILINE), f"{path.name} has a cell"
        for name in re.findall(r"\{\{< include (\S+) >\}\}", text):
            assert (build / name).is_file()
        assert "](../" not in text


@pytest.mark.skipif(shutil.which("quarto") is None, reason="Quarto is not installed here")
def test_quarto_makes_the_same_pages(site: Path, artifacts: Path, tmp_path: Path) -> None:
    made = render.render_site(artifacts, tmp_path / "pages").parent
    assert {p.name for p in made.glob("*.html")} == {p.name for p in site.glob("*.html")}
    for path in made.glob("*.html"):
        theirs, ours = soup(made, path.stem), soup(site, path.stem)
        assert [h.get_text(strip=True) for h in theirs.select("main h2")] == [
            h.get_text(strip=True) for h in ours.select("main h2")
        ]
        assert len(theirs.select("main img")) == len(ours.select("main img"))
        assert "cdn" not in path.read_text(encoding="utf-8")


def test_cell_lists_survive_a_round_trip(artifacts: Path, tmp_path: Path) -> None:
    run = artifacts / "runs" / load_published_run(artifacts).run_id
    read = cells.read_cells(run / "executed" / "03-retrain-decision.ipynb")
    cells.write_cells(tmp_path / "two.ipynb", read)
    assert cells.read_cells(tmp_path / "two.ipynb") == read
    shown = [o["data"]["text/markdown"] for c in read for o in c.get("outputs", []) if "data" in o
             and "text/markdown" in o["data"]]  # fmt: skip
    assert shown and all(isinstance(text, str) for text in shown)
