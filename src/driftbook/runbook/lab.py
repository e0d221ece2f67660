"""The notebooks in JupyterLab: copies to play with, so that tracked files stay as they are."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

from driftbook import paths
from driftbook.errors import UsageError
from driftbook.runbook.notebooks import read_parameters
from driftbook.runbook.project import Project
from driftbook.store import files

# Which bytes each copy had when it was made: a copy with others is its user's work.
_MADE = ".made.json"
# How the version of today lies beside a copy that was changed.
_NEWER = ".newer"
_LINK = re.compile(r"\]\(\.\./(reports|notebooks)/")


def copy_notebooks(project: Project, sources: Path) -> tuple[Path, list[str]]:
    """Return the folder of copies of the notebooks in ``sources``, and what to tell the user.

    The owner's own (``runbook.notebooks``) are copied beside them.

    Copies lie under ``artifacts/scratch/notebooks`` and are about the project's settings and
    artifacts, wherever these are. A copy that its user has changed is never written over: where the
    notebook itself has changed since, today's lies beside it under another name.

    Raises:
        UsageError: there is no notebook in ``sources``, or one of the owner's cannot be read.
    """
    found = sorted(sources.glob("*.ipynb"))
    if not found:
        raise UsageError(f"no notebook in {sources}; run this from the project's folder")
    here = sources.resolve()
    found += (one for one in project.find_own_notebooks() if one.parent.resolve() != here)
    folder = project.artifacts / paths.SCRATCH / paths.NOTEBOOKS
    folder.mkdir(parents=True, exist_ok=True)
    note = folder / _MADE
    made: dict[str, Any] = files.read_json_object(note) if note.is_file() else {}
    told = []
    for source in found:
        text = _adapt(source, project, folder)
        copy, wanted = folder / source.name, _hash(text)
        known = made.get(source.name, {})
        if copy.exists() and _hash(copy.read_text(encoding="utf-8")) != known.get("copy"):
            told += _keep_changed(copy, text, known.get("offered") != wanted)
            made[source.name] = {**known, "offered": wanted}
            continue
        copy.write_text(text, encoding="utf-8")
        made[source.name] = {"copy": wanted, "offered": wanted}
    note.write_text(json.dumps(made, indent=2) + "\n", encoding="utf-8")
    return folder, told


def _keep_changed(copy: Path, text: str, newer: bool) -> list[str]:
    """Return what to say about a copy that was changed, after today's was laid beside it."""
    if not newer:
        return [f"{copy.name}: your changes are kept; delete it for a fresh copy"]
    beside = copy.with_suffix(f"{_NEWER}{copy.suffix}")
    beside.write_text(text, encoding="utf-8")
    return [f"{copy.name}: your changes are kept; today's notebook is {beside.name} beside it"]


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _adapt(source: Path, project: Project, folder: Path) -> str:
    """Return a notebook's text with the parameters and links that hold in the copies' folder."""
    notebook = json.loads(source.read_text(encoding="utf-8"))
    place = {"settings_file": project.settings_file, "artifacts_dir": project.artifacts}
    declared = read_parameters(source)
    for cell in notebook["cells"]:
        text = "".join(cell["source"])
        if "parameters" in cell["metadata"].get("tags", []):
            for name, path in place.items():
                if name in declared and not _is_found(str(declared[name]), path, folder):
                    text = re.sub(rf"^{name} = .*$", _assign(name, path), text, flags=re.MULTILINE)
        elif cell["cell_type"] == "markdown":
            up = os.path.relpath(source.parent.parent, folder)
            text = _LINK.sub(lambda link, up=up: f"]({up}/{link[1]}/", text)  # type: ignore[misc]
        cell["source"] = text.splitlines(keepends=True)
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def _is_found(given: str, path: Path, folder: Path) -> bool:
    """Return whether a notebook in ``folder`` finds ``path`` by the name it gives already."""
    return (paths.find_project_root(folder) / given).resolve() == path.resolve()


def _assign(name: str, path: Path) -> str:
    # A function's replacement text: backslashes and groups in a path mean nothing.
    return f"{name} = {json.dumps(str(path.resolve()))}".replace("\\", r"\\")
