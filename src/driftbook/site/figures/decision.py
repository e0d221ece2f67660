"""Figures behind the decision: performance now, what a retrain would bring, and over time."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from driftbook.site.figures import theme
from driftbook.words import (
    METRIC_DIRECTIONS,
    format_number,
    name_metric,
    name_recipe,
    name_source,
)

# As many sources of evidence as fit on a page, and how far beyond the alarm a bar is drawn.
MOST_ALARMS, MOST_SHOWN = 12, 3.0
EXPECTED = "expected to last"
WIDEST_NAME = 24  # letters of a name beside a figure
CAUSE_NAMES = {
    "covariate shift": "harder inputs",
    "prior shift": "outcome more or less common",
    "concept change": "changed rule",
}
_WAYS = {1: "higher is better", -1: "lower is better"}
_SIDES = (
    ("baseline", theme.REFERENCE, "o"),
    ("realised", theme.CURRENT, "D"),
    ("estimated", theme.ACCENT, "s"),
    ("without any model", theme.PURPLE, "x"),
)


TREND = {
    "realised": ("realised", "realised_low", "realised_high"),
    "estimated without labels": ("estimated", "estimated_low", "estimated_high"),
    "the champion's baseline": ("baseline", "", ""),
}


def draw_performance(table: pd.DataFrame) -> theme.Picture:
    """Return each metric now against its baseline, with 95% intervals; a row a metric.

    Metrics without any value are left out, and so are alternatives to the estimate that counts;
    each metric has its own scale.
    """
    judged = table.dropna(subset=["value"]) if "value" in table else table.iloc[:0]
    judged = judged[judged["basis"] != "alternative"] if len(judged) else judged
    if judged.empty:
        return theme.draw_nothing("No metric could be judged on this window.")
    metrics = list(dict.fromkeys(judged["metric"]))
    with theme.open_sheet(
        "Performance now against the baseline", 0.9 + 0.95 * len(metrics), len(metrics)
    ) as page:
        for axes, metric in zip(page.axes, metrics, strict=True):
            _metric(axes, judged[judged["metric"] == metric])
            axes.set_title(_title(metric))
        # A basis may be missing from some metrics; the legend names each one once.
        handles, labels = page.axes[0].get_legend_handles_labels()
        for axes in page.axes[1:]:
            more, names = axes.get_legend_handles_labels()
            handles += [h for h, n in zip(more, names, strict=True) if n not in labels]
            labels += [n for n in names if n not in labels]
        page.figure.legend(handles, labels, loc="outside upper left", ncols=4)
        page.figure.supxlabel(
            f"metric value (n = {format_number(judged['n'].max())} rows now)", fontsize=10
        )
    return page.picture


def _title(metric: str) -> str:
    if metric == "calibration":
        return "calibration: outcome − prediction (0 is best)"
    way = _WAYS.get(METRIC_DIRECTIONS.get(metric, 0))
    return f"{name_metric(metric)} ({way})" if way else name_metric(metric)


def _metric(axes: Axes, rows: pd.DataFrame) -> None:
    base = rows.iloc[0]
    points = [("baseline", base["baseline"], base["baseline_low"], base["baseline_high"])]
    points += [(r["basis"], r["value"], r["ci_low"], r["ci_high"]) for _, r in rows.iterrows()]
    known = rows["no_skill"].dropna() if "no_skill" in rows else rows["value"].iloc[:0]
    points += [("without any model", value, value, value) for value in known.iloc[:1]]
    styles = {name: (colour, marker) for name, colour, marker in _SIDES}
    for place, (name, value, low, high) in enumerate(points):
        colour, marker = styles.get(name, (theme.INK, "x"))
        axes.plot([low, high], [-place, -place], color=colour, linewidth=2.5)
        axes.plot(value, -place, marker, color=colour, markersize=7, label=name)
    axes.set_ylim(-len(points) + 0.4, 0.6)
    axes.set_yticks([])
    axes.margins(x=0.15)
    axes.spines["left"].set_visible(False)


def draw_causes(parts: pd.DataFrame, loss: str) -> theme.Picture:
    """Return each part of the change of ``loss`` with its 95% interval, and their total.

    Parts that could not be had are left out.
    """
    shown = parts.dropna(subset=["change"]).iloc[::-1].reset_index(drop=True)
    if shown.empty:
        return theme.draw_nothing(
            "The change could not be split: too few rows, or too few of a class."
        )
    with theme.open_sheet("Parts of the change of loss", 1.4 + 0.42 * len(shown)) as page:
        axes = page.axes[0]
        axes.axvline(0, color=theme.INK, linewidth=1.2)
        numbers = shown[["change", "change_low", "change_high"]].to_numpy(dtype=float)
        sure = shown["beyond_chance"].astype(bool)
        rising = [theme.CURRENT if change > 0 else theme.GOOD for change in shown["change"]]
        colours = [c if s else theme.REFERENCE for c, s in zip(rising, sure, strict=True)]
        markers = ["D" if s else "o" for s in sure]
        names = [f"{CAUSE_NAMES[part]}\n({part})" if part in CAUSE_NAMES else part
                 for part in shown["part"]]  # fmt: skip
        theme.draw_intervals(axes, names, numbers, colours, markers)
        if "total" in set(shown["part"]):
            axes.axhline(0.5, color=theme.FAINT, linewidth=0.8)
        axes.set_xlabel(
            f"rise of mean {name_metric(loss)} a row   (◆ beyond chance, ● not)\n"
            f"n = {format_number(shown['n'].max())} rows now",
            loc="right",
        )
    return page.picture


def draw_gains(
    candidates: pd.DataFrame,
    break_even: float,
    loss: str,
    credited: Mapping[str, Any] | None = None,
) -> theme.Picture:
    """Return what each challenger gains of ``loss`` over the champion, against the break-even.

    ``credited``: ``gain``, ``gain_low``, ``gain_high`` of what is expected to last; drawn on top.
    """
    if candidates.empty:
        return theme.draw_nothing("No challenger was trained for this window.")
    shown = candidates.sort_values("gain_low", ignore_index=True)
    if credited is not None:
        lasting = {name: credited[name] for name in ("gain", "gain_low", "gain_high")}
        own = pd.DataFrame([lasting | {"recipe": EXPECTED}])
        shown = pd.concat([shown, own], ignore_index=True)
    text = "Gain of each challenger against the break-even gain"
    with theme.open_sheet(text, 1.5 + 0.45 * len(shown)) as page:
        axes = page.axes[0]
        axes.axvline(0, color=theme.FAINT, linewidth=1)
        axes.axvline(break_even, color=theme.INK, linestyle="--", linewidth=1.2)
        axes.annotate(
            f"break-even {break_even:.2g}",
            (break_even, 1), xycoords=("data", "axes fraction"), xytext=(4, 3),
            textcoords="offset points", fontsize=9,
        )  # fmt: skip
        numbers = shown[["gain", "gain_low", "gain_high"]].to_numpy(dtype=float)
        pays = shown["gain_low"] > break_even
        colours = [theme.GOOD if p else theme.REFERENCE for p in pays]
        markers = ["^" if p else "o" for p in pays]
        theme.draw_intervals(axes, _name_recipes(shown["recipe"]), numbers, colours, markers)
        axes.set_xlabel(
            f"fall of mean {name_metric(loss)} a row against the champion\n"
            "▲ surely above break-even, ● not; "
            f"n = {format_number(shown['n_gate'].max())} unseen rows",
            loc="right",
        )
    return page.picture


def _name_recipes(recipes: pd.Series) -> list[str]:
    """Return what each recipe learns from, in lines that fit beside a figure."""
    words = (name if name == EXPECTED else name_recipe(name) for name in recipes.astype(str))
    return [textwrap.fill(name.removeprefix("on "), WIDEST_NAME) for name in words]


def draw_alarms(alarms: pd.DataFrame) -> theme.Picture:
    """Return how far the evidence of each source has come on the way to its alarm.

    ``alarms``: ``source``, ``share`` (1 at the alarm) and ``raised``, the surest first.
    """
    if alarms.empty:
        return theme.draw_nothing("Too few rows to judge: nothing is watched.")
    shown = alarms.head(MOST_ALARMS).iloc[::-1]
    text = "How far each source of evidence has come on the way to an alarm"
    with theme.open_sheet(text, 1.2 + 0.32 * len(shown)) as page:
        axes = page.axes[0]
        raised = shown["raised"].astype(bool)
        colours = [theme.CURRENT if one else theme.REFERENCE for one in raised]
        marks = ["▲ " if one else "" for one in raised]
        names = [m + name_source(str(s)) for m, s in zip(marks, shown["source"], strict=True)]
        axes.barh(names, shown["share"].clip(upper=MOST_SHOWN), color=colours, height=0.6)
        axes.axvline(1.0, color=theme.INK, linestyle="--", linewidth=1.2)
        axes.annotate(
            "alarm", (1.0, 1), xycoords=("data", "axes fraction"), xytext=(4, 3),
            textcoords="offset points", fontsize=9,
        )  # fmt: skip
        axes.set_xlim(0.0, max(1.3, 1.05 * min(MOST_SHOWN, float(shown["share"].max()))))
        axes.set_xlabel("evidence, on a scale of logarithms: 1 is proof; ▲ proven", loc="right")
    return page.picture


def draw_over_time(
    record: pd.DataFrame, series: dict[str, tuple[str, str, str]], ylabel: str
) -> theme.Picture:
    """Return lines over windows, each with its band.

    ``record`` has a column ``window`` and for each entry of ``series`` (label → value, low and
    high column) its numbers; a missing number breaks the line.
    """
    if record.empty:
        return theme.draw_nothing("No window has been judged yet.")
    colours = (theme.CURRENT, theme.ACCENT, theme.GOOD, theme.REFERENCE)
    with theme.open_sheet(ylabel + " over time", 3.5) as page:
        axes = page.axes[0]
        x = np.arange(len(record))
        for (label, (value, low, high)), colour in zip(series.items(), colours, strict=False):
            if record[value].isna().all():
                continue
            if low in record and high in record:
                axes.fill_between(
                    x, record[low], record[high], color=colour, alpha=0.18, linewidth=0
                )
            marker = "o" if len(record) <= 40 else None
            axes.plot(x, record[value], color=colour, marker=marker, markersize=4.5, label=label)
        name_windows(axes, list(record["window"].astype(str)))
        axes.set_ylabel(ylabel)
        axes.legend(loc="best")
    return page.picture


def draw_story(story: pd.DataFrame) -> theme.Picture:
    """Return the first page's chart: the loss window by window, and what happened when.

    ``story``: a row a window in order: ``loss``, ``baseline``, ``newer``, each NaN where unknown,
    the ``action`` recommended (None where no run judged it), and ``promoted`` and
    ``acknowledged``, whether that was done on what the window showed.
    """
    if story.empty or story["loss"].isna().all():
        return theme.draw_nothing("No window could be judged yet; the line starts with the first.")
    text = "Loss of the model in use, window by window"
    with theme.open_sheet(text, 4.0) as page:
        axes, x = page.axes[0], np.arange(len(story))
        axes.step(x, story["baseline"], where="mid", color=theme.FAINT, linewidth=1.6,
                  linestyle="--", label="when it was made")  # fmt: skip
        axes.plot(x, story["loss"], color=theme.INK, linewidth=1.8, label="the model in use")
        if story["newer"].notna().any():
            axes.plot(x, story["newer"], "-", color=theme.GOOD, marker=".", markersize=7,
                      linewidth=1.4, label="newer models would have had")  # fmt: skip
        for action, colour in theme.ACTION_COLOURS.items():
            chosen = (story["action"] == action).to_numpy()
            if chosen.any():
                marker, words = theme.ACTION_MARKERS[action], f"says {action}"
                spots = x[chosen], story["loss"][chosen]
                axes.scatter(*spots, s=60, c=colour, zorder=3, marker=marker, label=words)
        _mark_events(axes, story)
        axes.margins(x=0.06, y=0.15)
        axes.set_ylabel("mistakes (lower is better)")
        page.figure.legend(loc="outside upper left", ncols=2)
        name_windows(axes, list(story["window"].astype(str)))
        axes.set_xlabel("")
    return page.picture


def _mark_events(axes: Axes, story: pd.DataFrame) -> None:
    """Mark where a newer version took over and where a change of the data was accepted."""
    for column, words, colour, after in (
        ("promoted", "newer model promoted", theme.CURRENT, 0.5),
        ("acknowledged", "change acknowledged", theme.PURPLE, 0.4),
    ):
        for n, place in enumerate(np.flatnonzero(story[column].to_numpy(dtype=bool))):
            axes.axvline(place + after, color=colour, linewidth=1.4, linestyle=":",
                         label=words if n == 0 else None)  # fmt: skip


def draw_past_decisions(past: pd.DataFrame, loss: str) -> theme.Picture:
    """Return every decision by window: the window's loss above, its drifted share below.

    ``past``: a row a run, in the order of windows, as ``evidence.tabulate_past_runs`` makes them;
    the loss is realised where it is known, else estimated. One window judged twice has two marks.
    """
    if past.empty:
        return theme.draw_nothing("No run has finished yet.")
    windows = list(dict.fromkeys(past["window"]))
    place = np.array([windows.index(window) for window in past["window"]])
    values = past["realised"].astype(float).fillna(past["estimated"].astype(float)).to_numpy()
    drifted = 100 * past["drift_ratio"].to_numpy(dtype=float)
    with theme.open_sheet("Every decision by window", 4.6, rows=2, sharex=True) as page:
        top, bottom = page.axes
        top.plot(place, past["baseline"].astype(float), "_", color=theme.FAINT, markersize=14)
        for action, colour in theme.ACTION_COLOURS.items():
            chosen = (past["action"] == action).to_numpy()
            if not chosen.any():
                continue
            marker = theme.ACTION_MARKERS[action]
            top.scatter(place[chosen], values[chosen], s=55, c=colour, marker=marker, label=action)
            bottom.scatter(place[chosen], drifted[chosen], s=55, c=colour, marker=marker)
        top.set_ylabel(f"{name_metric(loss)}\n(– baseline)")
        bottom.set_ylabel("drifted features, %")
        bottom.set_ylim(-5, 105)
        page.figure.legend(loc="outside upper left", ncols=4)
        name_windows(bottom, windows)
        bottom.set_xlabel(f"window (n = {len(past)} runs)")
    return page.picture


def name_windows(axes: Axes, names: list[str]) -> None:
    """Name at most 14 of the windows below the axis, and say how many there are."""
    step = -(-len(names) // 14)
    places = list(range(0, len(names), step))
    axes.set_xticks(places, [names[p] for p in places], rotation=35, ha="right")
    axes.set_xlabel(f"window ({len(names)} in all)")
