"""Why performance moved: exact sums, hand-computed parts, loops, the pure cases, and coverage."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import optimize, special, stats

from driftbook.data import synthetic
from driftbook.decision import reasons
from driftbook.decision.findings import WindowFindings
from driftbook.decision.policy import assess
from driftbook.model.training import Model, train
from driftbook.performance import causes
from driftbook.performance import realised as performance
from driftbook.performance.baseline import bend_inputs, find_baseline
from driftbook.performance.causes import (
    CAUSES,
    CONCEPT,
    COVARIATE,
    PRIOR,
    TOTAL_CHANGE,
    ScoredSample,
)
from driftbook.performance.influence import (
    InfluencedNumber,
    average_current,
    average_reference,
    average_within,
)
from driftbook.performance.segments import SEGMENT_COLUMNS
from driftbook.settings import Settings

SETTINGS = Settings.parse({"data": {"source": "synthetic:none"}})
REFERENCE = 2400
PURE = {"covariate": COVARIATE, "correlation": COVARIATE, "prior": PRIOR, "concept": CONCEPT}


def sample(seed: int, rows: int, moved: float = 0.0, turned: float = 1.0) -> ScoredSample:
    """Rows whose log odds are ``moved`` and multiplied by ``turned``; one bend without effect."""
    rng = np.random.default_rng(seed)
    odds = 1.2 * rng.standard_normal(rows) - 0.5
    y = (rng.random(rows) < special.expit(turned * odds + moved)).astype(np.float64)
    return ScoredSample(y, special.expit(odds), rng.standard_normal((rows, 1)))


def relabelled(seed: int, rows: int, rate: float) -> ScoredSample:
    """Rows at another base rate whose scores given the label stand."""
    pool = sample(seed, 12 * rows)
    rng = np.random.default_rng([seed, 1])
    wanted = (rng.random(rows) < rate).astype(np.float64)
    chosen = np.empty(rows, dtype=np.int64)
    for label in (0.0, 1.0):
        own = np.flatnonzero(pool.y == label)
        chosen[wanted == label] = rng.choice(own, int((wanted == label).sum()), replace=False)
    return ScoredSample(pool.y[chosen], pool.p[chosen], pool.bends[chosen])


def parts_of(before: ScoredSample, current: ScoredSample, served: Any = None) -> pd.DataFrame:
    scores = before.p if served is None else served
    return causes.split_change(before, scores, current, 30).set_index("part")


@cache
def model_of(scenario: str, seed: int, rows: int) -> tuple[Model, pd.DataFrame]:
    frame = synthetic.make_scenario(scenario, rows=REFERENCE + rows, seed=seed, onset=REFERENCE)
    return train(frame[:REFERENCE], SETTINGS), frame[REFERENCE:].reset_index(drop=True)


def explained(scenario: str, seed: int = 0, rows: int = 1200) -> pd.DataFrame:
    model, current = model_of(scenario, seed, rows)
    return causes.explain_change(model, current, 30).set_index("part")


@pytest.mark.parametrize("current", [sample(1, 400), sample(2, 300, 0.8), sample(3, 500, 0, -1)])
def test_the_parts_add_up_to_the_realised_change(current: ScoredSample) -> None:
    before = sample(0, 600)
    found = parts_of(before, current, served=np.clip(before.p**1.1, 0, 1))
    total = np.mean((current.y - current.p) ** 2) - np.mean((before.y - before.p) ** 2)
    assert found["status"].eq("ok").all()
    assert found.loc[TOTAL_CHANGE, "change"] == pytest.approx(total, abs=1e-12)
    assert found.loc[list(CAUSES), "change"].sum() == pytest.approx(total, abs=1e-12)
    middle = (found["change_low"] + found["change_high"]) / 2
    np.testing.assert_allclose(middle, found["change"], atol=1e-12)
    outside = (found["change_low"] > 0) | (found["change_high"] < 0)
    assert found["beyond_chance"].tolist() == outside.tolist()


def test_a_prior_shift_by_hand() -> None:
    """One score 0.25 for all: 25% ones before and 50% now, losses 0.5625 and 0.0625."""
    before = ScoredSample(np.tile([1.0, 0, 0, 0], 20), np.full(80, 0.25), np.empty((80, 0)))
    current = ScoredSample(np.tile([1.0, 0.0], 40), np.full(80, 0.25), np.empty((80, 0)))
    found = parts_of(before, current)["change"]
    # 0.25 * 0.5625 + 0.75 * 0.0625 = 0.1875 before; half of each, 0.3125, now.
    assert found[TOTAL_CHANGE] == pytest.approx(0.125)
    assert found[PRIOR] == pytest.approx(0.125)
    assert found[[COVARIATE, CONCEPT]].to_numpy() == pytest.approx(0.0, abs=1e-6)


def test_a_covariate_shift_by_hand() -> None:
    """Two honest scores, 0.2 and 0.5, whose shares change from 5:4 to 1:4."""
    p = np.tile([0.2] * 5 + [0.5] * 4, 20)
    y = np.tile([1.0, 0, 0, 0, 0, 1, 1, 0, 0], 20)
    now = np.tile([0.2] * 5 + [0.5] * 20, 8)
    outcome = np.tile([1.0, 0, 0, 0, 0] + [1.0, 0.0] * 10, 8)
    found = parts_of(
        ScoredSample(y, p, np.empty((180, 0))), ScoredSample(outcome, now, np.empty((200, 0)))
    )["change"]
    # Loss 0.16 at score 0.2 and 0.25 at 0.5: 5/9 and 4/9 of the rows before, 1/5 and 4/5 now.
    change = (0.16 / 5 + 0.25 * 4 / 5) - (0.16 * 5 + 0.25 * 4) / 9
    assert found[COVARIATE] == pytest.approx(change, abs=1e-6)
    assert found[[PRIOR, CONCEPT]].to_numpy() == pytest.approx(0.0, abs=1e-6)


def test_a_turned_rule_by_hand() -> None:
    """The same two scores as often as before, but their outcomes have changed places."""
    p = np.tile([0.25, 0.75], 80)
    y = np.where(
        p == 0.25, np.tile([1.0, 1, 0, 0, 0, 0, 0, 0], 20), np.tile([0.0, 0] + [1] * 6, 20)
    )
    found = parts_of(
        ScoredSample(y, p, np.empty((160, 0))), ScoredSample(1 - y, p, np.empty((160, 0)))
    )
    assert np.mean(y[p == 0.25]) == pytest.approx(0.25)
    # 0.25 * 0.5625 + 0.75 * 0.0625 = 0.1875 before, 0.75 * 0.5625 + 0.25 * 0.0625 = 0.4375 now.
    assert found.loc[CONCEPT, "change"] == pytest.approx(0.25, abs=1e-6)
    assert found.loc[[COVARIATE, PRIOR], "change"].to_numpy() == pytest.approx(0.0, abs=1e-6)


def test_the_parts_as_a_loop_over_rows() -> None:
    before, current = sample(4, 500), relabelled(5, 400, 0.7)
    rule = causes.fit_outcome_rule(before)

    def odds(rows: ScoredSample, i: int) -> float:
        z = [1.0, min(max(rows.p[i], min(before.p)), max(before.p))]
        z += [min(max(rows.bends[i, 0], min(before.bends[:, 0])), max(before.bends[:, 0]))]
        return math.log(rows.p[i] / (1 - rows.p[i])) + sum(
            a * b for a, b in zip(z, rule.theta, strict=True)
        )

    def chance(rows: ScoredSample, i: int, offset: float) -> float:
        return 1 / (1 + math.exp(-odds(rows, i) - offset))

    ones = sum(current.y)
    offset = optimize.bisect(
        lambda d: sum(chance(current, i, d) for i in range(400)) - ones, -9, 9, xtol=1e-12
    )
    rate = sum(before.y) / 500
    loss = [(y - p) ** 2 for y, p in zip(before.y, before.p, strict=True)]
    scale = rate * math.exp(offset) + 1 - rate
    tilted = sum(
        v * (math.exp(offset) if y else 1.0) / scale for v, y in zip(loss, before.y, strict=True)
    )
    expected = 0.0
    for i in range(400):
        c, p = chance(current, i, offset), current.p[i]
        expected += (c * (1 - p) ** 2 + (1 - c) * p**2) / 400
    found = parts_of(before, current)["change"]
    realised = sum((y - p) ** 2 for y, p in zip(current.y, current.p, strict=True)) / 400
    assert found[PRIOR] == pytest.approx((tilted - sum(loss)) / 500, abs=1e-9)
    assert found[COVARIATE] == pytest.approx(expected - tilted / 500, abs=1e-9)
    assert found[CONCEPT] == pytest.approx(realised - expected, abs=1e-9)


def test_the_rule_is_the_penalised_optimum_and_promises_the_realised_loss() -> None:
    rows = sample(6, 800, turned=0.6)
    rule = causes.fit_outcome_rule(rows)
    z, ridge = rows.design(), np.array([1e-3, 1e-3, 1 / causes.BEND_SD**2])

    def deviance(theta: np.ndarray) -> float:
        odds = special.logit(rows.p) + z @ theta
        return float(np.sum(np.logaddexp(0, odds) - rows.y * odds) + ridge @ theta**2 / 2)

    best = optimize.minimize(deviance, np.zeros(3), tol=1e-12).x
    np.testing.assert_allclose(rule.theta, best, atol=1e-4)
    assert rule.apply(rows).promised(0.0).mean() == pytest.approx(rows.loss.mean(), abs=1e-5)
    assert rule.apply(rows).chance(0.0).mean() == pytest.approx(rows.y.mean(), abs=1e-5)


@pytest.mark.parametrize("case", ["none", "prior", "turned", "covariate"])
def test_influences_are_those_of_a_brute_force_bootstrap(
    case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A drawn sample may fall on the other side of the test of support, which only narrows parts.
    monkeypatch.setattr(InfluencedNumber, "half_width", lambda self: math.inf)
    monkeypatch.setattr(causes, "MOST_HALF", math.inf)
    before = sample(7, 640)
    current = {
        "none": sample(8, 480),
        "prior": relabelled(9, 480, 0.6),
        "turned": sample(10, 480, 0.0, -0.5),
        "covariate": ScoredSample(*moved_inputs(11, 480)),
    }[case]
    rng = np.random.default_rng(12)
    drawn = []
    for _ in range(300):
        i, j = rng.integers(0, 640, 640), rng.integers(0, 480, 480)
        drawn.append(parts_of(of(before, i), of(current, j))["change"].to_numpy())
    found = causes._parts(before, before.p, current)
    for place, part in enumerate((*CAUSES, TOTAL_CHANGE)):
        measured = found[part][0]
        error = math.hypot(stats.sem(measured.reference), stats.sem(measured.current))
        # A standard deviation of 300 draws is itself 4% off, one sigma.
        assert error == pytest.approx(np.std([row[place] for row in drawn]), rel=0.16), part
        assert measured.reference.mean() == pytest.approx(0.0, abs=1e-4)
        assert measured.current.mean() == pytest.approx(0.0, abs=1e-9)


def of(rows: ScoredSample, chosen: np.ndarray) -> ScoredSample:
    return ScoredSample(rows.y[chosen], rows.p[chosen], rows.bends[chosen])


def moved_inputs(seed: int, rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    odds = 0.8 * rng.standard_normal(rows)
    y = (rng.random(rows) < special.expit(odds)).astype(np.float64)
    return y, special.expit(odds), rng.standard_normal((rows, 1))


def test_a_part_that_says_nothing_has_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = parts_of(sample(7, 640), sample(8, 480))
    assert (whole["status"] == "ok").all()
    half = (whole["change_high"] - whole["change_low"]) / 2
    monkeypatch.setattr(causes, "MOST_HALF", float(half[CONCEPT]) - 1e-9)
    found = parts_of(sample(7, 640), sample(8, 480))
    wide = half >= half[CONCEPT]
    assert wide.any() and not wide.all()
    assert found["status"].eq("undetermined").equals(wide)
    assert found.loc[wide, ["change", "change_low", "change_high"]].isna().all(axis=None)
    assert not found.loc[wide, "beyond_chance"].any()
    assert found.loc[~wide, "change"].equals(whole.loc[~wide, "change"])
    assert reasons.phrase_cause(found.reset_index(names="part")) == ""


def test_measured_numbers_follow_the_delta_method() -> None:
    rng = np.random.default_rng(0)
    a = average_reference(rng.uniform(0.3, 0.6, 50), 40)
    b = average_current(rng.uniform(0.2, 0.5, 40), 50)
    c = average_within(a.reference, a.reference > 0, 40)
    assert (a - a).reference.tolist() == [0.0] * 50
    for found, value, slopes in (
        (a + b, a.value + b.value, (1, 1)),
        (a - b, a.value - b.value, (1, -1)),
        (a * b, a.value * b.value, (b.value, a.value)),
        (a / b, a.value / b.value, (1 / b.value, -a.value / b.value**2)),
        (a.lowered(0.1), a.value - 0.1, (1, 0)),
        (a.log_odds(), math.log(a.value / (1 - a.value)), (1 / a.value / (1 - a.value), 0)),
    ):
        assert found.value == pytest.approx(value)
        np.testing.assert_allclose(found.reference, slopes[0] * a.reference, atol=1e-12)
        np.testing.assert_allclose(found.current, slopes[1] * b.current, atol=1e-12)
    back = a.log_odds().probability()
    assert back.value == pytest.approx(a.value)
    np.testing.assert_allclose(back.reference, a.reference, atol=1e-12)
    assert c.value == pytest.approx(np.mean([v for v in a.reference if v > 0]))
    assert c.reference.mean() == pytest.approx(0.0, abs=1e-12)


def test_the_interval_is_that_of_welch_on_block_means() -> None:
    rng = np.random.default_rng(1)
    before, now = rng.standard_normal(320), rng.standard_normal(160)
    welch = stats.ttest_ind(
        now.reshape(16, -1).mean(axis=1), before.reshape(16, -1).mean(axis=1), equal_var=False
    ).confidence_interval(0.95)
    found = average_current(now, 320) - average_reference(before, 160)
    assert found.half_width() == pytest.approx((welch.high - welch.low) / 2)


@pytest.mark.parametrize(("scenario", "part"), PURE.items())
def test_each_pure_case_has_its_own_cause(scenario: str, part: str) -> None:
    tables = [explained(scenario, seed) for seed in range(6)]
    change = pd.concat([table["change"] for table in tables], axis=1).mean(axis=1)
    others = [name for name in CAUSES if name != part]
    assert change[part] == pytest.approx(change[TOTAL_CHANGE], abs=0.009)
    assert change[others].abs().max() < 0.007
    beyond = sum(table["beyond_chance"].astype(int) for table in tables)
    if scenario != "covariate":  # there the loss hardly moves
        assert beyond[part] >= 5 and abs(change[part]) > 0.02
    assert beyond[others].max() <= 2


def test_without_any_change_all_intervals_cover_nothing() -> None:
    """95% intervals of 120 windows of 30 models: at most 12 misses (p < 0.01 at 5%)."""
    missed = pd.Series(0, index=[*CAUSES, TOTAL_CHANGE])
    for seed in range(30):
        model, later = model_of("none", 100 + seed, 800)
        for start in range(0, 800, 200):
            window = later[start : start + 200]
            found = causes.explain_change(model, window, 30).set_index("part")
            missed += found["beyond_chance"].astype(int)
    assert missed.max() <= 12, missed


def test_an_offset_alone_is_a_changed_rule_not_a_prior_shift() -> None:
    """The base rate rises while the inputs stand: labels and inputs contradict each other."""
    rng = np.random.default_rng(3)
    model, current = model_of("none", 0, 4000)
    odds = special.logit(model.predict_proba(current)) + 1.5
    current = current.assign(target=(rng.random(4000) < special.expit(odds)).astype(int))
    found = causes.explain_change(model, current, 30).set_index("part")
    assert found.loc[CONCEPT, "change"] > 0.8 * found.loc[TOTAL_CHANGE, "change"] > 0.03
    assert found.loc[CONCEPT, "beyond_chance"]
    assert abs(found.loc[COVARIATE, "change"]) < 0.01


def bent(seed: int, rows: int, mean: float) -> pd.DataFrame:
    """Rows whose rule a straight line misses."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((rows, 4))
    x[:, 0] += mean
    odds = x[:, 0] - 0.8 * x[:, 0] ** 2 + 0.7 * x[:, 1]
    frame = pd.DataFrame(x, columns=list("abcd"))
    return frame.assign(target=(rng.random(rows) < special.expit(odds)).astype(int))


