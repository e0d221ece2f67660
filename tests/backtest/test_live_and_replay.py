"""What runs decide window by window is what the backtest replays: versions, actions, reasons."""

from __future__ import annotations

import dataclasses
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from driftbook.backtest import policies
from driftbook.backtest.timeline import Tenure, Timeline
from driftbook.data import synthetic
from driftbook.data import windows as data
from driftbook.decision.accepted import AcceptedSince
from driftbook.model.training import train
from driftbook.runbook.run import Run, find_reference_end
from driftbook.settings import Settings
from driftbook.store import registry, registry_models

WINDOWS, ROWS = 8, 240
# Stream: rows a window or a calendar window, and the column of time.
STREAMS: dict[str, tuple[int | str, str | None]] = {
    "rows without time": (ROWS, None),
    "rows in tied hours": (ROWS, "at"),
    "months": ("month", "at"),
    "years": ("quarter", "at"),
}


@cache
def _rows(stream: str) -> pd.DataFrame:
    """Return a stream whose rule turns in the fourth window, and again in the sixth."""
    scenario = "prior" if stream == "months" else "concept"
    frame = synthetic.make_scenario(scenario, rows=WINDOWS * ROWS, seed=4, onset=3 * ROWS)
    late = frame.index >= 5 * ROWS + 20
    frame.loc[late, "target"] = 1 - frame.loc[late, "target"]
    if stream == "rows in tied hours":
        hours = np.arange(len(frame)) // 7  # no multiple of a window: windows cut through hours
        frame.insert(0, "at", pd.Timestamp("2024-01-01") + pd.to_timedelta(hours, unit="h"))
    if stream == "months":
        span = pd.Timestamp("2024-09-01") - pd.Timestamp("2024-01-01")
        frame.insert(0, "at", pd.Timestamp("2024-01-01") + span / len(frame) * frame.index)
    if stream == "years":
        span = pd.Timestamp("2026-01-01") - pd.Timestamp("2024-01-01")
        frame.insert(0, "at", pd.Timestamp("2024-01-01") + span / len(frame) * frame.index)
    return frame


@cache
def _outage() -> pd.DataFrame:
    """Return a stream in which a column that matters stands still from the fifth window on."""
    frame = synthetic.make_scenario("none", rows=WINDOWS * ROWS, seed=4)
    frame.loc[frame.index >= 4 * ROWS, "f0"] = 3.0
    return frame


def _settings(folder: Path, stream: str, delay: int) -> Settings:
    window, timestamp = STREAMS[stream]
    source = folder / "rows.parquet"
    _rows(stream).to_parquet(source)
    return Settings.parse(
        {
            "data": {
                "source": str(source), "target": "target", "timestamp": timestamp,
                "window": window, "label_delay": delay,
            }
        }
    )  # fmt: skip


def _live(folder: Path, settings: Settings) -> list[tuple[Any, ...]]:
    """Return what a run in every window decides where each challenger is promoted at once."""
    published, decided = folder / "artifacts", []
    dataset = data.load_dataset(settings)
    for position, window in enumerate(dataset.windows[settings.data.reference :]):
        folder_of_run = published / "runs" / str(position)
        run = Run(f"run-{position}", settings, published, folder_of_run, window.name)
        found = run.assessment
        decided.append((window.name, run.champion.version, found.action, found.reason))
        if found.action == "retrain":
            assert found.challenger is not None
            run.save_challenger(found.challenger.model)
        registry.adopt_versions(run.artifacts / "models", run.models)
        if position == 0:
            registry.set_first_champion(run.artifacts / "models", run.champion.version)
        if found.action == "retrain":
            assert found.challenger is not None
            registry.promote_version(
                run.artifacts / "models", found.challenger.model.version, "better", None
            )
    return decided


def _replayed(settings: Settings, accepted: AcceptedSince | None = None) -> list[tuple[Any, ...]]:
    dataset = data.load_dataset(settings)
    stop = data.find_reference_windows(dataset, settings)[-1].stop
    first = Tenure(train(dataset.frame.iloc[:stop], settings), "first", 0, stop)
    windows = dataset.windows[settings.data.reference :]
    steps = policies.follow_driftbook(
        Timeline(dataset, settings, windows, [first], accepted=accepted or {}), settings.policy
    )
    return [
        (windows[step.window - 1].name, before.champion.model.version, *_said(step.reason))
        for before, step in pairwise(steps)
    ]


