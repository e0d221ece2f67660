"""What a row holds that the reference never showed: numbers out of range, unseen categories.

The limits stand in ``scorer.json`` of a version; one of an earlier release has none, and no row of
it is warned about.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from driftbook.api.answers import ValueWarning
from driftbook.model.scoring import WireRow


@dataclass(frozen=True)
class ValueLimits:
    """What one feature's values are in the reference, and the warning where another one comes."""

    position: int
    warning: ValueWarning
    low: float = 0.0
    high: float = 0.0
    levels: frozenset[str] | None = None  # None: the feature is a number

    def find_rows(self, rows: Sequence[WireRow]) -> list[int]:
        """Return which rows hold a value beyond the limits; a missing one is none."""
        at, low, high, levels = self.position, self.low, self.high, self.levels
        if levels is not None:
            return [
                n for n, row in enumerate(rows) if row[at] is not None and row[at] not in levels
            ]
        return [
            n for n, row in enumerate(rows) if row[at] is not None and not low <= row[at] <= high
        ]


def read_limits(
    document: Mapping[str, Any], features: Sequence[tuple[str, str]]
) -> tuple[ValueLimits, ...]:
    """Return the limits that a compiled model keeps, of the features that have any."""
    found = []
    seen = document.get("seen") or [None] * len(features)
    for position, ((name, kind), known) in enumerate(zip(features, seen, strict=True)):
        if known is None:
            continue
        if kind == "categorical":
            detail = "a category that is not in the reference; it counts as none of the known ones"
            warning = ValueWarning(feature=name, kind="unseen_category", detail=detail)
            found.append(ValueLimits(position, warning, levels=frozenset(known)))
        else:
            low, high = known
            detail = f"outside the reference's {low:.6g} to {high:.6g}"
            warning = ValueWarning(feature=name, kind="outside_range", detail=detail)
            found.append(ValueLimits(position, warning, low, high))
    return tuple(found)


def find_value_warnings(
    limits: Sequence[ValueLimits], rows: Sequence[WireRow]
) -> list[list[ValueWarning]]:
    """Return the warnings of each row, feature by feature: a pass over a column at a time."""
    found: list[list[ValueWarning]] = [[] for _ in rows]
    for one in limits:
        for number in one.find_rows(rows):
            found[number].append(one.warning)
    return found
