"""The decision in words: what the templates need to say why, and what would reverse it."""

from __future__ import annotations

import pandas as pd

from driftbook.decision import challenger as challengers
from driftbook.decision.challenger import Challenger
from driftbook.performance.causes import CAUSES, COVARIATE, TOTAL_CHANGE
from driftbook.settings import PolicySettings
from driftbook.words import render_words


def phrase_too_few(rows: int, policy: PolicySettings) -> str:
    """Return the reason of a window that is too small to judge."""
    return render_words("too_few.md.j2", rows=rows, min_rows=policy.min_rows)


def phrase_reason(
    action: str,
    broken: pd.DataFrame,
    moved: pd.DataFrame,
    worse: pd.DataFrame,
    table: pd.DataFrame,
    found: Challenger | None,
    parts: pd.DataFrame,
) -> str:
    """Return one sentence: what was found, and why it leads to the action.

    ``parts``: the split of the change of loss; its cause is named where performance is worse.
    """
    judged = [row for row in table.to_dict("records") if row["status"] == "ok"]
    realised = [row for row in judged if row["basis"] == "realised"]
    counts = realised or [row for row in judged if row["basis"] == "estimated"]
    return render_words(
        "reason.md.j2",
        action=action,
        faults=broken.to_dict("records"),
        moved=[str(name) for name in moved.get("feature", [])],
        worse=next(iter(worse.to_dict("records")), None),
        cause=phrase_cause(parts) if len(worse) else "",
        judged=len(judged) > 0,
        realised=len(realised) > 0,
        brier=next((row for row in counts if row["metric"] == "brier"), None),
        challenger=found,
        stale=found is not None and found.stale and found.gain > 0,
    )


def phrase_cause(parts: pd.DataFrame) -> str:
    """Return why the loss rose as a clause of a sentence; empty where nothing could be split.

    >>> phrase_cause(pd.DataFrame(columns=["part", "status"]))
    ''
    """
    rows = {str(row["part"]): row for row in parts.to_dict("records")}
    judged = [rows[part] for part in CAUSES if part in rows and rows[part]["status"] == "ok"]
    if not judged:
        return ""
    worse = [row for row in judged if row["beyond_chance"] and row["change"] > 0]
    worse.sort(key=lambda row: -row["change"])
    return render_words(
        "cause.md.j2", total=rows[TOTAL_CHANGE], inputs=rows[COVARIATE], worse=worse
    )


def phrase_reversals(
    action: str, broken: pd.DataFrame, found: Challenger | None, policy: PolicySettings
) -> tuple[str, ...]:
    """Return what would change the action, each as one phrase."""
    turn = None
    if found is not None:
        turn = challengers.find_turning_cost(policy, found.gain_low, found.staleness)
    phrases = render_words(
        "reversals.md.j2",
        action=action,
        broken=[str(name) for name in broken.get("feature", [])],
        challenger=found,
        policy=policy,
        turning_cost=turn,
    )
    return tuple(phrases.split("\n"))
