"""The first page: said aloud outside its folds, one chart, a block to sign, and what to do next."""

from __future__ import annotations

import copy
import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from bs4 import BeautifulSoup

from driftbook import paths
from driftbook.site import render
from driftbook.site.decision_page import CommandLine, compose_decision_page, compose_sign_off
from driftbook.site.figures.decision import draw_story
from driftbook.site.procedures import compose_procedures
from driftbook.site.render_without_quarto import Page, convert_markdown
from driftbook.site.story import STORY_COLUMNS, tabulate_story
from driftbook.store.evidence import PublishedRun, load_published_run


@pytest.fixture(scope="module")
def run(finished_run: Path) -> PublishedRun:
    return load_published_run(finished_run)


@pytest.fixture(scope="module")
def main(finished_run: Path) -> BeautifulSoup:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(render, "find_quarto", lambda: None)
        text = render.render_site(finished_run).read_text(encoding="utf-8")
    return BeautifulSoup(text, "html.parser")


def _open_text(page: BeautifulSoup) -> str:
    """Return the words of a page outside of folds and commands."""
    found = copy.copy(page.find("main"))
    assert found is not None
    for hidden in found.select("details, pre, .highlight"):
        hidden.decompose()
    return str(found.get_text(" ", strip=True))


def test_nothing_outside_the_folds_needs_a_statistician(
    main: BeautifulSoup, not_aloud: re.Pattern[str], run: PublishedRun
) -> None:
    words = _open_text(main)
    assert not_aloud.search(words) is None, not_aloud.search(words)
    order = [run.recommendation["action"].capitalize(), *run.recommendation["plain"]["why"]]
    order += ["How sure?", "What would change the answer?", "Next step:", "What this rests on"]
    places = [words.find(one) for one in order]
    assert places == sorted(places) and min(places) >= 0, places


def test_the_numbers_are_in_the_fold_and_only_there(main: BeautifulSoup, run: PublishedRun) -> None:
    folds = " ".join(fold.get_text(" ", strip=True) for fold in main.select("main details"))
    for told in (run.recommendation["model_version"], run.run_id, "pays above"):
        assert told in folds and told not in _open_text(main)


def test_the_chart_is_the_pages_width_and_its_file_is_there(
    main: BeautifulSoup, finished_run: Path
) -> None:
    pictures = main.select("main figure img")
    assert [str(one["src"]) for one in pictures] == ["figures/story.png"]
    assert (finished_run / "reports" / "html" / "figures" / "story.png").is_file() or (
        finished_run.parent / "reports" / "html" / "figures" / "story.png"
    ).is_file()


def test_the_story_has_every_window_once_and_what_each_run_said(run: PublishedRun) -> None:
    story = tabulate_story(run)
    assert list(story.columns) == STORY_COLUMNS
    assert story["window"].is_unique and story["window"].is_monotonic_increasing
    judged = story.dropna(subset=["action"])
    assert set(judged["window"]) == {"rows-0004", "rows-0008"}
    newest = story.iloc[-1]
    row = run.performance.set_index(["metric", "basis"]).loc[("brier", "realised")]
    assert newest["loss"] == pytest.approx(row["value"])
    assert newest["baseline"] == pytest.approx(row["baseline"])
    assert not story["promoted"].any() and not story["acknowledged"].any()


def test_promotions_and_acknowledgements_stand_at_the_window_they_rest_on(
    run: PublishedRun,
) -> None:
    newest = run.history[-1]
    lines = [
        {"event": "promotion", "evidence_sha256": newest.sha256, "to": "m", "from": "n"},
        {"event": "acknowledge", "run_id": run.history[0].run_id, "column": "x"},
        {"event": "rollback", "evidence_sha256": newest.sha256, "to": "n", "from": "m"},
    ]
    story = tabulate_story(replace(run, ledger=lines)).set_index("window")
    assert story.index[story["promoted"]].tolist() == ["rows-0008"]
    assert story.index[story["acknowledged"]].tolist() == ["rows-0004"]
    plain = draw_story(tabulate_story(run)).png
    assert draw_story(story.reset_index()).png != plain
    assert draw_story(pd.DataFrame(columns=STORY_COLUMNS)).height < 120


