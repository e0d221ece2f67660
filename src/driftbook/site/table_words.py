"""Tables of pages: the verdict first, what an owner asks next to it, everything else in a fold."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import pandas as pd

from driftbook.words import (
    escape_markup,
    format_code,
    format_percent,
    name_metric,
    render_words,
)

# How the performance table names the class that its calibration is about.
CLASS_METHOD = "labels, class "
# The metric that is no score: without any model there is nothing to compare it with.
CALIBRATION = "calibration"
# The verdict on a column by the flag of the drift report that gives it, the strongest first.
VERDICTS = {
    "alarm": "alarm", "seasonal": "season", "matters": "matters", "drift_flag": "flagged"
}  # fmt: skip


def describe_split(parts: pd.DataFrame) -> str:
    """Return which rows went where as a table; ``parts``: see ``exploration.describe_parts``."""
    spans = [
        _name_span(first, last) for first, last in zip(parts["first"], parts["last"], strict=True)
    ]
    dated = any(span != "–" for span in spans)
    return render_words("parts.md.j2", parts=parts.assign(span=spans) if dated else parts)


def _name_span(first: object, last: object) -> str:
    """Return a time span without seconds, and without the time of a midnight."""
    ends = [str(end).removesuffix(":00") for end in (first, last)]
    if not all(ends):
        return "–"
    return " to ".join(end.removesuffix(" 00:00") for end in ends)


def describe_changes(report: pd.DataFrame, opens: Collection[str] = ()) -> str:
    """Return the drift report as a table, one verdict a column; those in ``opens`` have a fold."""
    rows = report.sort_values("effect", key=abs, ascending=False, na_position="last")
    names = [
        f"[{escape_markup(name)}](#{name_fold(name)})" if name in opens else format_code(name)
        for name in rows["feature"]
    ]
    verdicts = [choose_verdict(row) for row in rows.to_dict("records")]
    shown = rows.assign(feature=names, verdict=verdicts, importance_share=rows["importance"])
    return render_words("drift_table.md.j2", rows=shown)


def describe_tests(report: pd.DataFrame) -> str:
    """Return the tests that the verdicts on the columns rest on, as a table in a fold."""
    rows = report.sort_values("effect", key=abs, ascending=False, na_position="last")
    shown = rows.assign(feature=rows["feature"].map(format_code))
    gaps = [name for name in ("missing_reference", "missing_current") if name in rows]
    if len(gaps) == 2 and (rows[gaps] > 0).any(axis=None):
        ends = zip(*(rows[name].map(format_percent) for name in gaps), strict=True)
        shown = shown.assign(missing=[" → ".join(pair) for pair in ends])
    return render_words("drift_tests.md.j2", rows=shown)


def name_fold(feature: str) -> str:
    """Return the identifier of a feature's fold.

    >>> name_fold("wind speed (m/s)")
    'feature-wind-speed-m-s'
    """
    kept = "".join(sign if sign.isalnum() else " " for sign in feature.lower())
    return "feature-" + "-".join(kept.split())


def choose_verdict(row: Mapping[Any, Any]) -> str:
    """Return the key of a drift row's verdict in the templates, or why there is none."""
    if row["status"] != "ok":
        return str(row["status"]).replace("_", " ")
    return next((verdict for flag, verdict in VERDICTS.items() if _is_set(row.get(flag))), "still")


def _is_set(flag: object) -> bool:
    # Runs of an earlier release lack a column; a flag that could not be had is NaN or None.
    return flag is not None and flag == flag and bool(flag)


def describe_performance(performance: pd.DataFrame) -> str:
    """Return performance now beside what no model would score, its change and the verdict.

    Realised rows where labels are known, else estimated ones; all rows and methods in a fold.
    """
    judged, methods, method, moved = performance, performance, None, None
    if len(performance):
        judged = performance[performance["basis"] != "alternative"]
        judged = judged.assign(
            verdict=[_verdict(row) for row in judged.to_dict("records")],
            metric=judged["metric"].map(name_metric),
        )
        counts = performance[performance["basis"].eq("estimated") & performance["status"].eq("ok")]
        method = None if counts.empty else str(counts["method"].iloc[0])
        methods = performance[performance["basis"].isin(["estimated", "alternative"])]
        values = methods.pivot_table(index="method", columns="metric", values="value", sort=False)
        methods = values.rename(columns=name_metric).reset_index()
        moved = _find_moved_class(performance)
    shown, rest = split_counting(judged)
    return render_words(
        "performance.md.j2",
        shown=shown,
        realised=len(shown) > 0 and shown["basis"].iloc[0] != "estimated",
        rest=rest,
        judged=judged,
        methods=methods,
        method=method,
        moved=moved,
        in_variance=len(performance) > 0 and "squared_error" in set(performance["metric"]),
    )


def describe_loss_now(performance: pd.DataFrame, loss: str) -> str:
    """Return in words how the loss that decides stands to its baseline and to no model at all."""
    known = performance[performance["status"].eq("ok")] if len(performance) else performance
    of_loss = known[known["metric"].eq(loss)] if len(known) else known
    shown, _ = split_counting(of_loss)
    return render_words(
        "loss_now.md.j2", now=shown.iloc[0].to_dict() if len(shown) else None, loss=loss
    )


def split_counting(judged: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows that count, and the estimates that gave way to labels."""
    if judged.empty:
        return judged, judged
    estimated = judged["basis"].eq("estimated")
    measured = judged["basis"].eq("realised") & judged["status"].eq("ok")
    if not measured.any():
        return judged[estimated], judged[~estimated]
    return judged[~estimated], judged[estimated]


def _find_moved_class(performance: pd.DataFrame) -> str | None:
    classed = performance["method"].fillna("").str.partition(CLASS_METHOD)
    moved = list(classed[2][performance["metric"].eq(CALIBRATION) & classed[1].ne("")])
    return moved[0] if moved else None


def _verdict(row: Mapping[Any, Any]) -> str:
    if row["status"] != "ok":
        return str(row["status"]).replace("_", " ")
    return row["verdict"] if isinstance(row["verdict"], str) else "no baseline"
