"""Estimators from files of the owner's own: what may go wrong, and what must reach them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest

from driftbook import Settings, assess, train
from driftbook.api.process import running_server
from driftbook.data.synthetic import make_scenario
from driftbook.decision.trial import run_trial
from driftbook.errors import IntegrityError, UsageError
from driftbook.model.compilation import to_wire_rows
from driftbook.model.training import find_version
from driftbook.store import registry, registry_models

PREAMBLE = """
import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor, make_column_selector
from sklearn.ensemble import BaggingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder

def prepare(text=make_column_selector(dtype_include=object), unknown="ignore"):
    return ColumnTransformer([
        ("numbers", SimpleImputer(), make_column_selector(dtype_include="number")),
        ("text", OneHotEncoder(handle_unknown=unknown), text),
    ])

class Odd(ClassifierMixin, BaseEstimator):
    given = None
    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self
    def predict(self, X):
        return np.zeros(len(X))
    def predict_proba(self, X):
        return self.given(X) if callable(self.given) else np.full((len(X), 2), self.given)
"""


def settings(folder: Path, name: str, code: str, task: str = "binary", **model: Any) -> Settings:
    """Return settings beside which the module ``name`` lies, whose ``make`` is the estimator."""
    (folder / f"{name}.py").write_text(PREAMBLE + code, encoding="utf-8")
    data = {"source": f"synthetic:none?task={task}"}
    given = {"data": data, "model": {"estimator": f"{name}:make", "name": "own", **model}}
    return Settings.parse(given).based(folder)


def rows(task: str = "binary", count: int = 900) -> pd.DataFrame:
    """Return a stream whose target hangs on a column of text too."""
    frame = make_scenario("none", rows=count, task=task)
    city = np.random.default_rng(5).choice(["Bonn", "Kyoto", None], count)
    if task == "regression":
        frame["target"] += 3.0 * (city == "Bonn")
    return frame.assign(city=city)


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("own_syntax", "def make(:", r"cannot be imported \(SyntaxError"),
        ("own_name", "make = nothing_known", r"cannot be imported \(NameError"),
        ("own_exit", "import sys; sys.exit(3)", r"cannot be imported \(SystemExit"),
        ("own_call", "def make(): return {}['key']", r"cannot be made .*KeyError: 'key'"),
        ("own_bare", "class make:\n  def fit(self): ...", "no scikit-learn estimator"),
    ],
)
def test_a_file_that_fails_is_a_sentence(tmp_path: Path, name: str, code: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        train(rows(), settings(tmp_path, name, code))


@pytest.mark.parametrize(
    ("name", "given", "task", "words"),
    [
        ("own_three", "3.0", "binary", r"predict_proba gives \[3.0, 3.0\], which are no chances"),
        ("own_nan", "np.nan", "binary", "predict_proba gives nan, which is no number"),
        ("own_flat", "lambda X: np.ones(len(X))", "binary", r"shape \(200,\) instead of"),
        ("own_two", "0.5", "multiclass", r"shape \(200, 2\) instead of \(200, 3\)"),
        ("own_raise", "lambda X: 1 // 0", "binary", "ZeroDivisionError"),
    ],
)
def test_predictions_of_no_use_are_refused(
    tmp_path: Path, name: str, given: str, task: str, words: str
) -> None:
    code = (
        f"class make(Odd):\n    given = staticmethod({given}) if {given!r}[0] == 'l' else {given}"
    )
    with pytest.raises(UsageError, match=words):
        train(rows(task), settings(tmp_path, name, code, task))


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("own_grid", "GridSearchCV(whole, {'ridge__alpha': [1.0, 2.0]}, cv=2)"),
        ("own_moved", "TransformedTargetRegressor(whole, func=np.arcsinh, inverse_func=np.sinh)"),
    ],
)
def test_pipelines_inside_another_estimator_get_text(tmp_path: Path, name: str, code: str) -> None:
    code = f"whole = make_pipeline(prepare(), Ridge())\ndef make(): return {code}"
    model = train(rows("regression"), settings(tmp_path, name, code, "regression"))
    assert model.estimator[0].as_text
    frame = model.reference.head(20)
    apart = model.predict(frame.assign(city="Bonn")) - model.predict(frame.assign(city="Kyoto"))
    assert apart.min() > 1.0


def test_a_refusal_tells_both_attempts(tmp_path: Path) -> None:
    code = "def make(): return make_pipeline(prepare(['city'], 'error'), LogisticRegression())"
    with pytest.raises(UsageError, match=r"features as they are: Found unknown categories"):
        train(rows(), settings(tmp_path, "own_strict", code))


def test_names_made_of_digits_are_no_numbers(tmp_path: Path) -> None:
    frame = rows().assign(city=lambda f: f["city"].map({"Bonn": "1", "Kyoto": "7"}))
    frame = frame.astype({"city": "string"})
    wanted = settings(tmp_path, "own_forest", "make = RandomForestClassifier", params={})
    given = {"data": {**wanted.data.model_dump(), "categorical": ["city"]}}
    wanted = Settings.parse({**wanted.model_dump(), **given}).based(tmp_path)
    assert train(frame, wanted).estimator.steps[0][0] == "prepare"


def test_the_seed_reaches_every_part(tmp_path: Path) -> None:
    code = "def make(): return make_pipeline(prepare(), RandomForestClassifier(5))"
    found = [
        train(rows(), settings(tmp_path, "own_seed", code, seed=seed)).predict(rows())
        for seed in (1, 1, 2)
    ]
    np.testing.assert_array_equal(found[0], found[1])
    assert np.abs(found[0] - found[2]).max() > 0.0
    chosen = code.replace("5)", "5, random_state=7)")
    model = train(rows(), settings(tmp_path, "own_chosen", chosen, seed=1))
    assert model.estimator[-1].estimator[-1].random_state == 7


def test_promised_weights_that_fail_are_drawn(tmp_path: Path) -> None:
    code = "def make(): return BaggingClassifier(KNeighborsClassifier(), n_estimators=3)"
    code = (
        code.replace("BaggingClassifier", "Promising")
        + """
