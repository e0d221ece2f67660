"""The first screen: the decision, why, quality now, what would reverse it, and the next step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from driftbook import paths
from driftbook.site.figures.decision import draw_story
from driftbook.site.figures.theme import Pictures
from driftbook.site.notebook_words import summarise_drift
from driftbook.site.story import tabulate_story
from driftbook.store.evidence import PublishedRun, choose_headline
from driftbook.words import render_words


@dataclass(frozen=True)
class CommandLine:
    """How the command line is called for these artifacts; by make where no option is needed."""

    options: str = ""

    def line(self, words: str, target: str | None = None) -> str:
        """Return a command to copy: ``make`` with the target (default: the words) or driftbook."""
        name = words if target is None else target
        if not self.options and " " not in name:
            return f"make {name}"
        return f".venv/bin/driftbook {words}{self.options}"


def compose_decision_page(run: PublishedRun, command: CommandLine) -> tuple[str, Pictures]:
    """Return the decision page below its title, with its pictures by file name."""
    recommendation = run.recommendation
    own_units = choose_headline(run.performance, "rmse")
    made = str(run.manifest.get("created_utc", "–"))
    body = render_words(
        "decision_page.md.j2",
        action=str(recommendation["action"]),
        plain=recommendation.get("plain"),
        acknowledged=recommendation.get("acknowledged") or [],
        elsewhere=bool(recommendation.get("served_elsewhere")),
        sign_off=compose_sign_off(run, command),
        reason=str(recommendation["reason"]),
        reverses=recommendation.get("reverses"),
        judged_version=str(recommendation["model_version"]),
        champion=run.champion,
        promoted_since=_is_promoted_since(run),
        window=run.window,
        task=run.task,
        task_found=run.task_found,
        loss=run.loss,
        own_units=None if own_units is None else own_units.to_dict(),
        run_id=run.run_id,
        made=made.replace("T", " ").replace("+00:00", " UTC"),
        next_command=choose_next_command(run, command),
        best=recommendation["evidence"]["challenger"],
        terms=recommendation["evidence"]["economics"],
        faults=run.quality.to_dict("records"),
        **summarise_drift(run.drift),
        **_summarise_performance(run.performance, run.loss),
    )
    return body, {"story.png": draw_story(tabulate_story(run))}


def compose_sign_off(run: PublishedRun, command: CommandLine) -> str | None:
    """Return what a reviewer compares before signing; None where there is nothing to sign."""
    recommendation = run.recommendation
    best, new = recommendation["evidence"]["challenger"], recommendation.get("challenger_version")
    if best is None or new is None or _is_promoted_since(run):
        return None
    own = [one for one in run.history if one.run_id == run.run_id]
    before = [one.document for one in run.history if one.run_id < run.run_id]
    return render_words(
        "sign_off.md.j2",
        champion=_describe_version(run, str(recommendation["model_version"])),
        challenger=_describe_version(run, str(new)),
        best=best,
        loss=run.loss,
        data_sha256=str(run.manifest.get("data", {}).get("sha256") or "–"),
        evidence_sha256=own[-1].sha256 if own else "–",
        previous=before[-1] if before else None,
        command=command.line('promote --why "…"'),
    )


def _describe_version(run: PublishedRun, version: str) -> dict[str, Any]:
    card = run.read_card(version)
    origin = card.get("origin") or {}
    return {
        "version": version,
        "recipe": origin.get("recipe") or "everything",
        "rows": card.get("n_reference"),
        "windows": str(origin.get("windows") or "–"),
    }


def _summarise_performance(performance: pd.DataFrame, loss: str) -> dict[str, Any]:
    """Return the rows that count: realised ones, or estimated ones where no label is known."""
    headline = choose_headline(performance, loss)
    rows = [row for row in performance.to_dict("records") if row["status"] == "ok"]
    realised = [row for row in rows if row["basis"] == "realised"]
    judged = realised or [row for row in rows if row["basis"] == "estimated"]
    return {
        "headline": None if headline is None else headline.to_dict(),
        "realised": len(realised) > 0,
        "judged": judged,
        "worse": [row for row in judged if row["worse"]],
    }


def _is_promoted_since(run: PublishedRun) -> bool:
    """Tell whether another version has become champion since the run."""
    return run.champion not in (None, run.recommendation["model_version"])


def choose_next_command(run: PublishedRun, command: CommandLine) -> str:
    """Return the one command that comes next after this decision."""
    action: paths.Action = "hold" if _is_promoted_since(run) else run.recommendation["action"]
    elsewhere = bool(run.recommendation.get("served_elsewhere"))
    step = paths.choose_next_step(action, elsewhere)
    return command.line(step.format(run_id=run.run_id), paths.MAKE_TARGETS.get(step))
