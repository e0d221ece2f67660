"""Estimators of the owner's choice: fitted, tried, stored and served as their kind allows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from driftbook import Settings, assess, train
from driftbook.api import served as api_served
from driftbook.data.synthetic import make_scenario
from driftbook.errors import IntegrityError, UsageError
from driftbook.model import compilation, imported
from driftbook.store import registry_models

OWN = """
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

def make(trees=10, regress=False):
    preparation = ColumnTransformer([
        ("numbers", SimpleImputer(), make_column_selector(dtype_include="number")),
        ("text", OneHotEncoder(handle_unknown="ignore"), ["city"]),
    ])
    forest = RandomForestRegressor if regress else RandomForestClassifier
    return make_pipeline(preparation, forest(trees, random_state=0))
"""
LIGHT = {"n_estimators": 15, "verbose": -1}
CASES = [
    ("lightgbm:LGBMClassifier", LIGHT, "binary", "take"),
    ("lightgbm:LGBMClassifier", LIGHT, "multiclass", "take"),
    ("lightgbm:LGBMRegressor", LIGHT, "regression", "take"),
    ("xgboost:XGBClassifier", {"n_estimators": 15}, "binary", "take"),
    ("xgboost:XGBClassifier", {"n_estimators": 15}, "multiclass", "take"),
    ("xgboost:XGBRegressor", {"n_estimators": 15}, "regression", "take"),
    ("own_models:make", {}, "binary", "take"),
    ("own_models:make", {}, "multiclass", "take"),
    ("own_models:make", {"regress": True, "trees": 5}, "regression", "take"),
    ("sklearn.linear_model:LogisticRegression", {"C": 0.5}, "multiclass", "prepare"),
    ("sklearn.svm:LinearSVC", {}, "binary", "prepare"),
]
TRUSTED = ["lightgbm.*", "xgboost.*", "sklearn.*", "collections.OrderedDict"]


def settings(folder: Path, path: str, task: str, **model: Any) -> Settings:
    """Return settings beside which ``own_models.py`` lies."""
    (folder / "own_models.py").write_text(OWN, encoding="utf-8")
    data = {"source": f"synthetic:none?task={task}"}
    given = {"data": data, "model": {"estimator": path, "name": "small", **model}}
    return Settings.parse(given).based(folder)


def rows(scenario: str, task: str) -> pd.DataFrame:
    """Return a stream with gaps and a column of text."""
    frame = make_scenario(scenario, rows=3000, task=task)
    rng = np.random.default_rng(0)
    frame["city"] = rng.choice(["Bonn", "Kyoto", None], len(frame))
    frame.loc[::13, "f2"] = np.nan
    return frame


@pytest.mark.slow
@pytest.mark.parametrize(("path", "params", "task", "step"), CASES)
def test_an_estimator_is_trained_tried_stored_and_served(
    tmp_path: Path, path: str, params: dict[str, Any], task: str, step: str
) -> None:
    frame = rows("concept", task)
    wanted = settings(tmp_path, path, task, params=params, trusted=TRUSTED)
    model = train(frame.iloc[:1200], wanted)
    assert model.estimator.steps[0][0] == step
    useless = max(model.importance[f"f{k}"] for k in (5, 6, 7))
    assert max(model.importance["f0"], model.importance["f1"]) > 2 * useless
    found = assess(model, frame.iloc[2400:3000], wanted, history=frame.iloc[1200:2400])
    assert found.action in ("retrain", "monitor"), found.reason
    assert found.challenger is not None and found.challenger.model.version != model.version
    registry_models.save_model(tmp_path / "models", model, wanted.model.trusted)
    odd = frame.iloc[:30].assign(city="never seen")
    served = api_served.load_served_model(tmp_path / "models", model.version, wanted.model)
    scores = served.scorer.many(compilation.to_wire_rows(odd, model.features))
    np.testing.assert_allclose(scores, model.predict(odd), atol=1e-9)
    if step == "take":
        reason = compilation.compile_model(model)["reason"]
        assert reason == "the estimator takes the features as they are"
    assert served.scorer.kind == ("linear" if step == "prepare" else "scikit-learn")
    again = train(frame.iloc[:1200], wanted)
    np.testing.assert_array_equal(again.predict(odd), model.predict(odd))


def test_what_is_not_trusted_is_refused_with_the_lines_to_add(tmp_path: Path) -> None:
    wanted = settings(tmp_path, "sklearn.neighbors:KNeighborsClassifier", "binary")
    model = train(rows("none", "binary").iloc[:800], wanted)
    with pytest.raises(UsageError, match=r"trusted: \[sklearn\.metrics\S+, sklearn\S+\]'") as told:
        registry_models.save_model(tmp_path / "models", model)
    lines = str(told.value).partition("trusted: [")[2].partition("]")[0].split(", ")
    registry_models.save_model(tmp_path / "models", model, lines)
    with pytest.raises(IntegrityError, match=r"not trusted .*model\.trusted"):
        registry_models.load_model(tmp_path / "models", model.version)
    loaded = registry_models.load_model(tmp_path / "models", model.version, lines)
    np.testing.assert_array_equal(loaded.predict(model.reference), model.predict(model.reference))


def test_what_skops_cannot_hold_is_refused(tmp_path: Path) -> None:
    (tmp_path / "holds_lock.py").write_text(
        "import threading\nfrom sklearn.linear_model import LogisticRegression\n"
        "class Odd(LogisticRegression):\n"
        "    def fit(self, X, y, sample_weight=None):\n"
        "        self.lock_ = threading.Lock()\n"
        "        return super().fit(X, y, sample_weight)\n",
        encoding="utf-8",
    )
    wanted = settings(tmp_path, "holds_lock:Odd", "binary", trusted=["holds_lock.*"])
    model = train(rows("none", "binary").iloc[:800], wanted)
    with pytest.raises(UsageError, match=r"cannot be stored|not trusted"):
        registry_models.save_model(tmp_path / "models", model, wanted.model.trusted)


@pytest.mark.parametrize(
    ("path", "params", "task", "words"),
    [
        ("nope:Model", {}, "binary", "cannot be imported .*install its package"),
        ("sklearn.svm:Nope", {}, "binary", "cannot be imported"),
        (
            "sklearn.linear_model:Ridge",
            {"bad": 1},
            "regression",
            "cannot be made with model.params",
        ),
        ("sklearn.svm:LinearSVC", {}, "multiclass", "has no predict_proba"),
        ("sklearn.linear_model:Ridge", {}, "binary", "has no predict_proba"),
        ("sklearn.linear_model:LogisticRegression", {}, "regression", "is a classifier"),
        ("collections:Counter", {}, "binary", "no scikit-learn estimator"),
        ("sklearn.linear_model:LogisticRegression", {"C": -1.0}, "binary", "cannot be fitted"),
    ],
)
def test_what_is_no_estimator_for_the_task_is_refused(
    tmp_path: Path, path: str, params: dict[str, Any], task: str, words: str
) -> None:
    wanted = settings(tmp_path, path, task, params=params)
    with pytest.raises(UsageError, match=words):
        train(rows("none", task).iloc[:800], wanted)


def test_an_unknown_name_is_no_import_path() -> None:
    with pytest.raises(UsageError, match=r"unknown estimator 'lineal'.*import path"):
        Settings.parse({"model": {"estimator": "lineal"}})


def test_raw_columns_keep_the_levels_of_training() -> None:
    table = pd.DataFrame({"x": [1.0, np.nan], "c": np.array(["b", ""], dtype=object)})
    step = imported.RawColumns().fit(table)
    found = step.transform(table.assign(c=np.array(["a", "b"], dtype=object)))
    assert found["c"].cat.categories.tolist() == ["b"] and found["c"].isna().tolist() == [
        True,
        False,
    ]
    text = imported.RawColumns(as_text=True).fit(table).transform(table)
    assert (
        text["c"].iloc[0] == "b"
        and text["c"].isna().tolist() == [False, True]
        and text["x"].isna().tolist() == [False, True]
    )


def test_without_weights_rows_are_drawn_in_proportion(tmp_path: Path) -> None:
    wanted = settings(tmp_path, "sklearn.neighbors:KNeighborsClassifier", "binary")
    frame = rows("none", "binary").iloc[:1200]
    weights = np.where(frame["target"] == 1, 4.0, 1.0)
    plain, weighted = train(frame, wanted), train(frame, wanted, weights=weights)
    assert weighted.predict(frame).mean() > plain.predict(frame).mean() + 0.1
