"""What the backtest says in words: what each policy paid, when, and at which prices it changes."""

from __future__ import annotations

import numpy as np
import pandas as pd

from driftbook.wording import code, number, percent, table

OURS, BEST = "driftbook", "hindsight"
# Policies that need no monitor at all: the first question is whether ours beats them.
PLAIN, NEAR = ("never", "always"), 0.01


def policies_text(policies: pd.DataFrame) -> str:
    """Return in words how this policy did against hindsight and the next best, and the table."""
    order = policies.sort_values("total_cost", kind="stable", ignore_index=True)
    ours = order[order["policy"] == OURS].iloc[0]
    others = order[~order["policy"].isin([OURS, BEST])]
    words = (
        f"Driftbook's policy retrains {number(ours['retrains'])} times and pays "
        f"{number(ours['total_cost'], 4)} in all, **{percent(ours['excess'])} above hindsight**."
    )
    if not others.empty:
        best = others.iloc[0]
        words += (
            f" The cheapest other policy, {code(best['policy'])}, pays {percent(best['excess'])} "
            f"above it with {number(best['retrains'])} retrains."
        )
    return f"{words}\n\n{_policies_table(order)}"


def notes_text(notes: tuple[str, ...]) -> str:
    """Return which policies could not be replayed, and why; nothing where all were."""
    return "\n".join(f"- {note}." for note in notes)


def _policies_table(order: pd.DataFrame) -> str:
    shown = order.assign(
        total_cost=[number(cost, 4) for cost in order["total_cost"]],
        excess=[percent(share) for share in order["excess"]],
    )
    heads = {
        "policy": "policy",
        "retrains": "retrains",
        "mean_loss": "mean Brier loss",
        "total_cost": "total cost",
        "excess": "above hindsight",
    }
    return table(shown, heads)


def schedule_table(schedule: pd.DataFrame) -> str:
    """Return what this policy would have done before each window, and why."""
    ours = schedule[schedule["policy"] == OURS]
    heads = {
        "window": "window",
        "retrained": "retrained",
        "recipe": "model in force",
        "loss": "Brier loss",
        "reason": "reason",
    }
    return table(ours, heads)


def cheapest_table(costs: pd.DataFrame) -> str:
    """Return which policy is cheapest at each price of a retrain, and how ours does there."""
    best = costs[costs["cheapest"].astype(bool)].drop_duplicates("retrain_cost")
    ours = costs[costs["policy"] == OURS].set_index("retrain_cost")["excess"]
    rows = pd.DataFrame(
        {
            "retrain cost": best["retrain_cost"],
            "cheapest policy": best["policy"],
            "above hindsight": [percent(share) for share in best["excess"]],
            "driftbook above hindsight": [percent(ours[cost]) for cost in best["retrain_cost"]],
        }
    )
    return table(rows)


def verdict_text(costs: pd.DataFrame, price: float) -> str:
    """Return whether this policy would have served, and at which prices the answer changes.

    ``costs``: the policies' totals at several prices of a retrain, as ``backtest`` gives them;
    ``price``: the one in the settings. It served where neither never nor always retraining, which
    need no monitor, was cheaper by more than 1% of hindsight's cost (a convention).
    """
    excess = costs.pivot_table(index="retrain_cost", columns="policy", values="excess").sort_index()
    plain = excess[list(PLAIN)]
    served = excess[OURS] <= plain.min(axis=1) + NEAR
    at = excess.index[int(np.argmin(np.abs(excess.index - price)))]
    rivals = " and ".join(f"{name} retraining {percent(plain.loc[at, name])}" for name in PLAIN)
    words = (
        f"**{'Yes' if served[at] else 'No'}.** At your price of {number(price)} a retrain this "
        f"policy would have paid {percent(excess.loc[at, OURS])} more than hindsight, {rivals}."
    )
    tried = f"from {number(excess.index[0])} to {number(excess.index[-1])}"
    turned = [p for p in excess.index if served[p] != served[at]]
    if not turned:
        return f"{words} The answer is the same at every price tried, {tried}."
    named = [
        f"{number(p)}" + ("" if served[p] else f" ({plain.loc[p].idxmin()} retraining is cheaper)")
        for p in turned
    ]
    return f"{words} Of the prices tried, {tried}, the answer changes at {', '.join(named)}."
