"""Figures of rows and of the model: distributions, associations, drift and importance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import NDArray

from driftbook.site.figures import theme
from driftbook.words import format_number

# More panels than this and none can be read; the tables have them all.
MOST_FEATURES = 24
MOST_CATEGORIES = 8
BINS = 30


def draw_distributions(
    reference: pd.DataFrame,
    features: Sequence[theme.ShownColumn],
    current: pd.DataFrame | None = None,
    labels: tuple[str, str] = ("reference", "current"),
) -> theme.Picture:
    """Return each feature's distribution, reference beside current where current is given.

    Numbers as shares in equal bins between the 0.5th and 99.5th percentile of all rows shown
    (values outside count in the end bins), text as shares of the commonest values. Missing values
    are left out and their share is written on the panel. At most 24 features are drawn.
    """
    shown = list(features)[:MOST_FEATURES]
    if not shown:
        return theme.draw_nothing("No feature to show.")
    columns = min(3 if current is None else 2, len(shown))
    rows = -(-len(shown) // columns)
    text = f"Distribution of {', '.join(feature.name for feature in shown)}: {labels[0]}"
    text += "." if current is None else f" (filled) beside {labels[1]} (line)."
    with theme.open_sheet(text, 0.55 + 1.75 * rows, rows, columns) as page:
        for axes, feature in zip(page.axes, shown, strict=False):
            _distribution(axes, feature, reference, current)
        for axes in page.axes[len(shown) :]:
            axes.set_axis_off()
        if current is not None:
            handles, _ = page.axes[0].get_legend_handles_labels()
            names = [
                f"{labels[0]} (n = {format_number(len(reference))})",
                f"{labels[1]} (n = {format_number(len(current))})",
            ]
            page.figure.legend(handles, names, loc="outside upper left", ncols=2)
        page.figure.supylabel("share of rows, %", fontsize=10)
    return page.picture


def _distribution(
    axes: Axes, feature: theme.ShownColumn, reference: pd.DataFrame, current: pd.DataFrame | None
) -> None:
    name = feature.name
    sides = [reference[name]] + ([] if current is None else [current[name]])
    if feature.kind == "numeric":
        _histograms(axes, sides)
    else:
        _bars(axes, sides)
    missing = " → ".join(f"{side.isna().mean():.1%}" for side in sides)
    note = f"   missing {missing}" if any(side.isna().any() for side in sides) else ""
    axes.set_title(_short(name, 30 if current is not None else 20))
    axes.set_title(note, loc="right", fontsize=8, fontweight="normal", color=theme.FAINT)
    axes.grid(axis="x", visible=False)


def _histograms(axes: Axes, sides: list[pd.Series]) -> None:
    # Text among the numbers of a column is a finding of its own, not a value to draw.
    numbers = (pd.to_numeric(side, errors="coerce") for side in sides)
    values = [side.dropna().to_numpy(dtype=float) for side in numbers]
    values = [side[np.isfinite(side)] for side in values]
    edges = _edges(np.concatenate(values))
    shares = [_shares(side, edges) for side in values]
    axes.stairs(shares[0], edges, fill=True, color=theme.REFERENCE, alpha=0.55, label="reference")
    for share in shares[1:]:
        axes.stairs(share, edges, color=theme.CURRENT, linewidth=1.8, label="current")
    axes.set_ylim(bottom=0)


def _shares(values: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    # Values beyond the ends are counted there, not dropped.
    counts = np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0]
    return 100.0 * counts / max(len(values), 1)


def _edges(values: NDArray[np.float64]) -> NDArray[np.float64]:
    # One far value must not squeeze all others into a single bin.
    low, high = np.quantile(values, [0.005, 0.995]) if len(values) else (0.0, 1.0)
    whole = bool(np.all(values == np.round(values)))
    # Whole numbers get a bin each: wider bins would make gaps that are not in the data.
    if whole and high - low < BINS:
        return np.arange(np.floor(low), np.ceil(high) + 2) - 0.5
    return np.linspace(low, high if high > low else low + 1.0, BINS + 1)


def _bars(axes: Axes, sides: list[pd.Series]) -> None:
    shares = [side.dropna().astype(str).value_counts(normalize=True) for side in sides]
    names = list(pd.concat(shares).groupby(level=0).max().nlargest(MOST_CATEGORIES).index)
    places, height = np.arange(len(names)), 0.8 / len(sides)
    for index, (share, colour) in enumerate(
        zip(shares, (theme.REFERENCE, theme.CURRENT), strict=False)
    ):
        widths = 100 * share.reindex(names).fillna(0.0)
        label = ("reference", "current")[index]
        axes.bar(places + index * height, widths, width=height, color=colour, label=label)
    middles = places + height * (len(sides) - 1) / 2
    turn, side = (30, "right") if len(names) > 4 else (0, "center")
    axes.set_xticks(middles, [_short(n) for n in names], fontsize=8, rotation=turn, ha=side)


def _short(text: str, length: int = 9) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def draw_associations(table: pd.DataFrame) -> theme.Picture:
    """Return how strongly each feature goes with the target, with 95% intervals."""
    shown = table.dropna(subset=["value"]).head(MOST_FEATURES)[::-1]
    if shown.empty:
        return theme.draw_nothing("No feature goes with the target in a way that can be measured.")
    with theme.open_sheet("Association of each feature with the target", _tall(len(shown))) as page:
        axes = page.axes[0]
        axes.axvline(0, color=theme.FAINT, linewidth=1)
        numbers = shown[["value", "ci_low", "ci_high"]].to_numpy(dtype=float)
        colours, markers = [theme.ACCENT] * len(shown), ["o"] * len(shown)
        theme.draw_intervals(axes, list(shown["feature"]), numbers, colours, markers)
        axes.set_xlabel(f"association with the target (n = {format_number(shown['n'].max())} rows)")
    return page.picture


def draw_effect_sizes(report: pd.DataFrame, min_effect: float | None = None) -> theme.Picture:
    """Return each column's drift effect with its interval, largest on top; the band is no drift."""
    known = report.dropna(subset=["effect"])
    shown = known.sort_values("effect", key=np.abs).tail(MOST_FEATURES)
    if shown.empty:
        return theme.draw_nothing("No drift effect could be measured.")
    flagged = [bool(flag) for flag in shown["drift_flag"].fillna(False)]
    with theme.open_sheet("Drift effect by column with intervals", _tall(len(shown))) as page:
        axes = page.axes[0]
        if min_effect is not None:
            band = f"too small to count (within ±{min_effect:g})"
            axes.axvspan(-min_effect, min_effect, color=theme.GRID, label=band)
            page.figure.legend(loc="outside upper right")
        axes.axvline(0, color=theme.FAINT, linewidth=1)
        colours = [theme.CURRENT if flag else theme.REFERENCE for flag in flagged]
        markers = ["^" if flag else "(o)" for flag in flagged]
        numbers = shown[["effect", "effect_low", "effect_high"]].to_numpy(dtype=float)
        theme.draw_intervals(axes, list(shown["feature"]), numbers, colours, markers)
        # Below the whole figure: long names leave the axes too narrow for it.
        page.figure.supxlabel(
            "effect: shift against the reference, 0 = same   (▲ flagged, ○ not)\n"
            f"n = {format_number(shown['n_reference'].max())} reference and "
            f"{format_number(shown['n_current'].max())} current rows",
            fontsize=10,
        )
    return page.picture


