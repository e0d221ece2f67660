"""Tables that others take along: the holdout row by row, and how columns go together."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from driftbook import Settings, train
from driftbook.data.synthetic import make_scenario
from driftbook.model import exploration


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_the_holdout_row_by_row_gives_the_models_metrics(task: str) -> None:
    settings = Settings.parse({"data": {"source": f"synthetic:none?task={task}"}})
    frame = make_scenario("none", rows=2400, task=task)
    model = train(frame, settings)
    found = exploration.tabulate_holdout(model)
    assert found["row"].tolist() == list(range(model.n_train, 2400))
    assert (found["outcome"].to_numpy() == frame["target"].to_numpy()[found["row"]]).all()
    said = found.filter(like="prediction").to_numpy()
    assert said.shape == (len(found), len(model.task.outputs))
    assert said.reshape(model.holdout_scores.shape) == pytest.approx(model.holdout_scores)
    timed = exploration.tabulate_holdout(model, "at")
    assert "time" not in timed


def test_rank_correlations_are_scipys() -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=500)
    frame = pd.DataFrame({"x": x, "y": np.exp(x) + rng.normal(size=500), "town": "a"})
    frame.loc[:20, "y"] = np.nan
    frame["target"] = (rng.random(500) < 0.5).astype(int)
    model = train(frame, Settings.parse({"data": {"source": "synthetic:none"}}))
    found = exploration.correlate_columns(frame, model.features).set_index("feature")
    known = frame.dropna()
    assert found.loc["x", "y"] == pytest.approx(stats.spearmanr(known["x"], known["y"]).statistic)
    assert list(found.columns) == ["x", "y"]
