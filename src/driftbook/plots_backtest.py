"""Figures of the backtest: what each policy would have paid, and when it would have acted."""

from __future__ import annotations

import numpy as np
import pandas as pd

from driftbook.plots import nothing
from driftbook.plots_decision import window_ticks
from driftbook.theme import ACCENT, CURRENT, FAINT, GOOD, INK, REFERENCE, Picture, count, sheet

OURS, BEST = "driftbook", "hindsight"
_COLOURS = {OURS: CURRENT, BEST: GOOD}
_OTHERS = (ACCENT, REFERENCE, INK)
_MARKERS = {OURS: "^", BEST: "s"}


def excess(policies: pd.DataFrame, windows: int) -> Picture:
    """Return how much more than hindsight each policy would have paid, cheapest on top.

    ``policies`` has the columns ``policy, retrains, excess``; ``windows`` were replayed.
    """
    shown = policies.dropna(subset=["excess"]).sort_values("excess", ascending=False)
    if shown.empty:
        return nothing("No policy could be replayed on this data.")
    with sheet("Cost of each policy over hindsight's", 1.2 + 0.32 * len(shown)) as page:
        axes = page.axes[0]
        axes.axvline(0, color=FAINT, linewidth=1)
        names, costs = list(shown["policy"]), 100 * shown["excess"].to_numpy(dtype=float)
        for place, (name, cost, retrains) in enumerate(
            zip(names, costs, shown["retrains"], strict=True)
        ):
            colour = _COLOURS.get(name, REFERENCE)
            axes.plot([0, cost], [place, place], color=colour, linewidth=2)
            axes.plot(cost, place, _MARKERS.get(name, "o"), color=colour, markersize=8)
            label = f"{count(retrains)} retrain{'' if retrains == 1 else 's'}"
            axes.annotate(
                label, (cost, place), xytext=(8, -3), textcoords="offset points", fontsize=8.5
            )
        axes.set_yticks(range(len(names)), names)
        axes.margins(x=0.2)
        axes.set_xlabel(f"total cost above hindsight's, %   (n = {count(windows)} windows)")
        axes.grid(axis="y", visible=False)
    return page.picture


def losses(windows: pd.DataFrame, policies: tuple[str, ...] = (OURS, BEST, "never")) -> Picture:
    """Return the loss of a few policies window by window; ▲ marks a retrain.

    ``windows`` has a row a policy and window: ``policy, window, loss, retrained``.
    """
    names = list(dict.fromkeys(windows["window"])) if not windows.empty else []
    if not names:
        return nothing("No window could be replayed on this data.")
    places = {name: place for place, name in enumerate(names)}
    others = iter(_OTHERS)
    with sheet("Loss of each policy by window", 3.7) as page:
        axes = page.axes[0]
        for policy in policies:
            rows = windows[windows["policy"] == policy]
            if rows.empty:
                continue
            x = np.array([places[name] for name in rows["window"]])
            loss = rows["loss"].to_numpy(dtype=float)
            colour = _COLOURS.get(policy) or next(others)
            style = "-" if policy == OURS else "--"
            axes.plot(x, loss, style, color=colour, label=policy)
            retrained = rows["retrained"].to_numpy(dtype=bool)
            axes.plot(x[retrained], loss[retrained], "^", color=colour, markersize=8)
        axes.set_ylabel("mean Brier loss of the window\n(▲ retrained after it)")
        window_ticks(axes, names)
        axes.legend(loc="best")
    return page.picture
