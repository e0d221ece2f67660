"""The pages that no notebook makes: performance, history, artifacts, and one for each past run."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pandas as pd
import yaml

from driftbook.site import notebook_words, table_words
from driftbook.site.figures.decision import (
    TREND,
    draw_over_time,
    draw_past_decisions,
    draw_performance,
)
from driftbook.site.figures.theme import Pictures
from driftbook.store.evidence import PastRun, PublishedRun, choose_headline, tabulate_past_runs
from driftbook.words import escape_html, format_code, format_number, name_metric, render_words

# Newer runs get a page each; older ones are named only, so that the site stays small.
MOST_RUN_PAGES = 30


def compose_performance_page(run: PublishedRun) -> tuple[str, Pictures]:
    """Return the performance page's body and its pictures by file name."""
    pictures = {"performance-now.png": draw_performance(run.performance)}
    over_time = len(run.trend) >= 2
    if over_time:
        pictures["performance-time.png"] = draw_over_time(run.trend, TREND, name_metric(run.loss))
    body = render_words(
        "performance_page.md.j2",
        window=run.window,
        performance=table_words.describe_performance(run.performance),
        over_time=over_time,
        loss=run.loss,
    )
    return body, pictures


def compose_history_page(run: PublishedRun) -> tuple[str, Pictures]:
    """Return the history page's body after its listing, and its pictures."""
    past = tabulate_past_runs(run.history, run.loss)
    past = past.sort_values("window", kind="stable", ignore_index=True)
    several = len(past) > 1
    pictures = {}
    if several:
        pictures["history.png"] = draw_past_decisions(past, run.loss)
    elif len(run.trend) > 1:  # what the data tell of windows that no run has judged
        pictures["history.png"] = draw_over_time(run.trend, TREND, name_metric(run.loss))
    body = render_words(
        "history_page.md.j2",
        several=several,
        windows=len(run.trend) if pictures else 0,
        window=run.window,
        action=str(run.recommendation["action"]),
        runs=len(run.history),
        run_id=run.run_id,
        older=list(reversed(run.history[:-MOST_RUN_PAGES])),
        ledger=_tabulate_ledger(run),
        loss=run.loss,
    )
    return body, pictures


def _tabulate_ledger(run: PublishedRun) -> pd.DataFrame:
    pages = {one.sha256: one.run_id for one in run.history[-MOST_RUN_PAGES:]}
    return pd.DataFrame(
        {
            "when": str(line["when"]).replace("T", " ")[:19],
            "event": _name_event(line),
            "from": format_code(line.get("from")),
            "to": format_code(line["to"]),
            "who": line.get("who") or "–",
            "why": line.get("why") or "–",
            "evidence": _link_evidence(line.get("evidence_sha256"), pages),
        }
        for line in reversed(run.ledger)
    )


def _name_event(line: Mapping[str, Any]) -> str:
    column = f" {line['column']}" if "column" in line else ""
    return f"{line['event']}{column}" + (" (forced)" if line.get("forced") else "")


def _link_evidence(digest: str | None, pages: Mapping[str, str]) -> str:
    if digest is None:
        return "–"
    return f"[run](run-{pages[digest]}.qmd)" if digest in pages else f"`{digest[:12]}…`"


def compose_artifacts_page(run: PublishedRun) -> str:
    """Return the artifacts page's body: the manifest with hashes, settings, data and versions."""
    manifest = run.manifest
    files = pd.DataFrame(
        {
            "path": format_code(path),
            "bytes": entry["bytes"],
            "SHA-256": format_code(entry["sha256"][:16] + "…"),
        }
        for path, entry in manifest["files"].items()
    )
    return render_words(
        "artifacts_page.md.j2",
        manifest={"created_utc": None, **manifest},
        files=files,
        settings=_tabulate(manifest.get("settings", {})),
        data=_tabulate({"data": manifest.get("data", {}), "code": manifest.get("code", {})}),
        packages=_tabulate(manifest.get("packages", {})),
    )


def compose_settings(run: PublishedRun) -> str:
    """Return the thresholds and costs of the run as a table."""
    settings = run.manifest["settings"]
    chosen = {key: settings[key] for key in ("drift", "policy")}
    return render_words("settings.md.j2", settings=_tabulate(chosen))


def _tabulate(values: Mapping[str, Any]) -> pd.DataFrame:
    """Return a row a value; those of nested mappings under names joined by dots."""
    return pd.DataFrame(
        {"name": format_code(name), "value": _show_plainly(value)}
        for name, value in _flatten(values).items()
    )


def _flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        nested = isinstance(value, Mapping)
        flat |= _flatten(value, f"{prefix}{name}.") if nested else {f"{prefix}{name}": value}
    return flat


def _show_plainly(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "–"
    return str(value)


def name_run_page(past: PastRun) -> str:
    """Return the file name of a past run's page."""
    return f"run-{past.run_id}.qmd"


def compose_run_page(past: PastRun, shown: bool = False) -> str:
    """Return a past run's page as Quarto Markdown: fields for the listing, then the evidence.

    ``shown``: it is the run that all other pages are about, and they have its evidence already.
    """
    document = past.document
    evidence = document["evidence"]
    performance, drift, faults = (
        pd.DataFrame(evidence[part] or []) for part in ("performance", "drift", "quality")
    )
    return render_words(
        "run_page.md.j2",
        fields=yaml.safe_dump(_list_fields(past), sort_keys=False, allow_unicode=True, width=1000),
        run_id=past.run_id,
        shown=shown,
        decision=document,
        performance=table_words.describe_loss_now(performance, document.get("loss", "brier")),
        economics=notebook_words.describe_economics(document),
        drift=notebook_words.describe_drift(drift),
        changes=table_words.describe_changes(drift) if len(drift) else "",
        tests=table_words.describe_tests(drift) if len(drift) else "",
        faults=faults,
        acknowledged=document.get("acknowledged") or [],
    )


def _list_fields(past: PastRun) -> dict[str, Any]:
    document = past.document
    judged = pd.DataFrame(document["evidence"]["performance"] or [])
    headline = choose_headline(judged, document.get("loss", "brier"))
    # Listings show fields as HTML.
    return {
        "title": f"{document.get('window') or '–'}: {document['action']}",
        "date": parse_start(past.run_id),
        "champion": document["model_version"],
        "loss": "–" if headline is None else _name_loss(headline),
        "reason": escape_html(_say_why(document)),
    }


def _say_why(document: Mapping[str, Any]) -> str:
    """Return why a run decided as it did; runs of earlier releases have no plain words."""
    plain = document.get("plain")
    return " ".join(plain["why"]) if plain else str(document["reason"])


def _name_loss(headline: pd.Series) -> str:
    """Return a loss, and in brackets that of no model at all where it is known."""
    bare = headline.get("no_skill", float("nan"))
    beside = "" if pd.isna(bare) else f" ({format_number(bare)})"
    return format_number(headline["value"]) + beside


def parse_start(run_id: str) -> str:
    """Return when a run started, from its id.

    >>> parse_start("20260102T030405Z-ab12")
    '2026-01-02T03:04:05Z'
    """
    moment = datetime.strptime(run_id.partition("-")[0], "%Y%m%dT%H%M%S%z")
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
