"""Commands on a disk that is full after so many bytes: a real one, as small as each trial asks."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import forked
import pytest
from places import Places, call, check_recovered, list_names, make_finished, publish_staged, recover
from trials import LONG, CountTrials

from driftbook import paths
from driftbook.store import registry

PAGE = 4096
ROOMY = 256 << 20
# A command that still fails with so much space does not fail for want of space.
MOST_PAGES = 4000


@pytest.fixture(scope="module", autouse=True)
def may_mount(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Skip where no file system of a given size can be had."""
    place = tmp_path_factory.mktemp("mounted")
    if os.geteuid() or shutil.which("mount") is None:
        pytest.skip("mounting a small file system needs root")
    try:
        with small_disk(place, PAGE):
            pass
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no small file system can be mounted: {error.stderr.strip()}")


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[None]:
    """Mount a file system of ``size`` bytes on a folder, and remove it again."""
    mount(folder, f"size={size}")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def mount(folder: Path, options: str) -> None:
    """Mount a file system in memory, or change the one that is mounted."""
    command = ["mount", "-t", "tmpfs", "-o", options, "none", folder]
    subprocess.run(command, check=True, capture_output=True, text=True)


def act_on(root: Path, words: list[str]) -> forked.Ended:
    """Do what is tried: a command, or what a run does around its notebooks."""
    if words == ["publish"]:
        return forked.finish(publish_staged, str(root), root=root)
    return call(root, *words)


def try_with(before: Path, whole: Path, place: Path, words: list[str], pages: int) -> bool:
    """Try a command with so many pages free; return whether it was done, and check what is left."""
    shutil.copytree(before, place, ignore=shutil.ignore_patterns("artifacts"))
    root = place / "artifacts"
    root.mkdir()
    with small_disk(root, ROOMY):
        shutil.copytree(before / "artifacts", root, dirs_exist_ok=True)
        usage = os.statvfs(root)
        used = (usage.f_blocks - usage.f_bfree) * usage.f_frsize
        mount(root, f"remount,size={used + pages * PAGE}")
        ended = act_on(root, words)
        mount(root, f"remount,size={ROOMY}")
        if ended.code:
            assert "No space left on device" in ended.err, ended.err[-500:]
            if words != ["publish"]:
                assert "Traceback" not in ended.err, ended.err[-500:]
                assert ended.last.startswith("driftbook: "), ended.last
        told = forked.finish(recover, str(root), root=root)
        assert told.code == 0, told.err
        shutil.rmtree(root / "failed", ignore_errors=True)  # what a run leaves to look at
        expected = whole / "artifacts" if ended.code == 0 else before / "artifacts"
        if not registry.read_index(root / paths.MODELS).versions:
            (root / paths.MODELS / paths.INDEX).unlink(missing_ok=True)  # names nothing
        assert list_names(root) == list_names(expected)
        check_recovered(root, before / "artifacts", whole / "artifacts", told)
    return ended.code == 0


KERNEL = ["--no-render"]
COMMANDS = {
    "promote": ("promotable", ["promote"]),
    "rollback": ("promoted", ["rollback"]),
    "acknowledge": ("published", ["acknowledge", "f0", "--why", "a new sensor"]),
    "undo": ("accepted", ["acknowledge", "f0", "--undo"]),
    "first publication": ("empty", ["publish"]),
    "publication": ("published", ["publish"]),
    "run": ("", ["run", "--from", "serving", "--window", "rows-0004", *KERNEL]),
    "backtest": ("", ["backtest", *KERNEL]),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", COMMANDS)
def test_a_disk_that_is_full_loses_nothing(
    places: Places, tmp_path: Path, count_trials: CountTrials, kind: str
) -> None:
    start, words = COMMANDS[kind]
    before = getattr(places, start) if start else make_finished(tmp_path / "before", kind)
    whole = tmp_path / "whole"
    shutil.copytree(before, whole)
    assert act_on(whole / "artifacts", words).code == 0
    with count_trials(f"full disk: {kind}") as trials:
        pages, done = 1, False  # a file system of no pages has no limit
        while not done and pages < MOST_PAGES:
            with trials.trial(f"{kind} with {pages} pages free"):
                done = try_with(before, whole, tmp_path / str(pages), words, pages)
            # Every page where that is quick; with a kernel, and in short, in growing steps.
            slow = KERNEL[0] in words
            pages += max(1, pages // 3 if slow else 1) if LONG else 3 * pages
        assert done, f"still failing with {pages} pages free"
