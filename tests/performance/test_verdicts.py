"""The three verdicts, from one interval; and how often a window without change gets each."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from driftbook.data import synthetic
from driftbook.data.arrays import Floats
from driftbook.model import row_sums
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


def _daily(rng: np.random.Generator, days: int, rows: int, spread: float) -> Floats:
    """Return losses by day: each day has a level of its own, its rows are independent."""
    levels = 0.2 + spread * rng.normal(size=days)
    return (levels[:, None] + 0.1 * rng.normal(size=(days, rows))).ravel()


def test_a_day_that_is_unlike_others_is_one_draw_of_days() -> None:
    rng = np.random.default_rng(2)
    called = {True: 0, False: 0}
    for _ in range(400):
        past, day = _daily(rng, 8, 200, 0.05), _daily(rng, 1, 200, 0.05)
        plain = row_sums.block_standard_error(day), row_sums.block_standard_error(past)
        both = {True: row_sums.window_standard_errors(day, past), False: plain}
        for whole, errors in both.items():
            half = row_sums.difference_half_width(*errors, 0.98)
            called[whole] += day.mean() - past.mean() > half
    # At a level of 1%: rows alone would call more than a quarter of calm days worse.
    assert called[False] > 100
    assert stats.binomtest(called[True], 400, 0.02, alternative="greater").pvalue > 0.01


def test_days_alike_are_judged_by_their_rows() -> None:
    rng = np.random.default_rng(3)
    changed = 0
    for _ in range(200):
        past, day = _daily(rng, 8, 200, 0.0), _daily(rng, 1, 200, 0.0)
        plain = row_sums.block_standard_error(day), row_sums.block_standard_error(past)
        changed += row_sums.window_standard_errors(day, past) != plain
    assert stats.binomtest(changed, 200, 0.05, alternative="greater").pvalue > 0.01
    few = rng.normal(size=800)
    assert row_sums.window_standard_errors(few[:200], few) == (
        row_sums.block_standard_error(few[:200]), row_sums.block_standard_error(few)
    )  # fmt: skip
