"""The manifest: every published file with its hash, and the lineage that ties them together."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from driftbook.errors import DriftbookError
from driftbook.settings import Settings
from driftbook.store import ledger, registry

MANIFEST_FORMAT = 1
REQUIRED_FILES = (
    "metrics/train_eval_summary.csv",
    "drift/drift_report.csv",
    "policy/retrain_recommendation.json",
    "serving/api_checks.json",
    "tracking/runs.csv",
)
PUBLISHED_PARTS = ("metrics", "drift", "policy", "serving", "tracking", "backtest")
PACKAGES = (
    "driftbook",
    "numpy",
    "pandas",
    "scipy",
    "scikit-learn",
    "pyarrow",
    "skops",
    "fastapi",
    "papermill",
)


@dataclass(frozen=True)
class Nominee:
    """The challenger that a run's recommendation wants promoted; no version when there is none."""

    version: str | None


def build_manifest(
    folder: Path, run_id: str, artifacts: Path, parts: Sequence[str]
) -> dict[str, Any]:
    """Return the manifest of the staged run in ``folder`` over what is published now.

    ``files`` holds path (relative to the artifacts folder) to ``sha256`` and ``bytes``; ``parts``
    names for each top folder the run that made it.

    Raises:
        DriftbookError: a required file is neither in this run nor published.
    """
    before = (
        read_manifest(artifacts / "manifest.json") if (artifacts / "manifest.json").exists() else {}
    )
    note = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    decides = note["kind"] == "run"
    files = {
        path: entry
        for path, entry in before.get("files", {}).items()
        if path.partition("/")[0] not in (*parts, "models", "runs")
        or (path.startswith("runs/") and not decides)
        or (path.startswith("models/") and not decides)
    }
    for part in parts:
        files.update(_hashed(folder, folder / part, ""))
    executed = f"runs/{run_id}/"
    files.update(_hashed(folder, folder / "executed", executed))
    version = _model_version(folder) if decides else before.get("model_version")
    if decides and version is not None:
        files.update(_model_files(folder, artifacts, version))
    required = [
        *REQUIRED_FILES,
        *(path for path in files if path.startswith(("models/", executed))),
    ]
    missing = [path for path in REQUIRED_FILES if path not in files]
    if missing and decides:
        raise DriftbookError(
            f"run {run_id} left no {', '.join(missing)}; run all notebooks with `driftbook run`"
        )
    settings = Settings.load(folder / "settings.yaml")
    return {
        "version": MANIFEST_FORMAT,
        "run_id": run_id if decides else before.get("run_id"),
        "created_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "required_files": sorted(required if decides else before.get("required_files", [])),
        "files": dict(sorted(files.items())),
        "parts": {**before.get("parts", {}), **dict.fromkeys(parts, run_id)},
        "settings": settings.model_dump(mode="json"),
        "data": _data_of(folder) or before.get("data", {}),
        "code": describe_code(),
        "packages": describe_packages(),
        "model_version": version,
    }


def _model_version(folder: Path) -> str:
    document = json.loads(
        (folder / "policy" / "retrain_recommendation.json").read_text(encoding="utf-8")
    )
    return str(document["model_version"])


def _model_files(folder: Path, artifacts: Path, version: str) -> dict[str, dict[str, Any]]:
    for models in (folder / "models", artifacts / "models"):
        if version in registry.read_index(models).versions:
            return _hashed(models.parent, models / version, "")
    raise DriftbookError(
        f"model {version} of the recommendation is in no registry; run `driftbook run`"
    )


def _data_of(folder: Path) -> dict[str, Any] | None:
    path = folder / "data.json"
    if not path.exists():
        return None
    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return values


