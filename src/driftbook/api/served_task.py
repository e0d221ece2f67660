"""What the served model predicts, for requests, answers and the log, without pandas."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from driftbook.model.scoring import WireScore


@dataclass(frozen=True)
class ServedTask:
    """The task of a served version; ``classes`` in the order of their chances, none of a value."""

    name: str = "binary"
    classes: tuple[str, ...] = ("0", "1")

    def choose(self, score: WireScore, threshold: float) -> int | float | str:
        """Return what a score stands for: 0 or 1, the likeliest class, or the value itself."""
        if isinstance(score, list):
            return self.classes[max(range(len(score)), key=score.__getitem__)]
        return score if self.name == "regression" else int(score >= threshold)

    def describe(self, score: WireScore) -> dict[str, Any]:
        """Return what an answer says about a score beside the prediction."""
        if isinstance(score, list):
            return {"probabilities": dict(zip(self.classes, score, strict=True))}
        return {"value" if self.name == "regression" else "probability": score}


def read_served_task(card: Mapping[str, Any]) -> ServedTask:
    """Return the task that a version's card names; cards of earlier releases are of binary ones."""
    known = card.get("task") or {}
    name = str(known.get("name", "binary"))
    return ServedTask() if name == "binary" else ServedTask(name, tuple(known.get("classes", ())))
