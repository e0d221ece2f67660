"""The pages that no notebook makes: performance over time, history, and the artifacts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from driftbook import narrative, plots_decision, run_page
from driftbook.store.evidence import PastRun, PublishedRun, tabulate_past_runs
from driftbook.theme import Picture
from driftbook.wording import code, table


def performance(evidence: PublishedRun) -> tuple[str, dict[str, Picture]]:
    """Return the performance page's body and its pictures by file name."""
    pictures = {"performance-now.png": plots_decision.performance(evidence.performance)}
    body = [
        "## In this window",
        _figure(
            "performance-now",
            f"Performance in window {evidence.window} against the champion's baseline.",
            "For each metric the baseline, the realised and the estimated value with intervals.",
        ),
        narrative.performance_table(evidence.performance),
        "## Over time",
    ]
    if len(evidence.trend) < 2:
        body.append("A line over time appears with the second window after the reference.")
        return "\n\n".join(body), pictures
    pictures["performance-time.png"] = plots_decision.over_time(
        evidence.trend, plots_decision.TREND, "Brier loss"
    )
    body.append(
        _figure(
            "performance-time",
            "Brier loss of today's champion in every window since its reference, with 95% "
            "intervals, as it was known when the last window ended.",
            "Lines over windows: the realised and the estimated Brier loss, and the baseline.",
        )
    )
    return "\n\n".join(body), pictures


def history(evidence: PublishedRun) -> tuple[str, dict[str, Picture]]:
    """Return the history page's body after its listing, and its pictures."""
    past = tabulate_past_runs(evidence.history).sort_values(
        "window", kind="stable", ignore_index=True
    )
    pictures = {"history.png": plots_decision.decisions(past)}
    older = evidence.history[: -run_page.MOST]
    body = [
        _runs_text(evidence),
        *([f"Older runs, without a page: {_older(older)}"] if older else []),
        "## Over windows",
        _figure(
            "history",
            "Every decision by window: the Brier loss of the window and the share of drifted "
            "features.",
            "Two panels over windows, a mark for each run in the colour and shape of its decision.",
        ),
        "## Champions",
        "Every change of the served model, from the ledger that is only appended to.",
        _ledger(evidence),
    ]
    return "\n\n".join(body), pictures


def _older(past: Sequence[PastRun]) -> str:
    names = [f"`{one.run_id}` ({one.document['action']})" for one in reversed(past)]
    return ", ".join(names)


def _runs_text(evidence: PublishedRun) -> str:
    return (
        f"{len(evidence.history)} finished run(s). These pages show `{evidence.run_id}`; any other "
        "opens in JupyterLab with `.venv/bin/driftbook open RUN_ID`."
    )


def _manifest_text(evidence: PublishedRun) -> str:
    manifest = evidence.manifest
    return (
        f"Run `{evidence.run_id}`, model `{manifest['model_version']}`, made "
        f"{manifest.get('created_utc', '–')}. `make verify` hashes every file again and names "
        "each one that is missing, altered or stale."
    )


def _ledger(evidence: PublishedRun) -> str:
    pages = {one.sha256: one.run_id for one in evidence.history[-run_page.MOST :]}
    shown = pd.DataFrame(
        {
            "when": str(line["when"]).replace("T", " ")[:19],
            "event": line["event"] + (" (forced)" if line.get("forced") else ""),
            "from": code(line.get("from")),
            "to": code(line["to"]),
            "who": line.get("who") or "–",
            "why": line.get("why") or "–",
            "evidence": _evidence_link(line.get("evidence_sha256"), pages),
        }
        for line in reversed(evidence.ledger)
    )
    return table(shown, empty="No version has been served yet.", markup=["from", "to", "evidence"])


def _evidence_link(digest: str | None, pages: Mapping[str, str]) -> str:
    if digest is None:
        return "–"
    return f"[run](run-{pages[digest]}.qmd)" if digest in pages else f"`{digest[:12]}…`"


def artifacts(evidence: PublishedRun) -> tuple[str, dict[str, Picture]]:
    """Return the artifacts page's body: the manifest with hashes, settings, data and versions."""
    manifest = evidence.manifest
    files = pd.DataFrame(
        {
            "path": code(path),
            "bytes": entry["bytes"],
            "SHA-256": code(entry["sha256"][:16] + "…"),
        }
        for path, entry in manifest["files"].items()
    )
    body = [
        _manifest_text(evidence),
        "## Files",
        table(files, markup=["path", "SHA-256"]),
        "## Settings",
        _pairs(_flat(manifest.get("settings", {})), "setting"),
        "## Data, code and packages",
        _pairs(_flat({"data": manifest.get("data", {}), "code": manifest.get("code", {})}), "what"),
        _pairs(manifest.get("packages", {}), "package"),
    ]
    return "\n\n".join(body), {}


def settings_in_force(evidence: PublishedRun) -> str:
    """Return the thresholds and costs of the run as a table."""
    chosen = {key: evidence.manifest["settings"][key] for key in ("drift", "policy")}
    return _pairs(_flat(chosen), "setting")


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _pairs(values: Mapping[str, Any], heading: str) -> str:
    rows = pd.DataFrame(
        {heading: [code(key) for key in values], "value": [_plain(v) for v in values.values()]}
    )
    return table(rows, empty="Nothing was recorded.", markup=[heading])


def _plain(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "–"
    return str(value)


def _figure(name: str, caption: str, alt: str) -> str:
    return f'![{caption}](figures/{name}.png){{#fig-{name} fig-alt="{alt}"}}'
