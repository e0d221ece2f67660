"""What each notebook says about its evidence, as Markdown: values for the templates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from driftbook.site.figures.theme import ShownColumn
from driftbook.words import (
    format_number,
    join_interval,
    name_metric,
    name_recipe,
    render_words,
)

OURS, BEST = "driftbook", "hindsight"
# Policies that need no monitor at all: the first question is whether ours beats them.
PLAIN, NEAR = ("never", "always"), 0.01
# How often an owner who acts on classes may want to be right: a convention.
RIGHT_ENOUGH = 0.9
ALARM_COLUMNS = ["source", "aspect", "raised", "share", "since", "more"]


def list_windows(names: Sequence[str], judged: str | None = None) -> str:
    """Return which windows the data have, and which one is looked at."""
    return render_words("windows.md.j2", names=names, judged=judged)


def describe_leakage(leaks: pd.DataFrame, shared: Mapping[str, float]) -> str:
    """Return what the leakage check found, in two sentences and a table."""
    return render_words(
        "leakage.md.j2",
        suspects=list(leaks.loc[leaks["suspicious"], "feature"]),
        strongest=leaks.iloc[0].to_dict(),
        shared=shared,
        leaks=leaks,
    )


def describe_metrics(metrics: pd.DataFrame) -> str:
    """Return the evaluation metrics, each with its interval, beside those of no skill at all."""
    named = metrics.assign(
        metric=metrics["metric"].map(name_metric), no_skill=metrics["no_skill"].round(6)
    )
    return render_words("metrics.md.j2", metrics=named, values="r2" in set(metrics["metric"]))


def describe_ranking(task: str, metrics: pd.DataFrame, backwards: bool) -> str:
    """Return whether the model is better than none; ``backwards``: it surely is worse."""
    judging = "r2" if task == "regression" else "roc_auc"
    found = metrics[metrics["metric"] == judging].to_dict("records")[0]
    return render_words("ranking.md.j2", task=task, found=found, backwards=backwards)


def describe_actions(
    actions: pd.DataFrame, classes: pd.DataFrame, false_alarm_cost: float, miss_cost: float
) -> str:
    """Return what acting on predictions would bring, in words; of several classes each one's too.

    ``actions`` and ``classes``: tables of ``task_curves.weigh_actions`` and ``describe_classes``.
    """
    cheapest = right = None
    if "cost_per_1000" in actions:
        cheapest = actions.sort_values("cost_per_1000", kind="stable").iloc[0].to_dict()
    elif "right_share" in actions:
        sure = actions[actions["right_share"] >= RIGHT_ENOUGH]
        right = sure.iloc[0].to_dict() if len(sure) else None
    return render_words(
        "acting.md.j2",
        cheapest=cheapest,
        false_alarm_cost=false_alarm_cost,
        miss_cost=miss_cost,
        everywhere=actions.iloc[0].to_dict(),
        right=right,
        wanted=RIGHT_ENOUGH,
        errors=actions.set_index("within").to_dict("index") if "within" in actions else {},
        classes=classes,
    )


def summarise_drift(report: pd.DataFrame) -> dict[str, Any]:
    """Return what sentences on drift need: how many features, the flagged ones, what matters."""
    if report.empty:
        nothing: dict[str, Any] = {key: [] for key in ("flagged", "largest", "matters", "proven")}
        nothing |= {"accepted": [], "seasonal": [], "has_season": False}
        return {"drift_judged": False, "features": 0, **nothing}
    own = report[~report["kind"].isin(["prediction", "joint"])]
    flagged = _flagged(own)
    matters = report["matters"].fillna(False).astype(bool)
    return {
        "drift_judged": True,
        "features": len(own),
        "flagged": list(flagged["feature"]),
        "largest": _largest_first(flagged).to_dict("records"),
        "matters": list(report.loc[matters, "feature"]),
        "proven": list(report.loc[_proven(report), "feature"]),
        "accepted": list(report.loc[_read_flags(report, "accepted"), "feature"]),
        "seasonal": list(report.loc[_read_flags(report, "seasonal"), "feature"]),
        "has_season": "season_effect" in report and bool(report["season_effect"].notna().any()),
    }


def _read_flags(report: pd.DataFrame, name: str) -> pd.Series:
    """Return a column of flags, none set where an older run did not write it."""
    return report[name].fillna(False).astype(bool) if name in report else report["matters"] & False


def tabulate_alarms(recommendation: Mapping[str, Any]) -> pd.DataFrame:
    """Return a row a source of evidence, the one nearest to its alarm, the surest first.

    ``share``: how far it has come to the threshold, 1 at an alarm, on a scale of logarithms.
    """
    found = pd.DataFrame(recommendation["evidence"].get("alarms") or [], columns=ALARM_COLUMNS)
    # What is not raised although its evidence is large is harmless to the model.
    harmless = ~found["raised"].astype(bool) & (found["share"] >= 1.0)
    found = found[~harmless].sort_values(["raised", "share"], ascending=False, kind="stable")
    return found.drop_duplicates("source").reset_index(drop=True)


def describe_alarms(recommendation: Mapping[str, Any]) -> str:
    """Return in words what all windows since the reference prove, and what comes nearest to it."""
    found = tabulate_alarms(recommendation)
    raised = found[found["raised"].astype(bool)]
    rest = found[~found["raised"].astype(bool) & (found["share"] > 0.0)]
    return render_words(
        "alarms.md.j2",
        raised=raised.to_dict("records"),
        nearest=rest.iloc[0].to_dict() if len(rest) else None,
        false_alarms=recommendation["evidence"]["economics"]["false_alarms"],
    )


def _proven(report: pd.DataFrame) -> pd.Series:
    """Return by row whether an alarm is raised; runs of an earlier release knew what matters."""
    return report["alarm" if "alarm" in report else "matters"].fillna(False).astype(bool)


def _flagged(report: pd.DataFrame) -> pd.DataFrame:
    return report[report["drift_flag"].fillna(False).astype(bool)]


def _largest_first(report: pd.DataFrame) -> pd.DataFrame:
    return report.sort_values("effect", key=abs, ascending=False, na_position="last")


def describe_drift(report: pd.DataFrame) -> str:
    """Return in words which features drifted, the largest change, and whether it matters."""
    return render_words("drift.md.j2", **summarise_drift(report))


def select_flagged_features(
    report: pd.DataFrame, features: Sequence[ShownColumn]
) -> list[ShownColumn]:
    """Return the model's features that the report flags, largest effect first."""
    known = {feature.name: feature for feature in features}
    order = _largest_first(_flagged(report))["feature"]
    return [known[name] for name in order if name in known]


