"""Causes of a change of loss for several classes and for values, on streams of known truth."""

from __future__ import annotations

import pandas as pd
import pytest

from driftbook import Settings, train
from driftbook.data.synthetic import make_scenario
from driftbook.model.training import Model
from driftbook.performance.causes import CAUSES, TOTAL_CHANGE, explain_change


def stream(scenario: str, task: str, seed: int = 0) -> tuple[Model, pd.DataFrame]:
    """Return a model and a window that the scenario changed."""
    frame = make_scenario(scenario, rows=4800, onset=3600, seed=seed, task=task)
    settings = Settings.parse({"data": {"source": f"synthetic:none?task={task}"}})
    return train(frame.iloc[:3600], settings), frame.iloc[3600:]


def parts(model: Model, window: pd.DataFrame) -> pd.DataFrame:
    """Return the table of causes by part."""
    return explain_change(model, window, 30).set_index("part")


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_parts_add_up_to_the_change_of_the_mean_loss(task: str) -> None:
    model, window = stream("concept", task)
    found = parts(model, window)
    now = model.task.row_losses(model.outcomes(window), model.predict(window)).mean()
    before = model.task.row_losses(model.holdout_outcomes, model.holdout_scores).mean()
    total = found.loc[TOTAL_CHANGE, "change"]
    assert total == pytest.approx(now - before)
    assert found.loc[list(CAUSES), "change"].sum() == pytest.approx(total)
    assert found.loc["concept change", "beyond_chance"]
    assert found.loc["concept change", "change"] > 0.9 * total
    if task == "regression":
        assert found.loc["prior shift", "status"] == "not_for_values"


def test_moved_shares_of_classes_are_a_prior_shift() -> None:
    seen = [parts(*stream("prior", "multiclass", seed)).loc["prior shift"] for seed in range(4)]
    assert sum(bool(row["beyond_chance"]) for row in seen) >= 3


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_without_a_change_hardly_any_part_is_beyond_chance(task: str) -> None:
    # 95% intervals: of 60 parts 9 or more lie beyond chance at 5% in 1 try of 300.
    beyond = 0
    for seed in range(20):
        found = parts(*stream("none", task, seed))
        beyond += int(found.loc[list(CAUSES), "beyond_chance"].astype(bool).sum())
    assert beyond <= 8


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_without_labels_only_the_inputs_part_is_had(task: str) -> None:
    model, window = stream("covariate", task)
    found = parts(model, window.drop(columns="target"))
    assert found.loc["covariate shift", "status"] == "ok"
    assert found.loc[["concept change", TOTAL_CHANGE], "status"].tolist() == ["needs_labels"] * 2
    few = parts(model, window.iloc[:10])
    assert set(few["status"]) == {"insufficient"}
