"""Scores of probabilities: scikit-learn, SciPy and for-loops as oracles, and coverage."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import special, stats
from sklearn import metrics as sk

from driftbook.model import scores

Floats = scores.Floats
ORACLES: dict[str, Callable[..., float]] = {
    "roc_auc": sk.roc_auc_score,
    "accuracy": lambda y, p, **rest: sk.accuracy_score(y, p >= 0.5, **rest),
    "log_loss": lambda y, p, **rest: sk.log_loss(y, p, labels=[0, 1], **rest),
    "brier": sk.brier_score_loss,
}
FUNCTIONS = {name: getattr(scores, name) for name in scores.METRICS}


def sample(seed: int, n: int = 200, decimals: int = 2) -> tuple[Floats, Floats]:
    """Return calibrated outcomes and probabilities; rounding makes ties, also at 0.5."""
    rng = np.random.default_rng(seed)
    p = np.round(rng.beta(2, 3, n), decimals)
    return (rng.random(n) < p).astype(np.float64), p


@pytest.mark.parametrize("metric", scores.METRICS)
@pytest.mark.parametrize("decimals", [1, 12])
def test_values_equal_those_of_scikit_learn(metric: str, decimals: int) -> None:
    for seed in range(5):
        y, p = sample(seed, decimals=decimals)
        expected = ORACLES[metric](y, p)
        assert FUNCTIONS[metric](y, p) == pytest.approx(expected, abs=1e-12)
        assert scores.score_metric(metric, y, p).value == pytest.approx(expected, abs=1e-12)


def test_values_by_hand() -> None:
    y, p = [1, 0, 1, 0], [0.8, 0.5, 0.5, 0.1]
    assert scores.brier(y, p) == pytest.approx((0.04 + 0.25 + 0.25 + 0.01) / 4)
    assert scores.log_loss(y, p) == pytest.approx(-np.log(0.8 * 0.5 * 0.5 * 0.9) / 4)
    assert scores.accuracy(y, p) == 0.75  # 0.5 counts as a one
    assert scores.roc_auc(y, p) == 0.875  # four pairs: won, won, won, tied


def test_certain_and_wrong_is_a_finite_loss() -> None:
    assert scores.log_loss([1.0, 0.0], [0.0, 1.0]) == pytest.approx(
        sk.log_loss([1, 0], np.array([0.0, 1.0]))
    )
    assert scores.log_loss([1.0, 0.0], [1.0, 0.0]) == pytest.approx(0.0, abs=1e-15)


def test_rows_without_a_label_are_left_out() -> None:
    y, p = sample(1)
    hidden = y.copy()
    hidden[::3] = np.nan
    known = ~np.isnan(hidden)
    for metric in scores.METRICS:
        found, expected = (
            scores.score_metric(metric, hidden, p),
            scores.score_metric(metric, y[known], p[known]),
        )
        assert (found.value, found.ci_low, found.ci_high, found.n) == (
            expected.value,
            expected.ci_low,
            expected.ci_high,
            int(known.sum()),
        )


@pytest.mark.parametrize(
    ("y", "p", "word"),
    [
        ([0, 1], [0.5], "probability"),
        ([[0, 1]], [[0.5, 0.5]], "probability"),
        ([0, 2], [0.5, 0.5], "recode"),
        ([0, 1], [0.5, np.nan], "missing"),
        ([0, 1], [0.5, 1.1], "outside"),
        ([0, 1], [-0.1, 0.5], "outside"),
    ],
)
def test_bad_input_is_an_error_not_a_number(y: list[float], p: list[float], word: str) -> None:
    for function in FUNCTIONS.values():
        with pytest.raises(ValueError, match=word):
            function(y, p)


@pytest.mark.parametrize("y", [[], [np.nan] * 4])
def test_without_rows_every_value_is_nan(y: list[float]) -> None:
    p = np.full(len(y), 0.5)
    assert all(np.isnan(function(y, p)) for function in FUNCTIONS.values())
    table = scores.score_metrics(y, p)
    assert table["metric"].tolist() == list(scores.METRICS)
    assert table["status"].tolist() == ["no_rows"] * 4 and table["n"].tolist() == [0] * 4
    assert table[["value", "ci_low", "ci_high"]].isna().all(axis=None)
    assert scores.summarise_metrics(y, p)[["value", "ci_low", "ci_high"]].isna().all(axis=None)


def test_one_class_has_no_auc_and_keeps_the_rest() -> None:
    y, p = np.ones(40), sample(2, 40)[1]
    assert np.isnan(scores.roc_auc(y, p))
    table = scores.score_metrics(y, p).set_index("metric")
    assert table.loc["roc_auc", "status"] == "one_class"
    assert table.loc["roc_auc", ["value", "ci_low", "ci_high"]].isna().all()
    rest = table.drop("roc_auc")
    assert (rest["status"] == "ok").all() and rest[["value", "ci_low"]].notna().all(axis=None)
    drawn = scores.summarise_metrics(y, p, replicates=50).set_index("metric")
    assert drawn.loc["roc_auc"].isna().all() and drawn.drop("roc_auc").notna().all(axis=None)


@pytest.mark.parametrize(("positives", "status"), [(9, "few_of_a_class"), (10, "ok")])
def test_an_auc_of_few_rows_of_a_class_says_so(positives: int, status: str) -> None:
    y = np.r_[np.ones(positives), np.zeros(60)]
    p = np.random.default_rng(0).random(len(y))
    assert scores.score_metric("roc_auc", y, p).status == status
    assert scores.score_metric("roc_auc", 1 - y, p).status == status


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_intervals_of_means_equal_those_of_scipy(confidence: float) -> None:
    y, p = sample(3)
    for metric, losses in (
        ("brier", (p - y) ** 2),
        ("log_loss", -np.log(np.where(y == 1, p, 1 - p))),
    ):
        expected = stats.ttest_1samp(losses, 0.0).confidence_interval(confidence)
        found = scores.score_metric(metric, y, p, confidence)
        assert (found.ci_low, found.ci_high) == pytest.approx((expected.low, expected.high))
    hits = int(((p >= 0.5) == y).sum())
    wilson = stats.binomtest(hits, len(y)).proportion_ci(confidence, method="wilson")
    found = scores.score_metric("accuracy", y, p, confidence)
    assert (found.ci_low, found.ci_high) == pytest.approx((wilson.low, wilson.high))


@pytest.mark.parametrize(("hits", "n"), [(0, 12), (12, 12), (1, 30), (7, 9)])
def test_wilson_interval_equals_that_of_scipy(hits: int, n: int) -> None:
    expected = stats.binomtest(hits, n).proportion_ci(0.95, method="wilson")
    assert scores.wilson_interval(hits / n, n) == pytest.approx(
        (expected.low, expected.high), abs=1e-12
    )


def test_interval_of_the_auc_is_that_of_delong_by_for_loops() -> None:
    y, p = sample(4, 90, decimals=1)
    ones, zeros = p[y == 1], p[y == 0]
    won = [[1.0 if a > b else 0.5 if a == b else 0.0 for b in zeros] for a in ones]
    wins = np.array(won)
    auc = wins.mean()
    variance = wins.mean(axis=1).var(ddof=1) / len(ones) + wins.mean(axis=0).var(ddof=1) / len(
        zeros
    )
    half = stats.norm.ppf(0.975) * np.sqrt(variance) / (auc * (1 - auc))
    found = scores.score_metric("roc_auc", y, p)
    assert found.ci_low == pytest.approx(special.expit(special.logit(auc) - half))
    assert found.ci_high == pytest.approx(special.expit(special.logit(auc) + half))


def test_perfect_ranking_still_has_an_interval() -> None:
    y = np.r_[np.ones(12), np.zeros(30)]
    bound = stats.binomtest(12, 12).proportion_ci(0.95, method="exact").low
    right, wrong = scores.score_metric("roc_auc", y, y), scores.score_metric("roc_auc", y, 1 - y)
    assert (right.value, right.ci_high) == (1.0, 1.0)
    assert right.ci_low == pytest.approx(bound)
    assert (wrong.value, wrong.ci_low) == (0.0, 0.0)
    assert wrong.ci_high == pytest.approx(1 - bound)


def test_single_rows_leave_everything_open() -> None:
    brier, loss = (scores.score_metric(metric, [1.0], [0.7]) for metric in ("brier", "log_loss"))
    assert (brier.ci_low, brier.ci_high) == (0.0, 1.0)
    assert (loss.ci_low, loss.ci_high) == (0.0, np.inf)
    lone = scores.score_metric("roc_auc", [1.0, 0.0, 0.0, 0.0], [0.5, 0.4, 0.6, 0.1])
    assert (lone.ci_low, lone.ci_high) == (0.0, 1.0)


def test_influence_is_the_effect_of_leaving_a_row_out() -> None:
    y, p = sample(5, 40, decimals=1)
    n = len(y)
    sizes = {1.0: int(y.sum()), 0.0: int((1 - y).sum())}
    for metric, oracle in ORACLES.items():
        found = scores.score_metric(metric, y, p)
        assert found.influence.mean() == pytest.approx(0.0, abs=1e-12)
        for i in range(n):
            fall = oracle(y, p) - oracle(np.delete(y, i), np.delete(p, i))
            own = sizes[y[i]] if metric == "roc_auc" else n
            assert found.influence[i] == pytest.approx(fall * (own - 1) * n / own, abs=1e-9)


def test_order_of_rows_changes_no_interval() -> None:
    y, p = sample(6)
    mixed = np.random.default_rng(0).permutation(len(y))
    first, second = scores.score_metrics(y, p), scores.score_metrics(y[mixed], p[mixed])
    numbers = ["value", "ci_low", "ci_high"]
    np.testing.assert_allclose(first[numbers], second[numbers], rtol=1e-12)


def test_bootstrap_equals_scikit_learn_on_the_same_draws() -> None:
    y, p = sample(7, 40, decimals=1)
    found = scores.summarise_metrics(y, p, confidence=0.9, replicates=60, seed=11).set_index(
        "metric"
    )
    order = np.argsort(p, kind="stable")
    y, p = y[order], p[order]
    counts = np.random.default_rng(11).multinomial(40, np.full(40, 1 / 40), 60)
    for metric, oracle in ORACLES.items():
        drawn = [oracle(y, p, sample_weight=weights) for weights in counts]
        expected = np.percentile(drawn, [5, 95])
        assert found.loc[metric, ["ci_low", "ci_high"]].tolist() == pytest.approx(expected)


def test_bootstrap_leaves_out_draws_of_one_class_and_repeats_by_seed() -> None:
    y, p = np.r_[1.0, np.zeros(9)], np.linspace(0.9, 0.1, 10)
    table = scores.summarise_metrics(y, p, replicates=400, seed=3)
    assert table.set_index("metric").loc["roc_auc"].tolist() == [1.0, 1.0, 1.0]
    assert table.equals(scores.summarise_metrics(y, p, replicates=400, seed=3))
    assert not table.equals(scores.summarise_metrics(y, p, replicates=400, seed=4))


def test_bootstrap_in_chunks_makes_every_replicate(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    inner = scores._replicates

    def counted(y: Floats, p: Floats, counts: np.ndarray) -> dict[str, Floats]:
        made.append(len(counts))
        return inner(y, p, counts)

    monkeypatch.setattr(scores, "_replicates", counted)
    scores.summarise_metrics(*sample(8, 30_000), replicates=150)
    assert made == [66, 66, 18]


def test_analytic_and_bootstrap_intervals_agree_on_many_rows() -> None:
    y, p = sample(9, 2000)
    analytic, drawn = scores.score_metrics(y, p), scores.summarise_metrics(y, p, replicates=600)
    for bound in ("ci_low", "ci_high"):
        width = analytic["ci_high"] - analytic["ci_low"]
        assert ((analytic[bound] - drawn[bound]).abs() < 0.12 * width).all()


@pytest.mark.parametrize("metric", scores.METRICS)
def test_intervals_cover_the_truth_as_often_as_they_say(metric: str) -> None:
    # Enough rows to stand for the population; its own error is a fiftieth of a sample's.
    truth = FUNCTIONS[metric](*sample(100, 400_000))
    found = [scores.score_metric(metric, *sample(200 + seed, 150)) for seed in range(600)]
    covered = np.mean([one.ci_low <= truth <= one.ci_high for one in found])
    assert 0.925 <= covered <= 0.975  # 0.95 plus or minus 2.8 standard errors of 600 trials