def describe_segments(segments: pd.DataFrame) -> str:
    """Return where the loss is surely worse, and the table of all segments, the worst first."""
    shown = join_interval(segments, "change", "change_low", "change_high")
    return render_words(
        "segments.md.j2",
        rows=len(segments),
        worse=segments[segments["verdict"] == "worse"].to_dict("records"),
        table=shown,
    )


def describe_causes(parts: pd.DataFrame, loss: str) -> str:
    """Return the parts of the change of ``loss``, each with its interval and verdict."""
    words = parts["beyond_chance"].map({True: "beyond_chance", False: "within_chance"})
    verdict = words.where(parts["status"] == "ok", parts["status"])
    return render_words("causes.md.j2", parts=parts.assign(verdict=verdict), loss=loss)


def tabulate_candidates(recommendation: Mapping[str, Any]) -> pd.DataFrame:
    """Return the graded challengers of a recommendation; no rows when none was trained."""
    challenger = recommendation["evidence"]["challenger"] or {}
    return pd.DataFrame(challenger.get("candidates") or [])


def describe_economics(recommendation: Mapping[str, Any]) -> str:
    """Return the economics of a retrain in words: price, windows credited, break-even, gain."""
    evidence = recommendation["evidence"]
    return render_words(
        "economics.md.j2",
        terms=evidence["economics"],
        best=evidence["challenger"],
        loss=recommendation.get("loss", "brier"),
    )


