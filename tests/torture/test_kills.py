"""Commands killed at each change of a file that they make: nothing is lost, the next one tells."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import forked
import pytest
from places import (
    Places,
    call,
    check_killed,
    check_recovered,
    copy_place,
    make_finished,
    publish_staged,
    read_kept,
    read_state,
    recover,
    words_for,
)
from trials import LONG, CountTrials

from driftbook import paths
from driftbook.store import transaction, verify

SEED = 0
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
                ended = act(root, number)
                # With a kernel beside it a command may make a change fewer than it did before.
                assert ended.code == KILLED or len(ended.changes) <= number, ended.err
                check_killed(root, before / "artifacts", whole)
                told = forked.finish(recover, str(root), root=root)
                assert told.code == 0, told.err
                check_recovered(root, before / "artifacts", whole, told)
            shutil.rmtree(root.parent)


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


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [["backtest"], ["run", "--from", "serving", "--window", "rows-0004"]],
    ids=["backtest", "run"],
)
def test_kills_of_a_command_with_a_kernel(
    tmp_path: Path, count_trials: CountTrials, words: list[str]
) -> None:
    before = make_finished(tmp_path / "before", words[0])

    def act(root: Path, stop_at: int | None) -> forked.Ended:
        return call(root, *words, "--no-render", stop_at=stop_at)

    torture(count_trials, words[0], before, tmp_path, act, few=3)


@pytest.mark.slow
@pytest.mark.skipif(not LONG, reason="takes minutes: make torture")
def test_kills_of_whole_runs_at_any_moment(
    places: Places, tmp_path: Path, count_trials: CountTrials
) -> None:
    chance = random.Random(SEED)
    with count_trials("kills of whole runs at any moment") as trials:
        for number in range(30):
            before = places.published if number % 3 else places.empty
            root, moment = copy_place(before, tmp_path / str(number)), chance.random() * 20.0
            with trials.trial(f"run {number} on {before.name}, killed after {moment:.3f} s"):
                given = ("run", "--no-render", *words_for(root))
                started = forked.start(forked.call_driftbook, *given, root=root)
                started.process.join(moment)
                started.process.kill()
                assert started.wait().code in (0, KILLED)
                told = forked.finish(recover, str(root), root=root)
                assert told.code == 0, told.err
                read_state(root)
                assert transaction.recover_artifacts(root) == []
                assert not list((root / paths.STAGING).glob("*"))
                if (root / paths.MANIFEST).exists():
                    assert verify.verify_artifacts(root) == []
                kept = read_kept(root)
                assert read_kept(before / "artifacts").items() <= kept.items()
