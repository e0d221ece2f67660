"""What pages say in each kind of outcome: hold, monitor, retrain, investigate, too few rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from driftbook import cells, chapters, frontpage, narrative, narrative_backtest, pages, run_page
from driftbook.backtest import replay
from driftbook.data import synthetic
from driftbook.decision import policy
from driftbook.model.training import Model, train
from driftbook.settings import Settings
from driftbook.store.evidence import PastRun, PublishedRun, find_headline, tabulate_past_runs

SETTINGS = Settings.parse({"data": {"source": "synthetic:none"}})


@pytest.fixture(scope="module")
def model() -> Model:
    return train(synthetic.make_scenario("none", rows=3000, seed=1), SETTINGS)


def assessed(model: Model, outcome: str) -> policy.Assessment:
    scenario = {"hold": "none", "monitor": "covariate", "retrain": "concept"}.get(outcome, "outage")
    frame = synthetic.make_scenario(scenario, rows=9000, seed=2).iloc[-1500:].reset_index(drop=True)
    if outcome == "few":
        frame = frame.iloc[:10]
    if outcome == "unlabelled":
        frame = synthetic.make_scenario("covariate", rows=9000, seed=2).iloc[-1500:]
        frame = frame.drop(columns="target").reset_index(drop=True)
    return policy.assess(model, frame, SETTINGS)


OUTCOMES = ("hold", "monitor", "retrain", "investigate", "few", "unlabelled")


@pytest.fixture(scope="module")
def evidences(model: Model) -> dict[str, PublishedRun]:
    return {outcome: evidence_of(assessed(model, outcome)) for outcome in OUTCOMES}


def evidence_of(found: policy.Assessment) -> PublishedRun:
    document: dict[str, Any] = found.to_dict() | {
        "run_id": "20260102T030405Z-ab12",
        "window": "rows-0007",
        "challenger_version": None,
    }
    manifest = {
        "run_id": document["run_id"],
        "model_version": found.model_version,
        "created_utc": "2026-01-02T03:04:05+00:00",
        "files": {},
        "settings": SETTINGS.model_dump(mode="json"),
    }
    return PublishedRun(
        artifacts=Path("nowhere"),
        manifest=manifest,
        recommendation=document,
        performance=found.performance,
        trend=pd.DataFrame(),
        drift=found.drift,
        quality=found.quality,
        metrics=pd.DataFrame(),
        checks={},
        history=(PastRun(document, "0" * 64),),
        ledger=[],
        champion=found.model_version,
    )


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_front_page_states_the_action_and_its_evidence(
    evidences: dict[str, PublishedRun], outcome: str
) -> None:
    evidence = evidences[outcome]
    text = frontpage.decision(evidence, frontpage.Command())
    action = evidence.recommendation["action"]
    assert f"db-banner-{action}" in text
    assert narrative.MEANINGS[action] in text
    assert "nan" not in text
    assert text.count('class="db-card ') == 4
    if outcome in narrative.MEANINGS:
        assert action == outcome


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_every_page_of_every_outcome_is_markdown_without_a_gap(
    evidences: dict[str, PublishedRun], outcome: str
) -> None:
    evidence = evidences[outcome]
    texts = [chapters.performance(evidence)[0], chapters.history(evidence)[0]]
    texts += [chapters.settings_in_force(evidence), run_page.text(evidence.history[0])]
    for text in texts:
        assert "None" not in text
        assert "nan" not in text
        html = pages.markdown_to_html(cells.front_matter(text)[1])
        assert "<table" in html or "|" not in html


def test_cards_say_good_and_bad(evidences: dict[str, PublishedRun]) -> None:
    calm = frontpage.decision(evidences["hold"], frontpage.Command())
    assert calm.count("db-card-good") == 3
    assert "db-card-bad" not in calm
    assert "✓ sound" in calm
    broken = frontpage.decision(evidences["investigate"], frontpage.Command())
    assert "✗" in broken
    assert "broken" in broken
    assert ".venv/bin/driftbook open 20260102T030405Z-ab12" in broken
    paying = frontpage.decision(evidences["retrain"], frontpage.Command())
    assert "✓ a retrain pays" in paying
    assert "make promote" in paying


def test_after_a_promotion_the_next_step_is_to_judge_the_new_champion(
    evidences: dict[str, PublishedRun],
) -> None:
    promoted = replace(evidences["retrain"], champion="m-new")
    text = frontpage.decision(promoted, frontpage.Command())
    assert "`m-new`, which is the champion since" in text
    assert "make run-drift" in text
    assert "make promote" not in text


def test_estimated_performance_says_that_it_is(evidences: dict[str, PublishedRun]) -> None:
    text = frontpage.decision(evidences["unlabelled"], frontpage.Command())
    assert "estimated" in text
    assert "realised" not in text


def test_too_few_rows_is_not_a_number(evidences: dict[str, PublishedRun]) -> None:
    text = frontpage.decision(evidences["few"], frontpage.Command())
    assert "insufficient_data" in text
    assert "not judged" in text
    assert (
        narrative.performance_table(evidences["few"].performance) == "Performance was not judged."
    )


def test_headline_prefers_labels_to_estimates() -> None:
    rows = {"metric": "brier", "basis": ["estimated", "realised"], "value": [0.1, 0.2]}
    chosen = find_headline(pd.DataFrame(rows))
    assert chosen is not None
    assert chosen["value"] == 0.2
    missing = find_headline(pd.DataFrame({**rows, "value": [0.1, np.nan]}))
    assert missing is not None
    assert missing["basis"] == "estimated"
    assert find_headline(pd.DataFrame()) is None


def test_over_windows_keeps_what_each_run_knew(evidences: dict[str, PublishedRun]) -> None:
    table = tabulate_past_runs(
        [evidences[name].history[0] for name in ("retrain", "unlabelled", "few")]
    )
    assert table["realised"].notna().tolist() == [True, False, False]
    assert table["estimated"].notna().tolist() == [True, True, False]
    assert table["action"].iloc[0] == "retrain"


@pytest.mark.parametrize("text", ["*bold*", "<b>", "a|b", "$x$", "`code`"])
def test_a_reason_is_shown_as_it_stands(evidences: dict[str, PublishedRun], text: str) -> None:
    document = evidences["hold"].recommendation | {"reason": text, "reverses": [text]}
    html = pages.markdown_to_html(narrative.decision_box(document))
    shown = html.split("Why:</strong>")[1].split("</p>")[0].strip()
    assert shown == text.replace("<", "&lt;").replace(">", "&gt;")


def test_backtest_in_words() -> None:
    policies = pd.DataFrame(
        {
            "policy": ["hindsight", "driftbook", "never"],
            "retrains": [1, 2, 0],
            "mean_loss": [0.2, 0.21, 0.25],
            "total_cost": [1.0, 1.05, 1.25],
            "excess": [0.0, 0.05, 0.25],
        }
    )
    text = narrative_backtest.policies_text(policies)
    assert "retrains 2 times" in text
    assert "**5.0% above hindsight**" in text
    assert "`never`, pays 25.0% above it" in text
    costs = policies.assign(retrain_cost=0.002, cheapest=policies["policy"] == "driftbook")
    assert "| driftbook " in narrative_backtest.cheapest_table(costs)


def test_a_policy_that_could_not_be_replayed_is_named() -> None:
    assert narrative_backtest.notes_text(()) == ""
    assert narrative_backtest.notes_text((replay.RIVER,)) == f"- {replay.RIVER}."


def _costs(ours: list[float]) -> pd.DataFrame:
    rows = []
    for price, excess in zip((0.001, 0.004, 0.016), ours, strict=True):
        paid = {"hindsight": 0.0, "driftbook": excess, "never": 0.10, "always": 5 * price}
        rows += [{"retrain_cost": price, "policy": p, "excess": e} for p, e in paid.items()]
    return pd.DataFrame(rows)


def test_the_verdict_is_for_the_price_in_the_settings_and_names_where_it_turns() -> None:
    yes = narrative_backtest.verdict_text(_costs([0.005, 0.01, 0.03]), 0.004)
    assert yes.startswith("**Yes.** At your price of 0.00400")
    assert "1.0% more than hindsight, never retraining 10.0% and always retraining 2.0%" in yes
    assert yes.endswith("The answer is the same at every price tried, from 0.00100 to 0.0160.")
    turned = narrative_backtest.verdict_text(_costs([0.02, 0.01, 0.2]), 0.004)
    assert "changes at 0.00100 (always retraining is cheaper), 0.0160 (always" in turned
    no = narrative_backtest.verdict_text(_costs([0.02, 0.01, 0.03]), 0.001)
    assert no.startswith("**No.**") and no.endswith("the answer changes at 0.00400, 0.0160.")