def describe_checks(checks: Mapping[str, Any]) -> str:
    """Return the serving checks as a table under one sentence that says whether all passed."""
    rows = pd.DataFrame(checks["checks"], columns=["name", "expected", "found", "passed"])
    return render_words("checks.md.j2", checks=rows, passed=int(rows["passed"].sum()))


def describe_policies(policies: pd.DataFrame, loss: str, notes: Sequence[str] = ()) -> str:
    """Return how this policy did against hindsight and the next best, and the table.

    ``notes``: which policies could not be replayed, and why.
    """
    order = policies.sort_values("total_cost", kind="stable", ignore_index=True)
    rows = order.to_dict("records")
    shown = order.assign(total_cost=[format_number(cost, 4) for cost in order["total_cost"]])
    return render_words(
        "backtest_policies.md.j2",
        ours=next(row for row in rows if row["policy"] == OURS),
        rival=next((row for row in rows if row["policy"] not in (OURS, BEST)), None),
        policies=shown.rename(columns={"excess": "excess_share"}),
        notes=notes,
        loss=loss,
    )


def describe_schedule(schedule: pd.DataFrame, loss: str) -> str:
    """Return what this policy would have done before each window, and why."""
    own = schedule[schedule["policy"] == OURS]
    served = own["window"].astype(str) + ", " + own["recipe"].map(name_recipe)
    gains = [
        format_number(gain) + ("" if pd.isna(gain) else f" ({format_number(even)})")
        for gain, even in zip(own["gain"], own["break_even"], strict=True)
    ]
    shown = own.assign(served=served, gain=gains)
    return render_words("backtest_schedule.md.j2", schedule=shown, loss=loss)


def describe_prices(costs: pd.DataFrame) -> str:
    """Return which policy is cheapest at each price of a retrain, and how ours does there."""
    best = costs[costs["cheapest"].astype(bool)].drop_duplicates("retrain_cost")
    ours = costs[costs["policy"] == OURS].set_index("retrain_cost")["excess"]
    prices = best.assign(share=best["excess"], our_share=best["retrain_cost"].map(ours))
    return render_words("backtest_prices.md.j2", prices=prices)


def describe_verdict(costs: pd.DataFrame, price: float) -> str:
    """Return whether this policy would have served, and at which prices the answer changes.

    ``costs``: the policies' totals at several prices of a retrain, as the backtest gives them;
    ``price``: the one in the settings. It served where neither never nor always retraining, which
    need no monitor, was cheaper by more than 1% of hindsight's cost (a convention). Every other
    policy that did as well is named.
    """
    excess = costs.pivot_table(index="retrain_cost", columns="policy", values="excess").sort_index()
    plain = excess[list(PLAIN)]
    served = excess[OURS] <= plain.min(axis=1) + NEAR
    at = excess.index[int(np.argmin(np.abs(excess.index - price)))]
    turned = [
        {"price": p, "cheaper": None if served[p] else plain.loc[p].idxmin()}
        for p in excess.index
        if served[p] != served[at]
    ]
    return render_words(
        "backtest_verdict.md.j2",
        served=bool(served[at]),
        price=price,
        ours=excess.loc[at, OURS],
        plain=plain.loc[at].to_dict(),
        rivals=_find_rivals(excess.loc[at]),
        prices=list(excess.index),
        turned=turned,
    )


def _find_rivals(excess: pd.Series) -> dict[str, float]:
    """Return the policies of foresight, other than ours and the plain ones, that did as well."""
    others = excess[[name for name in excess.index if not str(name).startswith((BEST, "best "))]]
    others = others.drop([OURS, *PLAIN], errors="ignore").sort_values()
    return {str(name): float(value) for name, value in others.items() if value <= excess[OURS]}
