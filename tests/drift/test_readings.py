"""A window in a few numbers: each against its oracle, and rows that depend on each other."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import special, stats

from driftbook.drift.readings import find_reference_order, read_columns, widen_pvalues
from driftbook.drift.reference import find_reference
from driftbook.drift.report import report_drift
from driftbook.drift.time_order import measure_time_dependence, to_normal_scores
from driftbook.model.training import train
from driftbook.settings import Settings

SETTINGS = Settings.parse({"data": {"source": "synthetic:none"}})


def _table(rng: np.random.Generator, rows: int) -> pd.DataFrame:
    number = rng.normal(size=rows)
    place = rng.choice(["a", "b", "c"], rows, p=[0.5, 0.3, 0.2])
    target = rng.random(rows) < special.expit(number + (place == "a"))
    holes = np.where(rng.random(rows) < 0.1, np.nan, rng.normal(size=rows))
    return pd.DataFrame(
        {"number": number, "place": place, "holes": holes, "target": target.astype(int)}
    )


def test_readings_are_rank_tests_in_sds_of_a_row() -> None:
    rng = np.random.default_rng(5)
    reference, now = _table(rng, 1500), _table(rng, 400)
    now["number"] += 0.3
    model = train(reference, SETTINGS)
    profiles = find_reference(model).profile_window(now)
    found = read_columns(model, profiles)
    assert set(found) == {
        "number: location", "number: spread", "place: share of 'a'", "place: share of 'b'",
        "place: share of 'c'", "holes: location", "holes: spread", "holes: missing",
    }  # fmt: skip
    both = stats.rankdata(np.concatenate([reference["number"], now["number"]]))
    scores = special.ndtri(both / (len(both) + 1))
    moved = scores[1500:].mean() - scores[:1500].mean()
    assert found["number: location"].value == pytest.approx(moved, rel=0.02)
    shares = [(frame["place"] == "a").mean() for frame in (reference, now)]
    pooled = np.average(shares, weights=[1500, 400])
    plain = (shares[1] - shares[0]) / math.sqrt(pooled * (1 - pooled))
    assert found["place: share of 'a'"].value == pytest.approx(plain, abs=0.01)
    one = found["number: location"]
    assert (one.variance, one.shared, one.rows) == (1 / 400, 1 / 1500, 400)


def test_readings_of_windows_without_change_are_standard_normal() -> None:
    rng = np.random.default_rng(6)
    z = []
    for _ in range(150):
        model = train(_table(rng, 600), SETTINGS)
        profiles = find_reference(model).profile_window(_table(rng, 120))
        z += [
            one.value / one.error
            for name, one in read_columns(model, profiles).items()
            if name in ("number: location", "holes: location") and math.isinf(one.df)
        ]
    assert np.std(z) == pytest.approx(1.0, abs=0.15)
    assert stats.kstest(z, "norm").pvalue > 0.001


@pytest.mark.parametrize("strength", [0.0, 0.8])
def test_dependence_is_that_of_an_autoregression(strength: float) -> None:
    rng = np.random.default_rng(7)
    found = []
    for _ in range(60):
        noise, values = rng.normal(size=8000), np.empty(8000)
        values[0] = noise[0]
        for k in range(1, 8000):
            values[k] = strength * values[k - 1] + math.sqrt(1 - strength**2) * noise[k]
        found.append(measure_time_dependence(values, 400))
    ratios = np.array([one.ratio for one in found])
    if strength:
        # The variance of a mean of an AR(1) process is (1 + a) / (1 - a) times that of noise.
        assert ratios.mean() == pytest.approx(9.0, rel=0.1)
        assert {one.df for one in found} == {19.0}
    else:
        assert (ratios > 1.0).mean() < 0.15


def test_t_scores_become_normal_ones_of_equal_tails() -> None:
    t = np.array([-4.0, -1.0, 0.0, 2.5])
    found = to_normal_scores(t, 15.0)
    np.testing.assert_allclose(stats.norm.cdf(found), stats.t.cdf(t, 15), rtol=1e-9)
    np.testing.assert_array_equal(to_normal_scores(t, math.inf), t)


def test_a_p_value_of_dependent_rows_is_wider() -> None:
    rng = np.random.default_rng(9)
    reference, now = _table(rng, 2000), _table(rng, 500)
    reference["number"] = np.repeat(rng.normal(size=40), 50) + 0.1 * rng.normal(size=2000)
    now["number"] += 0.5
    model = train(reference, SETTINGS)
    report = report_drift(model, now, SETTINGS)
    plain = report.set_index("feature")["pvalue"]
    wide = widen_pvalues(model, report)
    assert plain["number"] < 1e-4 and wide["number"] > 0.01
    assert wide["place"] == pytest.approx(plain["place"], rel=1e-6)


def test_both_aspects_on_ranks_have_their_own_dependence_in_time() -> None:
    rng = np.random.default_rng(9)
    reference = _table(rng, 4000)
    # The location follows time in "number", the spread in "holes".
    season = np.repeat(rng.normal(size=40), 100)
    reference["number"] += season
    reference["holes"] *= np.exp(season)
    model = train(reference, SETTINGS)
    order = find_reference_order(model)
    for name in ("number", "holes"):
        values = reference[name].dropna().to_numpy()
        ranks = stats.rankdata(values) / (len(values) + 1)
        for aspect, series in (("location", special.ndtri(ranks)), ("spread", (ranks - 0.5) ** 2)):
            assert order.measure(name, aspect, 200) == measure_time_dependence(series, 200)
    assert order.measure("number", "location", 200).ratio > 5
    assert order.measure("holes", "spread", 200).ratio > 5
    missing = reference["holes"].isna().to_numpy(dtype=float)
    assert order.measure("holes", "missing", 200) == measure_time_dependence(missing, 200)
