"""What is tried, what survived: counted by kind, told as a table, and kept as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

ROOM = Path(__file__).resolve().parent
# Runs that other rooms' tests stage by hand serve here too.
sys.path.append(str(ROOM.parent / "store"))

pytest.register_assert_rewrite("places")

from trials import LONG, CountTrials, Trials  # noqa: E402  (beside this file)


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