def test_the_newest_windows_are_told_in_the_order_of_time(run: PublishedRun) -> None:
    row = run.trend.iloc[-1].to_dict()
    names = [f"rows-{number:04d}" for number in range(9_970, 10_030)]
    trend = pd.DataFrame([{**row, "window": name} for name in names])
    newest = replace(run, trend=trend, recommendation={**run.recommendation, "window": names[-1]})
    assert tabulate_story(newest)["window"].tolist() == names[-52:]
    back = replace(newest, recommendation={**run.recommendation, "window": names[3]})
    assert tabulate_story(back)["window"].tolist()[-4:] == names[:4]


def test_older_windows_come_from_the_run_that_judged_them(run: PublishedRun) -> None:
    """After a promotion the record of the new champion starts later; the line does not."""
    trend = run.trend.iloc[-1:]
    story = tabulate_story(replace(run, trend=trend)).set_index("window")
    assert "rows-0004" in story.index and "rows-0008" in story.index
    past = run.history[0].document["evidence"]["performance"]
    realised = next(r for r in past if r["metric"] == "brier" and r["basis"] == "realised")
    assert story.loc["rows-0004", "loss"] == pytest.approx(realised["value"])


def _offer_challenger(run: PublishedRun) -> PublishedRun:
    """Return the run as one that offers a challenger; its card is the champion's own."""
    version = run.recommendation["model_version"]
    best = {"n_gate": 1234, "champion_loss": 0.3, "challenger_loss": 0.2}
    evidence = run.recommendation["evidence"] | {"challenger": best}
    offered = {"action": "retrain", "challenger_version": version, "evidence": evidence}
    return replace(run, recommendation=run.recommendation | offered)


def test_who_signs_sees_both_versions_on_the_same_rows(run: PublishedRun) -> None:
    run = _offer_challenger(run)
    text = compose_sign_off(run, CommandLine())
    assert text is not None
    best = run.recommendation["evidence"]["challenger"]
    assert "| 0.300 | 0.200 |" in text
    for version in (run.recommendation["model_version"], run.recommendation["challenger_version"]):
        assert f"`{version}`" in text
        assert f"{run.read_card(version)['n_reference']:,}" in text
    assert f"on the same {best['n_gate']:,} rows" in text
    assert run.history[-1].sha256[:16] in text
    assert run.manifest["data"]["sha256"][:16] in text
    assert run.history[0].run_id in text and "on window rows-0004" in text
    assert "promote --why" in text
    assert "as the first one" in text
    assert "<table" in convert_markdown(text, Page("page", {}))
    assert compose_sign_off(replace(run, champion="m-new"), CommandLine()) is None
    held = run.recommendation | {"challenger_version": None}
    assert compose_sign_off(replace(run, recommendation=held), CommandLine()) is None


@pytest.mark.parametrize("action", paths.ACTIONS)
def test_each_decision_has_its_procedure(run: PublishedRun, action: str) -> None:
    texts = compose_procedures(run, CommandLine(" --artifacts here"))
    text = texts[action]
    for part in ("What happened", "Check", "Do", "Tell", "Undo", "Look again"):
        assert f"## {part}\n" in text
    assert text.count('<input type="checkbox">') >= 3
    ours = action == run.recommendation["action"]
    assert ("This is what the run on window rows-0008 says." in text) is ours
    assert (f"[{run.recommendation['action']}](when-" in text) is not ours
    commands = [line for line in text.splitlines() if line.startswith(".venv/bin/driftbook ")]
    assert commands and all(line.endswith(" --artifacts here") for line in commands)
    assert "None" not in text and "nan" not in text
    assert f"when-{action}.qmd" in (compose_decision_page(run, CommandLine())[0]) or not ours


def test_the_procedure_for_broken_data_names_the_columns(run: PublishedRun) -> None:
    faults = pd.DataFrame([{"feature": "x1", "severity": "broken", "fault": "constant"}])
    broken = run.recommendation | {"action": "investigate"}
    text = compose_procedures(
        replace(run, quality=faults, recommendation=broken), CommandLine(" --artifacts here")
    )["investigate"]
    assert "`x1` is broken." in text
    assert 'acknowledge x1 --why "…" --artifacts here' in text


def test_commands_of_the_procedures_are_commands_of_this_program(run: PublishedRun) -> None:
    from click.testing import CliRunner

    from driftbook.runbook.cli import main as program

    texts = compose_procedures(run, CommandLine(" --artifacts here"))
    lines = {line for text in texts.values() for line in text.splitlines()}
    words = {line.split()[1] for line in lines if line.startswith(".venv/bin/driftbook ")}
    assert {"promote", "rollback", "verify", "run", "open", "acknowledge"} <= words
    for word in words:
        assert CliRunner().invoke(program, [word, "--help"]).exit_code == 0, word
