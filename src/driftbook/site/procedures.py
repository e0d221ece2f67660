"""What to do on each decision, step by step, with the commands of this run."""

from __future__ import annotations

from driftbook import paths
from driftbook.site.decision_page import CommandLine
from driftbook.store.evidence import PublishedRun
from driftbook.words import quote_argument, render_words


def compose_procedures(run: PublishedRun, command: CommandLine) -> dict[str, str]:
    """Return the body of the page for each action; the run's own is told as the one to follow."""
    recommendation = run.recommendation
    broken = run.quality[run.quality["severity"] == "broken"] if len(run.quality) else run.quality
    columns = list(dict.fromkeys(broken["feature"])) if len(broken) else []
    named = quote_argument(str(columns[0])) if columns else "COLUMN"
    values = {
        "current": str(recommendation["action"]),
        "plain": recommendation.get("plain"),
        "window": run.window,
        "elsewhere": bool(recommendation.get("served_elsewhere")),
        "columns": [str(name) for name in columns],
        "missed": _name_moved(run),
        "run_next": command.line("run --from drift", "run-drift"),
        "open_run": command.line(f"open {run.run_id}"),
        "verify": command.line("verify"),
        "promote": command.line('promote --why "…"'),
        "rollback": command.line('rollback --why "…"'),
        "report": command.line("report"),
        "serve": command.line("serve"),
        "acknowledge": command.line(f'acknowledge {named} --why "…"'),
        "withdraw": command.line(f"acknowledge {named} --undo"),
    }
    return {
        action: render_words(f"when_{action}.md.j2", action=action, **values)
        for action in paths.ACTIONS
    }


def _name_moved(run: PublishedRun) -> list[str]:
    """Return the columns that have changed for sure."""
    if run.drift.empty or "alarm" not in run.drift:
        return []
    raised = run.drift[run.drift["alarm"].fillna(False).astype(bool)]
    return [str(name) for name in raised["feature"] if not str(name).startswith("(")]
