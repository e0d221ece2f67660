"""What pages say in each kind of outcome: hold, monitor, retrain, investigate, too few rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from driftbook.data import synthetic
from driftbook.decision import policy
from driftbook.model.training import Model, train
from driftbook.settings import Settings
from driftbook.site import notebook_words, pages, table_words
from driftbook.site.cells import split_front_matter
from driftbook.site.decision_page import CommandLine, compose_decision_page
from driftbook.site.figures.decision import TREND
from driftbook.site.render_without_quarto import Page, convert_markdown
from driftbook.store.evidence import PastRun, PublishedRun, choose_headline, tabulate_past_runs
from driftbook.words import render_words

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


MEANINGS = {
    "hold": "Keep the model in use; nothing asks for action.",
    "monitor": "Keep the model in use, and look again after the next window.",
    "retrain": "Replace the model in use by the newer one that this run has trained.",
    "investigate": "Mend the data first; nothing can be judged or learnt while it is broken.",
}
OUTCOMES = ("hold", "monitor", "retrain", "investigate", "few", "unlabelled")


def compose_front(run: PublishedRun) -> str:
    """Return the front page's Markdown."""
    return compose_decision_page(run, CommandLine())[0]


@pytest.fixture(scope="module")
def published(model: Model) -> dict[str, PublishedRun]:
    return {outcome: published_run(assessed(model, outcome)) for outcome in OUTCOMES}


def published_run(found: policy.Assessment) -> PublishedRun:
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
    published: dict[str, PublishedRun], outcome: str
) -> None:
    evidence = published[outcome]
    text = compose_front(evidence)
    action = evidence.recommendation["action"]
    assert f"db-banner-{action}" in text
    few = "Keep the model in use and wait for more rows: there are too few to judge."
    assert (few if outcome == "few" else MEANINGS[action]) in text
    assert "nan" not in text
    assert text.count('class="db-card ') == 4
    if outcome in MEANINGS:
        assert action == outcome


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_every_page_of_every_outcome_is_markdown_without_a_gap(
    published: dict[str, PublishedRun], outcome: str
) -> None:
    evidence = published[outcome]
    texts = [pages.compose_performance_page(evidence)[0], pages.compose_history_page(evidence)[0]]
    texts += [pages.compose_settings(evidence), pages.compose_run_page(evidence.history[0])]
    for text in texts:
        assert "None" not in text
        assert "nan" not in text
        html = convert_markdown(split_front_matter(text)[1], Page("page", {}))
        assert "<table" in html or "|" not in html


def test_cards_say_good_and_bad(published: dict[str, PublishedRun]) -> None:
    calm = compose_front(published["hold"])
    assert calm.count("db-card-good") == 2  # quality and drift
    assert "db-card-bad" not in calm
    # The card says what the reason says.
    assert "whether performance is worse can't be told yet (measured" in calm.lower()
    assert "• can&#39;t tell yet" in calm
    assert "Luck could explain what is seen so far; measured on known outcomes." in calm
    assert "no worse" not in calm
    assert "✓ sound" in calm
    broken = compose_front(published["investigate"])
    assert "✗" in broken
    assert "broken" in broken
    # On the first page nothing is judged that the reason says cannot be.
    assert "No verdict counts until the data is mended." in broken and "✗ worse" not in broken
    assert "No model learns from broken data." in broken
    assert ".venv/bin/driftbook open 20260102T030405Z-ab12" in broken
    paying = compose_front(published["retrain"])
    assert "✓ a retrain pays" in paying
    assert "make promote" in paying


def test_after_a_promotion_the_next_step_is_to_judge_the_new_champion(
    published: dict[str, PublishedRun],
) -> None:
    promoted = replace(published["retrain"], champion="m-new")
    text = compose_front(promoted)
    assert "another model has taken over since; judge it on the next window" in text
    assert "make run-drift" in text
    assert "make promote" not in text


def test_estimated_performance_says_that_it_is(published: dict[str, PublishedRun]) -> None:
    text = compose_front(published["unlabelled"])
    assert "estimated, because outcomes are not known yet" in text
    assert "As far as can be told before outcomes are known, " in text
    assert "realised" not in text


def test_too_few_rows_is_not_a_number(published: dict[str, PublishedRun]) -> None:
    text = compose_front(published["few"])
    assert "insufficient_data" in text
    assert "not judged" in text
    assert (
        table_words.describe_performance(published["few"].performance)
        == "Performance was not judged."
    )


def test_headline_prefers_labels_to_estimates() -> None:
    rows = {"metric": "brier", "basis": ["estimated", "realised"], "value": [0.1, 0.2]}
    chosen = choose_headline(pd.DataFrame(rows), "brier")
    assert chosen is not None
    assert chosen["value"] == 0.2
    missing = choose_headline(pd.DataFrame({**rows, "value": [0.1, np.nan]}), "brier")
    assert missing is not None
    assert missing["basis"] == "estimated"
    assert choose_headline(pd.DataFrame(), "brier") is None


