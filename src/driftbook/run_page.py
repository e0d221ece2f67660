"""A page for one finished run, as the history lists it."""

from __future__ import annotations

from datetime import datetime
from html import escape
from typing import Any

import pandas as pd
import yaml

from driftbook import narrative
from driftbook.store.evidence import PastRun, find_headline
from driftbook.wording import number

# Newer runs get a page each; older ones are named only, so that the site stays small.
MOST = 30


def name(past: PastRun) -> str:
    """Return the page's file name."""
    return f"run-{past.run_id}.qmd"


def text(past: PastRun) -> str:
    """Return the page as Quarto Markdown: fields for the listing, then the evidence."""
    document = past.document
    evidence = document["evidence"]
    fields = yaml.safe_dump(_fields(past), sort_keys=False, allow_unicode=True, width=1000)
    body = [
        f"`.venv/bin/driftbook open {past.run_id}` opens the notebooks of this run again.",
        "All runs are in the [history](history.qmd).",
        narrative.decision_box(document),
        "## Performance",
        narrative.performance_table(pd.DataFrame(evidence["performance"] or [])),
        "## Economics",
        narrative.economics_text(evidence),
        "## Drift",
        _drift(pd.DataFrame(evidence["drift"] or [])),
        "## Data quality",
        narrative.quality_text(pd.DataFrame(evidence["quality"] or [])),
    ]
    return f"---\n{fields}---\n\n" + "\n\n".join(body) + "\n"


def _fields(past: PastRun) -> dict[str, Any]:
    document = past.document
    now = find_headline(pd.DataFrame(document["evidence"]["performance"] or []))
    # Listings show fields as HTML.
    return {
        "title": f"{document.get('window') or '–'}: {document['action']}",
        "date": started(past.run_id),
        "champion": document["model_version"],
        "brier": "–" if now is None else number(now["value"]),
        "reason": escape(str(document["reason"]), quote=False),
    }


def started(run_id: str) -> str:
    """Return when a run started, from its id: ``20260102T030405Z-ab12`` → ISO 8601.

    >>> started("20260102T030405Z-ab12")
    '2026-01-02T03:04:05Z'
    """
    moment = datetime.strptime(run_id.partition("-")[0], "%Y%m%dT%H%M%S%z")
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _drift(report: pd.DataFrame) -> str:
    if report.empty:
        return "Drift was not judged."
    return f"{narrative.drift_text(report)}\n\n{narrative.drift_table(report)}"
