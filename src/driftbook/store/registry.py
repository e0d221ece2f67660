"""Model versions on disk: hashed folders, and the aliases champion and challenger."""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from driftbook.errors import IntegrityError, UsageError
from driftbook.store import ledger

if TYPE_CHECKING:
    from driftbook.model.training import Model

# The scorer is the model compiled for serving: the API loads it without scikit-learn or skops.
VERSION_FILES = ("model.skops", "reference.parquet", "card.json", "scorer.json")
# The column of reference.parquet that keeps the graded fit's probabilities on the holdout.
HELD_OUT_COLUMN = "(held out)"
# Everything a Driftbook pipeline is made of beyond what skops trusts by itself.
TRUSTED_TYPES = (
    "numpy.dtype",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.model_selection._split.StratifiedKFold",  # only in versions of earlier releases
)


@dataclass(frozen=True)
class RegistryIndex:
    """The registry's one table: the file hashes of every version, and the aliases."""

    versions: Mapping[str, Mapping[str, Any]]
    aliases: Mapping[str, str | None]

    def resolve(self, name: str) -> str:
        """Return the version that ``name`` (an alias or a version) stands for.

        Raises:
            UsageError: no such version, or the alias is not set.
        """
        version = self.aliases.get(name, name)
        if version is None or version not in self.versions:
            known = ", ".join(self.versions) or "none yet; run `make run` first"
            raise UsageError(f"no model version {name!r} in the registry; known versions: {known}")
        return version


def read_index(models: Path) -> RegistryIndex:
    """Return the registry's index; empty where nothing was registered yet.

    Raises:
        IntegrityError: the index file cannot be read.
    """
    path = models / "index.json"
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return RegistryIndex(versions=dict(values["versions"]), aliases=dict(values["aliases"]))
    except FileNotFoundError:
        return RegistryIndex(versions={}, aliases={"champion": None, "challenger": None})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise IntegrityError(
            f"the registry index {path} cannot be read ({error}); restore it from a backup, "
            "or move the artifacts folder away and run `make run`"
        ) from error


def save_model(models: Path, model: Model) -> str:
    """Store ``model`` as a version folder and register its hashes; return the version.

    A version that is stored already is left as it is. A new one appears whole or not at all.
    """
    with _locked(models):
        if model.version not in read_index(models).versions:
            _write_version(models, model)
            _register(models, models / model.version)
    return model.version


def _write_version(models: Path, model: Model) -> None:
    import pandas as pd
    import skops.io

    from driftbook.model import compilation

    partial = models / f".{model.version}.{uuid.uuid4().hex[:8]}"
    partial.mkdir(parents=True)
    compiled = compilation.compile_model(model)
    (partial / "scorer.json").write_text(json.dumps(compiled, allow_nan=False), encoding="utf-8")
    skops.io.dump(model.estimator, partial / "model.skops")
    graded = pd.Series(model.holdout_scores, index=model.holdout.index)
    model.reference.assign(**{HELD_OUT_COLUMN: graded}).to_parquet(
        partial / "reference.parquet", index=False
    )
    (partial / "card.json").write_text(_json(describe_model(model)), encoding="utf-8")
    target = models / model.version
    if target.exists():  # left over from a run that stopped before it registered the version
        shutil.rmtree(target)
    partial.replace(target)


def describe_model(model: Model) -> dict[str, Any]:
    """Return what the registry and the API say about a model: plain JSON values only."""
    metrics = model.metrics.astype(object).where(model.metrics.notna(), None)
    return {
        "name": model.name,
        "version": model.version,
        "target": model.target,
        "features": [{"name": f.name, "kind": f.kind} for f in model.features],
        "n_train": model.n_train,
        "n_reference": len(model.reference),
        "seed": model.seed,
        "metrics": metrics.to_dict(orient="records"),
        "importance": model.importance,
        "origin": dict(model.origin),
    }