TASKS = {"regression": "squared error", "multiclass": "Brier loss"}


@pytest.fixture(scope="module", params=TASKS)
def of_task(request: pytest.FixtureRequest) -> PublishedRun:
    """A run of another task whose rule has changed."""
    source = {"data": {"source": f"synthetic:concept?task={request.param}"}}
    frame = synthetic.make_scenario("concept", rows=6000, seed=2, task=request.param)
    own = train(frame.iloc[:2000], Settings.parse(source))
    return published_run(policy.assess(own, frame.iloc[-1000:], Settings.parse(source)))


def test_pages_of_every_task_name_its_loss_and_no_other(of_task: PublishedRun) -> None:
    wanted = TASKS[of_task.task]
    front = compose_front(of_task)
    texts = [front, pages.compose_performance_page(of_task)[0]]
    twice = replace(of_task, history=of_task.history * 2)
    texts += [pages.compose_history_page(twice)[0], pages.compose_run_page(of_task.history[0])]
    for text in texts:
        assert wanted in text or wanted.capitalize() in text
        assert all(name not in text for name in {"Brier loss", "squared error"} - {wanted})
        assert "nan" not in text and "None" not in text.replace("None of", "")
    small = "<small>found from the target; set model.task to change it</small>"
    assert f"<dd>{of_task.task}<br>{small}" in front
    said = replace(of_task, manifest={**of_task.manifest, "settings": {"model": {"task": "x"}}})
    assert small not in compose_front(said)


def test_values_show_their_own_units_and_say_once_what_the_loss_is_in(
    of_task: PublishedRun,
) -> None:
    values = of_task.task == "regression"
    front = compose_front(of_task)
    body = pages.compose_performance_page(of_task)[0]
    assert ("RMSE now, in the target's units" in front) is values
    assert body.count("shares of the target's variance in the reference") == int(values)
    assert ("*Calibration* is shown for the class that moved most" in body) is not values


def test_runs_of_another_loss_leave_no_number_in_the_history(
    of_task: PublishedRun, published: dict[str, PublishedRun]
) -> None:
    both = [published["retrain"].history[0], of_task.history[0]]
    mixed = replace(of_task, history=tuple(both))
    table = tabulate_past_runs(both, "squared_error")
    assert table["realised"].notna().tolist() == [False, of_task.task == "regression"]
    assert pages.compose_history_page(mixed)[1]["history.png"].png


def test_what_is_accepted_is_no_broken_column_on_any_page(
    published: dict[str, PublishedRun],
) -> None:
    run = published["investigate"]
    faults = run.quality.assign(severity="accepted")
    keys = {"who": "ann", "when": "2026-01-02T03:04:05+00:00", "window": "rows-0007"}
    signed = [{"column": "f0", "why": "a <new> sensor", **keys}]
    drift = run.drift.assign(accepted=True, matters=False, alarm=False)
    text, _ = compose_decision_page(replace(run, quality=faults, drift=drift), CommandLine())
    assert "• 3 accepted" in text and "Accepted as changed for good: f0, f1, f2." in text
    assert "Nothing is broken." in text and "✗ 3 broken" not in text
    assert "Only what is accepted has changed." in text
    html = convert_markdown(
        render_words("quality.md.j2", faults=faults, acknowledged=signed), Page("page", {})
    )
    assert "<code>f0</code> is accepted as changed for good</strong> by ann, on 2026-01-02" in html
    assert "a &lt;new&gt; sensor" in html and "is accepted" not in render_words(
        "quality.md.j2", faults=faults
    )
    assert "raises no alarm" in notebook_words.describe_drift(drift)
    past = PastRun({**run.recommendation, "acknowledged": signed}, "0" * 64)
    assert "is accepted as changed for good" in pages.compose_run_page(past)


def test_the_ledger_on_the_history_page_names_the_column(
    published: dict[str, PublishedRun],
) -> None:
    line = {"when": "2026-01-02T03:04:05+00:00", "from": "m1", "to": "m1", "who": "ann"}
    ledger = [
        {**line, "event": "acknowledge", "column": "f0", "why": "new | sensor"},
        {**line, "event": "withdraw", "column": "f0", "why": "mended"},
    ]
    body, _ = pages.compose_history_page(replace(published["hold"], ledger=ledger))
    told = [one for one in body.splitlines() if " f0 " in one]
    assert ["withdraw f0" in told[0], "acknowledge f0" in told[1]] == [True, True]
    assert "new \\| sensor" in told[1]


