"""Peers in environments of their own: set up whole or not at all, and named where they are not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import _measuring
import _peers
import drift_peers


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("ROOT", "HOME", "PINS"):
        monkeypatch.setattr(_peers, name, tmp_path)
    monkeypatch.setattr(_peers, "MODULES", {"calm": "json", "broken": "no_such_module"})
    for name in _peers.MODULES:
        (tmp_path / f"{name}.txt").write_text("", encoding="utf-8")
    return tmp_path


def test_a_peer_is_made_once_and_again_when_its_pins_change(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = _peers.set_up_peer("calm")
    assert python is not None and python.is_file()
    with monkeypatch.context() as patch:
        patch.setattr(_peers, "run", None)  # a second call starts nothing
        assert _peers.set_up_peer("calm") == python
    (home / "calm.txt").write_text("# other pins\n", encoding="utf-8")
    assert _peers.find_peer("calm") is None
    assert _peers.set_up_peer("calm") == python


def test_a_peer_that_cannot_be_had_leaves_its_reason_and_nothing_else(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _peers.main() == 0
    assert "peers: 1 of 2 are ready" in capsys.readouterr().out
    assert not (home / "broken").exists() and _peers.find_peer("broken") is None
    told = _peers.explain_absence("broken")
    assert told.startswith("broken could not be installed: ModuleNotFoundError: No module named")


def test_a_set_up_that_is_stopped_leaves_nothing(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(command: list[str], timeout_s: float) -> str:
        (home / "calm").mkdir()
        raise KeyboardInterrupt

    monkeypatch.setattr(_peers, "run", stop)
    with pytest.raises(KeyboardInterrupt):
        _peers.set_up_peer("calm")
    assert not (home / "calm").exists()


def test_without_peers_the_benchmark_names_each_and_judges_no_goal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(_peers, "HOME", tmp_path)
    monkeypatch.setattr(_measuring, "FOLDER", tmp_path)
    monkeypatch.setattr(drift_peers, "SHAPES", ((3, 2, 10.0),))
    monkeypatch.setattr(drift_peers, "ROWS", 500)
    monkeypatch.setattr("sys.argv", ["drift_peers.py", "--rows", "500", "--repeats", "2"])
    assert drift_peers.main() == 0
    said = capsys.readouterr().out
    for name in _peers.MODULES:
        assert f"{name} is not installed; 'make bench-peers' does that" in said
    found = json.loads((tmp_path / "drift_peers.json").read_text(encoding="utf-8"))
    (rows,) = found["tables"].values()
    assert [row["contestant"].rpartition(" ")[0] for row in rows] == [
        drift_peers.OURS,
        drift_peers.STRINGS,
    ]
    assert [row["turns"] for row in rows] == [2, 2] and rows[0]["times_ours"] == 1.0
    assert not any("columns" in note for note in found["notes"])  # each judged all five
    assert found["goals"][0]["met"] is None
