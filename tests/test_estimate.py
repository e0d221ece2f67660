"""Performance without labels: for-loops, simulated outcomes, and what it cannot see."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from driftbook import estimate, performance, scores
from driftbook.performance import Rows

Floats = scores.Floats


def chances(seed: int, n: int, a: float = 2.0, b: float = 3.0) -> Floats:
    p: Floats = np.random.default_rng(seed).beta(a, b, n)
    return p


def outcomes(seed: int, chance: Floats) -> Floats:
    drawn: Floats = (np.random.default_rng(seed).random(len(chance)) < chance).astype(np.float64)
    return drawn


def table(reference: Rows, rows: Rows, min_rows: int = 30) -> pd.DataFrame:
    return pd.DataFrame(estimate.table(reference, rows, min_rows)).set_index("metric")


def by_loop(p: Floats, chance: Floats) -> dict[str, float]:
    n = len(p)
    brier = loss = right = won = pairs = 0.0
    for i in range(n):
        c = chance[i]
        brier += (c * (1 - p[i]) ** 2 + (1 - c) * p[i] ** 2) / n
        loss -= (c * np.log(p[i]) + (1 - c) * np.log(1 - p[i])) / n
        right += (c if p[i] >= 0.5 else 1 - c) / n
        for j in range(n):
            if i != j:
                weight = c * (1 - chance[j])
                pairs += weight
                won += weight * (1.0 if p[i] > p[j] else 0.5 if p[i] == p[j] else 0.0)
    return {"brier": brier, "log_loss": loss, "accuracy": right, "roc_auc": won / pairs}


@pytest.mark.parametrize("decimals", [1, 12])
@pytest.mark.parametrize("n", [2, 3, 40])
def test_expectation_equals_the_for_loop(n: int, decimals: int) -> None:
    p = np.clip(np.round(chances(1, n), decimals), 0.1, 0.9)
    assert estimate.expected_scores(p, p) == pytest.approx(by_loop(p, p), abs=1e-12)
    chance = chances(2, n)  # probabilities that are not the chances
    assert estimate.expected_scores(p, chance) == pytest.approx(by_loop(p, chance), abs=1e-12)


def test_expectation_by_hand() -> None:
    found = estimate.expected_scores(np.array([0.8, 0.4]), np.array([0.8, 0.4]))
    assert found["accuracy"] == pytest.approx((0.8 + 0.6) / 2)
    assert found["brier"] == pytest.approx((0.8 * 0.2 + 0.4 * 0.6) / 2)
    # One pair of each class: the first is the positive with 0.8 * 0.6, the second with 0.4 * 0.2.
    assert found["roc_auc"] == pytest.approx(0.48 / 0.56)


def test_expectation_is_the_mean_score_of_simulated_outcomes() -> None:
    p = np.round(chances(3, 300), 2).clip(0.01, 0.99)
    expected = estimate.expected_scores(p, p)
    drawn = [outcomes(1000 + seed, p) for seed in range(400)]
    for metric in scores.METRICS:
        values = np.array([getattr(scores, metric)(y, p) for y in drawn])
        error = values.std(ddof=1) / np.sqrt(len(values))
        assert abs(values.mean() - expected[metric]) < 3.5 * error


def test_equal_probabilities_rank_nothing_and_certain_ones_have_no_auc() -> None:
    flat = np.full(20, 0.3)
    assert estimate.expected_scores(flat, flat)["roc_auc"] == pytest.approx(0.5)
    ones = np.ones(20)
    assert np.isnan(estimate.expected_scores(ones, ones)["roc_auc"])


def test_order_of_rows_changes_no_expectation() -> None:
    p, chance = np.round(chances(4, 50), 1).clip(0.1, 0.9), chances(5, 50)
    mixed = np.random.default_rng(0).permutation(50)
    assert estimate.expected_scores(p[mixed], chance[mixed]) == pytest.approx(
        estimate.expected_scores(p, chance)
    )


def test_the_same_probabilities_change_nothing() -> None:
    p = chances(6, 400)
    reference = Rows(outcomes(6, p), p)
    found = table(reference, Rows(np.full(400, np.nan), p))
    assert found.index.tolist() == list(scores.METRICS)
    assert (found["basis"] == "estimated").all() and (found["method"] == "CBPE").all()
    assert found["change"].tolist() == [0.0] * 4 and not found["worse"].any()
    for metric in scores.METRICS:
        realised = scores.score(metric, reference.y, p)
        assert found.loc[metric, "value"] == pytest.approx(realised.value)
        assert found.loc[metric, "baseline_low"] == pytest.approx(realised.ci_low)


def test_labels_of_the_window_are_not_looked_at() -> None:
    p, now = chances(7, 400), chances(8, 300)
    reference = Rows(outcomes(7, p), p)
    pd.testing.assert_frame_equal(
        table(reference, Rows(np.ones(300), now)), table(reference, Rows(np.zeros(300), now))
    )


@pytest.mark.parametrize(("n", "status"), [(0, "insufficient"), (29, "insufficient"), (30, "ok")])
def test_too_few_rows_estimate_nothing(n: int, status: str) -> None:
    p = chances(9, 400)
    found = table(Rows(outcomes(9, p), p), Rows(np.full(n, np.nan), chances(10, n)))
    assert (found["status"] == status).all()
    assert found["value"].isna().all() == (status == "insufficient")
    assert found["baseline"].notna().all() and not found["worse"].any()


def test_a_holdout_of_one_class_has_no_estimated_auc() -> None:
    p = chances(11, 400)
    found = table(Rows(np.zeros(400), p), Rows(np.full(400, np.nan), p))
    assert found.loc["roc_auc", "status"] == "insufficient"
    assert (found["status"].drop("roc_auc") == "ok").all()


@pytest.mark.parametrize(("a", "b"), [(2.0, 3.0), (4.0, 4.0)])
def test_interval_covers_what_comes_true_also_after_a_shift_of_the_inputs(
    a: float, b: float
) -> None:
    covered = dict.fromkeys(scores.METRICS, 0)
    for seed in range(100):
        p, now = chances(3000 + seed, 600), chances(5000 + seed, 400, a, b)
        found = table(Rows(outcomes(7000 + seed, p), p), Rows(np.full(400, np.nan), now))
        came = outcomes(9000 + seed, now)
        for metric in scores.METRICS:
            realised = getattr(scores, metric)(came, now)
            row = found.loc[metric]
            covered[metric] += bool(row["ci_low"] <= realised <= row["ci_high"])
    assert min(covered.values()) >= 95, covered


def test_probabilities_nearer_to_a_half_are_seen_without_labels() -> None:
    p, now = chances(12, 2000, 1.0, 1.0), chances(13, 2000, 8.0, 8.0)
    found = table(Rows(outcomes(12, p), p), Rows(np.full(2000, np.nan), now))
    assert found["worse"].all()
    back = table(Rows(outcomes(13, now), now), Rows(np.full(2000, np.nan), p))
    assert not back["worse"].any() and (back.loc[["roc_auc", "accuracy"], "change"] > 0).all()


def test_a_changed_rule_on_the_same_inputs_is_not_seen() -> None:
    p, now = chances(14, 1500), chances(15, 1500)
    reference = Rows(outcomes(14, p), p)
    rows = Rows(outcomes(15, 1 - now), now)  # the rule is turned round, the inputs stand
    found = table(reference, rows)
    assert not found["worse"].any()
    realised = scores.score("roc_auc", rows.y, rows.p)
    assert realised.ci_high < 0.5 < found.loc["roc_auc", "ci_low"]


def test_the_interval_narrows_with_more_rows_but_not_below_the_holdouts_share() -> None:
    p = chances(16, 800)
    reference = Rows(outcomes(16, p), p)
    widths = []
    for n in (100, 800, 80_000):
        row = table(reference, Rows(np.full(n, np.nan), chances(17, n))).loc["brier"]
        widths.append(row["ci_high"] - row["ci_low"])
    error, df = performance.standard_error(scores.score("brier", reference.y, p).influence)
    confidence = performance.worse_confidence(len(scores.METRICS))
    floor = 2 * performance.difference((0.0, df), (error, df), confidence)
    assert widths[0] > widths[1] > widths[2] > floor
