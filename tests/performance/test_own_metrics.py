"""Metrics of the owner's own: read beside the others, with intervals, and deciding nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from driftbook import Settings, assess, train
from driftbook.data.arrays import Floats
from driftbook.data.synthetic import make_scenario
from driftbook.errors import UsageError
from driftbook.performance.own_metrics import judge_own_metrics, load_metrics
from driftbook.performance.realised import judge_performance

OWN = """
import numpy as np

LEVEL = 3

def profit(y, p):
    return float(np.where(p > 0.5, 5.0 * y - 1.0, 0.0).mean())

def first_ten(y, p):
    if len(y) == 900:
        raise ValueError("not today")
    return float(y[:10].sum())

def brier(y, p):
    return 0.0

def broken(y, p):
    return y["nothing"]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "own_numbers.py").write_text(OWN, encoding="utf-8")
    return tmp_path


def settings(folder: Path, *names: str) -> Settings:
    metrics = [f"own_numbers:{name}" for name in names]
    given = {"data": {"source": "synthetic:none"}, "policy": {"metrics": metrics}}
    return Settings.parse(given).based(folder)


def mean_outcome(y: Floats, p: Floats) -> float:
    return float(y.mean())


def test_a_mean_has_the_interval_of_its_blocks() -> None:
    rng = np.random.default_rng(1)
    y, before = rng.normal(1.0, 1.0, 1600), rng.normal(0.0, 1.0, 1600)
    zeros = np.zeros(1600)
    (row,) = judge_own_metrics({"mean": mean_outcome}, (y, zeros), (before, zeros), 30)
    # Of a mean the jackknife over equal blocks is the standard error of the blocks' means.
    means = y.reshape(16, 100).mean(axis=1)
    half = 2.1314 * means.std(ddof=1) / 4.0
    assert (row["value"], row["ci_high"]) == pytest.approx((y.mean(), y.mean() + half), rel=1e-4)
    assert row["change"] == pytest.approx(y.mean() - before.mean())
    assert float(str(row["change_low"])) > 0.8 and row["verdict"] is None and row["worse"] is False


def test_intervals_hold_without_any_change() -> None:
    rng, held = np.random.default_rng(2), 0
    for _ in range(400):
        y, before = rng.gamma(2.0, size=400), rng.gamma(2.0, size=800)
        rows = (y, y), (before, before)
        (row,) = judge_own_metrics({"median": lambda a, _: float(np.mean(a**2))}, *rows, 30)
        held += float(str(row["change_low"])) <= 0.0 <= float(str(row["change_high"]))
    assert held >= 0.92 * 400  # 95%, less three standard errors


def test_they_stand_in_the_table_and_decide_nothing(folder: Path) -> None:
    frame = make_scenario("concept", rows=6000)
    plain, own = settings(folder), settings(folder, "profit")
    model = train(frame.iloc[:2400], plain)
    assert train(frame.iloc[:2400], own).version == model.version
    now, history = frame.iloc[-1200:], frame.iloc[2400:-1200]
    found, bare = (assess(model, now, each, history) for each in (own, plain))
    assert (found.action, found.reason) == (bare.action, bare.reason)
    row = found.performance.set_index("metric").loc["profit"]
    p = model.predict_proba(now)
    expected = np.where(p > 0.5, 5.0 * now["target"] - 1.0, 0.0).mean()
    assert row["value"] == pytest.approx(expected) and row["basis"] == "own"
    assert row["ci_low"] < row["value"] < row["ci_high"] and row["change"] < 0
    rest = found.performance[found.performance["basis"] != "own"].reset_index(drop=True)
    pd.testing.assert_frame_equal(rest, bare.performance, check_dtype=False)
    blind = judge_performance(model, now.drop(columns="target"), own)
    assert blind.set_index("metric").loc["profit", "status"] == "insufficient"


def test_what_fails_on_a_window_is_undefined_and_said(folder: Path) -> None:
    frame = make_scenario("none", rows=4800)
    own = settings(folder, "first_ten")
    model = train(frame.iloc[:2400], own)
    table = judge_performance(model, frame.iloc[2400:3300], own)
    assert table.set_index("metric").loc["first_ten", "status"] == "undefined"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("LEVEL", "is a int, not a function"),
        ("nothing", "policy.metrics 'own_numbers:nothing' cannot be imported"),
        ("brier", "has the name of another metric"),
        ("broken", "fails on the champion's holdout"),
    ],
)
def test_what_is_no_metric_is_refused(folder: Path, name: str, words: str) -> None:
    own = settings(folder, name)
    model = train(make_scenario("none", rows=2400), own)
    with pytest.raises(UsageError, match=words.replace("(", r"\(")):
        judge_performance(model, make_scenario("none", rows=1200), own)


def test_a_path_that_is_none_is_refused_at_once() -> None:
    with pytest.raises(UsageError, match="is no import path; write it as"):
        Settings.parse({"policy": {"metrics": ["profit"]}})


def test_no_metrics_cost_nothing(folder: Path) -> None:
    assert load_metrics(settings(folder)) == {}
