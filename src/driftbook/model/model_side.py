"""What is computed from a model once, and kept for as long as the model object lives."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import TypeVar

from driftbook.model.training import Model


class ModelSide:
    """Base of what one model brings to every comparison, each part computed when first used."""

    def __init__(self, model: Model) -> None:
        # Held weakly, so that what is kept below does not keep every model alive.
        self._model = weakref.ref(model)

    @property
    def model(self) -> Model:
        """Return the model; it lives at least as long as the caller's reference to it."""
        model = self._model()
        if model is None:
            raise ReferenceError("the model of this comparison no longer exists")
        return model


Side = TypeVar("Side", bound=ModelSide)


def keep_while_model_lives(build: Callable[[Model], Side]) -> Callable[[Model], Side]:
    """Return ``build`` with a memory of what it built for each model object, not each version."""
    kept: weakref.WeakKeyDictionary[Model, Side] = weakref.WeakKeyDictionary()

    @functools.wraps(build)
    def find(model: Model) -> Side:
        if model not in kept:
            kept[model] = build(model)
        return kept[model]

    return find
