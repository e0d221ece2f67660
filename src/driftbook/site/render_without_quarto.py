"""The pages without Quarto: Markdown through markdown-it, in one template of our own.

It understands the part of Quarto's Markdown that the sources keep to: front matter,
``{{< include >}}``, cell options (``#| label``, ``#| fig-cap``, …), figures with an identifier,
raw HTML blocks, cross-references such as ``@fig-roc``, listings, and links to ``.qmd`` and
``.ipynb``.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.rules_core import StateCore
from markdown_it.token import Token
from mdit_py_plugins.attrs import attrs_plugin
from mdit_py_plugins.container import container_plugin
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name

from driftbook.errors import DriftbookError
from driftbook.site import cells as notebooks
from driftbook.site import search_index
from driftbook.site.cells import Cell
from driftbook.words import TEMPLATES, render_words

ASSETS = ("site.css", "driftbook.css", "site.js", "after-body.html")

_INCLUDE = re.compile(r"^\{\{<\s*include\s+(\S+)\s*>\}\}\s*$", re.MULTILINE)
_LABEL = re.compile(r"\]\([^)\s]+\)\{#(fig-[\w-]+)")
_REFERENCE = re.compile(r"(?<!\w)@((?:fig|tbl)-[\w-]+)")
_PAGE_LINK = re.compile(r"^(?!\w+:)([\w./-]+)\.(?:ipynb|qmd)(#.*)?$")
_CAPTIONS = ("fig-cap", "tbl-cap")
_NAMES = {"fig": "Figure", "tbl": "Table"}


@dataclass(frozen=True)
class Entry:
    """A line of the navigation: its text, its page's stem, and the section it stands in."""

    text: str
    stem: str
    section: str


@dataclass
class Page:
    """A page on its way to HTML; converting a text adds its headings and pictures.

    ``numbers``: what a figure or table is called, by label; ``listings``: HTML by identifier.
    """

    stem: str
    front: Mapping[str, Any]
    numbers: Mapping[str, str] = field(default_factory=dict)
    listings: Mapping[str, str] = field(default_factory=dict)
    headings: list[dict[str, str]] = field(default_factory=list)
    pictures: dict[str, bytes] = field(default_factory=dict)


def list_navigation(quarto: Mapping[str, Any]) -> list[Entry]:
    """Return the site's pages in order, from the sidebar of ``_quarto.yml``."""
    return [
        Entry(item["text"], Path(item["href"]).stem, section["section"])
        for section in quarto["website"]["sidebar"]["contents"]
        for item in section["contents"]
    ]


def write_pages(sources: Sequence[Path], quarto: Mapping[str, Any], out: Path) -> None:
    """Write one HTML page a source into ``out``, all with the same navigation.

    Images of notebooks become files in ``figures/``, beside those the sources refer to.

    Raises:
        DriftbookError: an included file is missing.
    """
    entries = list_navigation(quarto)
    shared = {
        "entries": entries,
        "sections": list(dict.fromkeys(entry.section for entry in entries)),
        "site_title": quarto["website"]["title"],
        "assets": {name: (TEMPLATES / "page" / name).read_text("utf-8") for name in ASSETS},
    }
    (out / "figures").mkdir(parents=True, exist_ok=True)
    found: list[dict[str, str]] = []
    for source in sources:
        page, blocks = convert_source(source)
        html = render_words("page/page.html.j2", page=page, blocks=blocks, **shared)
        (out / f"{page.stem}.html").write_text(html + "\n", encoding="utf-8")
        for name, content in page.pictures.items():
            (out / name).write_bytes(content)
        title = str(page.front.get("title", page.stem))
        found += search_index.list_sections(page.stem, title, "".join(_list_html(blocks)))
    # A script, because a page that was opened from a file may not fetch anything.
    script = search_index.write_script(found)
    (out / search_index.SCRIPT).write_text(script, encoding="utf-8")


