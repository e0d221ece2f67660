"""A folder for a model of the user's: notebooks and pages as they are, settings that fit."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from driftbook import paths
from driftbook.errors import UsageError
from driftbook.settings import Settings
from driftbook.words import render_words

EXAMPLE = "synthetic:concept"
# Periods to cut time into, the longest that leaves this many windows is taken: enough for a
# reference and for something to follow it.
_PERIODS = {"quarter": "Q", "month": "M", "week": "W", "day": "D"}
_FEWEST_WINDOWS = 8
_MOST_ROW_WINDOWS = 12
_FEWEST_ROWS = 30  # a window of fewer says nothing, see policy.min_rows
_TEMPLATES = {"README.md": "README.md.j2", "Makefile": "Makefile.j2", ".gitignore": "gitignore.j2"}


@dataclass(frozen=True)
class NewProject:
    """What a new folder is about: the data, as its settings will name them."""

    folder: Path
    data: Mapping[str, Any]
    example: bool = False

    @property
    def name(self) -> str:
        """Return the model's name: the folder's, as far as a name may have its letters."""
        return re.sub(r"[^A-Za-z0-9._-]+", "-", self.folder.name).strip("-._") or "model"


def plan_project(
    folder: Path, data: str | None, target: str | None, timestamp: str | None
) -> NewProject:
    """Return the project that is to be laid out, once all that is wrong with the wish was found.

    Without ``data`` it is an example. The table is read: its windows are chosen from what it holds.

    Raises:
        UsageError: the folder is not empty, or the table cannot be judged; nothing was written.
    """
    folder = folder.absolute()
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise UsageError(f"{folder} exists and is not empty; name a folder that is new or empty")
    if data is None:
        given = {"--target": target, "--timestamp": timestamp}
        alone = [name for name, value in given.items() if value is not None]
        if alone:
            raise UsageError(f"{alone[0]} is about a table; name that with --data too")
        implied = Settings.parse({"data": {"source": EXAMPLE}}).data.model_dump()
        keys = ("source", "target", "timestamp", "window", "reference")
        return NewProject(folder, {key: implied[key] for key in keys}, example=True)
    if target is None:
        raise UsageError(f"--data {data} needs --target: the column of it that is to be predicted")
    source = data if "://" in data else os.path.normpath(Path.cwd() / data)
    chosen = {"source": source, "target": target, "timestamp": timestamp}
    found = _choose_windows(chosen)
    return NewProject(folder, {**chosen, "source": _name_source(source, folder), **found})


def _name_source(source: str, folder: Path) -> str:
    """Return a path as settings in ``folder`` name it: relative where both may move together."""
    near = "://" not in source and folder.parent in Path(source).parents
    return os.path.relpath(source, folder) if near else source


def _choose_windows(chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Return window and reference that suit the table, with which it can be judged."""
    from driftbook.data import windows

    first = Settings.parse({"data": {**chosen, "window": 10**9}}, "the table")
    dataset = windows.load_dataset(first)
    rows, size = dataset.all_rows, "rows"
    count = max(1, min(_MOST_ROW_WINDOWS, rows // _FEWEST_ROWS))
    if dataset.timestamp is not None and dataset.frame[dataset.timestamp].dtype.kind == "M":
        times = dataset.frame[dataset.timestamp].dt.tz_localize(None)
        cuts = {name: times.dt.to_period(code).nunique() for name, code in _PERIODS.items()}
        many = [name for name, found in cuts.items() if found >= _FEWEST_WINDOWS]
        if many:
            size, count = many[0], cuts[many[0]]
    window: str | int = size if size != "rows" else rows // count
    found = {"window": window, "reference": max(2, count // 4)}
    # Read again as a run will read it: whatever it would refuse is refused here.
    settings = Settings.parse({"data": {**chosen, **found}}, "the table")
    dataset = windows.load_dataset(settings)
    reference = windows.find_reference_windows(dataset, settings)
    windows.split_at_window(dataset, settings, None, reference[-1].stop)
    return found


def lay_out_project(new: NewProject) -> Path:
    """Return the folder with all that a run needs, which appears whole or not at all."""
    layout = paths.find_layout()
    new.folder.parent.mkdir(parents=True, exist_ok=True)
    build = new.folder.with_name(f".{new.folder.name}.partial")
    shutil.rmtree(build, ignore_errors=True)
    try:
        for pattern in ("notebooks/*.ipynb", "reports/*.qmd", "_quarto.yml"):
            for path in layout.glob(pattern):
                target = build / path.relative_to(layout)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
        text = (layout / paths.SETTINGS_FILE).read_text(encoding="utf-8")
        filled = fill_settings(text, {"data": new.data, "model": {"name": new.name}})
        (build / paths.SETTINGS_FILE).write_text(filled, encoding="utf-8")
        words = {"name": new.name, "example": new.example, "program": name_program()}
        for name, template in _TEMPLATES.items():
            text = render_words(f"project/{template}", **new.data, **words)
            (build / name).write_text(text + "\n", encoding="utf-8")
        if new.folder.is_dir():
            new.folder.rmdir()  # empty, else it would have been refused
        build.rename(new.folder)
    finally:
        shutil.rmtree(build, ignore_errors=True)
    return new.folder


def fill_settings(text: str, values: Mapping[str, Mapping[str, Any]]) -> str:
    r"""Return a settings file with some values changed and every comment kept.

    >>> fill_settings("data:\n  source: flights   # a path\n", {"data": {"source": "a.csv"}})
    'data:\n  source: a.csv     # a path\n'
    """
    section, lines = "", []
    for line in text.splitlines():
        section = line.partition(":")[0] if line[:1].isalpha() else section
        found = re.match(r"(  (\w+): )(\S.*?)(\s*)(#.*)?$", line)
        wanted = values.get(section, {})
        if found is None or found[2] not in wanted:
            lines.append(line)
            continue
        value = yaml.safe_dump(wanted[found[2]], width=4096, allow_unicode=True).splitlines()[0]
        comment = found[5] or ""
        gap = max(2, len(found[3]) + len(found[4]) - len(value)) if comment else 0
        lines.append(f"{found[1]}{value}{' ' * gap}{comment}")
    return "\n".join(lines) + "\n"


def name_program() -> str:
    """Return how this very command is called from anywhere."""
    own = Path(sys.executable).with_name("driftbook")
    found = shutil.which("driftbook")
    return "driftbook" if found is not None and Path(found).samefile(own) else str(own)