def test_one_run_shows_what_the_data_tell_of_windows_before_it(
    published: dict[str, PublishedRun],
) -> None:
    one = published["monitor"]
    body, pictures = pages.compose_history_page(one)
    assert "it judged window `rows-0007`, and its answer is monitor" in body
    assert not pictures and "fig-" not in body and "1 finished run." in body
    names = [name for columns in TREND.values() for name in columns if name]
    rows = [{"window": f"rows-{n}", **dict.fromkeys(names, 0.2)} for n in range(4)]
    shown, drawn = pages.compose_history_page(replace(one, trend=pd.DataFrame(rows)))
    assert "in each of the 4 windows since its reference" in shown and drawn["history.png"].png
    again = replace(one, history=(*one.history, *one.history))
    later, marks = pages.compose_history_page(again)
    assert "Every decision by window" in later and "is no history" not in later and marks


def test_drift_of_no_single_feature_is_not_called_calm(published: dict[str, PublishedRun]) -> None:
    calm = published["hold"]
    joint = calm.drift.assign(drift_flag=False, matters=calm.drift["feature"] == "(joint)")
    text = compose_front(replace(calm, drift=joint))
    assert "✓ none" not in text
    words = "This window shows it in the way columns go together; one window is no proof. No alarm."
    assert words in text
    proven = calm.drift.assign(drift_flag=False, alarm=calm.drift["feature"] == "(joint)")
    text = compose_front(replace(calm, drift=proven))
    words = "Changed for sure, and it matters to the model: the way columns go together."
    assert words in text
    assert "Drift that matters: the way columns go together" in notebook_words.describe_drift(joint)


def test_over_windows_keeps_what_each_run_knew(published: dict[str, PublishedRun]) -> None:
    table = tabulate_past_runs(
        [published[name].history[0] for name in ("retrain", "unlabelled", "few")], "brier"
    )
    assert table["realised"].notna().tolist() == [True, False, False]
    assert table["estimated"].notna().tolist() == [True, True, False]
    assert table["action"].iloc[0] == "retrain"


@pytest.fixture
def unsure(published: dict[str, PublishedRun]) -> PublishedRun:
    """A retrain because newer fits do better, with a loss 27% above the baseline's."""
    run = published["retrain"]
    table = run.performance.assign(worse=False, baseline=0.2)
    brier = (table["metric"] == "brier") & (table["basis"] == "realised")
    table.loc[brier, ["value", "change", "change_low", "change_high"]] = [0.254, 0.054, -0.02, 0.13]
    table.loc[brier, "verdict"] = "can't tell yet"
    assert brier.sum() == 1 and run.recommendation["action"] == "retrain"
    return replace(run, performance=table)


def test_a_loss_that_may_be_worse_is_not_called_no_worse(unsure: PublishedRun) -> None:
    text = compose_front(unsure)
    card = text.split('href="performance.html"')[1].split("</a>")[0]
    assert "• can&#39;t tell yet" in card
    assert "Luck could explain what is seen so far; measured on known outcomes." in card
    assert "no worse" not in card
    row = next(
        line
        for line in table_words.describe_performance(unsure.performance).splitlines()
        if line.startswith("| Brier loss ")
    )
    assert row.split("|")[2].strip() == "can't tell yet"


def test_a_loss_below_the_baseline_is_no_worse(unsure: PublishedRun) -> None:
    table = unsure.performance.assign(baseline=0.3, verdict="no worse")
    text = compose_front(replace(unsure, performance=table))
    assert "✓ no worse" in text
    assert "As good as when it was made; measured on known outcomes." in text


@pytest.mark.parametrize("text", ["*bold*", "<b>", "a|b", "$x$", "`code`"])
def test_a_reason_is_shown_as_it_stands(published: dict[str, PublishedRun], text: str) -> None:
    document = published["hold"].recommendation | {"reason": text, "reverses": [text]}
    document["plain"] = None
    html = convert_markdown(render_words("decision_box.md.j2", decision=document), Page("page", {}))
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
    text = notebook_words.describe_policies(policies, "brier")
    assert "retrains 2 times" in text
    assert "**5.0% above hindsight**" in text
    assert "`never`, pays 25.0% above it" in text
    costs = policies.assign(retrain_cost=0.002, cheapest=policies["policy"] == "driftbook")
    assert "| driftbook " in notebook_words.describe_prices(costs)


def _costs(ours: list[float]) -> pd.DataFrame:
    rows = []
    for price, excess in zip((0.001, 0.004, 0.016), ours, strict=True):
        paid = {"hindsight": 0.0, "driftbook": excess, "never": 0.10, "always": 5 * price}
        rows += [{"retrain_cost": price, "policy": p, "excess": e} for p, e in paid.items()]
    return pd.DataFrame(rows)