def test_a_bend_that_the_champion_missed_is_no_changed_rule() -> None:
    found, blind = [], []
    for seed in range(6):
        model = train(bent(seed, REFERENCE, 0.0), SETTINGS)
        moved = bent(50 + seed, 1200, 1.0)
        found.append(causes.explain_change(model, moved, 30).set_index("part")["change"])
        before, now = performance.score_holdout(model), performance.score_outcomes(model, moved)
        none = np.empty((len(before.y), 0)), np.empty((1200, 0))
        alone = parts_of(
            ScoredSample(before.y, before.p, none[0]), ScoredSample(now.y, now.p, none[1])
        )
        blind.append(alone["change"])
    change, by_score = (pd.concat(each, axis=1).mean(axis=1) for each in (found, blind))
    # The score alone takes the bend for a changed rule.
    assert by_score[CONCEPT] > 0.03
    assert abs(change[CONCEPT]) < 0.4 * by_score[CONCEPT]
    assert change[COVARIATE] > 0.75 * change[TOTAL_CHANGE] > 0.03


def test_a_fit_gap_widens_the_intervals_and_moves_no_total() -> None:
    before, current = sample(20, 600), sample(21, 600)
    sharper = special.expit(1.3 * special.logit(before.p))
    plain, gapped = parts_of(before, current), parts_of(before, current, sharper)
    width = [table["change_high"] - table["change_low"] for table in (plain, gapped)]
    grown = width[1] - width[0]
    moved = gapped["change"] - plain["change"]
    assert moved[[PRIOR, TOTAL_CHANGE]].tolist() == [0.0, 0.0]
    assert moved[COVARIATE] > 0 and moved[CONCEPT] == pytest.approx(-moved[COVARIATE])
    np.testing.assert_allclose(grown[[COVARIATE, CONCEPT]], 2 * moved[COVARIATE], atol=1e-9)