def _said(reason: str) -> tuple[str, str]:
    action, _, words = reason.partition(": ")
    return action, words


@pytest.mark.parametrize("delay", [0, 1, 2])
@pytest.mark.parametrize("stream", STREAMS)
def test_runs_decide_what_the_backtest_replays(tmp_path: Path, stream: str, delay: int) -> None:
    settings = _settings(tmp_path, stream, delay)
    live, replayed = _live(tmp_path, settings), _replayed(settings)
    assert live[: len(replayed)] == replayed
    assert [action for _, _, action, _ in replayed].count("retrain") >= 1
    assert len({version for _, version, _, _ in live}) >= 2


def test_what_is_accepted_is_accepted_alike_in_runs_and_in_the_backtest(tmp_path: Path) -> None:
    """Rows of one window judged before and after it was accepted differ, in both ways alike."""
    settings = _settings(tmp_path, "rows without time", 0)
    _outage().to_parquet(tmp_path / "rows.parquet")
    before = _live(tmp_path, settings)
    assert before == [*_replayed(settings), before[-1]]
    first, version = before[2], before[0][1]
    assert first[:3] == ("rows-0005", version, "investigate")
    models = tmp_path / "artifacts" / "models"
    registry.roll_back(models, version, "start again")
    with registry.lock_registry(models) as known:
        about = {"column": "f0", "run_id": "run-2", "window": first[0]}
        registry.record_event(models, known, "acknowledge", "gone for good", None, about)
    live = _live(tmp_path, settings)
    registry.roll_back(models, version, "to look again")
    run = Run("run", settings, models.parent, models.parent / "runs" / "run", "rows-0004")
    replayed = _replayed(settings, run.accepted_since)
    assert live[: len(replayed)] == replayed
    assert live[:2] == before[:2] and run.acknowledged == ()
    assert "a lasting change of f0 is accepted" in live[2][3]
    assert live[2][2] == "retrain" and "investigate" not in {action for _, _, action, _ in live}
    promoted = registry_models.load_model(models, live[3][1])
    assert promoted.feature_names == [f"f{k}" for k in range(1, 8)]


@pytest.mark.parametrize("delay", [0, 1, 2])
def test_a_challenger_says_up_to_where_it_learnt(tmp_path: Path, delay: int) -> None:
    settings = _settings(tmp_path, "rows without time", delay)
    run = Run("run", settings, tmp_path / "artifacts", tmp_path / "artifacts/run", "rows-0006")
    found = run.assessment
    assert found.challenger is not None
    stored = registry_models.load_model(run.models, run.save_challenger(found.challenger.model))
    newest = 6 - delay
    assert stored.origin["stop_row"] == str(ROWS * newest)
    assert stored.origin["windows"] == f"up to rows-000{newest}"
    assert find_reference_end(run.dataset, stored) == ROWS * newest


@pytest.mark.parametrize("name", ["rows-0003", "rows-0005"])
def test_a_window_that_is_accepted_is_found(tmp_path: Path, name: str) -> None:
    """The reference ends amid rows of one hour, before and after there is a champion."""
    settings = _settings(tmp_path, "rows in tied hours", 0)
    published = tmp_path / "artifacts"
    run = Run("run", settings, published, published / "runs" / "run", name)
    times = run.dataset.frame["at"]
    assert times[2 * ROWS - 1] == times[2 * ROWS]
    accepted = run.split.window
    assert accepted.name == name
    registry.adopt_versions(run.artifacts / "models", run.models)
    registry.set_first_champion(run.artifacts / "models", run.champion.version)
    later = Run("later", settings, published, published / "runs" / "later", name)
    assert later.split.window == accepted


def test_a_reference_is_found_again_after_older_rows_left_the_source(tmp_path: Path) -> None:
    settings = _settings(tmp_path, "rows in tied hours", 0)
    run = Run("run", settings, tmp_path / "artifacts", tmp_path / "artifacts/run")
    whole, champion = run.dataset, run.champion
    hour = whole.frame["at"][2 * ROWS - 1]
    shorter = dataclasses.replace(whole, frame=whole.frame.iloc[100:].reset_index(drop=True))
    assert find_reference_end(whole, champion) == 2 * ROWS
    end = find_reference_end(shorter, champion)
    assert shorter.frame["at"][end - 1] == hour < shorter.frame["at"][end]