def test_the_verdict_is_for_the_price_in_the_settings_and_names_where_it_turns() -> None:
    yes = notebook_words.describe_verdict(_costs([0.005, 0.01, 0.03]), 0.004)
    assert yes.startswith("**Yes.** At your price of 0.00400")
    assert "1.0% more than hindsight, never retraining 10.0% and always retraining 2.0%" in yes
    assert yes.endswith("The answer is the same at every price tried, from 0.00100 to 0.0160.")
    turned = notebook_words.describe_verdict(_costs([0.02, 0.01, 0.2]), 0.004)
    assert "changes at 0.00100 (always retraining is cheaper), 0.0160 (always" in turned
    assert "No other policy did as well." in yes
    rivals = pd.DataFrame(
        [{"retrain_cost": 0.004, "policy": p, "excess": e}
         for p, e in {"CARA-style": 0.005, "every 2": 0.01, "every 3": 0.02, "best period": 0.0,
                      "hindsight, any recipe": -0.1}.items()]
    )  # fmt: skip
    both = pd.concat([_costs([0.005, 0.01, 0.03]), rivals], ignore_index=True)
    named = notebook_words.describe_verdict(both, 0.004)
    assert "As well or better did `CARA-style` (0.5%) and `every 2` (1.0%)." in named
    assert "every 3" not in named and "best period" not in named
    no = notebook_words.describe_verdict(_costs([0.02, 0.01, 0.03]), 0.001)
    assert no.startswith("**No.**") and no.endswith("the answer changes at 0.00400, 0.0160.")


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("CBPE", ("say no more", "count alike")),
        ("CBPE + columns", ("say more", "no classifier surely tells", "count alike")),
        (
            "PAPE + columns, recent labels",
            ("say more", "resemble the window count more"),
        ),
    ],
)
def test_performance_says_which_method_estimates_and_why(
    published: dict[str, PublishedRun], method: str, words: tuple[str, ...]
) -> None:
    table = published["unlabelled"].performance
    chosen = table["basis"] == "estimated"
    table = table.assign(method=table["method"].where(~chosen, method))
    text = table_words.describe_performance(table)
    assert f"The estimate that counts is **{method}**: the columns say" in text
    assert all(part in text for part in words)
    assert ("newer than the reference" in text) == ("recent" in method)
    assert "No estimate without labels can see a changed rule" in text
    assert f"| {method} (chosen) " in text


def test_words_of_the_data_are_never_markup(published: dict[str, PublishedRun]) -> None:
    row = {"feature": "<i>&a|b", "fault": "gone", "severity": "broken", "detail": "is <b>gone</b>"}
    faults = pd.DataFrame([row])
    text = compose_front(replace(published["hold"], quality=faults))
    assert "&lt;i&gt;&amp;a|b: see what is wrong with it." in text
    assert "<b>gone" not in text
    html = convert_markdown(render_words("quality.md.j2", faults=faults), Page("page", {}))
    assert "&lt;i&gt;&amp;a|b" in html and "<b>" not in html


def test_what_the_season_explains_is_told_as_the_seasons(
    published: dict[str, PublishedRun],
) -> None:
    run = published["monitor"]
    drift = run.drift.assign(alarm=False, season_effect=0.1, seasonal=run.drift["matters"])
    front = compose_front(replace(run, drift=drift))
    assert "• the season&#39;s" in front and "changed as in earlier years at this time" in front
    assert "one window is no proof" not in front
    names = drift.loc[drift["matters"].astype(bool), "feature"].tolist()
    some = drift.assign(seasonal=drift["feature"] == names[0])
    front = compose_front(replace(run, drift=some))
    assert f"shows it in {names[1]}" in front and "Others changed as in earlier years" in front
    words = notebook_words.describe_drift(some)
    assert f"Mostly the season's: `{names[0]}` moved in earlier years" in words
    bare = notebook_words.describe_drift(run.drift.drop(columns=["season_effect", "seasonal"]))
    assert "The data hold no earlier year at this time" in bare


@pytest.mark.parametrize(("count", "shown"), [(1, 1), (40, 40), (41, 24), (366, 24)])
def test_windows_are_listed_and_of_many_the_first_and_the_last(count: int, shown: int) -> None:
    names = [f"rows-{number:04d}" for number in range(count)]
    text = notebook_words.list_windows(names, names[-1])
    assert text.startswith(f"{count} windows exist: `rows-0000`")
    assert text.endswith(f"This notebook looks at `{names[-1]}`.")
    listed = text.partition("This notebook")[0]
    assert listed.count("`rows-") == shown and ("…" in listed) == (count > 40)
    assert f"`{names[-1]}`." in listed
