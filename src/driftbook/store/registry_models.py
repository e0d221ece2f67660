"""Fitted models in the registry: stored without pickle, loaded after every hash was checked."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import skops.io
from sklearn.pipeline import Pipeline

from driftbook.data.columns import Feature
from driftbook.errors import IntegrityError, UsageError
from driftbook.model import compilation
from driftbook.model.calibrated import renew_calibration
from driftbook.model.importing import describe_error
from driftbook.model.tasks import read_task
from driftbook.model.training import Model, watch_model
from driftbook.store import files, registry
from driftbook.store.model_archive import settle_archive

# The columns of reference.parquet that keep the graded fit's predictions on the holdout.
HELD_OUT_COLUMN = "(held out)"
# So many rows of the reference show that an estimator of the owner's choice was stored whole.
COMPARED_ROWS = 200
# Everything a Driftbook pipeline is made of beyond what skops trusts by itself.
TRUSTED_TYPES = (
    "numpy.dtype",
    "driftbook.model.calibrated.CalibratedEstimator",
    "driftbook.model.imported.NumberedClasses",
    "driftbook.model.imported.RawColumns",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    # Only in versions of earlier releases.
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.model_selection._split.StratifiedKFold",
)


def save_model(models: Path, model: Model, trusted: Sequence[str] = ()) -> str:
    """Store ``model`` as a version folder and register its hashes; return the version.

    A version that is stored already is left as it is. A new one appears whole or not at all.
    ``trusted``: what ``model.trusted`` names, see :func:`find_untrusted_types`.

    Raises:
        UsageError: skops cannot hold the model, or it consists of types that nobody trusts.
    """
    with registry.lock_registry(models) as known:
        if model.version not in known.versions:
            with files.fill_folder(models / model.version) as partial:
                _write_model(partial, model, trusted)
                registry.register_version(models, known, partial, model.version)
    return model.version


def _dump(model: Model, trusted: Sequence[str]) -> bytes:
    """Return the stored form of a model's pipeline, which is known to come back as it was."""
    try:
        content = settle_archive(skops.io.dumps(model.estimator))
        untrusted = find_untrusted_types(content, trusted)
        if not untrusted and ":" in model.origin.get("estimator", ""):
            _compare_with_stored(content, model)
    except Exception as error:
        raise UsageError(
            f"the estimator cannot be stored without pickle ({describe_error(error)}); choose "
            "another model.estimator"
        ) from error
    if untrusted:
        raise UsageError(
            "the estimator consists of types that are not trusted; if you trust them, let the "
            f"settings say under model: 'trusted: [{', '.join([*trusted, *untrusted])}]'"
        )
    return content


def _compare_with_stored(content: bytes, model: Model) -> None:
    known = skops.io.get_untrusted_types(data=content)
    stored = replace(model, estimator=skops.io.loads(content, trusted=known))
    rows = model.reference.tail(COMPARED_ROWS)
    if not np.allclose(stored.predict(rows), model.predict(rows), rtol=1e-9, atol=1e-12):
        raise ValueError("what was stored predicts otherwise")


def list_types(estimator: Any) -> list[str]:
    """Return every type of a loaded, and so trusted, estimator that skops does not know itself."""
    known: list[str] = skops.io.get_untrusted_types(data=skops.io.dumps(estimator))
    return known


def find_untrusted_types(content: bytes, trusted: Sequence[str] = ()) -> list[str]:
    """Return the types of a stored model that neither Driftbook nor ``trusted`` names.

    A name that ends in ``.*`` stands for all types of that module and below.
    """
    named = {*TRUSTED_TYPES, *trusted}
    modules = tuple(name.removesuffix("*") for name in trusted if name.endswith(".*"))
    found = skops.io.get_untrusted_types(data=content)
    return sorted(one for one in found if one not in named and not one.startswith(modules))