@pytest.mark.parametrize("labels", [0, 29])
def test_without_labels_only_the_inputs_part_is_had(labels: int) -> None:
    model, current = model_of("correlation", 0, 1200)
    known = current["target"].where(current.index < labels)
    found = causes.explain_change(model, current.assign(target=known), 30).set_index("part")
    assert found["status"].to_dict() == dict.fromkeys(
        (PRIOR, CONCEPT, TOTAL_CHANGE), "needs_labels"
    ) | {COVARIATE: "ok"}
    assert found.loc[[PRIOR, CONCEPT, TOTAL_CHANGE], "change"].isna().all()
    assert found.loc[COVARIATE, "beyond_chance"] and found.loc[COVARIATE, "change"] < -0.01
    assert (found["n"] == 1200).all()
    bare = causes.explain_change(model, current.drop(columns="target"), 30)
    if labels == 0:
        pd.testing.assert_frame_equal(bare.set_index("part"), found)


@pytest.mark.parametrize("ones", [0, 9, 191, 200])
def test_few_of_a_class_cannot_be_split_but_the_total_is_known(ones: int) -> None:
    current = sample(30, 200)
    y = (np.arange(200) < ones).astype(np.float64)
    found = parts_of(sample(31, 400), ScoredSample(y, current.p, current.bends))
    assert (found.loc[list(CAUSES), "status"] == "insufficient").all()
    assert found.loc[list(CAUSES), "change"].isna().all()
    assert found.loc[TOTAL_CHANGE, "status"] == "ok" and np.isfinite(
        found.loc[TOTAL_CHANGE, "change"]
    )


