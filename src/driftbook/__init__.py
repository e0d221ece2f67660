"""Driftbook: retrain or wait, for the weeks after a model is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from driftbook.decision.policy import Assessment, assess
    from driftbook.model.training import Model, train
    from driftbook.settings import Settings

__all__ = ["Assessment", "Model", "Settings", "assess", "train"]

_HOMES = {
    "Assessment": "policy",
    "assess": "policy",
    "Settings": "settings",
    "Model": "training",
    "train": "training",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that ``import driftbook`` costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'driftbook' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"driftbook.{_HOMES[name]}"), name)
