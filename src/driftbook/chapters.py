"""The pages that no notebook makes: performance over time, history, and the artifacts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from driftbook import narrative, plots_decision
from driftbook.evidence import Evidence
from driftbook.theme import Picture
from driftbook.wording import interval, number, table


def performance(evidence: Evidence) -> tuple[str, dict[str, Picture]]:
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
    past = evidence.history.dropna(subset=["now"]).drop_duplicates("window", keep="last")
    if len(past) < 2:
        body.append(
            "One window has been judged so far; a line over time appears with the second. "
            "`make backtest` replays all windows of the data at once."
        )
        return "\n\n".join(body), pictures
    series = {
        "Brier loss in the window": ("now", "now_low", "now_high"),
        "the champion's baseline": ("baseline", "", ""),
    }
    ordered = past.sort_values("window")
    pictures["performance-time.png"] = plots_decision.over_time(ordered, series, "Brier loss")
    body.append(
        _figure(
            "performance-time",
            "Brier loss of every window judged so far against the champion's baseline of that run.",
            "Two lines over windows: the Brier loss with its interval and the baseline.",
        )
    )
    return "\n\n".join(body), pictures


def history(evidence: Evidence) -> tuple[str, dict[str, Picture]]:
    """Return the history page's body and its pictures: every decision and every promotion."""
    past = evidence.history
    shown = pd.DataFrame(
        {
            "run": [f"`{run}`" for run in past["run_id"]],
            "window": past["window"],
            "decision": [f"{narrative.ICONS.get(a, '')} {a}" for a in past["action"]],
            "champion": [f"`{version}`" for version in past["model_version"]],
            "Brier loss": [
                interval(v, a, b)
                for v, a, b in zip(past["now"], past["now_low"], past["now_high"], strict=True)
            ],
            "drifted share": [number(ratio) for ratio in past["drift_ratio"]],
            "reason": past["reason"],
        }
    )
    body = [
        "## Decisions",
        _runs_text(evidence),
        table(shown[::-1], empty="No run has finished yet."),
        "## Champions",
        "Every change of the served model, from the ledger that is only appended to.",
        _ledger(evidence.ledger),
    ]
    return "\n\n".join(body), {}


def _runs_text(evidence: Evidence) -> str:
    return (
        f"{len(evidence.history)} finished run(s), newest first. These pages show "
        f"`{evidence.run_id}`; any other opens with `.venv/bin/driftbook open RUN_ID`."
    )


def _manifest_text(evidence: Evidence) -> str:
    manifest = evidence.manifest
    return (
        f"Run `{evidence.run_id}`, model `{manifest['model_version']}`, made "
        f"{manifest.get('created_utc', '–')}. `make verify` hashes every file again and names "
        "each one that is missing, altered or stale."
    )


def _ledger(lines: list[dict[str, Any]]) -> str:
    shown = pd.DataFrame(
        {
            "no.": line["seq"],
            "when": str(line["when"]).replace("T", " ")[:19],
            "event": line["event"],
            "from": f"`{line['from']}`" if line.get("from") else "–",
            "to": f"`{line['to']}`",
            "who": line.get("who") or "–",
            "why": line.get("why") or "–",
            "forced": bool(line.get("forced")),
        }
        for line in reversed(lines)
    )
    return table(shown, empty="No version has been served yet.")


def artifacts(evidence: Evidence) -> tuple[str, dict[str, Picture]]:
    """Return the artifacts page's body: the manifest with hashes, settings, data and versions."""
    manifest = evidence.manifest
    files = pd.DataFrame(
        {
            "path": f"`{path}`",
            "bytes": entry["bytes"],
            "SHA-256": f"`{entry['sha256'][:16]}…`",
        }
        for path, entry in manifest["files"].items()
    )
    body = [
        _manifest_text(evidence),
        "## Files",
        table(files),
        "## Settings",
        _pairs(_flat(manifest.get("settings", {})), "setting"),
        "## Data, code and packages",
        _pairs(_flat({"data": manifest.get("data", {}), "code": manifest.get("code", {})}), "what"),
        _pairs(manifest.get("packages", {}), "package"),
    ]
    return "\n\n".join(body), {}


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
        {heading: [f"`{key}`" for key in values], "value": [_plain(v) for v in values.values()]}
    )
    return table(rows, empty="Nothing was recorded.")


def _plain(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "–"
    return str(value)


def _figure(name: str, caption: str, alt: str) -> str:
    return f'![{caption}](figures/{name}.png){{#fig-{name} fig-alt="{alt}"}}'