@pytest.mark.parametrize("rows", [0, 1, 29])
def test_few_rows_say_nothing(rows: int) -> None:
    model, current = model_of("none", 0, 1200)
    found = causes.explain_change(model, current[:rows], 30)
    assert list(found.columns) == list(causes.CAUSE_COLUMNS)
    assert (found["status"] == "insufficient").all() and (found["n"] == rows).all()
    assert found["change"].isna().all() and not found["beyond_chance"].any()


def test_a_reference_with_few_of_a_class_is_insufficient() -> None:
    before = sample(32, 400)
    rare = ScoredSample((np.arange(400) < 9).astype(np.float64), before.p, before.bends)
    assert (parts_of(rare, sample(33, 200))["status"] == "insufficient").all()


def test_a_perfect_champion_and_equal_scores_stay_finite() -> None:
    y = np.tile([0.0, 1.0], 100)
    right = ScoredSample(y, np.where(y == 1, 1.0, 0.0), np.empty((200, 0)))
    flat = ScoredSample(y, np.full(200, 0.5), np.zeros((200, 3)))
    for rows in (right, flat):
        found = parts_of(rows, ScoredSample(y[:100], rows.p[:100], rows.bends[:100]))
        assert found["change"].to_numpy() == pytest.approx(0.0, abs=1e-3)
        turned = parts_of(rows, ScoredSample(1 - y[:100], rows.p[:100], rows.bends[:100]))
        assert np.isfinite(turned["change"]).all()
        assert turned.loc[list(CAUSES), "change"].sum() == pytest.approx(
            turned.loc[TOTAL_CHANGE, "change"], abs=1e-9
        )


