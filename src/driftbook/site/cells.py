"""Notebooks as plain lists of cells, read and written without validation or a kernel."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import yaml

Cell = dict[str, Any]

# Papermill's injected parameters, and whatever else a notebook says is not for readers.
HIDDEN_TAGS = frozenset({"remove-cell", "injected-parameters"})

_FRONT = re.compile(r"\A---\n(.*?)\n---\n?", re.DOTALL)
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