def _hashed(root: Path, folder: Path, prefix: str) -> dict[str, dict[str, Any]]:
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.startswith("."):
            content = path.read_bytes()
            name = prefix + path.relative_to(root).as_posix()
            found[name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    return found


def find_nominee(folder: Path) -> Nominee | None:
    """Return whom the run's recommendation nominates; ``None`` where the run holds none."""
    path = folder / "policy" / "retrain_recommendation.json"
    if not path.exists():
        return None
    document = json.loads(path.read_text(encoding="utf-8"))
    version = document.get("challenger_version") if document["action"] == "retrain" else None
    return Nominee(version)


def find_unlisted(artifacts: Path, document: Mapping[str, Any]) -> list[Path]:
    """Return files in the published folders that the manifest does not list."""
    return [
        path
        for part in PUBLISHED_PARTS
        for path in sorted((artifacts / part).rglob("*"))
        if path.is_file()
        and not path.name.startswith(".")
        and path.relative_to(artifacts).as_posix() not in document["files"]
        and not _kept_beside(path.relative_to(artifacts).as_posix())
    ]


def _kept_beside(path: str) -> bool:
    """Tell whether a file lives in a published folder by right: MLflow's store and its spool."""
    return path.startswith("tracking/") and path != "tracking/runs.csv"


def verify_artifacts(artifacts: Path) -> list[str]:
    """Return a sentence for everything that is off: files, hashes, stale files, lineage, registry.

    Raises:
        DriftbookError: there is no manifest to check against.
    """
    document = read_manifest(artifacts / "manifest.json")
    problems = [
        f"{path} is required but not in the manifest"
        for path in document["required_files"]
        if path not in document["files"]
    ]
    for path, entry in document["files"].items():
        problems += _check_file(artifacts / path, path, entry)
    problems += [
        f"{path.relative_to(artifacts).as_posix()} is stale: no run in the manifest made it"
        for path in find_unlisted(artifacts, document)
    ]
    return problems + _lineage(artifacts, document) + _registry(artifacts, document)


def _check_file(path: Path, name: str, entry: Mapping[str, Any]) -> list[str]:
    if not path.is_file():
        return [f"{name} is missing"]
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() == entry["sha256"]:
        return []
    if len(content) != entry["bytes"]:
        return [
            f"{name} has {len(content)} bytes, the manifest says {entry['bytes']}: it was altered"
        ]
    return [f"{name} was altered: its SHA-256 is not the manifest's"]


def _lineage(artifacts: Path, document: Mapping[str, Any]) -> list[str]:
    """Check that recommendation, drift report, tracked run and champion name one run and model."""
    import pandas as pd

    expected = {"run_id": document["run_id"], "model_version": document["model_version"]}
    try:
        recommendation = json.loads(
            (artifacts / "policy/retrain_recommendation.json").read_text("utf-8")
        )
        drift = pd.read_csv(artifacts / "drift/drift_report.csv", dtype=str)
        tracked = pd.read_csv(artifacts / "tracking/runs.csv", dtype=str)
    except (OSError, ValueError) as error:
        return [f"lineage cannot be checked: {error}"]
    problems = []
    for key, value in expected.items():
        if str(recommendation.get(key)) != value:
            problems.append(
                f"recommendation names {key} {recommendation.get(key)}, the manifest {value}"
            )
        named = sorted(set(drift[key])) if key in drift else []
        if named != [value]:
            problems.append(
                f"drift report names {key} {', '.join(map(str, named)) or 'none'}, the "
                f"manifest {value}"
            )
    row = (
        tracked[tracked["run_id"] == expected["run_id"]]
        if "run_id" in tracked
        else tracked.iloc[:0]
    )
    if len(row) != 1:
        problems.append(f"runs.csv has {len(row)} rows of run {expected['run_id']}, not one")
    elif row["model_version"].iloc[0] != expected["model_version"]:
        problems.append(
            f"runs.csv names model_version {row['model_version'].iloc[0]}, the manifest "
            f"{expected['model_version']}"
        )
    return problems


def _registry(artifacts: Path, document: Mapping[str, Any]) -> list[str]:
    models = artifacts / "models"
    try:
        lines, champion = (
            ledger.read_ledger(models),
            registry.read_index(models).aliases["champion"],
        )
        registry.read_verified_files(models, "champion")
    except DriftbookError as error:
        return [str(error)]
    judged = document["model_version"]
    if lines[-1]["to"] != champion:
        return [f"the champion is {champion} but the ledger's last line names {lines[-1]['to']}"]
    if champion == judged or _moved_since(lines, document):
        return []
    return [f"the champion is {champion}, but the last run judged {judged}; run `make run-drift`"]


def _moved_since(lines: Sequence[Mapping[str, Any]], document: Mapping[str, Any]) -> bool:
    """Tell whether a promotion on this run's evidence explains that the champion is another."""
    evidence = document["files"].get("policy/retrain_recommendation.json", {}).get("sha256")
    last = lines[-1]
    return bool(last["from"] == document["model_version"] and last["evidence_sha256"] == evidence)


def read_manifest(path: Path) -> dict[str, Any]:
    """Return a manifest.

    Raises:
        DriftbookError: there is none, or it cannot be read.
    """
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
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


def write_manifest(path: Path, document: Mapping[str, Any]) -> None:
    """Write a manifest."""
    path.write_text(json.dumps(document, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def describe_code() -> dict[str, Any]:
    """Return the package version and, in a git checkout, the commit and whether it was altered."""
    here = Path(__file__).resolve().parent
    found: dict[str, Any] = {"version": importlib.metadata.version("driftbook")}
    for key, words in (
        ("commit", ["rev-parse", "HEAD"]),
        ("changes", ["status", "--porcelain", "--", "."]),
    ):
        try:
            done = subprocess.run(
                ["git", "-C", str(here), *words],  # noqa: S607
                capture_output=True,
                text=True,
                timeout=10,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return found
        if done.returncode == 0:
            found[key] = done.stdout.strip() if key == "commit" else bool(done.stdout.strip())
    return found


def describe_packages() -> dict[str, str]:
    """Return the versions of the packages that results depend on."""
    return {name: importlib.metadata.version(name) for name in PACKAGES}
