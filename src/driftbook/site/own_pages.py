"""The owner's own notebooks as pages: a title in the front matter, and a place in the sidebar."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from driftbook.site import cells
from driftbook.site.cells import Cell

_HEADING = re.compile(r"\A\s*#\s+(\S.*?)\s*(?:\n|\Z)")


def title_page(given: Sequence[Cell], stem: str) -> tuple[str, list[Cell]]:
    """Return the title of a notebook and its cells, the first of which holds it as front matter.

    The title is that of the notebook's own front matter, else its first heading, which Quarto and
    the renderer without it would both show twice, else its name.
    """
    first, rest = (given[0], list(given[1:])) if given else (cells.make_markdown_cell(""), [])
    front: Mapping[str, Any] = {}
    body = [first, *rest]
    if first["cell_type"] != "code":
        front, text = cells.split_front_matter(first["source"] + "\n")
        if front:
            body = [cells.make_markdown_cell(text), *rest] if text.strip() else rest
    title = str(front.get("title", ""))
    if not title and body and body[0]["cell_type"] == "markdown":
        found = _HEADING.match(body[0]["source"])
        if found:
            title = found[1]
            body = [{**body[0], "source": body[0]["source"][found.end() :].lstrip("\n")}, *body[1:]]
    title = title or re.sub(r"[-_.]+", " ", stem).strip().capitalize()
    written = yaml.safe_dump({**front, "title": title}, sort_keys=False, allow_unicode=True)
    return title, [cells.make_raw_cell(f"---\n{written}---"), *body]


def add_to_sidebar(quarto: Mapping[str, Any], titles: Mapping[str, str]) -> None:
    """Put pages, by their names, at the end of the sidebar's first section: this run's."""
    section = quarto["website"]["sidebar"]["contents"][0]["contents"]
    section += [{"text": title, "href": f"{stem}.ipynb"} for stem, title in titles.items()]
