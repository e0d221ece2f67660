"""What earlier trials taught: it adds up over windows, and from one champion to the next."""

from __future__ import annotations

import json
from dataclasses import astuple, dataclass, field

from driftbook.decision.forecast import GapMotion
from driftbook.model.row_sums import RowSum


@dataclass(frozen=True)
class TrialExperience:
    """What earlier trials taught, kept with each version that came out of them.

    ``leads``: how much lower each recipe's loss was than the sliding block's. ``ageing``: how much
    higher the loss of fits a window older was. ``motion``: how champions' gaps moved.
    """

    leads: dict[str, RowSum]
    ageing: RowSum = field(default_factory=RowSum)
    motion: GapMotion = field(default_factory=GapMotion)

    def __add__(self, other: TrialExperience) -> TrialExperience:
        """Return both lessons as one; they must come from different rows."""
        names = [*self.leads, *(name for name in other.leads if name not in self.leads)]
        return TrialExperience(
            {n: self.leads.get(n, RowSum()) + other.leads.get(n, RowSum()) for n in names},
            self.ageing + other.ageing,
            self.motion + other.motion,
        )

    def to_text(self) -> str:
        """Return the lessons as one line of JSON that :func:`parse_experience` reads back."""
        leads = {name: astuple(tally) for name, tally in self.leads.items()}
        found = {"leads": leads, "ageing": astuple(self.ageing), "motion": astuple(self.motion)}
        return json.dumps(found, sort_keys=True)


def parse_experience(text: str | None) -> TrialExperience:
    """Return the lessons of a version; none for a first version."""
    if text is None:
        return TrialExperience({})
    found = json.loads(text)
    return TrialExperience(
        {name: RowSum(*numbers) for name, numbers in found["leads"].items()},
        RowSum(*found["ageing"]),
        GapMotion(*found.get("motion", ())),
    )
