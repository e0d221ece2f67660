"""The decision in words: one sentence why, and what would reverse it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from driftbook.decision import challenger as challengers
from driftbook.decision.challenger import Challenger
from driftbook.performance.causes import CAUSES, CONCEPT, COVARIATE, PRIOR, TOTAL_CHANGE
from driftbook.settings import PolicySettings

_WORDS = {
    COVARIATE: "the inputs moved to harder cases",
    PRIOR: "the base rate moved",
    CONCEPT: "the rule changed",
}
ESTIMATED = "estimated without labels, which cannot show a changed rule"


def explain_too_few(rows: int, policy: PolicySettings) -> str:
    """Return the reason of a window that is too small to judge."""
    return f"insufficient_data: {rows} rows, fewer than min_rows = {policy.min_rows}"


def write_reason(
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
    if len(broken):
        faults = [
            f"{row['feature']} {row['detail'] or row['fault']}" for _, row in broken.iterrows()
        ]
        more = f" and {len(faults) - 3} more" if len(faults) > 3 else ""
        return f"broken data: {'; '.join(faults[:3])}{more}"
    clauses = [_performance(worse, table, found)]
    if len(worse) and (why := name_cause(parts)):
        clauses[0] += f", {why}"
    if len(moved):
        clauses.insert(0, f"drift that matters ({_names(moved)})")
    elif worse.empty:
        clauses.insert(0, "no drift that matters")
    stale = found is not None and found.stale and found.gain > 0
    if action == "retrain" or len(worse) or stale:
        clauses.append(_economics(found))
    return "; ".join(clauses)


def name_cause(parts: pd.DataFrame) -> str:
    """Return why the loss rose as a clause of a sentence; empty where nothing could be split.

    Parts that make it worse beyond chance are named, the largest first.

    >>> cause(pd.DataFrame(columns=["part", "status"]))
    ''
    """
    rows = {str(row["part"]): row for row in parts.to_dict("records")}
    judged = {part: rows[part] for part in CAUSES if part in rows and rows[part]["status"] == "ok"}
    if not judged:
        return ""
    worse = [part for part, row in judged.items() if row["beyond_chance"] and row["change"] > 0]
    worse.sort(key=lambda part: -judged[part]["change"])
    named = [f"{_WORDS[part]} ({part} {_interval(judged[part])})" for part in worse]
    if rows[TOTAL_CHANGE]["status"] == "needs_labels":
        seen = named[0] if named else f"{COVARIATE} {_interval(judged[COVARIATE])}"
        return f"of which only the inputs' part can be seen without labels: {seen}"
    if rows[TOTAL_CHANGE]["status"] != "ok":
        return ""
    total = f"{rows[TOTAL]['change']:+.4f} Brier loss a row"
    if not named:
        return f"but no single cause of the change ({total}) is beyond chance"
    return f"because {' and '.join(named)}, in all {total}"


def _interval(row: Mapping[Any, Any]) -> str:
    return f"{row['change']:+.4f} [{row['change_low']:.4f}, {row['change_high']:.4f}]"


def list_reversals(
    action: str, broken: pd.DataFrame, found: Challenger | None, policy: PolicySettings
) -> tuple[str, ...]:
    """Return what would change the action, each as one phrase."""
    if action == "investigate":
        return tuple(f"{name} back to normal" for name in broken["feature"].astype(str))
    if found is None:
        gain = f"more than {policy.retrain_cost:g} over {policy.horizon} windows"
        return (
            "performance worse than the champion's holdout beyond its interval",
            f"drift that matters, and a challenger that gains {gain}",
        )
    turn = challengers.find_turning_cost(policy, found.gain_low, found.staleness)
    if action == "retrain":
        calm = "a next window in which the champion is no worse than newer fits"
        return (f"a retrain_cost above {turn:.4g}", calm)
    if found.pays:
        return ("performance that is worse, or a champion that newer fits surely beat",)
    gain = f"a challenger whose gain is sure to exceed {found.break_even:.4g} Brier loss a row"
    return (gain, f"a retrain_cost below {turn:.4g}") if turn > 0 else (gain,)


def _names(moved: pd.DataFrame) -> str:
    names = [str(name) for name in moved["feature"]]
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _performance(worse: pd.DataFrame, table: pd.DataFrame, found: Challenger | None) -> str:
    if len(worse):
        row = worse.iloc[0]
        known = "" if row["basis"] == "realised" else f" ({ESTIMATED})"
        return (
            f"{row['metric']} is worse than on the champion's holdout{known}: "
            f"{row['value']:.4f} against {row['baseline']:.4f}"
        )
    if found is not None and found.stale and found.gain > 0:
        return f"the champion is stale: newer fits lose {found.gain:.4f} Brier loss a row less"
    judged = table[table["status"] == "ok"]
    if judged.empty:
        return "performance cannot be judged yet"
    realised = judged["basis"] == "realised"
    how = "measured" if realised.any() else ESTIMATED
    counts = realised if realised.any() else judged["basis"] == "estimated"
    brier = judged[counts & judged["metric"].eq("brier")]
    if brier.empty or not brier["value"].iloc[0] > brier["baseline"].iloc[0]:
        return f"performance is no worse ({how})"
    values = f"Brier loss {brier['value'].iloc[0]:.4f} against {brier['baseline'].iloc[0]:.4f}"
    return f"performance is not surely worse ({how}: {values})"


def _economics(found: Challenger | None) -> str:
    if found is None:
        return "too few labelled rows to train and grade a challenger"
    gain = f"{found.gain:.4f} [{found.gain_low:.4f}, {found.gain_high:.4f}]"
    pays = "pays" if found.pays else "is not sure to pay"
    needed = f"needs more than {found.break_even:.5f}" if found.break_even > 0 else "any would pay"
    return f"a retrain ({found.recipe}) {pays}: it gains {gain} Brier loss a row and {needed}"