def _list_html(blocks: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the HTML of blocks that readers see without opening code."""
    for block in blocks:
        yield block.get("html", "")
        options = block.get("options", {})
        yield from (f"<p>{options[name]}</p>" for name in _CAPTIONS if name in options)
        yield from (output["html"] for output in block.get("outputs", []))


def convert_source(path: Path) -> tuple[Page, list[dict[str, Any]]]:
    """Return the page of a ``.qmd`` or an executed ``.ipynb`` file, and its blocks as HTML.

    Raises:
        DriftbookError: an included file is missing.
    """
    if path.suffix == ".ipynb":
        cells = notebooks.select_shown(notebooks.read_cells(path))
        front, rest = notebooks.split_front_matter(cells[0]["source"] + "\n" if cells else "")
        cells = [notebooks.make_markdown_cell(rest), *cells[1:]] if front else cells
    else:
        front, text = notebooks.split_front_matter(path.read_text(encoding="utf-8"))
        cells = [notebooks.make_markdown_cell(_include(text, path.parent))]
    listing = front.get("listing")
    listings = {listing["id"]: _list_pages(listing, path.parent)} if listing else {}
    page = Page(path.stem, front, _number_labels(cells), listings)
    return page, [_convert_cell(cell, page) for cell in cells if cell["source"].strip()]


def _include(text: str, folder: Path) -> str:
    def content(match: re.Match[str]) -> str:
        path = folder / match.group(1)
        if not path.is_file():
            raise DriftbookError(
                f"{path.name} is included but missing; run `driftbook report` again"
            )
        return _include(path.read_text(encoding="utf-8"), folder)

    return _INCLUDE.sub(content, text)


def _list_pages(listing: Mapping[str, Any], folder: Path) -> str:
    """Return a listing's table; its pages' names begin with their time, so newest come first."""
    fronts = {
        path.stem: notebooks.split_front_matter(path.read_text(encoding="utf-8"))[0]
        for path in sorted(folder.glob(listing["contents"]), reverse=True)
    }
    return render_words("page/listing.html.j2", listing=listing, fronts=fronts)


def _number_labels(cells: Sequence[Cell]) -> dict[str, str]:
    """Return the names of figures and tables in reading order, as Quarto numbers them."""
    numbers: dict[str, str] = {}
    counts = dict.fromkeys(_NAMES, 0)
    for cell in cells:
        labels = _LABEL.findall(cell["source"])
        if cell["cell_type"] == "code":
            labels = [str(notebooks.split_options(cell["source"])[0].get("label", ""))]
        for label in labels:
            kind = label.partition("-")[0]
            if kind in _NAMES:
                counts[kind] += 1
                numbers[label] = f"{_NAMES[kind]} {counts[kind]}"
    return numbers


def _convert_cell(cell: Cell, page: Page) -> dict[str, Any]:
    if cell["cell_type"] != "code":
        return {"kind": "text", "html": convert_markdown(cell["source"], page)}
    options, source = notebooks.split_options(cell["source"])
    label = str(options.get("label", ""))
    # Markdown to Quarto too.
    captions = {
        name: _build_parser().renderInline(str(options[name]), {"page": page})
        for name in _CAPTIONS
        if name in options
    }
    return {
        "kind": label.partition("-")[0],
        "label": label,
        "options": {**options, **captions},
        "code": _highlight(source, "python") if source.strip() else "",
        "outputs": [
            _convert_output(output, page)
            for output in cell["outputs"]
            if output.get("name") != "stderr"
        ],
    }


def _convert_output(output: Mapping[str, Any], page: Page) -> dict[str, Any]:
    data = output.get("data", {})
    if output["output_type"] == "stream":
        data = {"text/plain": "".join(output["text"])}
    shown: dict[str, Any] = {"html": "", "text": "", "picture": "", "size": {}}
    if "image/png" in data:
        name = f"figures/{page.stem}-{len(page.pictures) + 1}.png"
        page.pictures[name] = base64.b64decode("".join(data["image/png"]))
        size = output.get("metadata", {}).get("image/png", {})
        return shown | {"picture": name, "size": size}
    if "text/html" in data:
        return shown | {"html": "".join(data["text/html"])}
    if "text/markdown" in data:
        return shown | {"html": convert_markdown(data["text/markdown"], page)}
    if "text/html" in data:  # as a data frame that a notebook of the owner's shows
        return shown | {"html": f'<div class="table-frame">{data["text/html"]}</div>'}
    return shown | {"text": data.get("text/plain", "")}


def convert_markdown(text: str, page: Page) -> str:
    """Return the HTML of Markdown text; its headings are added to the page's."""
    return str(_build_parser().render(text, {"page": page}))


@cache
def _build_parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark").enable("table").use(attrs_plugin, after=("image",))
    parser.use(
        container_plugin,
        "listing",
        validate=lambda params, *_: params.strip().startswith("{#"),
        render=_render_listing,
    )
    parser.core.ruler.push("pages", _prepare_tokens)
    parser.add_render_rule("fence", _render_fence)
    parser.add_render_rule("image", _render_image)
    parser.add_render_rule("text", _render_text)
    parser.add_render_rule("table_open", lambda *_: '<div class="table-frame"><table>\n')
    parser.add_render_rule("table_close", lambda *_: "</table></div>\n")
    return parser


def _prepare_tokens(state: StateCore) -> None:
    """Give headings their identifiers, links their pages, and take figures out of paragraphs."""
    page = state.env["page"]
    for index, token in enumerate(state.tokens):
        if token.type == "heading_open" and token.tag in ("h2", "h3"):
            token.attrSet("id", _register_heading(page, token.tag, state.tokens[index + 1]))
        for child in token.children or []:
            link = _PAGE_LINK.match(str(child.attrGet("href") or ""))
            if link:
                child.attrSet("href", f"{link[1]}.html{link[2] or ''}")
            if len(token.children or []) == 1 and _is_figure(child):
                state.tokens[index - 1].hidden = state.tokens[index + 1].hidden = True


def _register_heading(page: Page, tag: str, inline: Token) -> str:
    """Return a heading's identifier as Pandoc makes it, so that links hold in both outputs."""
    text = "".join(
        child.content or " " * (child.type == "softbreak") for child in inline.children or []
    )
    kept = re.sub(r"[^\w\s.-]", "", text.strip().lower())
    stem = re.sub(r"^[^a-z]+", "", re.sub(r"\s+", "-", kept)) or "section"
    name, number = stem, 0
    while name in {heading["id"] for heading in page.headings}:
        number += 1
        name = f"{stem}-{number}"
    page.headings.append({"id": name, "tag": tag, "text": text})
    return name


def _is_figure(token: Token) -> bool:
    return token.type == "image" and str(token.attrGet("id") or "").startswith("fig-")


# What markdown-it hands on beyond token and index: its options, and the page's ``env``.
def _render_fence(_renderer: RendererHTML, tokens: Sequence[Token], index: int, *_: Any) -> str:
    token = tokens[index]
    if token.info == "{=html}":
        return token.content
    if token.info:
        return _highlight(token.content, token.info)
    return f"<pre><code>{escape(token.content)}</code></pre>\n"


def _highlight(code: str, language: str) -> str:
    return str(highlight(code, get_lexer_by_name(language), HtmlFormatter()))


def _render_image(self: RendererHTML, tokens: Sequence[Token], index: int, *rest: Any) -> str:
    token, page = tokens[index], rest[1]["page"]
    if not _is_figure(token):
        return self.image(tokens, index, *rest)
    label, source, alt = (str(token.attrGet(name) or "") for name in ("id", "src", "fig-alt"))
    number = page.numbers.get(label, "Figure")
    return (
        f'<figure id="{label}"><img src="{escape(source)}" alt="{escape(alt or token.content)}">'
        f"<figcaption>{number}: {escape(token.content)}</figcaption></figure>\n"
    )


def _render_text(_: RendererHTML, tokens: Sequence[Token], index: int, *rest: Any) -> str:
    numbers = rest[1]["page"].numbers

    def link(match: re.Match[str]) -> str:
        label = match[1]
        return f'<a href="#{label}">{numbers[label]}</a>' if label in numbers else match[0]

    return _REFERENCE.sub(link, escape(tokens[index].content))


def _render_listing(_: RendererHTML, tokens: Sequence[Token], index: int, *rest: Any) -> str:
    name = tokens[index].info.strip(" {#}")
    return str(rest[1]["page"].listings.get(name, "")) if tokens[index].nesting == 1 else ""
