"""Every file damaged in every way: ``driftbook verify`` names it in a line and changes nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

from places import Places, call, copy_place
from trials import LONG, CountTrials

from driftbook import paths

WAYS = ("cut", "flip", "empty", "null", "gone")
# Locks hold nothing. A mark says that the run was brought out, which its being empty does not undo;
# one that is gone is for recovery to put back.
UNTOLD = {".lock", paths.PUBLISHED_MARK.name}


def damage(path: Path, way: str) -> bool:
    """Damage a file; return whether that changed it."""
    before = path.read_bytes()
    if way == "gone":
        path.unlink()
        return True
    middle = len(before) // 2
    flipped = before[:middle] + bytes(byte ^ 1 for byte in before[middle : middle + 1])
    changed = {
        "cut": before[:middle],
        "flip": flipped + before[middle + 1 :],
        "empty": b"",
        "null": b"null\n",
    }[way]
    path.write_bytes(changed)
    return changed != before


def read_all(root: Path) -> dict[str, bytes]:
    """Return what is in every file."""
    return {path.as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_every_damage_is_named_in_a_line(
    places: Places, tmp_path: Path, count_trials: CountTrials
) -> None:
    root = copy_place(places.promotable, tmp_path / "whole")
    assert call(root, "verify").code == 0
    names = sorted(p.relative_to(root) for p in root.rglob("*") if p.is_file())
    with count_trials("damages of files: verify") as trials:
        for number, name in enumerate(names):
            for way in WAYS if LONG else (WAYS[number % len(WAYS)],):
                with trials.trial(f"{name}, {way}"):
                    check_damage(root, name, way)


def check_damage(root: Path, name: Path, way: str) -> None:
    """Check what ``verify`` says about one damage, which is mended afterwards."""
    kept = root.parent / "kept"
    shutil.copy2(root / name, kept)
    try:
        changed = damage(root / name, way)
        before = read_all(root)
        told = call(root, "verify")
        assert "Traceback" not in told.err, told.err[-400:]
        assert read_all(root) == before, "verify changed a file"
        if not changed or name.name in UNTOLD:
            return
        assert told.code == 1, told.out
        lines = [*told.out.strip().splitlines(), *told.err.strip().splitlines()]
        known = (name.as_posix(), name.name, name.parent.name)
        assert any(one in line for line in lines for one in known), lines
    finally:
        shutil.copy2(kept, root / name)