def test_an_absent_feature_is_not_scored_and_odd_values_are() -> None:
    model, current = model_of("none", 0, 1200)
    assert (
        causes.explain_change(model, current.drop(columns="f2"), 30)["status"] == "not_scored"
    ).all()
    odd = current.assign(f2=np.where(np.arange(1200) % 3, current["f2"], np.inf), f4=1e12)
    assert (causes.explain_change(model, odd, 30)["status"] == "ok").all()
    assert np.isfinite(bend_inputs(model, odd)).all()


def test_bends_are_the_prepared_inputs_and_the_squares_of_numbers() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.standard_normal(400), "route": rng.choice(["n", "s"], 400)})
    frame["target"] = (rng.random(400) < 0.4).astype(int)
    model = train(frame, SETTINGS)
    found = bend_inputs(model, frame)
    x = (frame["x"] - frame["x"].mean()) / frame["x"].std(ddof=0)
    assert found.shape == (400, 4)
    np.testing.assert_allclose(found[:, 0], x.clip(-3, 3), atol=1e-9)
    np.testing.assert_allclose(found[:, 3], (x.clip(-3, 3) ** 2 - 1) / math.sqrt(2), atol=1e-9)
    assert set(np.unique(found[:, 1:3])) == {0.0, 1.0}
    known = find_baseline(model)
    np.testing.assert_array_equal(known.bends, bend_inputs(model, model.holdout))
    np.testing.assert_array_equal(known.served_holdout, model.predict_proba(model.holdout))


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_the_whole_change_is_the_one_of_the_performance_table(task: str) -> None:
    settings = Settings.parse({"data": {"source": f"synthetic:concept?task={task}"}})
    frame = synthetic.make_scenario("concept", rows=36_000, task=task)
    # A holdout above 5,000 rows: evidence of which only every second row is used.
    found = assess(train(frame[:22_000], settings), frame[24_000:25_200], settings)
    table, parts = found.performance, found.decomposition
    assert parts is not None
    loss = found.task.loss
    row = table[(table["metric"] == loss) & (table["basis"] == "realised")].iloc[0]
    total = parts.set_index("part").loc[TOTAL_CHANGE]
    bounds = ["change", "change_low", "change_high"]
    assert total[bounds].tolist() == row[bounds].tolist()
    assert total["beyond_chance"] and row["verdict"] == "worse"
    shares = parts[parts["part"].isin(CAUSES)]["change"].sum()
    assert shares == pytest.approx(row["change"], abs=1e-9)


