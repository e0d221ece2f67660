"""Notebooks as plain lists of cells, read and written without validation or a kernel."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import yaml

from driftbook.words import escape_markup

Cell = dict[str, Any]

# Parameters (their defaults are JupyterLab's, a run's own are injected), and whatever else is not
# for readers of pages.
HIDDEN_TAGS = frozenset({"remove-cell", "parameters", "injected-parameters"})

_FRONT = re.compile(r"\A---\n(.*?)\n---\n?", re.DOTALL)
_TITLE = re.compile(r"\A#[ \t]+(?P<title>[^\n]+)\n*(?:\*(?P<subtitle>[^*]+)\*[ \t]*(?:\n|\Z))?")
_OPTIONS = re.compile(r"\A(?:#\|[^\n]*\n?)+")
# A fixed kernel entry: the one papermill records depends on the machine.
_KERNEL = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}


def read_cells(path: Path) -> list[Cell]:
    """Return the notebook's cells; texts that the file holds as lists of lines are joined."""
    cells: list[Cell] = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [_map_texts(cell, _join_text) for cell in cells]


def write_cells(path: Path, cells: Sequence[Cell]) -> None:
    """Write the cells as a notebook of format 4.5, every text as a list of its lines.

    Quarto loses the line ends of a source that is one string.
    """
    taken = {cell.get("id") for cell in cells}
    free = (f"cell-{number}" for number in count(1) if f"cell-{number}" not in taken)
    named = [cell if "id" in cell else {"id": next(free), **cell} for cell in cells]
    notebook = {
        "cells": [_map_texts(cell, split_lines) for cell in named],
        "metadata": _KERNEL,
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    text = json.dumps(notebook, indent=1, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def _map_texts(cell: Cell, change: Callable[[Any], Any]) -> Cell:
    changed = {**cell, "source": change(cell["source"])}
    if "outputs" in cell:
        changed["outputs"] = [_map_output(output, change) for output in cell["outputs"]]
    return changed


def _map_output(output: dict[str, Any], change: Callable[[Any], Any]) -> dict[str, Any]:
    if "data" not in output:
        return output
    data = {
        kind: change(value) if kind.startswith("text/") else value
        for kind, value in output["data"].items()
    }
    return {**output, "data": data}


def _join_text(value: Any) -> Any:
    return "".join(value) if isinstance(value, list) else value


def split_lines(text: str) -> list[str]:
    r"""Return a text's lines, each but the last with its line end.

    >>> split_lines("a\n\nb")
    ['a\n', '\n', 'b']
    """
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def select_shown(cells: Sequence[Cell]) -> list[Cell]:
    """Return the cells that readers see."""
    return [cell for cell in cells if not HIDDEN_TAGS & set(cell["metadata"].get("tags", []))]


def lift_title(cells: Sequence[Cell]) -> list[Cell]:
    """Return cells whose first one is the front matter that the renderers read.

    A notebook opens with prose: ``# Title``, then a subtitle in italics, then text. Pages have
    both from front matter, and their headings begin below the title.
    """
    found = _TITLE.match(cells[0]["source"]) if cells else None
    if not found or cells[0]["cell_type"] != "markdown":
        return list(cells)
    front = {"title": found["title"].strip()}
    if found["subtitle"]:
        front["subtitle"] = " ".join(found["subtitle"].split())
    text = yaml.safe_dump(front, sort_keys=False, allow_unicode=True, width=1000)
    rest = cells[0]["source"][found.end() :].strip()
    lifted = [make_raw_cell(f"---\n{text}---")]
    return [*lifted, *([{**cells[0], "source": rest}] if rest else []), *cells[1:]]


def caption_figure(cell: Cell) -> Cell:
    """Return a cell of a figure with a caption and an alternative text.

    A cell that brings none has that of its picture, which knows what it came to show.
    """
    options, _ = split_options(cell["source"])
    if cell["cell_type"] != "code" or not str(options.get("label", "")).startswith("fig-"):
        return cell
    shown = [o["data"] for o in cell["outputs"] if "image/png" in o.get("data", {})]
    text = str(shown[0].get("text/plain", "")) if shown else ""
    # A caption is Markdown, an alternative text is not.
    texts = {"fig-cap": escape_markup(text), "fig-alt": text}
    added = [
        f"#| {name}: {json.dumps(value, ensure_ascii=False)}\n"
        for name, value in texts.items()
        if text and name not in options
    ]
    return {**cell, "source": "".join(added) + cell["source"]}


def make_markdown_cell(source: str) -> Cell:
    """Return a Markdown cell."""
    return {"cell_type": "markdown", "metadata": {}, "source": source}


def make_raw_cell(source: str) -> Cell:
    """Return a raw cell."""
    return {"cell_type": "raw", "metadata": {}, "source": source}


def split_front_matter(text: str) -> tuple[Mapping[str, Any], str]:
    r"""Return the YAML front matter and the text after it.

    >>> split_front_matter('---\ntitle: A\n---\nText')
    ({'title': 'A'}, 'Text')
    """
    found = _FRONT.match(text)
    if not found:
        return {}, text
    return yaml.safe_load(found.group(1)) or {}, text[found.end() :]


def split_options(source: str) -> tuple[Mapping[str, Any], str]:
    r"""Return a code cell's ``#|`` options and its source without them.

    >>> split_options('#| label: fig-a\n#| fig-cap: "A"\nplot()')
    ({'label': 'fig-a', 'fig-cap': 'A'}, 'plot()')
    """
    found = _OPTIONS.match(source)
    if not found:
        return {}, source
    lines = [line[2:].removeprefix(" ") for line in found.group().splitlines()]
    return yaml.safe_load("\n".join(lines)) or {}, source[found.end() :]
