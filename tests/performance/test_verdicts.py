"""The three verdicts, from one interval; and how often a window without change gets each."""

from __future__ import annotations

import math

import pandas as pd
import pytest
from scipy import stats

from driftbook.data import synthetic
from driftbook.model.training import train
from driftbook.performance.realised import judge_performance
from driftbook.performance.verdicts import NO_WORSE, UNSURE, WORSE, add_verdicts, name_verdict
from driftbook.settings import Settings

SETTINGS = Settings.parse({"data": {"source": "synthetic:none"}})


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.001, 0.5, WORSE),
        (0.001, 0.009, WORSE),  # surely worse, however little
        (0.0, 0.009, NO_WORSE),
        (-0.5, -0.1, NO_WORSE),
        (-0.001, 0.01, UNSURE),
        (math.nan, math.nan, UNSURE),
    ],
)
def test_a_verdict_follows_from_the_interval(low: float, high: float, verdict: str) -> None:
    assert name_verdict(low, high, tolerated=0.01) == verdict


def _row(metric: str, low: float, high: float, **others: object) -> dict[str, object]:
    known = {"metric": metric, "basis": "realised", "status": "ok", "baseline": 0.8}
    change = (low + high) / 2
    return {**known, "change": change, "change_low": low, "change_high": high,
            "verdict": None, **others}  # fmt: skip


def test_the_direction_and_the_tolerance_are_the_metric_s_own() -> None:
    rows = [
        _row("brier", -0.01, 0.07),  # a tenth of 0.8 is tolerated
        _row("brier", -0.01, 0.09),
        _row("roc_auc", -0.015, 0.01),  # a tenth of what it lacks, 0.02
        _row("roc_auc", -0.03, 0.01),
        _row("roc_auc", -0.03, -0.01),
        _row("accuracy", 0.01, 0.03),
        _row("brier", -0.01, 0.07, basis="alternative"),
        _row("brier", math.nan, math.nan),
        _row("brier", -0.01, 0.07, status="insufficient"),
    ]
    found = add_verdicts(pd.DataFrame(rows), "brier", None)["verdict"].tolist()
    assert found[:6] == [NO_WORSE, UNSURE, NO_WORSE, UNSURE, WORSE, NO_WORSE]
    assert found[6:] == [None, None, None]
    strict = add_verdicts(pd.DataFrame(rows), "brier", 0.05)["verdict"].tolist()
    assert strict[:3] == [UNSURE, UNSURE, NO_WORSE]


def test_windows_without_change_are_seldom_worse_and_more_seldom_acted_on() -> None:
    seen = acted = told = windows = 0
    for seed in range(40):
        frame = synthetic.make_scenario("none", rows=8400, seed=seed)
        model = train(frame[:2400], SETTINGS)
        for start in range(2400, 8400, 1200):
            table = judge_performance(model, frame[start : start + 1200], SETTINGS)
            row = table[(table["metric"] == "brier") & (table["basis"] == "realised")].iloc[0]
            seen += row["verdict"] == WORSE
            acted += bool(row["worse"])
            told += row["verdict"] == NO_WORSE
            assert not (row["worse"] and row["verdict"] != WORSE)
            windows += 1
    # One side of a 95% interval; the windows of one model share its baseline.
    assert stats.binomtest(seen, windows, 0.05, alternative="greater").pvalue > 0.01
    assert stats.binomtest(acted, windows, 0.02, alternative="greater").pvalue > 0.01
    assert told > windows / 4
