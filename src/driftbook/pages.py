"""Pages from notebooks and Markdown without Quarto: nbconvert with one small template.

It understands the part of Quarto's Markdown that the project's pages use: front matter,
``{{< include >}}``, cell options (``#| label``, ``#| fig-cap``, …), figures with an identifier,
raw HTML blocks, cross-references such as ``@fig-roc``, and links to ``.qmd`` and ``.ipynb``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from bs4 import BeautifulSoup

from driftbook import cells as notebooks
from driftbook.cells import Cell
from driftbook.errors import DriftbookError

TEMPLATES = Path(__file__).resolve().parent / "templates"
ASSETS = ("driftbook.css", "site/site.css", "site/site.js", "after-body.html")
IMAGE_NAME = "figures/{unique_key}-{cell_index}-{index}{extension}"

# The subset of Quarto's syntax that the sources keep to; tests hold them to it.
_INCLUDE = re.compile(r"^\{\{<\s*include\s+(\S+)\s*>\}\}\s*$", re.MULTILINE)
_RAW = re.compile(r"^```\{=html\}\n(.*?)\n```$", re.DOTALL | re.MULTILINE)
_FIGURE = re.compile(
    r'^!\[(.*?)\]\(([^)\s]+)\)\{#(fig-[\w-]+)(?:\s+fig-alt="([^"]*)")?\}$', re.MULTILINE
)
_REFERENCE = re.compile(r"(?<![\w`])@((?:fig|tbl)-[\w-]+)")
_PAGE_LINK = re.compile(r"^(?!\w+:)([\w./-]+)\.(?:ipynb|qmd)(#.*)?$")
# Quarto puts a listing where a division has the listing's id.
_LISTING = re.compile(r"^::: \{#([\w-]+)\}\n:::$", re.MULTILINE)
_NAMES = {"fig": "Figure", "tbl": "Table"}


@dataclass(frozen=True)
class Page:
    """A page on its way to HTML: its address stem, title, subtitle and prepared cells."""

    stem: str
    title: str
    subtitle: str
    cells: list[Cell]


@dataclass(frozen=True)
class Entry:
    """A line of the navigation: its text, its page's stem, and the section it stands in."""

    text: str
    stem: str
    section: str


def navigation(quarto: Mapping[str, Any]) -> list[Entry]:
    """Return the site's pages in order, from the sidebar of ``_quarto.yml``."""
    return [
        Entry(item["text"], Path(item["href"]).stem, section["section"])
        for section in quarto["website"]["sidebar"]["contents"]
        for item in section["contents"]
    ]


def read(path: Path) -> Page:
    """Return the page of a ``.qmd`` or an executed ``.ipynb`` file.

    Raises:
        DriftbookError: an included file is missing.
    """
    if path.suffix == ".ipynb":
        found = notebooks.shown(notebooks.read(path))
        front, rest = notebooks.front_matter(found[0]["source"] + "\n" if found else "")
        found = [notebooks.markdown(rest), *found[1:]] if front else found
    else:
        front, text = notebooks.front_matter(path.read_text(encoding="utf-8"))
        text = _listed(_included(text, path.parent), front.get("listing"), path.parent)
        found = [notebooks.markdown(text)]
    cells = [_prepared(cell) for cell in found if cell["source"].strip()]
    _number(cells)
    return Page(path.stem, front.get("title", path.stem), front.get("subtitle", ""), cells)


def _included(text: str, folder: Path) -> str:
    def content(match: re.Match[str]) -> str:
        path = folder / match.group(1)
        if not path.is_file():
            raise DriftbookError(
                f"{path.name} is included but missing; run `driftbook report` again"
            )
        return _included(path.read_text(encoding="utf-8"), folder)

    return _INCLUDE.sub(content, text)


def _listed(text: str, listing: Mapping[str, Any] | None, folder: Path) -> str:
    """Return the text with the listing of its front matter as a table, newest first."""
    if listing is None:
        return text
    # File names begin with the run's time, so reverse order is newest first.
    found = [
        (path, notebooks.front_matter(path.read_text(encoding="utf-8"))[0])
        for path in sorted(folder.glob(listing["contents"]), reverse=True)
    ]
    names = listing["field-display-names"]
    head = "".join(f"<th>{names[field]}</th>" for field in listing["fields"])
    rows = "".join(
        "<tr>" + "".join(_field(path, front, field) for field in listing["fields"]) + "</tr>"
        for path, front in found
    )
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    html = f"```{{=html}}\n{table}\n```"
    return _LISTING.sub(lambda m: html if m.group(1) == listing["id"] else m.group(0), text)


def _field(path: Path, front: Mapping[str, Any], field: str) -> str:
    value = str(front.get(field, ""))
    if field == "title":
        return f'<td><a href="{path.stem}.html">{escape(value)}</a></td>'
    return f"<td>{value[:10] if field == 'date' else value}</td>"


def _prepared(cell: Cell) -> Cell:
    if cell["cell_type"] != "code":
        return notebooks.markdown(cell["source"])
    options, source = notebooks.options_of(cell["source"])
    outputs = [output for output in cell["outputs"] if output["output_type"] != "stream"]
    return {**cell, "source": source, "outputs": outputs, "metadata": {"options": options}}