def draw_importance_shift(report: pd.DataFrame) -> theme.Picture:
    """Return importance against size of drift: top right is drift that can hurt the model."""
    shown = report.dropna(subset=["effect", "importance"])
    if shown.empty:
        return theme.draw_nothing("No feature has both a measured effect and an importance.")
    flagged = shown["drift_flag"].fillna(False).astype(bool)
    with theme.open_sheet("Importance of each feature against its drift effect", 3.9) as page:
        axes = page.axes[0]
        for flag, colour, marker in ((False, theme.REFERENCE, "o"), (True, theme.CURRENT, "^")):
            part = shown[flagged == flag]
            label = "drift flagged" if flag else "no drift flagged"
            axes.scatter(
                part["effect"].abs(),
                part["importance"],
                color=colour,
                marker=marker,
                s=52,
                label=label,
            )
        for name, x, y in zip(
            shown["feature"], shown["effect"].abs(), shown["importance"], strict=True
        ):
            axes.annotate(name, (x, y), xytext=(6, 4), textcoords="offset points", fontsize=9)
        axes.margins(x=0.18, y=0.15)
        axes.set_xlabel(
            "size of the drift effect, 0 = same   "
            f"(n = {format_number(shown['n_current'].max())} current rows)"
        )
        axes.set_ylabel("share of the model's importance\n(rise of loss when shuffled)")
        axes.legend(loc="best")
    return page.picture


def _tall(rows: int) -> float:
    return 1.1 + 0.3 * max(rows, 2)
