"""The joint row: dependence that changes while every margin stands."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from driftbook.data import synthetic
from driftbook.data.columns import Feature
from driftbook.drift import joint
from driftbook.drift import report as drift
from driftbook.drift.reference import find_reference
from driftbook.model.training import train
from driftbook.settings import Settings

SETTINGS = Settings.parse({"data": {"source": "synthetic:correlation"}})
NUMBERS = tuple(Feature(name, "numeric") for name in "abcd")
CONTINUOUS = joint.ScoreRules({}, {})


def table(rng: np.random.Generator, rows: int, rho: float = 0.0) -> pd.DataFrame:
    frame = pd.DataFrame(rng.normal(size=(rows, 4)), columns=list("abcd"))
    frame["b"] = rho * frame["a"] + np.sqrt(1.0 - rho**2) * frame["b"]
    return frame


def found(
    reference: pd.DataFrame, current: pd.DataFrame, features: tuple[Feature, ...] = NUMBERS
) -> joint.PairChange:
    rules = joint.find_score_rules(reference, features)
    before, after = (joint.score_ranks(frame, features, rules) for frame in (reference, current))
    return joint.find_pair_changes(before, after, 0.055)[0][0]


def test_correlations_are_those_of_normal_scores() -> None:
    rng = np.random.default_rng(0)
    frame = table(rng, 200, 0.7)
    frame.loc[rng.random(200) < 0.2, "a"] = np.nan
    known = joint.measure_dependence(joint.score_ranks(frame, NUMBERS, CONTINUOUS))
    scores = {}
    for name in "ac":
        ranks = stats.rankdata(frame[name], nan_policy="omit")
        scores[name] = stats.norm.ppf(ranks / (frame[name].notna().sum() + 1))
    both = frame["a"].notna().to_numpy()
    a = scores["a"] / np.nanstd(scores["a"])
    c = (scores["c"] / scores["c"].std())[both]
    r = np.sum(a[both] * c) / np.sqrt(np.sum(a[both] ** 2) * np.sum(c**2))
    assert known.correlation[0, 4] == pytest.approx(r)
    assert known.rows[0, 4] == both.sum() and known.rows[4, 6] == 200


def test_a_normal_copula_has_the_textbook_variance() -> None:
    frame = table(np.random.default_rng(1), 5000, 0.6)
    known = joint.measure_dependence(joint.score_ranks(frame, NUMBERS, CONTINUOUS))
    assert known.variance[0, 2] == pytest.approx(1.0, abs=0.08)
    assert known.variance[4, 6] == pytest.approx(1.0, abs=0.08)


def test_margins_do_not_matter() -> None:
    rng = np.random.default_rng(2)
    reference, current = table(rng, 1200, 0.5), table(rng, 600, 0.5)
    moved = current.assign(a=np.exp(current["a"]) + 40.0, c=-3.0 + 0.01 * current["c"])
    assert found(reference, moved) == found(reference, current)


@pytest.mark.parametrize("rows", [400, 1200])
def test_a_changed_correlation_is_found_and_named(rows: int) -> None:
    rng = np.random.default_rng(3)
    pair = found(table(rng, 1200, 0.5), table(rng, rows, 0.1))
    assert pair.pvalue < 1e-6 and pair.label == "a with b"
    assert abs(pair.current - pair.reference + 0.4) < 4 * pair.error


def test_dependence_of_the_extremes_is_found() -> None:
    rng = np.random.default_rng(4)
    reference, current = table(rng, 1200), table(rng, 1200)
    sign = np.where(rng.random(1200) < 0.5, 1.0, -1.0)
    current["b"] = current["a"].to_numpy() * sign  # uncorrelated, but large together
    pair = found(reference, current)
    assert pair.pvalue < 1e-12 and pair.label == "a (extremes) with b (extremes)"


def test_categories_take_part_by_their_levels() -> None:
    rng = np.random.default_rng(5)
    features = (Feature("a", "numeric"), Feature("k", "categorical"), Feature("t", "boolean"))
    frames = []
    for linked in (False, True):
        a = rng.normal(size=1200)
        k = np.where((a > 0) == (rng.random(1200) < (0.8 if linked else 0.5)), "x", "y")
        frames.append(pd.DataFrame({"a": a, "k": k, "t": rng.random(1200) < 0.5}))
    assert found(frames[0], frames[0][::-1], features).pvalue > 0.5
    pair = found(frames[0], frames[1], features)
    assert pair.pvalue < 1e-12 and "k=" in pair.label


def test_a_single_column_has_no_joint() -> None:
    frame = table(np.random.default_rng(6), 100)
    one = joint.score_ranks(frame, NUMBERS[:1], CONTINUOUS)
    assert joint.find_pair_changes(one, one, 0.05) == ([], 0)


def test_without_a_change_it_is_silent() -> None:
    rng = np.random.default_rng(7)
    for rows in (50, 300):
        pvalues = [found(table(rng, 1200, 0.5), table(rng, rows, 0.5)).pvalue for _ in range(150)]
        assert np.mean(np.array(pvalues) < 0.05) <= 0.09


@pytest.mark.parametrize("rows", [200, 1200])
@pytest.mark.parametrize("both", [False, True])
def test_balanced_flags_without_a_change_are_silent(rows: int, both: bool) -> None:
    """A 0/1 column with as many ones as zeros, correlated with another, moves by chance alone."""
    rng = np.random.default_rng(9)

    def flagged(n: int) -> pd.DataFrame:
        frame = table(rng, n, 0.6)
        names = ["a", "b"] if both else ["a"]
        return frame.assign(**{name: (frame[name] > 0).astype(float) for name in names})

    pvalues = [found(flagged(1200), flagged(rows)).pvalue for _ in range(80)]
    assert np.mean(np.array(pvalues) < 0.05) <= 0.0625  # 5 of 80: the level is 5%, in truth lower


def test_few_values_are_ranked_among_the_references() -> None:
    steps = np.repeat([0.0, 1.0, 4.0], [2, 1, 1])
    reference = pd.DataFrame({"a": steps, "b": np.arange(4.0)})
    rules = joint.find_score_rules(reference, NUMBERS[:2])
    assert rules.steps["a"].tolist() == steps.tolist()
    window = pd.DataFrame({"a": [0.0, 1.0, 4.0, -1.0, 2.0, np.nan], "b": np.arange(6.0)})
    scored = joint.score_ranks(window, NUMBERS[:1], rules)
    shares = np.array([1.5, 3.0, 4.0, 0.5, 3.5]) / 5
    expected = stats.zscore(stats.norm.ppf(shares))
    assert scored.values[:5, 0] == pytest.approx(expected)
    assert scored.present[:, 0].tolist() == [1, 1, 1, 1, 1, 0]
    assert not scored.curved.any()


def test_a_changed_correlation_of_a_flag_is_found() -> None:
    rng = np.random.default_rng(10)
    frames = [table(rng, 1200, rho) for rho in (0.6, 0.0)]
    frames = [frame.assign(a=(frame["a"] > 0).astype(float)) for frame in frames]
    pair = found(*frames)
    assert pair.pvalue < 1e-6 and pair.label == "a with b"


@pytest.mark.parametrize("seed", range(4))
def test_the_scenario_is_found_while_its_margins_stand(seed: int) -> None:
    rows = synthetic.make_scenario("correlation", rows=2400, seed=seed, onset=1200)
    model = train(rows[:1200], SETTINGS)
    report = drift.report_drift(model, rows[1200:].reset_index(drop=True), SETTINGS)
    last = report.iloc[-1]
    assert last["feature"] == "(joint)" and last["drift_flag"] and last["matters"]
    assert last["direction"].startswith(("f0 with f1", "f5 with f6"))
    assert not report["drift_flag"][:8].any()


def test_the_row_is_about_one_pair() -> None:
    """Of two changed pairs the one that matters is shown: with its own effect and p-value."""
    rows = synthetic.make_scenario("none", rows=3600, seed=1)
    model = train(rows[:2400], SETTINGS)
    current = rows[2400:].reset_index(drop=True)
    noise = np.random.default_rng(12).normal(size=(2, 1200))
    current["f7"] = current["f6"] + 0.1 * noise[0]  # the larger change, of columns of no use
    current["f1"] = -0.5 * current["f0"] + 0.8 * noise[1]
    row = drift.report_drift(model, current, SETTINGS).iloc[-1]
    known = find_reference(model)
    now = joint.score_ranks(current, model.features, known.score_rules)
    pairs, _ = joint.find_pair_changes(known.rank_scores, now, SETTINGS.drift.min_effect)
    by_label = {pair.label: pair for pair in pairs}
    assert pairs[0].label == "f6 with f7"
    shown = by_label["f0 with f1"]
    assert row["direction"].startswith("f0 with f1:")
    assert row["pvalue"] == shown.pvalue > pairs[0].pvalue
    assert row["effect"] == pytest.approx(shown.current - shown.reference)
    assert row["drift_flag"]


def test_pairs_the_model_does_not_use_do_not_matter() -> None:
    rng = np.random.default_rng(8)
    rows = synthetic.make_scenario("none", rows=3600, seed=1)
    model = train(rows[:2400], SETTINGS)
    current = rows[2400:].reset_index(drop=True)
    current["f7"] = current["f6"] + 0.1 * rng.normal(size=1200)
    current["f7"] = current["f7"].rank().map(dict(enumerate(np.sort(rows["f7"][2400:]), 1)))
    last = drift.report_drift(model, current, SETTINGS).iloc[-1]
    assert last["drift_flag"] and not last["matters"]
