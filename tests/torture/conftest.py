"""What is tried, what survived: counted by kind, told as a table, and kept as JSON."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOM = Path(__file__).resolve().parent
# Runs that other rooms' tests stage by hand serve here too.
sys.path.append(str(ROOM.parent / "store"))

pytest.register_assert_rewrite("places")

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


@pytest.fixture
def count_trials(record_property: Callable[[str, object], None]) -> CountTrials:
    """Return what counts the trials of a kind; the test fails where one of them does."""

    @contextmanager
    def counted(kind: str) -> Iterator[Trials]:
        trials = Trials(kind)
        try:
            yield trials
        except Exception as error:
            trials.failures.append(f"{type(error).__name__}: {error}")
            raise
        finally:
            record_property("torture", vars(trials))
        assert trials.tried, f"{kind}: nothing was tried"
        assert not trials.failures, "\n".join([kind, *trials.failures])

    return counted


@pytest.fixture(scope="session")
def places(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return the projects that trials start from; each trial has copies of its own."""
    from places import make_places

    return make_places(tmp_path_factory.mktemp("places"))


@pytest.fixture(scope="session")
def long_form() -> bool:
    """Return whether everything is tried, and not a sample that ends within a minute or two."""
    return LONG


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the table of tried and survived, and keep it where benchmarks keep theirs."""
    rows = [
        row
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "when", None) == "call"
        for name, row in report.user_properties
        if name == "torture"
    ]
    if not rows or not LONG:
        return
    terminalreporter.section("tried and survived")
    terminalreporter.write_line(f"{'kind':<56}{'tried':>8}{'survived':>10}")
    for row in sorted(rows, key=lambda row: row["kind"]):
        survived = row["tried"] - len(row["failures"])
        terminalreporter.write_line(f"{row['kind']:<56}{row['tried']:>8}{survived:>10}")
        for failure in row["failures"]:
            terminalreporter.write_line(f"    {failure}")
    path = ROOM.parents[1] / "artifacts" / "bench" / "torture.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"long": LONG, "kinds": rows}, indent=2) + "\n", encoding="utf-8")
    terminalreporter.write_line(f"written to {path.relative_to(ROOM.parents[1])}")