def test_it_is_pure_and_part_of_the_evidence() -> None:
    model, current = model_of("concept", 0, 1200)
    kept = current.copy()
    assessment = assess(model, current, SETTINGS)
    found = causes.explain_change(model, current, SETTINGS.policy.min_rows)
    pd.testing.assert_frame_equal(current, kept)
    assert assessment.decomposition is not None
    pd.testing.assert_frame_equal(assessment.decomposition, found)
    lines = assessment.to_dict()["evidence"]["decomposition"]
    assert [line["part"] for line in lines] == [*CAUSES, TOTAL_CHANGE]
    assert "because the rule changed (concept change +" in assessment.reason
    few = assess(model, current[:10], SETTINGS)
    assert few.decomposition is not None and few.decomposition.empty


def table(changes: dict[str, float], beyond: set[str]) -> pd.DataFrame:
    """Parts with an interval 0.01 to both sides; what is not named needs labels."""
    made = []
    for part in (*CAUSES, TOTAL_CHANGE):
        change = changes.get(part, math.nan)
        line = {"part": part, "status": "ok" if part in changes else "needs_labels", "n": 100}
        line |= {"change": change, "change_low": change - 0.01, "change_high": change + 0.01}
        made.append(line | {"beyond_chance": part in beyond})
    return pd.DataFrame(made)


