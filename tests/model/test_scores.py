"""Scores of probabilities: scikit-learn, SciPy and for-loops as oracles, and coverage."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from scipy import special, stats
from sklearn import metrics as sk

from driftbook.data.arrays import Floats
from driftbook.model import scores
from driftbook.model.tasks import BINARY

ORACLES: dict[str, Callable[..., float]] = {
    "roc_auc": sk.roc_auc_score,
    "accuracy": lambda y, p, **rest: sk.accuracy_score(y, p >= 0.5, **rest),
    "log_loss": lambda y, p, **rest: sk.log_loss(y, p, labels=[0, 1], **rest),
    "brier": sk.brier_score_loss,
}


def value(metric: str, y: npt.ArrayLike, p: npt.ArrayLike) -> float:
    return scores.score_metric(metric, y, p).value


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
        assert scores.score_metric(metric, y, p).value == pytest.approx(expected, abs=1e-12)


def test_values_by_hand() -> None:
    y, p = [1, 0, 1, 0], [0.8, 0.5, 0.5, 0.1]
    assert value("brier", y, p) == pytest.approx((0.04 + 0.25 + 0.25 + 0.01) / 4)
    assert value("log_loss", y, p) == pytest.approx(-np.log(0.8 * 0.5 * 0.5 * 0.9) / 4)
    assert value("accuracy", y, p) == 0.75  # 0.5 counts as a one
    assert scores.roc_auc(y, p) == 0.875  # four pairs: won, won, won, tied


def test_certain_and_wrong_is_a_finite_loss() -> None:
    assert value("log_loss", [1.0, 0.0], [0.0, 1.0]) == pytest.approx(
        sk.log_loss([1, 0], np.array([0.0, 1.0]))
    )
    assert value("log_loss", [1.0, 0.0], [1.0, 0.0]) == pytest.approx(0.0, abs=1e-15)


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
    for metric in scores.METRICS:
        with pytest.raises(ValueError, match=word):
            scores.score_metric(metric, y, p)
    with pytest.raises(ValueError, match=word):
        scores.roc_auc(y, p)


@pytest.mark.parametrize("y", [[], [np.nan] * 4])
def test_without_rows_every_value_is_nan(y: list[float]) -> None:
    p = np.full(len(y), 0.5)
    for metric in scores.METRICS:
        found = scores.score_metric(metric, y, p)
        assert (found.status, found.n) == ("no_rows", 0)
    table = BINARY.summarise(y, p)
    assert table["metric"].tolist() == list(scores.METRICS)
    assert table[["value", "ci_low", "ci_high"]].isna().all(axis=None)


def test_one_class_has_no_auc_and_keeps_the_rest() -> None:
    y, p = np.ones(40), sample(2, 40)[1]
    assert np.isnan(scores.roc_auc(y, p))
    assert scores.score_metric("roc_auc", y, p).status == "one_class"
    table = BINARY.summarise(y, p).set_index("metric")
    assert table.loc["roc_auc"].isna().all()
    assert table.drop("roc_auc").notna().all(axis=None)
    for metric in ("accuracy", "log_loss", "brier"):
        assert scores.score_metric(metric, y, p).status == "ok"


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
    first, second = BINARY.summarise(y, p), BINARY.summarise(y[mixed], p[mixed])
    numbers = ["value", "ci_low", "ci_high"]
    np.testing.assert_allclose(first[numbers], second[numbers], rtol=1e-12)


def test_the_summary_is_that_of_each_score() -> None:
    y, p = sample(7)
    table = BINARY.summarise(y, p).set_index("metric")
    for metric in scores.METRICS:
        one = scores.score_metric(metric, y, p)
        assert table.loc[metric].tolist() == [one.value, one.ci_low, one.ci_high]


def test_analytic_intervals_are_those_of_a_bootstrap_on_many_rows() -> None:
    y, p = sample(9, 2000)
    for metric, oracle in ORACLES.items():
        drawn = stats.bootstrap(
            (y, p), oracle, paired=True, vectorized=False, n_resamples=400,
            method="percentile", rng=np.random.default_rng(3),
        ).confidence_interval  # fmt: skip
        found = scores.score_metric(metric, y, p)
        width = found.ci_high - found.ci_low
        assert abs(found.ci_low - drawn.low) < 0.15 * width
        assert abs(found.ci_high - drawn.high) < 0.15 * width


@pytest.mark.parametrize("metric", scores.METRICS)
def test_intervals_cover_the_truth_as_often_as_they_say(metric: str) -> None:
    # Enough rows to stand for the population; its own error is a fiftieth of a sample's.
    truth = value(metric, *sample(100, 400_000))
    found = [scores.score_metric(metric, *sample(200 + seed, 150)) for seed in range(600)]
    covered = np.mean([one.ci_low <= truth <= one.ci_high for one in found])
    assert 0.925 <= covered <= 0.975  # 0.95 plus or minus 2.8 standard errors of 600 trials
