"""Small models for the tests of serving: one of numbers only, one of every kind of feature."""

from __future__ import annotations

import functools
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from driftbook.model import training
from driftbook.model.training import Model
from driftbook.settings import Settings
from driftbook.store import registry, registry_models

with warnings.catch_warnings():
    # Starlette prefers the successor of httpx, which this project does not need otherwise.
    warnings.simplefilter("ignore", DeprecationWarning)
    warnings.simplefilter("ignore", UserWarning)
    from starlette.testclient import TestClient

__all__ = ["TestClient"]


def settings_of(estimator: str = "logistic_regression", **sections: Any) -> Settings:
    """Return settings for a model of rows in order, with any further sections."""
    model = {"estimator": estimator, "name": "small"}
    return Settings.parse({"data": {"source": "rows.csv"}, "model": model, **sections})


def numeric_rows(rows: int = 400, seed: int = 0) -> pd.DataFrame:
    """Return eight numeric features ``f0`` … ``f7`` and a target that the first two decide."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(rng.normal(size=(rows, 8)), columns=[f"f{i}" for i in range(8)])
    odds = np.exp(2.0 * frame["f0"] - frame["f1"])
    return frame.assign(target=(rng.random(rows) < odds / (1 + odds)).astype(int))


def mixed_rows(rows: int = 600, seed: int = 0) -> pd.DataFrame:
    """Return numbers, booleans and categories (many of them rare), with missing values in each."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "age": rng.normal(40.0, 12.0, rows),
            "far": rng.normal(1e6, 3.0, rows),
            "member": rng.random(rows) < 0.4,
            "city": rng.choice(["Bonn", "Kyoto", "Lima"], rows),
            "code": [f"c{i % 90}" for i in rng.zipf(1.4, rows)],
        }
    )
    odds = np.exp((frame["age"] - 40) / 10 + (frame["city"] == "Lima"))
    frame["target"] = (rng.random(rows) < odds / (1 + odds)).astype(int)
    for name in ("age", "city", "code"):
        frame.loc[rng.random(rows) < 0.1, name] = None
    return frame


def enthrone(artifacts: Path, model: Model) -> Model:
    """Store ``model`` in the registry under ``artifacts`` as its champion."""
    registry_models.save_model(artifacts / "models", model)
    if not registry.set_first_champion(artifacts / "models", model.version):
        registry.promote_version(artifacts / "models", model.version, "test", None, forced=True)
    return model


def champion_in(artifacts: Path, frame: pd.DataFrame, settings: Settings) -> Model:
    """Train a model on ``frame`` and make it champion under ``artifacts``."""
    return enthrone(artifacts, training.train(frame, settings))


@functools.cache
def numeric_model(seed: int = 0) -> Model:
    """Return a model of eight numbers, trained once a test process for each seed."""
    return training.train(numeric_rows(seed=seed), settings_of())


@functools.cache
def mixed_model() -> Model:
    """Return a model of every kind of feature, trained once a test process."""
    return training.train(mixed_rows(), settings_of())