def whole(covariate: float, prior: float, concept: float, beyond: set[str]) -> pd.DataFrame:
    changes = {COVARIATE: covariate, PRIOR: prior, CONCEPT: concept}
    return table(changes | {TOTAL_CHANGE: covariate + prior + concept}, beyond)


RULE = "because the rule changed (concept change +0.0310 [0.0210, 0.0410]), "
RULE += "in all +0.0350 Brier loss a row"
RATE = "the base rate moved (prior shift +0.0300 [0.0200, 0.0400])"
VERDICTS = {
    "worse": "is seen to be worse",
    "no worse": "performance is no worse",
    "can't tell yet": "can't be told yet",
}
UNSEEN = "of which only the inputs' part can be seen without labels: "
HARDER = "the inputs moved to harder cases (covariate shift +0.0200 [0.0100, 0.0300])"
BOTH = f"because {RATE} and {HARDER}, in all +0.0300 Brier loss a row"


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        (whole(0.004, 0.0, 0.031, {CONCEPT, TOTAL_CHANGE}), RULE),
        (whole(0.02, 0.03, -0.02, {*CAUSES, TOTAL_CHANGE}), BOTH),
        (whole(0.02, 0.03, -0.03, {*CAUSES, TOTAL_CHANGE}),
         "by causes that partly cancel out, in all +0.0200 Brier loss a row"),
        (whole(0.014, 0.0, 0.0, {TOTAL_CHANGE}),
         "but no single cause of the change (+0.0140 Brier loss a row) is beyond chance"),
        (whole(0.004, 0.0, 0.031, {CONCEPT}), ""),
        (table({COVARIATE: 0.02}, {COVARIATE}), UNSEEN + HARDER),
        (table({COVARIATE: 0.004}, set()), UNSEEN + "covariate shift +0.0040 [-0.0060, 0.0140]"),
        (table({}, set()), ""),
        (table({TOTAL_CHANGE: 0.03}, {TOTAL_CHANGE}), ""),
    ],
)  # fmt: skip
def test_the_cause_in_words(parts: pd.DataFrame, words: str) -> None:
    assert reasons.phrase_cause(parts) == words


def test_the_cause_is_said_where_performance_is_worse_and_nowhere_else() -> None:
    parts = whole(0.0, 0.0, 0.03, {CONCEPT, TOTAL_CHANGE})
    row = {"metric": "brier", "basis": "realised", "status": "ok", "value": 0.23, "baseline": 0.2,
           "method": "labels", "change_high": 0.05}  # fmt: skip
    judged = pd.DataFrame([row | {"worse": True, "verdict": "worse"}])
    none = pd.DataFrame(columns=["feature", "severity", "fault", "matters", "alarm", "seasonal"])
    places = pd.DataFrame(columns=list(SEGMENT_COLUMNS))
    found = WindowFindings(100, 30, "brier", none, none, judged, parts, places, none)
    said = reasons.phrase_reason("monitor", found, None, Settings())
    assert "0.2300 against 0.2000, because the rule changed" in said
    for verdict, words in VERDICTS.items():
        calm = replace(found, performance=judged.assign(worse=False, verdict=verdict))
        said = reasons.phrase_reason("hold", calm, None, Settings())
        assert "rule" not in said
        assert [other for other in VERDICTS.values() if other in said] == [words]
    unsure = replace(found, performance=judged.assign(worse=False, verdict="can't tell yet"))
    assert "at most 0.2500" in reasons.phrase_reason("hold", unsure, None, Settings())


def test_of_very_many_rows_without_a_label_a_sample_is_split(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, current = model_of("covariate", 0, 1200)
    blind = current.drop(columns="target")
    whole = causes.explain_change(model, blind, 30).set_index("part").loc[COVARIATE]
    labelled = causes.explain_change(model, current, 30)
    monkeypatch.setattr(causes, "MOST_ESTIMATED", len(current) // 2)
    drawn = causes.explain_change(model, blind, 30).set_index("part").loc[COVARIATE]
    assert (whole["n"], drawn["n"]) == (len(current), len(current) // 2)
    assert 0 < abs(drawn["change"] - whole["change"]) < drawn["change_high"] - drawn["change"]
    pd.testing.assert_frame_equal(causes.explain_change(model, current, 30), labelled)
