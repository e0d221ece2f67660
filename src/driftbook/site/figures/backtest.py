"""Figures of the backtest: what each policy would have paid, and when it would have acted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from driftbook.site.figures import theme
from driftbook.site.figures.decision import name_windows
from driftbook.words import format_number, name_metric

OURS, BEST = "driftbook", "hindsight"
_COLOURS = {OURS: theme.CURRENT, BEST: theme.GOOD}
_OTHERS = (theme.ACCENT, theme.REFERENCE, theme.INK)
_MARKERS = {OURS: "^", BEST: "s"}


def draw_excess(policies: pd.DataFrame, windows: int) -> theme.Picture:
    """Return how much more than hindsight each policy would have paid, cheapest on top.

    ``policies`` has the columns ``policy, retrains, excess``; ``windows`` were replayed.
    """
    shown = policies.dropna(subset=["excess"]).sort_values("excess", ascending=False)
    if shown.empty:
        return theme.draw_nothing("No policy could be replayed on this data.")
    with theme.open_sheet("Cost of each policy over hindsight's", 1.2 + 0.32 * len(shown)) as page:
        axes = page.axes[0]
        axes.axvline(0, color=theme.FAINT, linewidth=1)
        names, costs = list(shown["policy"]), 100 * shown["excess"].to_numpy(dtype=float)
        for place, (name, cost, retrains) in enumerate(
            zip(names, costs, shown["retrains"], strict=True)
        ):
            colour = _COLOURS.get(name, theme.REFERENCE)
            axes.plot([0, cost], [place, place], color=colour, linewidth=2)
            axes.plot(cost, place, _MARKERS.get(name, "o"), color=colour, markersize=8)
            label = f"{format_number(retrains)} retrain{'' if retrains == 1 else 's'}"
            axes.annotate(
                label, (cost, place), xytext=(8, -3), textcoords="offset points", fontsize=8.5
            )
        axes.set_yticks(range(len(names)), names)
        axes.margins(x=0.2)
        axes.set_xlabel(f"total cost above hindsight's, %   (n = {format_number(windows)} windows)")
        axes.grid(axis="y", visible=False)
    return page.picture


def draw_cost_by_retrains(policies: pd.DataFrame) -> theme.Picture:
    """Return total cost over the number of retrains, a named point a policy.

    ``policies`` has the columns ``policy, retrains, total_cost``.
    """
    if policies.empty:
        return theme.draw_nothing("No policy could be replayed on this data.")
    with theme.open_sheet("Total cost of each policy over its retrains", 4.0) as page:
        axes = page.axes[0]
        reach = float(np.ptp(policies["total_cost"])) or 1.0
        for place, (point, names) in enumerate(_together(policies, reach / 200).items()):
            first = next((n for n in (OURS, BEST) if n in names), names[0])
            colour = _COLOURS.get(first, theme.REFERENCE)
            axes.plot(*point, _MARKERS.get(first, "o"), color=colour, markersize=9)
            # Neighbours in cost lie close together: their names go to either side.
            side, align = (9, "left") if place % 2 == 0 else (-9, "right")
            axes.annotate(
                "\n".join(names), point, xytext=(side, 0), ha=align, va="center",
                textcoords="offset points", fontsize=8.5, color=colour,
            )  # fmt: skip
        axes.margins(x=0.22, y=0.08)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("retrains")
        axes.set_ylabel("total cost")
    return page.picture


def _together(policies: pd.DataFrame, near: float) -> dict[tuple[float, float], list[str]]:
    """Return the names of policies that share a point, costs within ``near`` taken as one."""
    found: dict[tuple[float, float], list[str]] = {}
    order = policies.sort_values("total_cost")
    for name, retrains, cost in zip(
        order["policy"], order["retrains"], order["total_cost"], strict=True
    ):
        same = (p for p in found if p[0] == retrains and cost - p[1] <= near)
        found.setdefault(next(same, (float(retrains), float(cost))), []).append(str(name))
    return found


def draw_schedule(schedule: pd.DataFrame) -> theme.Picture:
    """Return when each policy retrained, a line a policy; ours also shows its other actions.

    ``schedule`` has a row a policy and window: ``policy, window, retrained, reason``.
    """
    if schedule.empty:
        return theme.draw_nothing("No window could be replayed on this data.")
    names = list(dict.fromkeys(schedule["window"]))
    policies = [p for p in dict.fromkeys(schedule["policy"]) if p not in (OURS, BEST, "never")]
    order = [OURS, BEST, *policies]
    with theme.open_sheet("Retrains of each policy by window", 1.1 + 0.3 * len(order)) as page:
        axes = page.axes[0]
        for place, policy in enumerate(reversed(order)):
            rows = schedule[schedule["policy"] == policy]
            x = np.array([names.index(window) for window in rows["window"]])
            retrained = rows["retrained"].to_numpy(dtype=bool)
            colour = _COLOURS.get(policy, theme.REFERENCE)
            axes.axhline(place, color=theme.FAINT, linewidth=0.6)
            axes.plot(x[retrained], np.full(retrained.sum(), place), "^", color=colour, ms=8)
            if policy == OURS:
                _other_actions(axes, x, place, rows["reason"])
        axes.set_yticks(range(len(order)), list(reversed(order)))
        axes.set_ylim(-0.6, len(order) - 0.4)
        name_windows(axes, names)
        axes.set_xlabel("window   (▲ retrain; of ours also  ● hold  ■ monitor  ✕ investigate)")
        axes.grid(visible=False)
    return page.picture


def _other_actions(axes: Axes, x: NDArray[np.int64], place: int, reasons: pd.Series) -> None:
    actions = reasons.str.partition(":")[0].to_numpy()
    for action in ("hold", "monitor", "investigate"):
        at = x[actions == action]
        marker, colour = theme.ACTION_MARKERS[action], theme.ACTION_COLOURS[action]
        axes.plot(at, np.full(len(at), place), marker, color=colour, markersize=4.5, linestyle="")


def draw_losses(
    schedule: pd.DataFrame, loss: str, policies: Sequence[str] = (OURS, BEST, "never")
) -> theme.Picture:
    """Return the loss of a few policies window by window; ▲ marks a retrain before the window.

    ``schedule`` has a row a policy and window: ``policy, window, loss, retrained``; ``loss`` names
    the task's.
    """
    if schedule.empty:
        return theme.draw_nothing("No window could be replayed on this data.")
    names = list(dict.fromkeys(schedule["window"]))
    others = iter(_OTHERS)
    with theme.open_sheet("Loss of each policy by window", 3.7) as page:
        axes = page.axes[0]
        for policy in policies:
            rows = schedule[schedule["policy"] == policy]
            if rows.empty:
                continue
            x = np.array([names.index(window) for window in rows["window"]])
            found = rows["loss"].to_numpy(dtype=float)
            colour = _COLOURS.get(policy) or next(others)
            axes.plot(x, found, "-" if policy == OURS else "--", color=colour, label=policy)
            retrained = rows["retrained"].to_numpy(dtype=bool)
            axes.plot(x[retrained], found[retrained], "^", color=colour, markersize=8)
        axes.set_ylabel(f"mean {name_metric(loss)} in the window\n(▲ retrained before it)")
        name_windows(axes, names)
        axes.legend(loc="best")
    return page.picture


def draw_ageing(table: pd.DataFrame, loss: str) -> theme.Picture:
    """Return how models age: what each one loses in each window over the newest one there.

    ``table``: losses with a row a model (named by the window it was trained before) and a column
    a window; NaN where the model did not exist yet.
    """
    values = table.to_numpy(dtype=float)
    if not np.isfinite(values).any():
        return theme.draw_nothing("No model has met a labelled window.")
    names = [str(name) for name in table.columns]
    # The diagonal is each window's newest model.
    more = values - np.diag(values)[None, :]
    # One extreme cell must not bleach all the others.
    reach = float(np.nanquantile(np.abs(more), 0.98)) or 1.0
    with theme.open_sheet("Loss of each model over the newest one, by window", 4.6) as page:
        axes = page.axes[0]
        image = axes.imshow(more, cmap="PuOr_r", vmin=-reach, vmax=reach, aspect="auto")
        step = -(-len(names) // 14)
        axes.set_yticks(range(0, len(names), step), names[::step])
        axes.set_ylabel("model trained before")
        name_windows(axes, names)
        axes.grid(visible=False)
        bar = page.figure.colorbar(image, ax=axes)
        bar.set_label(f"{name_metric(loss)} above the newest model's")
    return page.picture
