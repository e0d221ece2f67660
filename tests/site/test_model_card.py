"""The model card is about the version, not about the settings of today."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from driftbook.data import synthetic
from driftbook.model import exploration
from driftbook.model.training import Model, train
from driftbook.settings import CardSettings, Settings
from driftbook.site import model_card, notebook_words
from driftbook.store.registry_models import describe_model


def _settings(refit: bool) -> Settings:
    return Settings.parse({"data": {"source": "synthetic:none"}, "model": {"refit": refit}})


@pytest.mark.parametrize(
    ("refit", "rows", "words"), [(True, 1000, "1,000 rows in all"), (False, 750, "")]
)
def test_the_rows_are_those_that_the_version_learnt_from(
    refit: bool, rows: int, words: str
) -> None:
    model = train(synthetic.make_scenario("none", rows=1000), _settings(refit))
    named = {"training": model.training_rows, "holdout": model.holdout}
    parts = exploration.describe_parts(named, model.target)
    leaks = exploration.find_leaks(model.training_rows, model.holdout, model.features, model.target)
    card = model_card.build_model_card(describe_model(model), parts, leaks, CardSettings())
    assert (card["refit"], card["rows_learnt"]) == (refit, rows)
    text = model_card.describe_model_card(card)
    assert words in text
    assert ("learnt from the evaluation data too" in text) is refit
    loaded = replace(model, graded=None)  # as the registry gives it back
    again = model_card.build_model_card(describe_model(loaded), parts, leaks, CardSettings())
    assert again["refit"] is refit


def _card(model: Model) -> dict[str, Any]:
    none = pd.DataFrame({"part": [], "feature": [], "suspicious": []})
    return model_card.build_model_card(describe_model(model), none, none, CardSettings())


def test_notebook_and_card_say_that_a_model_ranks_backwards() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=2000)})
    holds = np.arange(2000) < 1500
    frame["target"] = np.where(holds, frame["x"] > 0, frame["x"] < 0) * 1
    model, fine = train(frame, _settings(True)), train(frame[:1400], _settings(True))
    words = notebook_words.describe_ranking("binary", model.metrics, model.ranks_backwards)
    assert words.startswith("**Finding: this model ranks backwards.**")
    assert _card(model)["ranks_backwards"] is True
    assert "*below* those without it" in model_card.describe_model_card(_card(model))
    words = notebook_words.describe_ranking("binary", fine.metrics, fine.ranks_backwards)
    assert "puts the right rows first" in words
    assert _card(fine)["ranks_backwards"] is False
    assert "*below*" not in model_card.describe_model_card(_card(fine))


def test_the_card_says_in_plain_words_what_was_done_to_probabilities() -> None:
    model = train(synthetic.make_scenario("none", rows=1000), _settings(True))
    card = _card(model)
    own = model_card.describe_model_card(card | {"calibration": {"slope": 1.0, "intercept": 0.0}})
    assert "are the estimator's own" in own
    moved = {"slope": 0.5, "intercept": -1.25}
    text = model_card.describe_model_card(card | {"calibration": moved})
    assert "drawn together and lowered (log odds times 0.500, plus −1.25)" in text
