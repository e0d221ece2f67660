"""The model card is about the version, not about the settings of today."""

from __future__ import annotations

from dataclasses import replace

import pytest

from driftbook import model_card
from driftbook.data import synthetic
from driftbook.model import exploration
from driftbook.model.training import train
from driftbook.settings import Settings


def _settings(refit: bool) -> Settings:
    return Settings.parse({"data": {"source": "synthetic:none"}, "model": {"refit": refit}})


@pytest.mark.parametrize(
    ("refit", "rows", "words"), [(True, 1000, "1,000 rows in all"), (False, 750, "")]
)
def test_the_rows_are_those_that_the_version_learnt_from(
    refit: bool, rows: int, words: str
) -> None:
    model = train(synthetic.make_scenario("none", rows=1000), _settings(refit))
    today = _settings(not refit)
    named = {"training": model.training_rows, "holdout": model.holdout}
    parts = exploration.describe_parts(named, model.target)
    leaks = exploration.find_leaks(model.training_rows, model.holdout, model.features, model.target)
    card = model_card.model_card(model, parts, leaks, today)
    assert (card["refit"], card["rows_learnt"]) == (refit, rows)
    text = model_card.card_text(card)
    assert words in text
    assert ("learnt from the evaluation data too" in text) is refit
    loaded = replace(model, graded=None)  # as the registry gives it back
    assert model_card.model_card(loaded, parts, leaks, today)["refit"] is refit
