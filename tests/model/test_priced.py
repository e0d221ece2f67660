"""A loss in money: what acting costs, by hand, and through every part that reads losses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from driftbook.data import synthetic
from driftbook.decision.policy import assess
from driftbook.errors import UsageError
from driftbook.model.priced import PricedTask, price_model
from driftbook.model.tasks import BINARY
from driftbook.model.training import train
from driftbook.performance.estimated import expect_metrics
from driftbook.settings import Settings
from driftbook.site.notebook_words import describe_economics

PRICES = {"currency": "EUR", "false_positive": 5.0, "false_negative": 20.0, "retrain_cost": 500.0}


def _settings(**policy: Any) -> Settings:
    return Settings.parse({"data": {"source": "synthetic:none"}, "policy": policy})


def test_acting_costs_what_its_mistakes_cost() -> None:
    task = PricedTask(5.0, 20.0)
    assert task.threshold == 0.2
    y, p = np.array([0.0, 0.0, 1.0, 1.0, np.nan]), np.array([0.1, 0.2, 0.19, 0.9, 0.5])
    np.testing.assert_array_equal(task.row_losses(y, p), [0.0, 5.0, 20.0, 0.0, np.nan])
    found = task.score_metric("cost", y, p)
    assert (found.value, found.n) == (6.25, 4)
    assert task.to_document() == BINARY.to_document()
    chances = np.array([0.1, 0.5, 0.3, 0.8, 0.0])
    expected = expect_metrics(p, chances, task)["cost"].value
    by_hand = [20 * 0.1, 5 * 0.5, 20 * 0.3, 5 * 0.2, 5 * 1.0]
    assert expected == pytest.approx(np.mean(by_hand))


def test_the_threshold_of_the_prices_is_the_cheapest() -> None:
    rng = np.random.default_rng(0)
    p = rng.random(200_000)
    y = (rng.random(len(p)) < p).astype(float)
    costs = {
        t: float((5.0 * ((p >= t) & (y == 0)) + 20.0 * ((p < t) & (y == 1))).mean())
        for t in np.linspace(0.05, 0.6, 12)
    }
    assert min(costs, key=costs.__getitem__) == pytest.approx(0.2)
    own = float(PricedTask(5.0, 20.0).row_losses(y, p).mean())
    assert own == pytest.approx(min(costs.values()), rel=1e-12)


def test_pages_and_reasons_speak_of_money_a_window() -> None:
    frame = synthetic.make_scenario("concept")
    settings = _settings(**PRICES)
    model = train(frame.iloc[:2400], settings)
    found = assess(model, frame.iloc[-1200:], settings, frame.iloc[2400:-1200])
    assert found.action == "retrain" and found.task.loss == "cost"
    challenger = found.challenger
    assert challenger is not None
    # A window pays for each of its rows.
    saved = challenger.gain * 1200
    assert f"saves about {saved:,.0f} EUR a window" in found.reason
    assert challenger.break_even < 500 / 1200
    words = describe_economics(found.to_dict())
    assert "Keeping the model costs about" in words and "A miss" not in words
    assert "A retrain costs 500 EUR" in words
    performance = found.performance.set_index(["metric", "basis"])
    y, p = frame["target"].to_numpy()[-1200:], model.predict(frame.iloc[-1200:])
    acted = np.where(p >= 0.2, 5.0 * (y == 0), 20.0 * (y == 1))
    assert performance.loc[("cost", "realised"), "value"] == pytest.approx(acted.mean())
    total = found.decomposition.set_index("part").loc["total"]
    assert total["change"] == performance.loc[("cost", "realised"), "change"]


def test_a_dear_retrain_waits_and_prices_make_no_new_version() -> None:
    frame = synthetic.make_scenario("prior")
    plain = train(frame.iloc[:2400], _settings())
    priced = train(frame.iloc[:2400], _settings(**PRICES))
    assert plain.version == priced.version
    dear = _settings(**PRICES | {"retrain_cost": 1e6})
    rows = frame.iloc[-1200:], frame.iloc[2400:-1200]
    assert assess(priced, rows[0], _settings(**PRICES), rows[1]).action == "retrain"
    assert assess(priced, rows[0], dear, rows[1]).action == "monitor"
    assert price_model(plain, dear.policy) is price_model(plain, dear.policy)
    assert price_model(plain, _settings().policy) is plain


def test_without_prices_the_page_says_how_many_rows_are_decided_otherwise() -> None:
    frame = synthetic.make_scenario("concept")
    model = train(frame.iloc[:2400], _settings())
    found = assess(model, frame.iloc[-1200:], _settings(), frame.iloc[2400:-1200])
    assert found.challenger is not None
    old, new = (m.predict(frame.iloc[-1200:]) >= 0.5 for m in (model, found.challenger.model))
    words = describe_economics(found.to_dict())
    assert f"decides {round(1000 * (old != new).mean())} rows in a thousand otherwise" in words


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ({"false_positive": 1.0}, "false_negative is not set"),
        ({"currency": "EUR"}, "false_positive and false_negative are not set"),
        ({"false_positive": 0.0, "false_negative": 1.0}, "greater than 0"),
    ],
)
def test_half_a_price_is_refused(policy: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        _settings(**policy)


def test_prices_of_two_mistakes_need_two_classes() -> None:
    frame = synthetic.make_scenario("none", rows=1500, task="regression")
    settings = _settings(**PRICES)
    model = train(frame.iloc[:1000], settings)
    with pytest.raises(UsageError, match="price the mistakes of two classes"):
        assess(model, frame.iloc[1000:], settings)
