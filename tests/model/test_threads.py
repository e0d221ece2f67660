"""Boosted trees are fitted and asked on one thread, whatever the machine offers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_info, threadpool_limits

from driftbook import Settings, assess, train
from driftbook.data import synthetic
from driftbook.decision import recipes
from driftbook.model.design import tabulate_rows

ROWS = 400
TREES = Settings.parse(
    {
        "data": {"source": "synthetic:none", "window": ROWS},
        "model": {"estimator": "hist_gradient_boosting", "params": {"max_iter": 5}},
    }
)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Return what trees are asked to do from now on, each with the threads that they may take."""
    found: list[tuple[str, int]] = []
    for name in ("fit", "predict_proba", "decision_function"):
        plain: Callable[..., Any] = getattr(HistGradientBoostingClassifier, name)

        def told(*args: Any, _name: str = name, _plain: Any = plain, **given: Any) -> Any:
            pools = [p["num_threads"] for p in threadpool_info() if p["user_api"] == "openmp"]
            found.append((_name, max(pools)))
            return _plain(*args, **given)

        monkeypatch.setattr(HistGradientBoostingClassifier, name, told)
    return found


def test_trees_keep_to_one_thread(asked: list[tuple[str, int]]) -> None:
    rows = synthetic.make_scenario("concept", rows=5 * ROWS, seed=2, onset=2 * ROWS)
    with threadpool_limits(limits=3, user_api="openmp"):
        model = train(rows.iloc[: 2 * ROWS], TREES)
        assert [name for name, _ in asked].count("fit") == 3  # older, graded, served
        assess(model, rows.iloc[4 * ROWS :], TREES, rows.iloc[2 * ROWS : 4 * ROWS])
        assert max(p["num_threads"] for p in threadpool_info() if p["user_api"] == "openmp") == 3
    assert {name for name, _ in asked} >= {"fit", "predict_proba"}
    assert {threads for _, threads in asked} == {1}


def test_a_trial_fits_a_block_twice_and_once_where_nothing_can_calibrate(
    asked: list[tuple[str, int]],
) -> None:
    rows = synthetic.make_scenario("none", rows=ROWS, seed=4)
    model = train(rows, TREES)

    def count_fits(outcomes: pd.Series) -> int:
        asked.clear()
        table = tabulate_rows(rows, model.features, outcomes.to_numpy(dtype=float))
        part = slice(0, ROWS)
        assert recipes.fit_block(table, part, None, TREES.model, model.task) is not None
        return [name for name, _ in asked].count("fit")

    assert count_fits(rows["target"]) == 2
    # The older rows are all of one class: a fit on them has no scores to calibrate by.
    newest = pd.Series(range(ROWS)) >= ROWS - 5
    assert count_fits(newest.astype(float)) == 1
