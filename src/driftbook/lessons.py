"""What earlier trials taught: it adds up over windows, and from one champion to the next."""

from __future__ import annotations

import json
from dataclasses import astuple, dataclass, field

from driftbook.forecast import Motion
from driftbook.tally import Tally


@dataclass(frozen=True)
class Lessons:
    """What earlier trials taught, kept with each version that came out of them.

    ``leads``: how much lower each recipe's loss was than the sliding block's. ``ageing``: how much
    higher the loss of fits a window older was. ``motion``: how champions' gaps moved.
    """

    leads: dict[str, Tally]
    ageing: Tally = field(default_factory=Tally)
    motion: Motion = field(default_factory=Motion)

    def __add__(self, other: Lessons) -> Lessons:
        """Return both lessons as one; they must come from different rows."""
        names = [*self.leads, *(name for name in other.leads if name not in self.leads)]
        return Lessons(
            {n: self.leads.get(n, Tally()) + other.leads.get(n, Tally()) for n in names},
            self.ageing + other.ageing,
            self.motion + other.motion,
        )

    def to_text(self) -> str:
        """Return the lessons as one line of JSON that :func:`from_text` reads back."""
        leads = {name: astuple(tally) for name, tally in self.leads.items()}
        found = {"leads": leads, "ageing": astuple(self.ageing), "motion": astuple(self.motion)}
        return json.dumps(found, sort_keys=True)


def from_text(text: str | None) -> Lessons:
    """Return the lessons of a version; none for a first version."""
    if text is None:
        return Lessons({})
    found = json.loads(text)
    return Lessons(
        {name: Tally(*numbers) for name, numbers in found["leads"].items()},
        Tally(*found["ageing"]),
        Motion(*found.get("motion", ())),
    )
