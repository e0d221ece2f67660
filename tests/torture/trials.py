"""Trials: counted by kind, each that fails with how to repeat it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field

LONG = os.environ.get("DRIFTBOOK_TORTURE") == "long"


@dataclass
class Trials:
    """How often one kind of trial was made, and how to repeat each that failed."""

    kind: str
    tried: int = 0
    failures: list[str] = field(default_factory=list)

    @contextmanager
    def trial(self, how: str) -> Iterator[None]:
        """Count a trial; one that fails is noted, and the next ones are made all the same."""
        self.tried += 1
        try:
            yield
        except Exception as error:  # noqa: BLE001  (whatever it is, it is this trial's outcome)
            told = str(error).strip().splitlines() or [""]
            self.failures.append(f"{how}: {type(error).__name__}: {' '.join(told)[:600]}")

    def pick(self, total: int, few: int) -> list[int]:
        """Return the numbers below ``total`` to try: all in the long form, else evenly spread."""
        if LONG or total <= few:
            return list(range(total))
        return sorted({round(step * (total - 1) / (few - 1)) for step in range(few)})


CountTrials = Callable[[str], AbstractContextManager[Trials]]
