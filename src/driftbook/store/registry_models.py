"""Fitted models in the registry: stored without pickle, loaded after every hash was checked."""

from __future__ import annotations

import io
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import skops.io

from driftbook.data.columns import Feature
from driftbook.errors import IntegrityError
from driftbook.model import compilation
from driftbook.model.calibrated import renew_calibration
from driftbook.model.tasks import read_task
from driftbook.model.training import Model, watch_model
from driftbook.store import files, registry

# The columns of reference.parquet that keep the graded fit's predictions on the holdout.
HELD_OUT_COLUMN = "(held out)"
# Everything a Driftbook pipeline is made of beyond what skops trusts by itself.
TRUSTED_TYPES = (
    "numpy.dtype",
    "driftbook.model.calibrated.CalibratedEstimator",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    # Only in versions of earlier releases.
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.model_selection._split.StratifiedKFold",
)


def save_model(models: Path, model: Model) -> str:
    """Store ``model`` as a version folder and register its hashes; return the version.

    A version that is stored already is left as it is. A new one appears whole or not at all.
    """
    with registry.lock_registry(models) as known:
        if model.version not in known.versions:
            partial = files.partial_path(models / model.version)
            _write_model(partial, model)
            registry.register_version(models, known, partial, model.version)
    return model.version


def _write_model(folder: Path, model: Model) -> None:
    folder.mkdir(parents=True)
    compiled = compilation.compile_model(model)
    (folder / "scorer.json").write_text(json.dumps(compiled, allow_nan=False), encoding="utf-8")
    skops.io.dump(model.estimator, folder / "model.skops")
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


def load_model(models: Path, name: str = "champion") -> Model:
    """Return a stored model by version or alias, after every file's hash was checked.

    Raises:
        UsageError: no such version.
        IntegrityError: a file is missing, altered, or holds a type that is not trusted.
    """
    contents = registry.read_verified_files(models, name)
    about = json.loads(contents["card.json"])
    unknown = set(skops.io.get_untrusted_types(data=contents["model.skops"])) - set(TRUSTED_TYPES)
    if unknown:
        raise IntegrityError(
            f"model {about['version']} holds types that are not trusted "
            f"({', '.join(sorted(unknown))}); it is not loaded"
        )
    reference = pd.read_parquet(io.BytesIO(contents["reference.parquet"]))
    kept = about.get("held_out", [HELD_OUT_COLUMN])
    held_out = reference[kept].to_numpy(dtype="float64")[about["n_train"] :]
    task = read_task(about.get("task"))
    model = Model(
        version=about.get("stand_in") or about["version"],
        name=about["name"],
        estimator=renew_calibration(
            skops.io.loads(contents["model.skops"], trusted=list(TRUSTED_TYPES))
        ),
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
