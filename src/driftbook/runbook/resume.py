"""A run that starts later than with 02-drift takes what came before from the published run.

All artifacts of a run name that run. What is carried over gets the new run's id, and only where
the same steps would write the same again: same window, data, champion and settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from driftbook import paths
from driftbook.errors import UsageError
from driftbook.store import acknowledgements, manifest, registry


def check_resume(
    artifacts: Path, first: str, settings: Mapping[str, Any], data: Mapping[str, Any]
) -> None:
    """Return nothing where the published run can stand for the steps before ``first``.

    ``settings`` and ``data`` are those of the new run, as a manifest holds them.

    Raises:
        UsageError: something differs; the message names it.
        DriftbookError: the published manifest cannot be read.
    """
    parts = _list_carried(first)
    if not parts:
        return
    champion = registry.read_index(artifacts / paths.MODELS).aliases["champion"]
    for part in parts:
        before = manifest.read_manifest_of_part(artifacts, part)
        pairs = {
            "window": (before["data"].get("window"), data["window"]),
            "data": (before["data"].get("sha256"), data["sha256"]),
            "champion": (before["model_version"], champion),
            **{
                f"{name} settings": (before["settings"].get(name), settings[name])
                for name in ("data", "model", part)
            },
        }
        changed = [name for name, (old, new) in pairs.items() if old != new]
        if changed:
            raise UsageError(
                f"--from {first} needs what run {before['run_id']} published, but since then "
                f"{' and '.join(changed)} changed; use --from drift"
            )


def find_accepted_since(artifacts: Path, first: str) -> list[str]:
    """Return the columns that were accepted or withdrawn since what ``first`` would carry over."""
    if not _list_carried(first) or not (artifacts / paths.MANIFEST).exists():
        return []
    run_id = manifest.read_manifest(artifacts / paths.MANIFEST)["run_id"]
    return acknowledgements.find_changed_since(artifacts, str(run_id))


def carry_published(artifacts: Path, first: str, folder: Path, run_id: str) -> None:
    """Copy what the steps before ``first`` published into a staged run, under its id."""
    parts = _list_carried(first)
    if not parts:
        return
    listed = manifest.read_manifest(artifacts / paths.MANIFEST)
    made = {part: manifest.read_manifest_of_part(artifacts, part)["run_id"] for part in parts}
    for path in listed["files"]:
        part = path.partition("/")[0]
        if part in parts:
            content = (artifacts / path).read_bytes()
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content.replace(made[part].encode(), run_id.encode()))


def _list_carried(first: str) -> list[str]:
    """Return the folders, named as the settings that they depend on, of the steps left out.

    Those of the first step are not among them: it is about the model, not about a window.
    """
    steps = list(paths.STEPS)
    return [paths.STEP_PARTS[step] for step in steps[1 : steps.index(first)]]