def _write_model(folder: Path, model: Model, trusted: Sequence[str]) -> None:
    content = _dump(model, trusted)
    folder.mkdir(parents=True)
    compiled = compilation.compile_model(model)
    (folder / "scorer.json").write_text(json.dumps(compiled, allow_nan=False), encoding="utf-8")
    (folder / "model.skops").write_bytes(content)
    learner = model.learner
    held_out = pd.DataFrame(
        learner.holdout_scores.reshape(len(learner.holdout), -1),
        columns=name_held_out(model),
        index=learner.holdout.index,
    )
    model.reference.join(held_out).to_parquet(folder / "reference.parquet", index=False)
    (folder / "card.json").write_text(files.format_json(describe_model(model)), encoding="utf-8")


def describe_model(model: Model) -> dict[str, Any]:
    """Return what the registry and the API say about a model: plain JSON values only."""
    metrics = model.metrics.astype(object).where(model.metrics.notna(), None)
    return {
        "name": model.name,
        "version": model.version,
        "target": model.target,
        "features": [{"name": f.name, "kind": f.kind} for f in model.features],
        "n_train": model.learner.n_train,
        "prediction": list(model.prediction),
        "stand_in": None if model.stand_in is None else model.stand_in.version,
        "n_reference": len(model.reference),
        "seed": model.seed,
        "metrics": metrics.to_dict(orient="records"),
        "importance": model.importance,
        "origin": dict(model.origin),
        "rows_learnt": model.rows_learnt,
        "ranks_backwards": model.ranks_backwards,
        "calibration": asdict(model.calibration),
        "task": model.task.to_document(),
        "held_out": name_held_out(model),
    }


def name_held_out(model: Model) -> list[str]:
    """Return a column name an output for the holdout's predictions, none that the data has."""
    name = HELD_OUT_COLUMN
    while any(str(column).startswith(name) for column in model.reference.columns):
        name += "'"
    return [f"{name}{output and ' '}{output}" for output in model.task.outputs]


def _load_estimator(content: bytes, version: str, trusted: Sequence[str]) -> Pipeline:
    try:
        unknown = find_untrusted_types(content, trusted)
        known = [] if unknown else skops.io.get_untrusted_types(data=content)
        found = None if unknown else skops.io.loads(content, trusted=known)
    # What is stored may import any package, which may be absent or of another release.
    except Exception as error:
        raise IntegrityError(
            f"model {version} cannot be loaded ({describe_error(error)}); install what it was "
            "trained with, or train it anew"
        ) from error
    if unknown:
        raise IntegrityError(
            f"model {version} holds types that are not trusted "
            f"({', '.join(unknown)}); it is not loaded: name them in model.trusted if you do"
        )
    return renew_calibration(found)


def load_model(models: Path, name: str = "champion", trusted: Sequence[str] = ()) -> Model:
    """Return a stored model by version or alias, after every file's hash was checked.

    ``trusted``: what ``model.trusted`` names beside Driftbook's own types.

    Raises:
        UsageError: no such version.
        IntegrityError: a file is missing, altered, or holds a type that is not trusted.
    """
    contents = registry.read_verified_files(models, name)
    about = json.loads(contents["card.json"])
    estimator = _load_estimator(contents["model.skops"], about["version"], trusted)
    reference = pd.read_parquet(io.BytesIO(contents["reference.parquet"]))
    kept = about.get("held_out", [HELD_OUT_COLUMN])
    held_out = reference[kept].to_numpy(dtype="float64")[about["n_train"] :]
    task = read_task(about.get("task"))
    model = Model(
        version=about.get("stand_in") or about["version"],
        name=about["name"],
        estimator=estimator,
        features=tuple(Feature(f["name"], f["kind"]) for f in about["features"]),
        target=about["target"],
        reference=reference.drop(columns=kept),
        n_train=about["n_train"],
        seed=about["seed"],
        task=task,
        origin=about["origin"],
        held_out=held_out if len(task.outputs) > 1 else held_out.reshape(-1),
    )
    if about.get("prediction"):
        model = watch_model(model, tuple(about["prediction"]))
    # What the card records was computed from the same rows; recomputing it would only cost time.
    vars(model)["metrics"] = pd.DataFrame(
        about["metrics"], columns=["metric", "value", "ci_low", "ci_high"]
    ).astype({"value": float, "ci_low": float, "ci_high": float})
    vars(model)["importance"] = {str(k): float(v) for k, v in about["importance"].items()}
    return model
