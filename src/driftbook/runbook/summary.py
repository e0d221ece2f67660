"""What a finished command says for itself: at most ten lines, or one JSON object."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from driftbook import paths
from driftbook.words import render_words

if TYPE_CHECKING:
    from driftbook.runbook.flow import FinishedJob
    from driftbook.runbook.project import Project

MOST_POLICIES = 6
_JUDGED = ("quality", "own_units")


def summarise_run(project: Project, done: FinishedJob) -> dict[str, Any]:
    """Return the decision of a published run and where to read on, as plain JSON values."""
    found = json.loads((project.artifacts / paths.RECOMMENDATION).read_text(encoding="utf-8"))
    action, performance = found["action"], found["evidence"].get("performance") or []
    elsewhere = bool(found.get("served_elsewhere"))
    step = paths.choose_next_step(action, elsewhere).format(run_id=done.run_id)
    waits = action in ("hold", "monitor")
    deploys = ", once a newer model is deployed where it is served" * (action == "retrain")
    when = ", when the next window is complete" if waits else deploys * elsewhere
    return {
        "action": action,
        "why": " ".join(found["plain"]["why"]),
        "sure": found["plain"]["sure"],
        "reason": found["reason"],
        "run_id": done.run_id,
        "window": found["window"],
        "rows": found.get("n_current"),
        "model_version": found["model_version"],
        "task": found.get("task", "binary"),
        "task_found": project.settings.model.task == "auto",
        "challenger_version": found.get("challenger_version"),
        "drifted_features": found["drifted_features"],
        "quality": _pick_metric(performance, found.get("loss", "brier")),
        "own_units": _pick_metric(performance, "rmse"),
        "page": None if done.page is None else str(done.page),
        "next": f"driftbook {step}{project.options}{when}",
        "seconds": round(done.seconds, 1),
    }


def _pick_metric(performance: list[Mapping[str, Any]], metric: str) -> dict[str, Any] | None:
    """Return the window's ``metric`` beside its baseline: realised if known, else estimated."""
    known = {
        row["basis"]: row
        for row in performance
        if row["metric"] == metric and row["value"] is not None
    }
    counts = known.get("realised") or known.get("estimated")
    keys = ("metric", "basis", "value", "ci_low", "ci_high", "baseline", "worse")
    return {key: counts.get(key) for key in keys} if counts else None


def write_run_lines(found: Mapping[str, Any]) -> list[str]:
    """Return the summary of a run for people, a fact a line."""
    rows = found["rows"]
    return _facts(
        {
            "action": found["action"],
            "why": f"{found['why']} {found['sure']}",
            "window": f"{found['window']}, {rows:,} rows" if rows else found["window"],
            "model": found["model_version"],
            "task": render_words("task.j2", task=found["task"], found=found["task_found"]),
            "quality": render_words("quality_line.j2", **{k: found[k] for k in _JUDGED}),
            "drifted": ", ".join(found["drifted_features"]) or "no feature",
            "page": found["page"] or "not rendered (driftbook report)",
            "run": f"{found['run_id']} in {found['seconds']:.0f} s",
            "next": found["next"],
        }
    )


def summarise_backtest(project: Project, done: FinishedJob) -> dict[str, Any]:
    """Return the policies that a published backtest compared, the cheapest first."""
    with (project.artifacts / paths.POLICIES).open(newline="", encoding="utf-8") as stream:
        rows = [
            {
                "policy": row["policy"],
                "retrains": int(float(row["retrains"])),
                "mean_loss": float(row["mean_loss"]),
                "total_cost": float(row["total_cost"]),
                "excess": float(row["excess"]),
            }
            for row in csv.DictReader(stream)
        ]
    return {
        "policies": sorted(rows, key=lambda row: row["total_cost"]),
        "run_id": done.run_id,
        "page": None if done.page is None else str(done.page),
        "seconds": round(done.seconds, 1),
    }


def write_backtest_lines(found: Mapping[str, Any]) -> list[str]:
    """Return the best policies, ours always among them, and where to read on."""
    rows = found["policies"]
    shown = [row for n, row in enumerate(rows) if n < MOST_POLICIES or row["policy"] == "driftbook"]
    table = [f"{'policy':<24}{'retrains':>9}{'cost':>10}{'excess':>9}"] + [
        f"{row['policy']:<24}{row['retrains']:>9}{row['total_cost']:>10.4f}{row['excess']:>9.1%}"
        for row in shown[-1 - MOST_POLICIES :]
    ]
    page = found["page"] or "not rendered (driftbook run, then driftbook report)"
    return [
        *table,
        *_facts({"page": page, "run": f"{found['run_id']} in {found['seconds']:.0f} s"}),
    ]


def write_move_lines(line: Mapping[str, Any]) -> list[str]:
    """Return what a promotion or rollback did, from its line in the ledger."""
    signed = f"{line['who']}, {line['when']}" + (", forced" if line.get("forced") else "")
    return _facts(
        {
            line["event"]: f"{line['to']} is champion, {line['from']} was",
            "why": line["why"],
            "signed": f"{signed} (ledger line {line['seq']})",
        }
    )


def write_acknowledgement_lines(line: Mapping[str, Any]) -> list[str]:
    """Return what is accepted of a column, or no more, from its line in the ledger."""
    done = render_words("acknowledged.j2", event=line["event"], column=line["column"])
    return _facts(
        {
            "accepted" if line["event"] == "acknowledge" else "withdrawn": done,
            "why": line["why"],
            "signed": f"{line['who']}, {line['when']} (ledger line {line['seq']})",
            "next": line["next"],
        }
    )


def write_new_lines(found: Mapping[str, Any]) -> list[str]:
    """Return where a new project lies, and what comes next."""
    return _facts(found)


def _facts(facts: Mapping[str, Any]) -> list[str]:
    return [f"{name:<11}{text}" for name, text in facts.items()]
