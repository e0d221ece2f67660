"""Two runs of one thing, file by file: equal, alike but for ids and times, or different."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

from driftbook import paths
from driftbook.store import registry
from driftbook.store.model_archive import settle_archive

# Of each document of a run, what says only when and where it was made. Hashes of files are among
# it, because the files themselves are compared.
_INCIDENTAL: Mapping[str, tuple[str, ...]] = {
    paths.RUN_NOTE.name: ("started_utc", "bases"),
    paths.MANIFEST.name: ("created_utc", "code", "packages"),
}
_INJECTED = ("settings_file =", "artifacts_dir =")


@dataclass(frozen=True)
class RunPlace:
    """Where a run lies: its folder, named by its id, within an artifacts folder."""

    artifacts: Path
    run_id: str

    @property
    def folder(self) -> Path:
        """Return the folder of the run."""
        return self.artifacts / paths.RUNS / self.run_id


@dataclass(frozen=True)
class RunComparison:
    """Names of files by how they compare; of the different ones also where they first differ."""

    equal: tuple[str, ...]
    alike: tuple[str, ...]
    different: Mapping[str, str]


def compare_runs(then: RunPlace, now: RunPlace, versions: Iterable[str]) -> RunComparison:
    """Return how the files of two runs compare, and those of the model ``versions`` of both.

    Alike are files that are equal once ids of the runs, times and folders are left out.
    """
    pairs = {name: (then.folder / name, now.folder / name) for name in _list_files(then, now)}
    for version in versions:
        for name in registry.VERSION_FILES:
            path = paths.MODELS / version / name
            pairs[path.as_posix()] = (then.artifacts / path, now.artifacts / path)
    equal, alike, different = [], [], {}
    for name, (old, new) in sorted(pairs.items()):
        if not (old.is_file() and new.is_file()):
            different[name] = "was not made again" if old.is_file() else "is not in the archive"
            continue
        before, after = old.read_bytes(), new.read_bytes()
        if before == after:
            equal.append(name)
        elif (settled := settle_file(name, before, then)) == (
            again := settle_file(name, after, now)
        ):
            alike.append(name)
        else:
            different[name] = _find_difference(settled, again)
    return RunComparison(tuple(equal), tuple(alike), different)


def _list_files(*runs: RunPlace) -> set[str]:
    return {
        path.relative_to(run.folder).as_posix()
        for run in runs
        for path in run.folder.rglob("*")
        if path.is_file()
        and not path.name.startswith(".")
        and path.relative_to(run.folder).parts[0]
        not in (paths.MODELS.name, paths.RUN_TRACKING.name)
    }


def settle_file(name: str, content: bytes, run: RunPlace) -> Any:
    """Return what a file of a run says apart from ids, times and folders, to be compared.

    A file that is not what its name says is returned as its bytes.
    """
    try:
        if name.endswith(".skops"):
            return settle_archive(content)
        text = content.decode().replace(run.run_id, "RUN").replace(str(run.artifacts), "ARTIFACTS")
        if name == paths.RUNS_TABLE.as_posix():
            rows = csv.DictReader(io.StringIO(text))
            return {f"row {number}": _settle_row(row) for number, row in enumerate(rows, start=1)}
        if name.endswith((".json", ".ipynb")):
            return _settle_document(name, json.loads(text))
        return {f"line {number}": line for number, line in enumerate(text.splitlines(), start=1)}
    except (ValueError, KeyError, TypeError, AttributeError, BadZipFile):
        return content


def _settle_row(row: dict[str, str]) -> dict[str, str]:
    return row | {"timestamp_utc": ""} if row.get("run_id") == "RUN" else row


def _settle_document(name: str, values: Any) -> Any:
    if name.endswith(".ipynb"):
        return _settle_notebook(values)
    for key in _INCIDENTAL.get(name, ()):
        values.pop(key, None)
    if name == paths.MANIFEST.name:
        for listing in ("files", "kept"):
            values[listing] = sorted(values.get(listing, ()))
    return values


def _settle_notebook(values: dict[str, Any]) -> dict[str, Any]:
    """Return a notebook without what papermill says of its execution, and without its folders."""
    values["metadata"].pop("papermill", None)
    for cell in values["cells"]:
        cell["metadata"].pop("papermill", None)
        if "injected-parameters" in cell["metadata"].get("tags", ()):
            cell.pop("id", None)  # random in earlier releases
            cell["source"] = [line for line in cell["source"] if not line.startswith(_INJECTED)]
    return values


def _find_difference(old: Any, new: Any, place: str = "") -> str:
    """Return where two documents first differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = [*old, *(key for key in new if key not in old)]
        pairs = [(str(key), old.get(key), new.get(key)) for key in keys]
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        numbered = enumerate(zip(old, new, strict=True), start=1)
        pairs = [(f"[{number}]", *both) for number, both in numbered]
    else:
        return f"differs at {place}" if place else "differs"
    name, before, after = next(pair for pair in pairs if pair[1] != pair[2])
    return _find_difference(before, after, f"{place}.{name}".removeprefix(".").replace(".[", "["))