def _number(cells: Sequence[Cell]) -> None:
    """Number figures and tables in reading order and turn references into links."""
    numbers: dict[str, str] = {}
    counts = dict.fromkeys(_NAMES, 0)
    for cell in cells:
        for label in _labels(cell):
            kind = label.partition("-")[0]
            counts[kind] += 1
            numbers[label] = f"{_NAMES[kind]} {counts[kind]}"
    for cell in cells:
        cell["metadata"]["numbers"] = numbers
        if cell["cell_type"] == "markdown":
            cell["source"] = _REFERENCE.sub(
                lambda m: f"[{numbers[m[1]]}](#{m[1]})" if m[1] in numbers else m[0],
                cell["source"],
            )


# Quarto numbers a cell by its label and a picture by its identifier; so does this.
def _labels(cell: Cell) -> list[str]:
    if cell["cell_type"] == "code":
        label = str(cell["metadata"]["options"].get("label", ""))
        return [label] if label.partition("-")[0] in _NAMES else []
    return [match.group(3) for match in _FIGURE.finditer(cell["source"])]


def markdown_to_html(text: str, numbers: Mapping[str, str] | None = None) -> str:
    """Return the HTML of Markdown text; raw HTML blocks go through untouched."""
    from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

    kept: list[str] = []

    def keep(html: str) -> str:
        kept.append(html)
        return f"\n<!--kept-{len(kept) - 1}-->\n"

    # Kept aside as comments, because Markdown would end an HTML block at an empty line.
    text = _RAW.sub(lambda m: keep(m.group(1)), text)
    text = _FIGURE.sub(lambda m: keep(_figure(m, numbers or {})), text)
    renderer = IPythonRenderer(escape=False, exclude_anchor_links=True)
    html = str(MarkdownWithMath(renderer=renderer).render(text))
    for index, block in enumerate(kept):
        html = html.replace(f"<!--kept-{index}-->", block)
    return html


def _figure(match: re.Match[str], numbers: Mapping[str, str]) -> str:
    caption, source, label, alt = match.groups()
    number = numbers.get(label, "Figure")
    return (
        f'<figure id="{label}"><img src="{escape(source)}" alt="{escape(alt or caption)}" '
        f"><figcaption>{number}: {escape(caption)}</figcaption></figure>"
    )


def write_site(sources: Sequence[Path], quarto: Mapping[str, Any], out: Path) -> None:
    """Write one HTML page a source into ``out``, all with the same navigation.

    Images of notebooks become files in ``figures/``, beside those the sources refer to.
    """
    entries = navigation(quarto)
    resources = {
        "entries": entries,
        "sections": list(dict.fromkeys(entry.section for entry in entries)),
        "site_title": quarto["website"]["title"],
        "assets": {name: (TEMPLATES / name).read_text(encoding="utf-8") for name in ASSETS},
    }
    exporter = _exporter()
    out.mkdir(parents=True, exist_ok=True)
    for source in sources:
        # One exporter for all pages: making one costs more than converting a page.
        page = read(source)
        html, made = exporter.from_notebook_node(
            _node(page.cells), resources={**resources, "page": page, "unique_key": page.stem}
        )
        (out / f"{page.stem}.html").write_text(_finished(html), encoding="utf-8")
        for name, content in made.get("outputs", {}).items():
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            (out / name).write_bytes(content)


# nbconvert and nbformat carry no annotations: what comes from them is Any.
def _exporter() -> Any:
    from nbconvert import exporters

    library: Any = exporters
    return library.HTMLExporter(
        template_name="site",
        extra_template_basedirs=[str(TEMPLATES)],
        filters={"page_markdown": markdown_to_html},
        preprocessors=["nbconvert.preprocessors.ExtractOutputPreprocessor"],
        config={"ExtractOutputPreprocessor": {"output_filename_template": IMAGE_NAME}},
    )


def _node(cells: Sequence[Cell]) -> Any:
    import nbformat

    library: Any = nbformat
    return library.from_dict(notebooks.notebook(cells))


def _finished(html: str) -> str:
    """Return the page with its links, heading identifiers, table frames and contents in place."""
    soup = BeautifulSoup(html, "html.parser")
    for link in soup.find_all("a", href=True):
        found = _PAGE_LINK.match(str(link["href"]))
        if found:
            link["href"] = f"{found.group(1)}.html{found.group(2) or ''}"
    # The same identifiers in both outputs, so that a link to a section holds in either.
    used: set[str] = set()
    body = soup.find("main")
    toc = soup.find(id="toc-list")
    if body is None or toc is None:
        raise DriftbookError("the page template has no main part or no table of contents")
    for heading in body.find_all(["h2", "h3"]):
        heading["id"] = _identifier(heading.get_text(), used)
        item = soup.new_tag("li", attrs={"class": f"toc-{heading.name}"})
        anchor = soup.new_tag("a", href=f"#{heading['id']}")
        anchor.string = heading.get_text()
        item.append(anchor)
        toc.append(item)
    # A page without sections needs no list of them.
    frame = toc.find_parent("nav")
    if frame is not None and not toc.find("li"):
        frame.decompose()
    for grid in body.find_all("table"):
        grid.wrap(soup.new_tag("div", attrs={"class": "table-frame"}))
    return str(soup)


def _identifier(text: str, used: set[str]) -> str:
    """Return a heading's identifier as Pandoc makes it, unique within the page."""
    kept = re.sub(r"[^\w\s.-]", "", text.strip().lower())
    stem = re.sub(r"\s+", "-", kept)
    stem = re.sub(r"^[^a-z]+", "", stem) or "section"
    name, number = stem, 0
    while name in used:
        number += 1
        name = f"{stem}-{number}"
    used.add(name)
    return name
