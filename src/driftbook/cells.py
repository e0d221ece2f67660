"""Notebooks as plain lists of cells, read and written without validation or a kernel."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
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


def read(path: Path) -> list[Cell]:
    """Return the notebook's cells; texts that the file holds as lists of lines are joined."""
    cells: list[Cell] = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [_joined(cell) for cell in cells]


def _joined(cell: Cell) -> Cell:
    joined = {**cell, "source": _text(cell["source"])}
    if "outputs" in cell:
        joined["outputs"] = [
            {**output, "data": {kind: _text(value) for kind, value in output["data"].items()}}
            if "data" in output
            else output
            for output in cell["outputs"]
        ]
    return joined


def _text(value: Any) -> Any:
    return "".join(value) if isinstance(value, list) else value


def write(path: Path, cells: Sequence[Cell]) -> None:
    """Write the cells as a notebook of format 4.5."""
    text = json.dumps(notebook(cells), indent=1, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def notebook(cells: Sequence[Cell]) -> dict[str, Any]:
    """Return a notebook of these cells; those without an id get one that no other has."""
    taken = {cell.get("id") for cell in cells}
    free = (f"cell-{number}" for number in count(1) if f"cell-{number}" not in taken)
    named = [cell if "id" in cell else {"id": next(free), **cell} for cell in cells]
    return {"cells": named, "metadata": _KERNEL, "nbformat": 4, "nbformat_minor": 5}


def shown(cells: Sequence[Cell]) -> list[Cell]:
    """Return the cells that readers see."""
    return [cell for cell in cells if not HIDDEN_TAGS & set(cell["metadata"].get("tags", []))]


def markdown(source: str) -> Cell:
    """Return a Markdown cell."""
    return {"cell_type": "markdown", "metadata": {}, "source": source}


def raw(source: str) -> Cell:
    """Return a raw cell."""
    return {"cell_type": "raw", "metadata": {}, "source": source}


def front_matter(text: str) -> tuple[Mapping[str, Any], str]:
    r"""Return the YAML front matter and the text after it.

    >>> front_matter('---\ntitle: A\n---\nText')
    ({'title': 'A'}, 'Text')
    """
    found = _FRONT.match(text)
    if not found:
        return {}, text
    return yaml.safe_load(found.group(1)) or {}, text[found.end() :]


def options_of(source: str) -> tuple[Mapping[str, Any], str]:
    r"""Return a code cell's ``#|`` options and its source without them.

    >>> options_of('#| label: fig-a\n#| fig-cap: "A"\nplot()')
    ({'label': 'fig-a', 'fig-cap': 'A'}, 'plot()')
    """
    found = _OPTIONS.match(source)
    if not found:
        return {}, source
    lines = [line[2:].removeprefix(" ") for line in found.group().splitlines()]
    return yaml.safe_load("\n".join(lines)) or {}, source[found.end() :]
