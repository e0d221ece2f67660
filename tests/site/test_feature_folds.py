"""Folds of features: numbers counted by hand, and nothing heavy on the page."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from driftbook.drift.feature_detail import OTHER, detail_features
from driftbook.model.training import Model
from driftbook.runbook.run import open_run
from driftbook.site.feature_folds import describe_features
from driftbook.site.figures import small
from driftbook.site.search_index import list_sections, write_script
from driftbook.site.table_words import describe_changes, name_fold


@pytest.fixture(scope="module")
def run(finished_run: Path) -> Any:
    return open_run(finished_run.parent / "runbook.yaml", finished_run, "rows-0008", None)


@pytest.fixture(scope="module")
def model(run: Any) -> Model:
    found: Model = run.champion
    return found


def test_shares_are_those_counted_by_hand(run: Any, model: Model) -> None:
    current = run.split.current
    table = detail_features(model, current)
    assert list(table["feature"].unique()) == model.feature_names
    for name, rows in table.groupby("feature", sort=False):
        assert rows["reference_share"].sum() == pytest.approx(1.0), name
        assert rows["current_share"].sum() == pytest.approx(1.0), name
    route = table[table["feature"] == "route"].set_index("bin")
    counted = current["route"].dropna().value_counts(normalize=True)
    assert route["current_share"].to_dict() == pytest.approx(counted.to_dict())
    rows = table[table["feature"] == "f0"]
    inside = (current["f0"] >= rows["low"].iloc[3]) & (current["f0"] < rows["high"].iloc[3])
    assert rows["current_share"].iloc[3] == pytest.approx(inside.mean())
    held = model.holdout["f0"].between(rows["low"].iloc[9], rows["high"].iloc[9], inclusive="left")
    known = model.holdout_scores[held.to_numpy()].mean()
    assert rows["predicted"].iloc[9] == pytest.approx(known)
    assert rows["holdout_rows"].iloc[9] == held.sum()


def test_odd_windows_are_shown_too(run: Any, model: Model) -> None:
    current = run.split.current
    odd = current.drop(columns=["f0"]).assign(
        f1=np.nan, f2="text", route=[f"r{k}" for k in range(len(current))]
    )
    table = detail_features(model, odd)
    assert table[table["feature"] == "f0"]["current_share"].isna().all()
    assert (table[table["feature"] == "f1"]["current_share"] == 0).all()
    assert (table[table["feature"] == "f2"]["current_share"] == 0).all()
    route = table[table["feature"] == "route"]
    assert route["bin"].iloc[-1] == OTHER and len(route) == 11
    assert route["current_share"].sum() == pytest.approx(1.0)
    report = run.assessment.drift
    assert describe_features(report, table, pd.DataFrame(columns=["feature", "aspect", "window"]))


def test_of_several_classes_the_one_that_moves_most_is_shown(run: Any, model: Model) -> None:
    class Task:
        classes = ("a", "b")

    slope = np.linspace(0.0, 0.2, len(model.holdout))
    f0 = model.holdout["f0"].rank(pct=True).to_numpy()
    scores = np.column_stack([slope * 0, f0])
    faked: Any = replace(model, held_out=scores)
    faked.__dict__["holdout_scores"] = scores
    object.__setattr__(faked, "task", Task())
    table = detail_features(faked, run.split.current)
    rows = table[table["feature"] == "f0"].dropna(subset=["predicted"])
    assert set(rows["predicted_class"]) == {"b"}
    assert rows["predicted"].is_monotonic_increasing


def test_every_window_since_the_reference_is_in_the_readings(finished_run: Path) -> None:
    readings = pd.read_csv(finished_run / "drift" / "effects_by_window.csv")
    assert list(readings["window"].unique()) == [f"rows-{k:04d}" for k in range(4, 9)]
    kept = readings[(readings["feature"] == "f3") & (readings["aspect"] == "location")]
    assert len(kept) == 5
    assert (kept["ci_low"] < kept["value"]).all() and (kept["value"] < kept["ci_high"]).all()


def test_the_fold_says_what_the_report_says(finished_run: Path) -> None:
    drift = finished_run / "drift"
    tables = [
        pd.read_csv(drift / f"{n}.csv")
        for n in ("drift_report", "distributions", "effects_by_window")
    ]
    html = describe_features(*tables)
    own = tables[0][~tables[0]["kind"].isin(["prediction", "joint"])]
    assert re.findall(r'<details class="db-fold" id="([^"]+)"', html) == [
        name_fold(name) for name in own.sort_values("effect", key=abs, ascending=False)["feature"]
    ]
    assert html.count("<details") == html.count("</details>") == len(own)
    assert html.count(" open>") == 1
    for svg in re.findall(r"<svg.*?</svg>", html, re.DOTALL):
        ET.fromstring(svg)
        assert "nan" not in svg.lower()
    # Forty features stay below what one picture weighs.
    assert len(html) / len(own) < 5000


def test_words_of_the_data_are_no_markup_in_a_fold(finished_run: Path) -> None:
    drift = finished_run / "drift"
    report, details, readings = (
        pd.read_csv(drift / f"{n}.csv").replace({"feature": {"f3": "<b>&x"}})
        for n in ("drift_report", "distributions", "effects_by_window")
    )
    html = describe_features(report, details.replace({"bin": {"north": "<i>"}}), readings)
    assert "<b>&x" not in html and "&lt;b&gt;&amp;x" in html
    assert "<i>" not in html and "&lt;i&gt;" in html


def test_a_single_window_has_no_line() -> None:
    rows = pd.DataFrame(
        {"feature": "f", "window": ["a"], "value": [0.1], "ci_low": [0.0], "ci_high": [0.2]}
    )
    assert small.draw_small_trend(rows) is None
    two = pd.concat([rows, rows.assign(window="b")])
    drawn = small.draw_small_trend(two)
    assert drawn is not None and drawn.ends == ("a", "b")


def test_one_verdict_a_column_the_strongest_first() -> None:
    flags = {"drift_flag": [1, 1, 1, 1, 0], "matters": [1, 1, 1, 0, 0]}
    flags |= {"seasonal": [1, 1, 0, 0, 0], "alarm": [1, 0, 0, 0, 0]}
    report = pd.DataFrame(flags).astype(bool).assign(
        feature=list("abcde"), status="ok", effect=[0.5, 0.4, 0.3, 0.2, 0.1], effect_low=0.0,
        effect_high=1.0, importance=0.1, impact=0.1, psi=0.1, ks_stat=0.1, pvalue_adjusted=0.1,
    )  # fmt: skip
    text = describe_changes(report, opens=["a"])
    verdicts = [line.split("|")[2].strip() for line in text.splitlines()[2:7]]
    assert verdicts == [
        "**proven**", "the season's", "**seen, matters**", "moved, hardly matters",
        "no change that counts",
    ]  # fmt: skip
    assert "| [a](#feature-a) " in text and "| `b` " in text


def test_the_index_finds_sections_and_leaves_markup_out() -> None:
    html = (
        '<p>a <b>b</b></p><h2 id="two">Two <code>x</code></h2><script>no()</script><p>c &lt; d</p>'
    )
    first, second = list_sections("p", "Page", html)
    assert first == {"at": "p.html", "page": "Page", "head": "", "text": "a b"}
    assert second == {"at": "p.html#two", "page": "Page", "head": "Two x", "text": "c < d"}
    assert write_script([first]).startswith("window.driftbookSections = [")
