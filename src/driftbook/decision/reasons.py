"""The decision in words: what the templates need to say why, and what would reverse it."""

from __future__ import annotations

import pandas as pd

from driftbook.decision import costs
from driftbook.decision.alarms import count_together
from driftbook.decision.challenger import Challenger
from driftbook.decision.findings import WindowFindings
from driftbook.performance.causes import CAUSES, CONCEPT, COVARIATE, PRIOR, TOTAL_CHANGE
from driftbook.performance.segments import find_common_cause, find_worse_segments
from driftbook.settings import PolicySettings, Settings
from driftbook.words import name_metric, render_words

# Parts that pull the other way by more than this share of those for the worse cancel out.
OPPOSED_SHARE = 0.5
_PATIENT = {COVARIATE: "harder inputs", PRIOR: "a moved base rate"}


def phrase_reason(
    action: str, found: WindowFindings, challenger: Challenger | None, settings: Settings
) -> str:
    """Return one sentence: what was found, and why it leads to the action.

    The cause of a change of loss is named where performance is worse. ``settings``: with the costs
    of this window.
    """
    window = settings.data.window
    if found.too_few:
        return render_words("too_few.md.j2", rows=found.rows, min_rows=found.min_rows)
    worse = found.worse
    counting = found.counting
    losses = counting[counting["metric"] == found.loss].to_dict("records")
    return render_words(
        "reason.md.j2",
        action=action,
        faults=found.broken.to_dict("records"),
        moved=found.moved["feature"].tolist(),
        seen=found.seen_only,
        seasonal=found.seasonal,
        agreed=found.agreed,
        season=found.season,
        lasting=found.lasting,
        worse=next(iter(worse.to_dict("records")), None),
        segments=find_worse_segments(found.segments).to_dict("records"),
        common=find_common_cause(found.segments),
        cause=phrase_cause(found.causes, found.loss) if len(worse) else "",
        realised=bool((counting["basis"] == "realised").any()),
        loss=losses[0] if losses else None,
        loss_name=name_metric(found.loss),
        unseen=found.quality[found.quality["fault"] == "unseen"].to_dict("records"),
        outweighed=_find_outweighed(found.causes) if action == "retrain" else "",
        challenger=challenger,
        asked=settings.policy.confidence,
        passing=len(worse) > 0 and found.passing,
        together=count_together(settings),
        terms={
            **settings.policy.model_dump(),
            "period": window if isinstance(window, str) else "window",
        },
        stale=challenger is not None
        and challenger.gain > 0
        and (challenger.stale or action == "retrain"),
    )


def phrase_cause(parts: pd.DataFrame, loss: str = "brier") -> str:
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
    better = sum(row["change"] for row in judged if row["beyond_chance"] and row["change"] < 0)
    return render_words(
        "cause.md.j2",
        total=rows[TOTAL_CHANGE],
        inputs=rows[COVARIATE],
        worse=worse,
        opposed=bool(worse) and -better > OPPOSED_SHARE * sum(row["change"] for row in worse),
        loss_name=name_metric(loss),
    )


def _find_outweighed(parts: pd.DataFrame) -> str:
    """Return in words the causes that speak for patience, where no other one raised the loss."""
    raised = parts[parts["beyond_chance"].astype(bool) & (parts["change"] > 0)]
    names = [str(name) for name in raised["part"] if name in CAUSES]
    return " and ".join(_PATIENT[n] for n in names) if names and CONCEPT not in names else ""


def phrase_reversals(
    action: str, found: WindowFindings, challenger: Challenger | None, policy: PolicySettings
) -> tuple[str, ...]:
    """Return what would change the action, each as one phrase."""
    turn = None
    if challenger is not None:
        turn = costs.find_turning_cost(policy, challenger.worth, challenger.staleness)
    phrases = render_words(
        "reversals.md.j2",
        action=action,
        too_few=found.too_few,
        broken=found.broken["feature"].tolist(),
        challenger=challenger,
        policy=policy,
        turning_cost=turn,
        loss_name=name_metric(found.loss),
    )
    return tuple(phrases.split("\n"))
