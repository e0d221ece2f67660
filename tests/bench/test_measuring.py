"""What benchmarks share: turns, ratios, memory, what is written."""

from __future__ import annotations

import doctest
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

import _measuring
import _page
from _measuring import Goal, Spent

BENCH = Path(_measuring.__file__).parent


@pytest.mark.parametrize("module", [_measuring, _page])
def test_examples_of_docstrings_hold(module: object) -> None:
    found = doctest.testmod(module)  # type: ignore[arg-type]
    assert found.attempted > 0 and found.failed == 0


def test_seconds_of_a_call_are_those_of_its_processes_too() -> None:
    before = time.process_time()
    work = [sys.executable, "-S", "-c", "sum(range(3_000_000))"]
    spent = _measuring.measure_call(lambda: subprocess.run(work, check=True))
    assert spent.cpu_s > time.process_time() - before
    asleep = _measuring.measure_call(lambda: time.sleep(0.05))
    assert asleep.wall_s >= 0.05 > asleep.cpu_s


def test_parts_take_turns_and_the_first_round_does_not_count() -> None:
    calls: list[str] = []

    def part(name: str, cpu_s: float) -> Spent:
        calls.append(name)
        return Spent(cpu_s + len(calls), 0.0)

    parts = {name: lambda name=name: part(name, 0.0) for name in "ab"}
    found = _measuring.take_turns(parts, 2)
    assert calls == ["a", "b"] * 3
    assert [one.cpu_s for one in found["a"]] == [3.0, 5.0]


def test_a_part_that_has_used_its_time_sits_out_the_rest() -> None:
    parts = {"slow": lambda: Spent(7.0, 7.0), "quick": lambda: Spent(1.0, 1.0)}
    found = _measuring.take_turns(parts, 5, limit_s=10.0)
    assert [len(found[name]) for name in ("slow", "quick")] == [2, 5]


def test_ratios_are_medians_of_the_turns_own() -> None:
    these = [Spent(2.0, 9.0), Spent(30.0, 1.0), Spent(8.0, 5.0)]
    those = [Spent(1.0, 1.0), Spent(10.0, 1.0), Spent(2.0, 1.0)]
    assert _measuring.compare_turns(these, those) == 3.0
    assert _measuring.compare_turns(these[:1], those) == 2.0
    assert _measuring.find_median(these) == (8.0, 5.0)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux hands a parent's peak down")
def test_memory_is_a_process_own_and_not_that_of_its_parent() -> None:
    held = bytearray(400 * 1024**2)
    held[::4096] = b"x" * len(held[::4096])
    code = (
        "from _measuring import *; a = find_peak_mib(); b = bytearray(2**26); b[::4096] = b[::4096]"
    )
    code += "; c = find_peak_mib(); del b; forget_peak(); print(a, c, find_peak_mib())"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], cwd=BENCH, capture_output=True, text=True, check=True
    )
    before, most, after = map(float, done.stdout.split())
    assert before < 100 < _measuring.find_peak_mib()
    assert before + 60 < most and after < most - 60


def test_a_report_is_printed_and_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(_measuring, "FOLDER", tmp_path)
    rows = [{"part": "profile", "cpu_s": 0.012345}, {"part": "plain", "cpu_s": 1.5}]
    unknown = Goal("over a peer", None, 20.0)
    about = "What it costs.\n\nMeasured in\nturns."
    assert _measuring.report_bench("area/one", about, {"a table": rows}, [unknown], ["n"]) == 0
    said = capsys.readouterr().out
    assert "profile  0.0123" in said and "over a peer: –, at least 20 wanted: not measured" in said
    found = json.loads((tmp_path / "area" / "one.json").read_text(encoding="utf-8"))
    assert found["about"] == "What it costs." and found["method"] == "Measured in turns."
    assert found["tables"] == {"a table": rows} and found["notes"] == ["n"]
    assert found["machine"]["packages"]["numpy"] and found["took"]["cpu_s"] > 0
    for goal in (
        Goal("a", 19.0, 20.0),
        Goal("b", 2.1, 2.0, at_least=False),
        Goal("c", float("nan"), 1.0),
    ):
        assert _measuring.report_bench("two", about, {}, [goal, unknown]) == 1
    assert _measuring.report_bench("two", about, {}, [Goal("a", 20.0, 20.0)]) == 0
