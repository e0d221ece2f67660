"""Wherever a process dies, what was there is whole; the next command finishes or drops the rest.

Every creation, rename, removal and flush that an operation makes is found by watching it once. Then
the operation is stopped before each of them in turn; a flush also loses half of what was written.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import staged_runs

from driftbook import paths
from driftbook.model import training
from driftbook.store import (
    acknowledgements,
    acknowledging,
    gate,
    ledger,
    manifest,
    registry,
    registry_models,
    transaction,
    verify,
)
from file_changes import name_change

Operation = Callable[[Path], object]


class Crash(BaseException):
    """Stands for the process dying at that point."""


@dataclass
class Watch:
    """The changes of files so far; from number ``stop_at`` on, none happens any more."""

    root: Path
    stop_at: int | None = None
    seen: list[str] = field(default_factory=list)

    def note(self, change: str) -> None:
        """Count a change that is about to happen.

        Raises:
            Crash: it is the one to stop at, or the process died before.
        """
        self.seen.append(change)
        if self.stop_at is not None and len(self.seen) > self.stop_at:
            raise Crash(change)

    def hear(self, event: str, words: tuple[Any, ...]) -> None:
        """Note the events of the interpreter that change a file under the root."""
        change = name_change(event, words, self.root)
        if change is not None:
            self.note(change)


@dataclass
class FullDisk(Watch):
    """From number ``stop_at`` on, whatever takes space fails; renames and removals take none."""

    def note(self, change: str) -> None:
        """Count a change that takes space.

        Raises:
            OSError: the disk is full.
        """
        if change.split(maxsplit=1)[0] in ("open", "os.mkdir") or change == "os.fsync":
            self.seen.append(change)
            if self.stop_at is not None and len(self.seen) > self.stop_at:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


_watches: list[Watch] = []


def _hear(event: str, words: tuple[Any, ...]) -> None:
    if _watches:
        _watches[-1].hear(event, words)


sys.addaudithook(_hear)


@contextmanager
def watching(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Hear of every change; a flush that never comes loses half of the file."""

    def flushing(descriptor: int) -> None:
        writes = fcntl.fcntl(descriptor, fcntl.F_GETFL) & (os.O_WRONLY | os.O_RDWR)
        try:
            watch.note("os.fsync" if writes else "os.fsync of names")
        except Crash:
            if writes:
                os.ftruncate(descriptor, os.fstat(descriptor).st_size // 2)
            raise

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", flushing)
        _watches.append(watch)
        try:
            yield
        finally:
            _watches.pop()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare the disk; hard links do as copies, for no file is ever written in place."""
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)
    monkeypatch.setattr(manifest, "describe_code", dict)


def copy(before: Path, after: Path) -> Path:
    return Path(shutil.copytree(before, after, copy_function=os.link))


def tree(root: Path) -> set[str]:
    """Return the files under ``root`` but the lock files."""
    found = (path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
    return {name for name in found if Path(name).name != ".lock"}


@dataclass(frozen=True)
class Trees:
    """Artifacts folders to start from, and what is to happen to each."""

    empty_committed: Path
    published: Path
    staged: Path
    committed: Path
    promotable: Path
    promoted: Path


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> Trees:
    """Return folders with a first run, then one that wants its challenger promoted."""
    folder = tmp_path_factory.mktemp("trees")

    def grown(name: str, before: Path | None = None) -> Path:
        return Path(shutil.copytree(before, folder / name)) if before else folder / name

    first = grown("first")
    first.mkdir()
    one = staged_runs.stage(first)
    transaction.commit_run(one, first)
    published = grown("published", first)
    transaction.publish_run(published, one.run_id)
    staged = grown("staged", published)
    champion = registry_models.load_model(published / "models")
    other = training.train(champion.reference, staged_runs.SETTINGS, recipe="other")
    two = staged_runs.stage(staged, "retrain", challenger_version=other.version)
    registry_models.save_model(two.folder / "models", other)
    committed = grown("committed", staged)
    at = committed / paths.STAGING / two.run_id
    transaction.commit_run(transaction.StagedRun(two.run_id, at), committed)
    promotable = grown("promotable", committed)
    transaction.publish_run(promotable, two.run_id)
    promoted = grown("promoted", promotable)
    promote(promoted)
    return Trees(first, published, staged, committed, promotable, promoted)


def commit(root: Path) -> None:
    (folder,) = (root / paths.STAGING).iterdir()
    transaction.commit_run(transaction.StagedRun(folder.name, folder), root)


def publish(root: Path) -> None:
    # Two runs of one second have ids in any order: the one to publish has no mark yet.
    runs = (root / paths.RUNS).iterdir()
    (waiting,) = (path.name for path in runs if not (path / paths.PUBLISHED_MARK).exists())
    transaction.publish_run(root, waiting)


def promote(root: Path) -> None:
    passed = gate.check_gate(root)
    models = root / paths.MODELS
    registry.promote_version(models, passed.version, passed.why, passed.evidence_sha256)


def roll_back(root: Path) -> None:
    registry.roll_back(root / paths.MODELS, None, "test")


def acknowledge(root: Path) -> None:
    acknowledging.acknowledge_column(root, "f0", "a new sensor")


def withdraw(root: Path) -> None:
    acknowledging.withdraw_acknowledgement(root, "f0", None)


def accepted_in(root: Path) -> list[str]:
    """Return the columns whose change is accepted for the champion."""
    found = acknowledgements.read_acknowledgements(root / paths.MODELS)
    return [one.column for one in found.get(str(champion_of(root)), ())]


def stops(
    before: Path, operation: Operation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[str, Path]]:
    """Yield each change of an operation, and the folder that a stop just before it leaves."""
    whole = copy(before, tmp_path / "whole")
    watch = Watch(whole)
    with watching(watch, monkeypatch):
        operation(whole)
    for number, change in enumerate(watch.seen):
        root = copy(before, tmp_path / str(number))
        with watching(Watch(root, number), monkeypatch), pytest.raises(Crash):
            operation(root)
        yield f"{number} of {len(watch.seen)}: {change}", root


def champion_of(root: Path) -> str | None:
    """Return the champion; the index and the ledger are to be readable at any time."""
    ledger.read_ledger(root / paths.MODELS)
    return registry.read_index(root / paths.MODELS).aliases["champion"]


def content(path: Path) -> bytes | None:
    """Return what is in a file; ``None`` where there is none."""
    return path.read_bytes() if path.exists() else None


def kept(root: Path, before: Path) -> bool:
    """Tell whether the folder of each earlier run is as it was."""
    runs = [path.parent for path in (before / paths.RUNS).glob(f"*/{paths.PUBLISHED_MARK}")]
    return all(
        (root / path.relative_to(before)).read_bytes() == path.read_bytes()
        for run in runs
        for path in run.rglob("*")
        if path.is_file()
    )


def test_every_kind_of_change_is_watched(
    trees: Trees, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = copy(trees.committed, tmp_path / "root")
    (root / "drift" / "stale.csv").touch()
    watch = Watch(root)
    with watching(watch, monkeypatch):
        publish(root)
    for published in (*paths.REQUIRED_FILES, paths.MANIFEST, paths.INDEX):
        assert f"os.rename .{published.name}" in {name.rsplit(".", 2)[0] for name in watch.seen}
    assert {change.split()[0] for change in watch.seen} == {
        "open", "os.fsync", "os.mkdir", "os.remove", "os.rename", "os.rmdir",
    }  # fmt: skip
    assert "os.remove stale.csv" in watch.seen
    assert watch.seen[-1].startswith(f"os.rename .{paths.PUBLISHED_MARK}.")


def test_a_stop_while_committing_leaves_the_previous_run_whole(
    trees: Trees, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = manifest.read_manifest(trees.staged / paths.MANIFEST)
    finished = 0
    for at, root in stops(trees.staged, commit, tmp_path, monkeypatch):
        assert verify.verify_artifacts(root) == [], at
        assert manifest.read_manifest(root / paths.MANIFEST) == document, at
        (message,) = transaction.recover_artifacts(root)
        found = tree(root)
        if message.startswith("finished publishing"):
            finished += 1
            assert found == tree(trees.promotable), at
        else:
            assert message.startswith("dropped run"), at
            assert found == tree(trees.published), at
        assert verify.verify_artifacts(root) == [], at
        assert transaction.recover_artifacts(root) == [], at
    assert finished == 1  # the folder's flush after the one rename


@pytest.mark.parametrize(
    ("before", "after"), [("empty_committed", "published"), ("committed", "promotable")]
)
def test_a_stop_while_publishing_is_finished_by_the_next_command(
    trees: Trees, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str, after: str
) -> None:
    start, end = getattr(trees, before), getattr(trees, after)
    allowed = {champion_of(start), champion_of(end)}
    manifests = {content(start / paths.MANIFEST), content(end / paths.MANIFEST)}
    run_id = manifest.read_manifest(end / paths.MANIFEST)["run_id"]
    for at, root in stops(start, publish, tmp_path, monkeypatch):
        assert champion_of(root) in allowed, at
        assert kept(root, start), at
        assert content(root / paths.MANIFEST) in manifests, at
        *moved, told = transaction.recover_artifacts(root)
        assert told == f"finished publishing run {run_id}, which had stopped half-way", at
        # A first champion whose line is written already is not made twice.
        assert len(moved) <= (before == "empty_committed"), at
        assert all("finished the promotion of" in message for message in moved), at
        lines = [ledger.read_ledger(folder / paths.MODELS) for folder in (root, end)]
        assert len(lines[0]) == len(lines[1]), at
        assert tree(root) == tree(end), at
        assert verify.verify_artifacts(root) == [], at
        aliases = registry.read_index(root / paths.MODELS).aliases
        assert aliases == registry.read_index(end / paths.MODELS).aliases, at
        assert transaction.recover_artifacts(root) == [], at


@pytest.mark.parametrize(
    ("before", "operation"), [("promotable", promote), ("promoted", roll_back)]
)
def test_a_stop_while_the_champion_moves_leaves_the_old_or_the_new_one(
    trees: Trees, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str, operation: Operation
) -> None:
    start = getattr(trees, before)
    old, lines = champion_of(start), len(ledger.read_ledger(start / paths.MODELS))
    outcomes = []
    for at, root in stops(start, operation, tmp_path, monkeypatch):
        assert champion_of(root) == old, at
        moved = len(ledger.read_ledger(root / paths.MODELS)) - lines
        messages = transaction.recover_artifacts(root)
        assert len(messages) == moved, at
        now, written = champion_of(root), ledger.read_ledger(root / paths.MODELS)
        assert (now != old, len(written)) == (moved == 1, lines + moved), at
        assert written[-1]["to"] == now, at
        assert tree(root) == tree(start), at
        assert verify.verify_artifacts(root) == [], at
        if not moved:
            operation(root)
            assert champion_of(root) != old, at
        outcomes.append(moved)
    assert set(outcomes) == {0, 1}


@pytest.mark.parametrize("operation", [acknowledge, withdraw])
def test_a_stop_while_a_change_is_accepted_leaves_it_accepted_or_not(
    trees: Trees, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, operation: Operation
) -> None:
    """Once its line is in the ledger it counts, and the next command brings the index after it."""
    start = copy(trees.published, tmp_path / "start")
    if operation is withdraw:
        acknowledge(start)
    old, lines = accepted_in(start), len(ledger.read_ledger(start / paths.MODELS))
    outcomes = []
    for at, root in stops(start, operation, tmp_path, monkeypatch):
        written = len(ledger.read_ledger(root / paths.MODELS)) - lines
        assert (accepted_in(root) != old) == (written == 1), at
        told = verify.verify_artifacts(root)
        assert [("stopped half-way" in one, "of f0" in one) for one in told] == (
            [(True, True)] * written
        ), at
        messages = transaction.recover_artifacts(root)
        assert len(messages) == written, at
        assert all("of f0 that had stopped half-way" in message for message in messages), at
        assert champion_of(root) == champion_of(start), at
        assert verify.verify_artifacts(root) == [], at
        assert tree(root) == tree(start), at
        if not written:
            operation(root)
            assert accepted_in(root) != old, at
        outcomes.append(written)
    assert set(outcomes) == {0, 1}


@pytest.mark.parametrize(
    ("before", "operation"),
    [
        ("promotable", promote),
        ("promoted", roll_back),
        ("published", acknowledge),
        ("empty_committed", publish),
        ("committed", publish),
    ],
)
def test_what_fails_on_a_full_disk_never_takes_effect(
    trees: Trees, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str, operation: Operation
) -> None:
    start = getattr(trees, before)
    state = (champion_of(start), ledger.read_ledger(start / paths.MODELS), accepted_in(start))
    whole = copy(start, tmp_path / "whole")
    counted = FullDisk(whole)
    with watching(counted, monkeypatch):
        operation(whole)
    assert champion_of(whole) != state[0] or operation is not promote
    for number, change in enumerate(counted.seen):
        at, root = f"{number} of {len(counted.seen)}: {change}", copy(start, tmp_path / str(number))
        waiting = manifest.list_unpublished_runs(root)
        with watching(FullDisk(root, number), monkeypatch):
            with pytest.raises((OSError, transaction.UnpublishedError), match=r"No space left"):
                operation(root)
            for run_id in waiting:
                transaction.withdraw_run(root, run_id)
        assert transaction.recover_artifacts(root) == [], at
        found = (champion_of(root), ledger.read_ledger(root / paths.MODELS), accepted_in(root))
        assert found == state, at
        assert content(root / paths.MANIFEST) == content(start / paths.MANIFEST), at
        assert kept(root, start), at
        if before != "empty_committed":
            assert verify.verify_artifacts(root) == [], at
            old = {name for name in tree(start) if not waiting or waiting[0] not in name}
            new = {name for name in tree(root) if not name.startswith("models/m")}
            assert new == {name for name in old if not name.startswith("models/m")}, at


def test_verifying_changes_no_file(trees: Trees, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(trees.promoted)
    with watching(watch, monkeypatch):
        assert verify.verify_artifacts(trees.promoted) == []
    assert watch.seen == []
