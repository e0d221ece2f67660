"""The manifest: every published file with its hash, and what it was made from."""

from __future__ import annotations

import importlib.metadata
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from driftbook import paths
from driftbook.errors import DriftbookError
from driftbook.settings import Settings
from driftbook.store import files, registry

MANIFEST_FORMAT = 1
PACKAGES = (
    "driftbook", "numpy", "pandas", "scipy", "scikit-learn", "pyarrow", "skops", "fastapi",
    "papermill",
)  # fmt: skip


def build_manifest(folder: Path, run_id: str, artifacts: Path) -> dict[str, Any]:
    """Return the manifest of the staged run in ``folder`` over what is published now.

    ``files`` holds path (relative to the artifacts folder) to ``sha256`` and ``bytes``; ``parts``
    names for each top folder the run that made it; ``kept`` are the files of the run's own folder
    that say what it began with; ``archive`` are the manifests of the runs before it, by run.
    What the run did not write is carried over from the manifest in
    force, and so is all that is about the decision where it makes none.

    Raises:
        DriftbookError: a required file is neither in this run nor published.
    """
    published = artifacts / paths.MANIFEST
    before = read_manifest(published) if published.exists() else {}
    decides = files.read_json_object(folder / paths.RUN_NOTE)["kind"] == "run"
    written = [part for part in paths.PUBLISHED_PARTS if (folder / part).exists()]
    # The owner's notebooks are executed in every run that decides: what they leave is never older.
    replaced = {
        *written,
        *((paths.MODELS.name, paths.RUNS.name, paths.OWN_PART) if decides else ()),
    }
    listed = {
        path: entry
        for path, entry in before.get("files", {}).items()
        if path.partition("/")[0] not in replaced
    }
    for part in written:
        listed |= hash_folder(folder / part, Path(part))
    listed |= hash_folder(folder / paths.EXECUTED, paths.RUNS / run_id / paths.EXECUTED)
    about = {key: before.get(key) for key in ("run_id", "model_version")}
    required = before.get("required_files", [])
    if decides:
        about, own = _describe_decision(folder, run_id, artifacts, listed)
        listed |= own
        executed = (path for path in listed if path.startswith(f"{paths.RUNS}/"))
        required = sorted([*map(Path.as_posix, paths.REQUIRED_FILES), *own, *executed])
    data = folder / paths.RUN_DATA
    return {
        "version": MANIFEST_FORMAT,
        **about,
        "created_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "required_files": required,
        "files": dict(sorted(listed.items())),
        "parts": {
            **{
                part: made for part, made in before.get("parts", {}).items() if part not in replaced
            },
            **dict.fromkeys(written, run_id),
        },
        "kept": {
            name.as_posix(): _hash_file(folder / name)
            for name in (paths.RUN_NOTE, paths.RUN_SETTINGS, paths.RUN_DATA)
            if (folder / name).exists()
        },
        "archive": {
            path.parent.name: _hash_file(path)
            for path in sorted((artifacts / paths.RUNS).glob(f"*/{paths.MANIFEST}"))
        },
        "settings": Settings.load(folder / paths.RUN_SETTINGS).model_dump(mode="json"),
        "data": files.read_json_object(data) if data.exists() else before.get("data", {}),
        "code": describe_code(),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
    }


def _describe_decision(
    folder: Path, run_id: str, artifacts: Path, listed: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return which run decided about which model, and that model's files."""
    missing = [name for name in map(Path.as_posix, paths.REQUIRED_FILES) if name not in listed]
    if missing:
        raise DriftbookError(
            f"run {run_id} left no {', '.join(missing)}; run all notebooks with `driftbook run`"
        )
    decided = folder / paths.RECOMMENDATION
    if not decided.exists():
        decided = artifacts / paths.RECOMMENDATION
    version = str(files.read_json_object(decided)["model_version"])
    models = registry.find_registry(version, folder / paths.MODELS, artifacts / paths.MODELS)
    own = hash_folder(models / version, paths.MODELS / version)
    return {"run_id": run_id, "model_version": version}, own


def hash_folder(folder: Path, name: Path) -> dict[str, dict[str, Any]]:
    """Return SHA-256 and size of each file in ``folder``, as a manifest lists it under ``name``."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.startswith("."):
            found[(name / path.relative_to(folder)).as_posix()] = _hash_file(path)
    return found


def _hash_file(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    return {"sha256": files.hash_bytes(content), "bytes": len(content)}


def find_unlisted(artifacts: Path, document: Mapping[str, Any]) -> list[Path]:
    """Return files in the published folders that the manifest does not list.

    In the folder of the table of runs other files live by right: MLflow's.
    """
    return [
        path
        for part in paths.PUBLISHED_PARTS
        if part != paths.RUNS_TABLE.parent.name
        for path in sorted((artifacts / part).rglob("*"))
        if path.is_file()
        and not path.name.startswith(".")
        and path.relative_to(artifacts).as_posix() not in document["files"]
    ]


def list_unpublished_runs(artifacts: Path) -> list[str]:
    """Return the ids of committed runs whose publication has not ended, oldest first.

    A run older than the manifest in force was published before it: one that lost its mark since
    must not take the newer one's place.
    """
    committed = sorted(path.parent for path in (artifacts / paths.RUNS).glob(f"*/{paths.MANIFEST}"))
    unmarked = [folder for folder in committed if not (folder / paths.PUBLISHED_MARK).exists()]
    if not unmarked or not (artifacts / paths.MANIFEST).exists():
        return [folder.name for folder in unmarked]
    newest = str(read_manifest(artifacts / paths.MANIFEST).get("created_utc", ""))
    return [
        folder.name
        for folder in unmarked
        if str(read_manifest(folder / paths.MANIFEST).get("created_utc", "")) >= newest
    ]


def read_manifest(path: Path) -> dict[str, Any]:
    """Return a manifest.

    Raises:
        DriftbookError: there is none, or it cannot be read.
    """
    try:
        values = files.read_json_object(path)
    except FileNotFoundError as error:
        raise DriftbookError(f"there is no manifest at {path}; run `make run` first") from error
    except (OSError, ValueError) as error:
        raise DriftbookError(
            f"the manifest {path} cannot be read ({error}); run `make run` again"
        ) from error
    if not isinstance(values.get("files"), dict) or not isinstance(
        values.get("required_files"), list
    ):
        raise DriftbookError(f"the manifest {path} is not complete; run `make run` again")
    return values


def read_manifest_of_part(artifacts: Path, part: str) -> dict[str, Any]:
    """Return the manifest of the run that filled a published folder, as it was then.

    The one in force may be a backtest's, whose settings and data say nothing about other folders.

    Raises:
        DriftbookError: there is none, or it cannot be read.
    """
    document = read_manifest(artifacts / paths.MANIFEST)
    made = str(document.get("parts", {}).get(part, document["run_id"]))
    own = artifacts / paths.RUNS / made / paths.MANIFEST
    return read_manifest(own) if own.exists() else document


def describe_code() -> dict[str, Any]:
    """Return the package version and, in a git checkout, the commit and whether it was altered."""
    package = Path(__file__).resolve().parents[1]
    found: dict[str, Any] = {"version": importlib.metadata.version("driftbook")}
    if package in paths.find_layout().parents:  # a wheel's, whatever repository lies around it
        return found
    commit = _ask_git(package, "rev-parse", "HEAD")
    changes = _ask_git(package, "status", "--porcelain", "--", ".")
    if commit is not None and changes is not None:
        found |= {"commit": commit, "changes": bool(changes)}
    return found


def _ask_git(folder: Path, *words: str) -> str | None:
    command = ["git", "-C", str(folder), *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
