"""Commands killed at each change of a file that they make: nothing is lost, the next one tells."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import forked
from conftest import CountTrials
from places import Places, call, check_killed, check_recovered, copy_place, publish_staged

KILLED = -9


def torture(
    trials_of: CountTrials,
    kind: str,
    before: Path,
    tmp_path: Path,
    act: Callable[[Path, int | None], forked.Ended],
    few: int = 6,
) -> None:
    """Kill ``act`` at each of its changes in a copy of ``before``, and look what is left."""
    whole = copy_place(before, tmp_path / "whole")
    watched = act(whole, None)
    assert watched.code == 0, watched.err
    with trials_of(f"kills at changes of files: {kind}") as trials:
        for number in trials.pick(len(watched.changes), few):
            root = copy_place(before, tmp_path / str(number))
            with trials.trial(f"{kind}, change {number} ({watched.changes[number]})"):
                assert act(root, number).code == KILLED
                check_killed(root, before / "artifacts", whole)
                told = forked.finish(recover, str(root), root=root)
                assert told.code == 0, told.err
                check_recovered(root, before / "artifacts", whole, told)
            shutil.rmtree(root.parent)


def recover(root: str) -> None:
    """Do what every command does first."""
    from driftbook.runbook.project import locate_project

    artifacts = Path(root)
    project = locate_project(artifacts.parent / "runbook.yaml", artifacts)
    with project.hold_artifacts(print):
        pass


@pytest.mark.parametrize(
    ("before", "words"),
    [
        ("promotable", ["promote"]),
        ("promoted", ["rollback"]),
        ("published", ["acknowledge", "f0", "--why", "a new sensor"]),
        ("accepted", ["acknowledge", "f0", "--undo"]),
    ],
    ids=["promote", "rollback", "acknowledge", "undo"],
)
def test_kills_of_a_command(
    places: Places, tmp_path: Path, count_trials: CountTrials, before: str, words: list[str]
) -> None:
    def act(root: Path, stop_at: int | None) -> forked.Ended:
        return call(root, *words, stop_at=stop_at)

    torture(count_trials, " ".join(words[:1] + words[2:3]), getattr(places, before), tmp_path, act)


@pytest.mark.parametrize("before", ["empty", "published"])
def test_kills_of_a_publication(
    places: Places, tmp_path: Path, count_trials: CountTrials, before: str
) -> None:
    def act(root: Path, stop_at: int | None) -> forked.Ended:
        return forked.finish(publish_staged, str(root), root=root, stop_at=stop_at)

    kind = "first publication" if before == "empty" else "publication"
    torture(count_trials, kind, getattr(places, before), tmp_path, act)


def test_kills_of_what_finishes_a_publication(
    places: Places, tmp_path: Path, count_trials: CountTrials
) -> None:
    def act(root: Path, stop_at: int | None) -> forked.Ended:
        return forked.finish(recover, str(root), root=root, stop_at=stop_at)

    torture(count_trials, "recovery", places.committed, tmp_path, act)