class Promising(BaggingClassifier):
    def fit(self, X, y, sample_weight=None):
        if sample_weight is not None:
            raise ValueError("no weights after all")
        return super().fit(X, y)
"""
    )
    wanted, frame = settings(tmp_path, "own_promise", code), rows(count=1200)
    weights = np.where(frame["target"] == 1, 4.0, 1.0)
    weighted = train(frame, wanted, weights=weights).predict(frame)
    assert weighted.mean() > train(frame, wanted).predict(frame).mean() + 0.1


@pytest.mark.parametrize("path", ["xgboost:XGBClassifier", "lightgbm:LGBMClassifier"])
def test_classes_that_a_block_lacks_are_no_exception(path: str) -> None:
    params = {"n_estimators": 5} | ({"verbose": -1} if "light" in path else {})
    data = {"source": "synthetic:none?task=multiclass"}
    wanted = Settings.parse({"data": data, "model": {"estimator": path, "params": params}})
    frame = rows("multiclass", 3000)
    first, second, third = sorted(frame["target"].unique())
    frame.loc[:700, "target"] = frame["target"][:701].replace({second: first})
    frame.loc[1200:, "target"] = frame["target"][1200:].replace({third: first})
    model = train(frame.iloc[:1200], wanted)
    found = assess(model, frame.iloc[2400:], wanted, history=frame.iloc[1200:2400])
    assert found.challenger is not None
    chances = found.challenger.model.predict(frame.tail(50))
    np.testing.assert_allclose(chances.sum(axis=1), 1.0, atol=1e-6)
    assert chances[:, 1].mean() > 0.1


def test_rows_that_an_estimator_cannot_take_are_no_exception(tmp_path: Path) -> None:
    code = """
class make(RandomForestClassifier):
    def fit(self, X, y, sample_weight=None):
        if X.iloc[:, 0].max() > 50:
            raise RuntimeError("too large")
        return super().fit(X.iloc[:, :8], y, sample_weight)
    def predict_proba(self, X):
        return super().predict_proba(X.iloc[:, :8])
