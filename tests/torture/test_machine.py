"""A killed kernel, a folder that nobody may write to, and two commands at once."""

from __future__ import annotations

import ctypes
import os
import random
import signal
import time
from pathlib import Path

import forked
import pytest
from places import Places, copy_place, list_names, read_state, words_for
from trials import LONG, CountTrials

from driftbook import paths
from driftbook.store import transaction, verify

SEED = 0
BUSY = 75
CAPABILITIES_V3 = 0x20080522


def check_sentence(ended: forked.Ended, codes: set[int]) -> None:
    """Check that a command ended with one of the codes, and in a sentence where it failed."""
    assert ended.code in codes, (ended.code, ended.err[-500:])
    assert "Traceback" not in ended.err, ended.err[-500:]
    assert ended.code == 0 or ended.last.startswith("driftbook: "), ended.err[-500:]


def check_whole(root: Path) -> None:
    """Check that nothing is half done, and that the next command has nothing to put right."""
    read_state(root)
    assert transaction.recover_artifacts(root) == []
    assert verify.verify_artifacts(root) == []
    assert not list((root / paths.STAGING).glob("*"))


def call_without_privileges(*words: str) -> None:
    """Do what the command line does, bound by the modes of files like anybody else."""
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        header, none = (ctypes.c_uint32 * 2)(CAPABILITIES_V3, 0), (ctypes.c_uint32 * 6)()
        assert libc.capset(header, none) == 0, os.strerror(ctypes.get_errno())
    forked.call_driftbook(*words)


def set_writable(root: Path, writable: bool) -> None:
    """Let everybody, or nobody, write to a folder and all that is in it."""
    for path in (root, *root.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(mode | 0o200 if writable else mode & ~0o222)


COMMANDS = (
    ["promote"],
    ["rollback"],
    ["acknowledge", "f0", "--why", "a new sensor"],
    ["report"],
    ["run", "--no-render"],
    ["backtest", "--no-render"],
)


def test_a_folder_that_nobody_may_write_to_stays_as_it_is(
    places: Places, tmp_path: Path, count_trials: CountTrials
) -> None:
    root = copy_place(places.promotable, tmp_path / "whole")
    before = list_names(root), read_state(root)
    with count_trials("a read-only folder") as trials:
        set_writable(root, writable=False)
        try:
            for words in (["verify"], *COMMANDS):
                with trials.trial(" ".join(words)):
                    act = (call_without_privileges, *words, *words_for(root))
                    ended = forked.finish(*act, root=root)
                    check_sentence(ended, {0} if words == ["verify"] else {1})
                    assert (list_names(root), read_state(root)) == before
        finally:
            set_writable(root, writable=True)
        check_whole(root)


PAIRS = (
    ("promotable", ["promote"], ["promote"]),
    ("promotable", ["promote"], ["rollback"]),
    ("promoted", ["rollback"], ["rollback"]),
    ("promotable", ["promote"], ["acknowledge", "f0", "--why", "a new sensor"]),
    ("accepted", ["acknowledge", "f0", "--undo"], ["acknowledge", "f0", "--why", "again"]),
    ("promotable", ["promote"], ["verify"]),
)
LONG_PAIRS = (
    ("published", ["run", "--no-render"], ["run", "--no-render"]),
    ("empty", ["run", "--no-render"], ["run", "--no-render"]),
    ("promotable", ["run", "--no-render"], ["promote"]),
    ("promotable", ["run", "--no-render"], ["verify"]),
    ("published", ["backtest", "--no-render"], ["run", "--no-render"]),
    ("published", ["backtest", "--no-render"], ["backtest", "--no-render"]),
    ("promoted", ["backtest", "--no-render"], ["rollback"]),
)


def test_two_commands_at_once(places: Places, tmp_path: Path, count_trials: CountTrials) -> None:
    chance = random.Random(SEED)
    tries = [*PAIRS * (20 if LONG else 3), *(LONG_PAIRS * 2 if LONG else ())]
    with count_trials("two commands at once") as trials:
        for number, (before, first, second) in enumerate(tries):
            root = copy_place(getattr(places, before), tmp_path / str(number))
            lines = read_state(root)[1]
            longest = 3.0 if "run" in first or "backtest" in first else 0.03
            pause = chance.random() * longest * (number % 2)
            with trials.trial(f"{number}: {first} and, after {pause:.3f} s, {second} on {before}"):
                started = []
                for words in (first, second):
                    act = (forked.call_driftbook, *words, *words_for(root))
                    started.append(forked.start(*act, root=root))
                    time.sleep(pause)
                ended = [one.wait() for one in started]
                for one in ended:
                    check_sentence(one, {0, 1, 2, BUSY})
                codes = {one.code for one in ended}
                # Who holds the folder may refuse its own order while the other finds it busy.
                assert 0 in codes or codes in ({1, BUSY}, {2, BUSY}), [one.err for one in ended]
                check_counts(root, lines, ended, (first, second))


def check_counts(
    root: Path, lines: int, ended: list[forked.Ended], commands: tuple[list[str], list[str]]
) -> None:
    """Check that each event that was said to be done is in the ledger, and none that was not."""
    check_whole(root)
    events = ("promote", "rollback", "acknowledge")
    done = sum(
        one.code == 0 and words[0] in events for one, words in zip(ended, commands, strict=True)
    )
    first = lines == 0  # the first run makes its model champion
    assert read_state(root)[1] == lines + done + first


def find_children(pid: int) -> list[int]:
    """Return the processes that a process started and that still live."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[1] == str(pid) and fields[0] != "Z":
            found.append(int(status.parent.name))
    return found


def find_kernel(pid: int) -> int | None:
    """Return the kernel of a command; None where it has none (yet)."""
    for child in find_children(pid):
        command = Path(f"/proc/{child}/cmdline")
        if command.exists() and b"kernel" in command.read_bytes():
            return child
    return None


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_a_killed_kernel_ends_a_run_in_a_sentence(
    places: Places, tmp_path: Path, count_trials: CountTrials
) -> None:
    chance = random.Random(SEED)
    with count_trials("kills of a run's kernel") as trials:
        for number in range(12 if LONG else 1):
            root = copy_place(places.published, tmp_path / str(number))
            before = list_names(root), read_state(root)
            words = ["backtest" if number % 4 == 3 else "run", "--no-render", *words_for(root)]
            moment = chance.random() * (15.0 if number else 2.0)
            with trials.trial(f"{number}: kernel of {words[0]} killed after {moment:.3f} s"):
                started = forked.start(forked.call_driftbook, *words, root=root)
                kernel = None
                while kernel is None and started.process.is_alive():
                    time.sleep(0.05)
                    kernel = find_kernel(started.process.pid or 0)
                time.sleep(moment)
                killed = started.process.is_alive() and kernel is not None
                if killed and kernel is not None:
                    os.kill(kernel, signal.SIGKILL)
                ended = started.wait()
                check_sentence(ended, {0, 1} if moment > 4 else {1})
                check_whole(root)
                if ended.code:
                    kept = [one for one in list_names(root) if not one.startswith("failed/")]
                    assert (kept, read_state(root)) == before