def adopt_versions(models: Path, staged: Path) -> list[str]:
    """Copy the version folders of another registry that are new here; return their versions."""
    added = []
    with _locked(models):
        known = read_index(models).versions
        for version, entry in read_index(staged).versions.items():
            if version in known:
                continue
            _check(staged / version, entry["files"])
            partial = models / f".{version}.{uuid.uuid4().hex[:8]}"
            shutil.copytree(staged / version, partial)
            shutil.rmtree(models / version, ignore_errors=True)
            partial.replace(models / version)
            _register(models, models / version)
            added.append(version)
    return added


def _register(models: Path, folder: Path) -> None:
    known = read_index(models)
    entry = {
        "files": {name: _sha256(folder / name) for name in VERSION_FILES},
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    _write_index(models, RegistryIndex({**known.versions, folder.name: entry}, known.aliases))


def load_model(models: Path, name: str = "champion") -> Model:
    """Return a stored model by version or alias, after every file's hash was checked.

    Raises:
        UsageError: no such version.
        IntegrityError: a file is missing, altered, or holds a type that is not trusted.
    """
    import pandas as pd
    import skops.io

    from driftbook.data.columns import Feature
    from driftbook.model.training import Model

    known = read_index(models)
    version = known.resolve(name)
    folder = models / version
    contents = _check(folder, known.versions[version]["files"])
    unknown = set(skops.io.get_untrusted_types(data=contents["model.skops"])) - set(TRUSTED_TYPES)
    if unknown:
        raise IntegrityError(
            f"model {version} holds types that are not trusted ({', '.join(sorted(unknown))}); "
            "it is not loaded"
        )
    about = json.loads(contents["card.json"])
    reference = pd.read_parquet(io.BytesIO(contents["reference.parquet"]))
    held_out = reference.pop(HELD_OUT_COLUMN).to_numpy(dtype="float64")[about["n_train"] :]
    model = Model(
        version=about["version"],
        name=about["name"],
        estimator=skops.io.loads(contents["model.skops"], trusted=list(TRUSTED_TYPES)),
        features=tuple(Feature(f["name"], f["kind"]) for f in about["features"]),
        target=about["target"],
        reference=reference,
        n_train=about["n_train"],
        seed=about["seed"],
        origin=about["origin"],
        held_out=held_out,
    )
    # What the card records was computed from the same rows; recomputing it would only cost time.
    vars(model)["metrics"] = pd.DataFrame(
        about["metrics"], columns=["metric", "value", "ci_low", "ci_high"]
    ).astype({"value": float, "ci_low": float, "ci_high": float})
    vars(model)["importance"] = {str(k): float(v) for k, v in about["importance"].items()}
    return model


def read_verified_files(models: Path, version: str) -> dict[str, bytes]:
    """Return the files of a version by name, read once and checked against the index.

    Raises:
        UsageError: no such version.
        IntegrityError: a file is missing or altered.
    """
    known = read_index(models)
    return _check(models / known.resolve(version), known.versions[known.resolve(version)]["files"])


def _check(folder: Path, hashes: Mapping[str, str]) -> dict[str, bytes]:
    contents = {}
    for name in VERSION_FILES:
        path = folder / name
        try:
            content = path.read_bytes()
        except OSError as error:
            raise IntegrityError(
                f"model {folder.name}: {name} cannot be read ({error.strerror}); restore it or "
                "roll back"
            ) from error
        found = hashlib.sha256(content).hexdigest()
        if found != hashes.get(name):
            raise IntegrityError(
                f"model {folder.name}: {name} has SHA-256 {found[:12]}… but "
                f"{str(hashes.get(name))[:12]}… "
                "was registered; it is not loaded: restore the file or roll back"
            )
        contents[name] = content
    return contents


def set_first_champion(models: Path, version: str) -> bool:
    """Make ``version`` champion where there is none yet; return whether that happened."""
    with _locked(models):
        known = read_index(models)
        if known.aliases.get("champion") is not None:
            return False
        _move(
            models, known, known.resolve(version), event="first", why="first version of this model"
        )
        return True


def nominate_challenger(models: Path, version: str | None) -> None:
    """Point the alias ``challenger`` at ``version``; ``None`` clears it."""
    with _locked(models):
        known = read_index(models)
        chosen = None if version is None else known.resolve(version)
        if chosen != known.aliases.get("challenger"):
            _write_index(
                models, RegistryIndex(known.versions, {**known.aliases, "challenger": chosen})
            )


def promote_version(
    models: Path, version: str, why: str, evidence_sha256: str | None, forced: bool = False
) -> dict[str, Any]:
    """Make ``version`` the champion and return the ledger line; the caller has checked the gate.

    Raises:
        UsageError: no such version, or it is the champion already.
        IntegrityError: its files are not the registered ones.
    """
    with _locked(models):
        known = read_index(models)
        chosen = known.resolve(version)
        if chosen == known.aliases.get("champion"):
            raise UsageError(f"model {chosen} is the champion already; nothing to promote")
        _check(models / chosen, known.versions[chosen]["files"])
        return _move(models, known, chosen, "promotion", why, evidence_sha256, forced)


def roll_back(models: Path, to: str | None, why: str) -> dict[str, Any]:
    """Make an earlier champion (default: the previous one) champion again; return the ledger line.

    Raises:
        UsageError: there is no earlier champion, or ``to`` never was one.
    """
    with _locked(models):
        known = read_index(models)
        now = known.aliases.get("champion")
        lines = ledger.read_ledger(models)
        past = [line["to"] for line in lines]
        earlier = [version for version in past if version != now]
        if not earlier:
            raise UsageError(
                "there is no earlier champion to roll back to; the ledger names only the "
                "present one"
            )
        chosen = ledger.find_previous_champion(lines, str(now)) if to is None else known.resolve(to)
        if chosen not in earlier:
            raise UsageError(
                f"model {chosen} never was champion before; earlier champions: "
                f"{', '.join(dict.fromkeys(earlier))}"
            )
        _check(models / chosen, known.versions[chosen]["files"])
        return _move(models, known, chosen, "rollback", why)


def _move(
    models: Path,
    known: RegistryIndex,
    version: str,
    event: str,
    why: str,
    evidence_sha256: str | None = None,
    forced: bool = False,
) -> dict[str, Any]:
    """Write the ledger's line first, then the index: a stop in between is finished by settle."""
    line = ledger.append_ledger(
        models,
        event=event,
        old=known.aliases.get("champion"),
        new=version,
        why=why,
        evidence_sha256=evidence_sha256,
        forced=forced,
    )
    _write_index(models, _with_champion(known, version))
    return line


def _with_champion(known: RegistryIndex, version: str) -> RegistryIndex:
    challenger = known.aliases.get("challenger")
    aliases = {"champion": version, "challenger": None if challenger == version else challenger}
    return RegistryIndex(known.versions, aliases)


def settle_promotion(models: Path) -> str | None:
    """Finish a promotion that stopped between ledger and index; return a message if it did."""
    with _locked(models):
        lines, known = ledger.read_ledger(models), read_index(models)
        if not lines or lines[-1]["to"] == known.aliases.get("champion"):
            return None
        version = lines[-1]["to"]
        _write_index(models, _with_champion(known, version))
        return f"finished the {lines[-1]['event']} of {version} that had stopped half-way"


def _write_index(models: Path, known: RegistryIndex) -> None:
    models.mkdir(parents=True, exist_ok=True)
    text = _json({"versions": dict(known.versions), "aliases": dict(known.aliases)})
    partial = models / f".index.{os.getpid()}"
    with partial.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    partial.replace(models / "index.json")


@contextmanager
def _locked(models: Path) -> Iterator[None]:
    """Hold the registry's lock; readers need none, the index is replaced as a whole."""
    models.mkdir(parents=True, exist_ok=True)
    with (models / ".lock").open("a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _json(values: Mapping[str, Any]) -> str:
    return json.dumps(values, indent=2, sort_keys=True, allow_nan=False) + "\n"
