"""Figures of predictions against outcomes, by task: honest, better than none, and what then?"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, LogNorm

from driftbook.site.figures import theme
from driftbook.words import format_number

# More classes than this and no panel or cell can be read; the tables have them all.
MOST_PANELS, MOST_CLASSES = 9, 12
# What each figure shows, and so its caption: a notebook does not know which task it meets.
CHANCES = (
    "Calibration on the holdout: in groups of rows, the share of ones that came true over the "
    "probability predicted. On the dashed line a probability means what it says."
)
CLASS_CHANCES = (
    "Calibration on the holdout, a panel a class: the share that came true over the probability "
    "predicted. On the dashed line a probability means what it says."
)
VALUES = (
    "Calibration on the holdout: the mean outcome over the predicted value in groups of rows, and "
    "below it how far the outcomes of a group lie from their prediction."
)
ROC = (
    "ROC curve on the holdout: the share of cases found over the share of false alarms at every "
    "threshold, with its 95% band. The dashed line is a coin."
)
CONFUSIONS = (
    "What the rows of each class were taken for on the holdout; on the diagonal they were taken "
    "for what they are."
)
CELLS = (
    "Outcomes over predictions on the holdout, darker where more rows are; the line is equality."
)
THRESHOLDS = (
    "What acting would have cost on the holdout at each threshold of the probability; the lowest "
    "point is marked."
)
SURENESS = (
    "How many of the rows acted on are right, and how many are left, as more sureness is asked."
)
ERRORS = "The share of predictions on the holdout that are off by no more than a given error."
_PALE = LinearSegmentedColormap.from_list("pale", ["white", theme.ACCENT])


def draw_calibration(table: pd.DataFrame) -> theme.Picture:
    """Return observed against predicted, in groups with intervals, as the task has it.

    ``table``: see ``task_curves.measure_honesty``. Each of several classes has a panel of its own,
    the nine with the most predicted; values have a second one with the spread of their residuals.
    """
    if "residual_low" in table:
        return _draw_value_calibration(table)
    if "class" in table:
        return _draw_class_calibration(table)
    with theme.open_sheet(CHANCES, 4.2) as page:
        axes = page.axes[0]
        _groups(axes, table)
        axes.set_xlabel("predicted probability (mean of the group)")
        axes.set_ylabel(f"observed share of ones (n = {format_number(table['n'].sum())})")
        axes.legend(loc="upper left")
    return page.picture


def _groups(axes: Axes, table: pd.DataFrame) -> None:
    """Draw groups of chances beside the line on which they come true."""
    top = 1.05 * max(table["ci_high"].max(), table["predicted"].max())
    axes.plot([0, top], [0, top], color=theme.FAINT, linestyle="--", label="perfectly calibrated")
    _points(axes, table)
    axes.set_xlim(0, top)
    axes.set_ylim(0, top)


def _points(axes: Axes, table: pd.DataFrame) -> None:
    reach = [table["observed"] - table["ci_low"], table["ci_high"] - table["observed"]]
    size = format_number(round(table["n"].median()))
    axes.errorbar(
        table["predicted"],
        table["observed"],
        yerr=np.clip(reach, 0, None),
        fmt="o",
        color=theme.ACCENT,
        capsize=3,
        label=f"groups of about {size} rows, 95% interval",
    )


def _draw_class_calibration(table: pd.DataFrame) -> theme.Picture:
    mean = (table["predicted"] * table["n"]).groupby(table["class"], sort=False).sum()
    chosen = set(mean.nlargest(MOST_PANELS).index)
    names = [name for name in dict.fromkeys(table["class"]) if name in chosen]
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    with theme.open_sheet(CLASS_CHANCES, 0.9 + 2.3 * rows, rows, columns) as page:
        for axes, name in zip(page.axes, names, strict=False):
            _groups(axes, table[table["class"] == name])
            axes.set_title(f"class {name}")
        for axes in page.axes[len(names) :]:
            axes.set_axis_off()
        handles, labels = page.axes[0].get_legend_handles_labels()
        page.figure.legend(handles, labels, loc="outside upper left", ncols=2)
        page.figure.supxlabel("predicted probability of the class", fontsize=10)
        rows_each = format_number(table.loc[table["class"] == names[0], "n"].sum())
        page.figure.supylabel(f"observed share (n = {rows_each})", fontsize=10)
    return page.picture


def _draw_value_calibration(table: pd.DataFrame) -> theme.Picture:
    with theme.open_sheet(VALUES, 5.6, 2, sharex=True, height_ratios=[3, 2]) as page:
        top, bottom = page.axes
        ends = [table["predicted"].min(), table["predicted"].max()]
        top.plot(ends, ends, color=theme.FAINT, linestyle="--", label="perfectly calibrated")
        _points(top, table)
        top.set_ylabel(f"observed mean (n = {format_number(table['n'].sum())})")
        top.legend(loc="upper left")
        bottom.axhline(0, color=theme.FAINT, linestyle="--")
        x = table["predicted"]
        bottom.vlines(
            x, table["residual_low"], table["residual_high"], color=theme.ACCENT, linewidth=5,
            alpha=0.35, label="nine of ten rows of the group",
        )  # fmt: skip
        bottom.plot(x, table["observed"] - x, "o", color=theme.ACCENT, label="their mean")
        bottom.set_ylabel("outcome − prediction")
        bottom.set_xlabel("predicted value (mean of the group), in the target's units")
        page.figure.legend(*bottom.get_legend_handles_labels(), loc="outside upper right", ncols=2)
    return page.picture


def draw_outcomes(table: pd.DataFrame, metrics: pd.DataFrame) -> theme.Picture:
    """Return how predictions and outcomes go together: ROC curve, table of classes, or cells.

    ``table``: see ``task_curves.relate_outcomes``; ``metrics`` gives areas and numbers of rows.
    """
    if "fpr" in table:
        return _draw_roc_curve(table, metrics)
    return _draw_confusions(table) if "said" in table else _draw_cells(table)


def _draw_roc_curve(curve: pd.DataFrame, metrics: pd.DataFrame) -> theme.Picture:
    with theme.open_sheet(ROC, 4.2) as page:
        axes = page.axes[0]
        known = metrics.set_index("metric")
        area, low, high = known.loc["roc_auc", ["value", "ci_low", "ci_high"]].astype(float)
        label = f"AUC {area:.3f} [{low:.3f}, {high:.3f}]"
        axes.fill_between(
            curve["fpr"],
            curve["ci_low"],
            curve["ci_high"],
            color=theme.ACCENT,
            alpha=0.2,
            linewidth=0,
        )
        axes.plot(curve["fpr"], curve["tpr"], color=theme.ACCENT, label=label)
        axes.plot([0, 1], [0, 1], color=theme.FAINT, linestyle="--", label="guessing, AUC 0.5")
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        axes.set_xlabel("false-positive rate")
        axes.set_ylabel(f"true-positive rate (n = {format_number(known['value']['n_test'])})")
        axes.legend(loc="lower right")
    return page.picture


def _draw_confusions(table: pd.DataFrame) -> theme.Picture:
    sizes = table.groupby("came", sort=False)["n"].sum()
    chosen = set(sizes.nlargest(MOST_CLASSES).index)
    names = [name for name in sizes.index if name in chosen]
    shares = 100 * table.pivot_table(index="came", columns="said", values="share", dropna=False)
    shown = shares.reindex(index=names, columns=names).to_numpy(dtype=float)
    with theme.open_sheet(CONFUSIONS, 1.5 + 0.42 * len(names)) as page:
        axes = page.axes[0]
        axes.imshow(np.nan_to_num(shown), cmap=_PALE, vmin=0, vmax=100, aspect="auto")
        for (row, column), value in np.ndenumerate(shown):
            label = "–" if np.isnan(value) else f"{value:.0f}%"
            colour = "white" if value > 75 else theme.INK
            axes.text(column, row, label, ha="center", va="center", color=colour, fontsize=9)
        axes.set_xticks(range(len(names)), names, rotation=0 if len(names) < 7 else 35)
        axes.set_yticks(
            range(len(names)), [f"{name} (n = {format_number(sizes[name])})" for name in names]
        )
        axes.set_xlabel("likeliest class by the model")
        axes.set_ylabel("class that came")
        axes.grid(visible=False)
    return page.picture


def _draw_cells(table: pd.DataFrame) -> theme.Picture:
    with theme.open_sheet(CELLS, 4.6) as page:
        axes = page.axes[0]
        most = max(2.0, float(table["n"].max()))
        image = axes.scatter(
            table["predicted"],
            table["observed"],
            c=table["n"],
            marker="s",
            s=46,
            cmap="Blues",
            norm=LogNorm(0.5, most),
        )
        both = table[["predicted", "observed"]]
        ends = [both.min().max(), both.max().min()]
        axes.plot(ends, ends, color=theme.INK, linestyle="--", linewidth=1.2, label="comes true")
        axes.set_xlabel("predicted value, in the target's units")
        axes.set_ylabel(f"outcome (n = {format_number(table['n'].sum())})")
        axes.legend(loc="upper left")
        steps = [n for n in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 5000) if n <= most]
        bar = page.figure.colorbar(image, ax=axes, ticks=steps, format="%d")
        bar.minorticks_off()
        bar.set_label("rows in the cell")
    return page.picture


def draw_actions(table: pd.DataFrame, rows: int) -> theme.Picture:
    """Return what acting on predictions would bring: prices, sure rows, or sizes of errors.

    ``table``: see ``task_curves.weigh_actions``, of as many holdout ``rows``.
    """
    if "cost_per_1000" in table:
        return _draw_threshold_costs(table, rows)
    return _draw_sure_rows(table, rows) if "right_share" in table else _draw_errors(table, rows)


def _draw_threshold_costs(table: pd.DataFrame, rows: int) -> theme.Picture:
    cheapest = int(table["cost_per_1000"].to_numpy().argmin())
    threshold, cost = table[["threshold", "cost_per_1000"]].to_numpy(dtype=float)[cheapest]
    with theme.open_sheet(THRESHOLDS, 3.4) as page:
        axes = page.axes[0]
        axes.plot(
            table["threshold"], table["cost_per_1000"], color=theme.ACCENT, marker="o", markersize=4
        )
        axes.plot(threshold, cost, "*", color=theme.CURRENT, markersize=15)
        axes.annotate(
            f"cheapest: act from {threshold:.2f}",
            (threshold, cost),
            xytext=(0, -18),
            textcoords="offset points",
            ha="center",
            color=theme.INK,
        )
        axes.margins(y=0.2)
        axes.set_xlabel("decision threshold on the predicted probability")
        axes.set_ylabel(f"cost per 1,000 decisions\n(n = {format_number(rows)})")
    return page.picture


def _draw_sure_rows(table: pd.DataFrame, rows: int) -> theme.Picture:
    with theme.open_sheet(SURENESS, 3.4) as page:
        axes, x = page.axes[0], table["threshold"]
        low, high = 100 * table["ci_low"], 100 * table["ci_high"]
        axes.fill_between(x, low, high, color=theme.ACCENT, alpha=0.2, linewidth=0)
        axes.plot(x, 100 * table["right_share"], "-o", color=theme.ACCENT, ms=4, label="right")
        acted = 100 * table["acted_share"]
        axes.plot(x, acted, "--", color=theme.REFERENCE, label="acted on")
        axes.set_ylim(0, 103)
        axes.set_xlabel("act where the likeliest class has at least this probability")
        axes.set_ylabel(f"share of rows, %\n(n = {format_number(rows)})")
        axes.legend(loc="lower left")
    return page.picture


def _draw_errors(table: pd.DataFrame, rows: int) -> theme.Picture:
    with theme.open_sheet(ERRORS, 3.4) as page:
        axes, shares = page.axes[0], 100 * table["within"]
        axes.plot(shares, table["error"], "-o", color=theme.ACCENT, ms=4, label="this model")
        axes.plot(
            shares, table["no_skill_error"], "--", color=theme.REFERENCE,
            label="always the mean of the training rows",
        )  # fmt: skip
        axes.set_ylim(bottom=0)
        axes.set_xlabel(f"share of rows, % (n = {format_number(rows)})")
        axes.set_ylabel("have an error of at most\n(in the target's units)")
        axes.legend(loc="upper left")
    return page.picture