"""
    wanted, frame = settings(tmp_path, "own_picky", code, params={}), rows(count=2700)
    frame.loc[950::10, "f0"] = 99.0
    model = train(frame.iloc[:900], wanted)
    found = run_trial(model, frame.iloc[900:], 600, wanted)
    assert found is not None and set(map(type, found.losses_of("recent"))) == {type(None)}
    assert np.isfinite(found.champion[900:]).all()


def test_another_file_makes_another_version(tmp_path: Path) -> None:
    code = "def make(): return LogisticRegression(C=1.0)"
    first = find_version(rows(), settings(tmp_path, "own_file", code))
    assert first == find_version(rows(), settings(tmp_path, "own_file", code, trusted=["x.Y"]))
    assert first != find_version(rows(), settings(tmp_path, "own_file", code.replace("1.0", "2")))


def test_what_would_not_come_back_is_not_stored(tmp_path: Path) -> None:
    code = "def make():\n    step = FunctionTransformer(lambda X: X)\n"
    code += "    return make_pipeline(prepare(), step, LogisticRegression())"
    wanted = settings(tmp_path, "own_lambda", code)
    model = train(rows(), wanted)
    with pytest.raises(UsageError, match=r"let the settings say under model: 'trusted: \[") as told:
        registry_models.save_model(tmp_path / "models", model, ["a.B"])
    named = str(told.value).partition("trusted: [")[2].partition("]")[0].split(", ")
    assert "a.B" in named
    with pytest.raises(UsageError, match=r"cannot be stored without pickle .*<lambda>"):
        registry_models.save_model(tmp_path / "models", model, named)
    assert not [path for path in (tmp_path / "models").glob("m*") if path.is_dir()]


LOADING = """
import sys
from pathlib import Path
from driftbook.api.served import load_served_model
from driftbook.settings import Settings
models, version, *bases = sys.argv[1:]
given = {"estimator": "own_class:make", "trusted": ["own_class.*", "sklearn.*"]}
settings = Settings.parse({"model": given}).based(*map(Path, bases))
print(load_served_model(Path(models), version, settings.model).scorer.kind)
"""


def test_another_process_loads_an_own_class(tmp_path: Path) -> None:
    trusted = ["own_class.*", "sklearn.*"]
    wanted = settings(
        tmp_path, "own_class", "class make(KNeighborsClassifier): pass", trusted=trusted
    )
    model = train(rows(), wanted)
    registry_models.save_model(tmp_path / "models", model, trusted)
    command = [sys.executable, "-W", "ignore", "-c", LOADING, str(tmp_path / "models")]
    told = [
        subprocess.run(
            [*command, model.version, *bases], capture_output=True, text=True, check=False, cwd="/"
        )
        for bases in ([str(tmp_path)], [])
    ]
    assert told[0].stdout.strip() == "scikit-learn", told[0].stderr
    assert "cannot be loaded (ModuleNotFoundError: No module named 'own_class')" in told[1].stderr


@pytest.mark.network
@pytest.mark.slow
def test_a_server_process_answers_as_an_own_class_does(tmp_path: Path) -> None:
    trusted = ["own_served.*", "sklearn.*"]
    code = "class make(KNeighborsClassifier): pass"
    wanted = settings(tmp_path, "own_served", code, trusted=trusted)
    model = train(rows(), wanted)
    registry_models.save_model(tmp_path / "artifacts/models", model, trusted)
    registry.set_first_champion(tmp_path / "artifacts/models", model.version)
    frame = model.reference.head(20).assign(city=["Bonn", None, "never seen", "Kyoto"] * 5)
    wire = to_wire_rows(frame, model.features)
    records = [dict(zip(model.feature_names, row, strict=True)) for row in wire]
    with running_server(wanted, tmp_path / "artifacts") as server:
        answer = httpx.post(f"{server.url}/predict", json={"records": records}).json()
    found = [one["probability"] for one in answer["predictions"]]
    assert found == pytest.approx(model.predict(frame), abs=1e-12)


def test_a_package_that_is_gone_is_a_sentence(tmp_path: Path) -> None:
    code = "class make(KNeighborsClassifier): pass"
    trusted = ["own_gone.*", "sklearn.*"]
    wanted = settings(tmp_path, "own_gone", code, trusted=trusted)
    model = train(rows(), wanted)
    registry_models.save_model(tmp_path / "models", model, trusted)
    del sys.modules["own_gone"]
    (tmp_path / "own_gone.py").unlink()
    with pytest.raises(IntegrityError, match=r"cannot be loaded \(ModuleNotFoundError"):
        registry_models.load_model(tmp_path / "models", model.version, trusted)
