"""The first screen: the decision, why, quality now, what would reverse it, and the next step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from driftbook import paths
from driftbook.site.notebook_words import summarise_drift
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


def compose_decision_page(run: PublishedRun, command: CommandLine) -> str:
    """Return the decision page below its title, as Markdown with a few styled blocks."""
    recommendation = run.recommendation
    own_units = choose_headline(run.performance, "rmse")
    made = str(run.manifest.get("created_utc", "–"))
    return render_words(
        "decision_page.md.j2",
        action=str(recommendation["action"]),
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
