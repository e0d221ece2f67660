"""The champion over time: the same numbers as window by window, and no label before its time."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

import finished
from driftbook.data import windows
from driftbook.data.windows import Dataset
from driftbook.model import training
from driftbook.model.training import Model
from driftbook.performance import realised, trend
from driftbook.runbook.run import Run
from driftbook.settings import Settings


@pytest.fixture(scope="module")
def chosen(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return finished.settings(tmp_path_factory.mktemp("trend"), "concept")


@pytest.fixture(scope="module")
def dataset(chosen: Settings, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return windows.load_dataset(chosen, tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def model(chosen: Settings, dataset: Dataset) -> Model:
    return training.train(dataset.frame.iloc[: dataset.windows[2].stop], chosen)


def test_every_window_is_judged_as_if_alone(
    chosen: Settings, dataset: Dataset, model: Model
) -> None:
    after = dataset.windows[3].start
    table = trend.trace_performance(model, dataset, chosen, dataset.windows[6], after)
    assert table["window"].tolist() == [w.name for w in dataset.windows[3:7]]
    for row, window in zip(table.to_dict("records"), dataset.windows[3:7], strict=True):
        p = model.predict_proba(dataset.rows(window))
        y = dataset.rows(window)[dataset.target].to_numpy(dtype=float)
        assert row["realised"] == pytest.approx(np.mean((p - y) ** 2), abs=1e-12)
        assert row["n"] == window.rows
    base = realised.score_holdout(model)
    assert table["baseline"].to_numpy() == pytest.approx(np.mean((base.p - base.y) ** 2))
    assert (table["realised_low"] < table["realised"]).all()
    assert (table["estimated_low"] < table["estimated"]).all()


def test_labels_that_were_not_there_yet_are_not_used(
    chosen: Settings, dataset: Dataset, model: Model
) -> None:
    late = chosen.model_copy(update={"data": chosen.data.model_copy(update={"label_delay": 2})})
    after = dataset.windows[3].start
    table = trend.trace_performance(model, dataset, late, dataset.windows[7], after)
    assert table["realised"].notna().tolist() == [True, True, True, False, False]
    assert table["estimated"].notna().all()


def test_only_the_newest_windows_are_judged(
    chosen: Settings, dataset: Dataset, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trend, "MOST_TREND_WINDOWS", 2)
    table = trend.trace_performance(model, dataset, chosen, dataset.windows[7], 0)
    assert table["window"].tolist() == [w.name for w in dataset.windows[6:8]]


def test_a_run_can_open_it(chosen: Settings, tmp_path: Path) -> None:
    finished.publish(tmp_path / "artifacts", chosen, "rows-0005")
    run = Run("scratch", chosen, tmp_path / "artifacts", tmp_path / "scratch")
    after = run.reference_end
    table = trend.trace_performance(run.champion, run.dataset, chosen, run.split.window, after)
    assert table["window"].iloc[0] == "rows-0004"


@pytest.mark.parametrize("delay", [0, 2])
def test_a_table_that_is_there_already_is_the_last_windows_own(
    chosen: Settings, tmp_path: Path, delay: int
) -> None:
    late = chosen.model_copy(update={"data": chosen.data.model_copy(update={"label_delay": delay})})
    run = Run("run", late, tmp_path / "artifacts", tmp_path / "run", "rows-0006")
    after = run.reference_end
    judged = realised.judge_performance(run.champion, run.split.current, late, run.split.history)
    given = (run.champion, run.dataset, late, run.split.window, after)
    anew = trend.trace_performance(*given)
    pd.testing.assert_frame_equal(trend.trace_performance(*given, judged), anew)
    other = judged.assign(value=judged["value"] + 1.0)
    moved = trend.trace_performance(*given, other)["estimated"] - anew["estimated"]
    assert moved.tolist() == pytest.approx([0.0] * (len(anew) - 1) + [1.0])


def test_every_window_is_judged_on_one_thread(
    chosen: Settings, dataset: Dataset, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    inner = model.predict

    def watched(frame: pd.DataFrame) -> object:
        libraries = threadpool_info()
        seen.extend(lib["num_threads"] for lib in libraries if lib["user_api"] == "blas")
        return inner(frame)

    free = dataclasses.replace(model)
    object.__setattr__(free, "predict", watched)
    with threadpool_limits(limits=2, user_api="blas"):
        trend.trace_performance(free, dataset, chosen, dataset.windows[4], dataset.windows[3].start)
        judged_alone = len(seen)
        realised.judge_performance(free, dataset.rows(dataset.windows[4]), chosen)
    assert set(seen) == {1}
    assert len(seen) > judged_alone > 0
