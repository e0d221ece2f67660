"""The owner's weights of rows: in fits, in versions, in trials, and odd ones later."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from driftbook import Settings, assess, train
from driftbook.data.synthetic import make_scenario
from driftbook.decision.trial import run_trial
from driftbook.errors import UsageError
from driftbook.model.training import find_version

ESTIMATORS: list[tuple[str, dict[str, Any]]] = [
    ("linear", {}),
    ("hist_gradient_boosting", {"max_iter": 20}),
    ("lightgbm:LGBMClassifier", {"n_estimators": 10, "verbose": -1}),
    ("sklearn.neighbors:KNeighborsClassifier", {}),
]


def settings(estimator: str = "linear", weight: str | None = "w", **params: Any) -> Settings:
    """Return settings of a stream with a column of weights."""
    data = {"source": "synthetic:none", "weight": weight}
    return Settings.parse({"data": data, "model": {"estimator": estimator, "params": params}})


def rows(scenario: str = "none") -> pd.DataFrame:
    """Return a stream whose rows of class 1 count four times."""
    frame = make_scenario(scenario, rows=3000)
    return frame.assign(w=np.where(frame["target"] == 1, 4.0, 1.0))


def test_a_column_of_weights_counts_in_training_alone() -> None:
    frame = rows().iloc[:1200]
    model = train(frame, settings())
    assert "w" not in model.feature_names and "w" in model.reference
    plain = settings(weight=None)
    same = train(frame.drop(columns="w"), plain, weights=frame["w"].to_numpy())
    np.testing.assert_allclose(model.predict(frame), same.predict(frame))
    twice = train(frame, settings(), weights=np.where(frame["target"] == 1, 0.25, 1.0))
    unweighted = train(frame.drop(columns="w"), plain)
    np.testing.assert_allclose(twice.predict(frame), unweighted.predict(frame), atol=1e-6)


def test_the_version_is_known_before_the_fit() -> None:
    frame = rows().iloc[:600]
    version = find_version(frame, settings())
    assert version == train(frame, settings()).version
    assert version != find_version(frame.assign(w=2.0), settings())


@pytest.mark.parametrize("wrong", [-1.0, np.nan, np.inf, "much"])
def test_a_weight_of_the_first_model_is_a_number(wrong: Any) -> None:
    frame = rows().iloc[:600].astype({"w": object})
    frame.loc[frame.index[5], "w"] = wrong
    with pytest.raises(UsageError, match=r"data\.weight 'w' holds .* in row 5"):
        train(frame, settings())


@pytest.mark.parametrize(("estimator", "params"), ESTIMATORS)
def test_rows_of_weight_0_teach_nothing(estimator: str, params: dict[str, Any]) -> None:
    frame = rows().iloc[:1200].assign(w=1.0)
    frame.loc[frame.index[::3], "w"] = 0.0
    spoiled = frame.copy()
    spoiled.loc[frame.index[::3], "target"] = 0
    spoiled.loc[frame.index[::3], ["f0", "f1"]] = 1e3
    wanted = settings(estimator, **params)
    model, other = train(frame, wanted), train(spoiled, wanted)
    np.testing.assert_allclose(model.predict(frame), other.predict(frame), atol=1e-9)
    assert len(model.reference) == 1200  # they are what normal looks like all the same


def test_without_any_weight_there_is_nothing_to_learn() -> None:
    with pytest.raises(UsageError, match=r"training part .* 0 rows with target = 0 and 0 with 1"):
        train(rows().iloc[:600].assign(w=0.0), settings())


@pytest.mark.parametrize(("estimator", "params"), ESTIMATORS)
def test_trials_weigh_rows_as_training_does(estimator: str, params: dict[str, Any]) -> None:
    frame, wanted = rows(), settings(estimator, **params)
    model = train(frame.iloc[:1200], wanted)
    lost = []
    for weight in ("w", None):
        data = wanted.data.model_copy(update={"weight": weight})
        one = wanted.model_copy(update={"data": data})
        found = run_trial(model, frame.iloc[1200:], 600, one)
        assert found is not None
        losses = [part for part in found.losses_of("recent") if part is not None]
        lost.append(np.concatenate(losses).mean())
    # Chances of fits in which class 1 counts four times are too high.
    assert lost[0] > lost[1] + 0.01


def test_odd_weights_of_later_rows_are_no_exception() -> None:
    frame = rows("concept").astype({"w": object})
    frame.loc[frame.index[1300::7], "w"] = None
    frame.loc[frame.index[1303::7], "w"] = -5
    model = train(frame.iloc[:1200], settings())
    found = assess(model, frame.iloc[2400:], settings(), history=frame.iloc[1200:2400])
    assert found.challenger is not None
    assert np.isfinite(found.challenger.model.predict(frame)).all()
