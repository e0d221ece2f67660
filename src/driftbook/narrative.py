"""What each notebook says about its evidence, as Markdown made from tables and records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from driftbook.data.columns import Feature
from driftbook.model import scores
from driftbook.performance.estimated import explain_method
from driftbook.wording import (
    code,
    interval,
    listed,
    number,
    percent,
    prose,
    table,
    with_interval,
)

# Characters that every system font has; the word beside them carries the meaning.
ICONS = {"hold": "✓", "monitor": "◎", "retrain": "↻", "investigate": "⚠"}
MEANINGS = {
    "hold": "Keep serving the champion; nothing asks for action.",
    "monitor": "Keep serving the champion and look again after the next window.",
    "retrain": "Replace the champion by the challenger that this run trained.",
    "investigate": "Mend the data first; nothing is learnt or judged on broken columns.",
}


METRIC_LABELS = {
    "roc_auc": "ROC AUC",
    "accuracy": "accuracy",
    "log_loss": "log loss",
    "brier": "Brier loss",
    "calibration": "calibration",
    "n_train": "training rows",
    "n_test": "holdout rows",
}


def columns_table(look: pd.DataFrame) -> str:
    """Return the table of :func:`driftbook.model.exploration.describe_columns`."""
    return table(
        look,
        {
            "feature": "feature",
            "kind": "kind",
            "missing_share": "missing",
            "distinct": "distinct values",
            "low": "5th percentile",
            "typical": "median",
            "high": "95th percentile",
            "most_common": "commonest",
        },
    )


def parts_table(parts: pd.DataFrame) -> str:
    """Return the table of :func:`driftbook.model.exploration.describe_parts`."""
    return table(
        parts,
        {
            "part": "part",
            "rows": "rows",
            "first": "first",
            "last": "last",
            "labelled": "labelled",
            "positive_share": "share of ones",
        },
    )


def leakage_text(leaks: pd.DataFrame, shared: Mapping[str, float]) -> str:
    """Return what the leakage check found, in two sentences and a table."""
    suspects = list(leaks.loc[leaks["suspicious"], "feature"])
    best = leaks.iloc[0]
    if suspects:
        first = f"**Suspicious:** {listed(suspects)} alone nearly give the target away."
    else:
        first = (
            f"No feature alone gives the target away: the strongest, {code(best['feature'])}, "
            f"reaches an AUC of {number(best['auc_alone'])} on the holdout."
        )
    second = (
        f"{number(shared['shared'])} of {number(shared['rows'])} holdout rows "
        f"({percent(shared['share'])}) have an equal twin among the training rows."
    )
    heads = {
        "feature": "feature",
        "auc_alone": "AUC alone",
        "n": "rows",
        "suspicious": "suspicious",
    }
    return f"{first} {second}\n\n{table(leaks, heads)}"


def metrics_table(metrics: pd.DataFrame) -> str:
    """Return the evaluation metrics, each with its interval."""
    shown = with_interval(metrics).assign(
        metric=[METRIC_LABELS.get(m, m.replace("_", " ")) for m in metrics["metric"]]
    )
    return table(shown[["metric", "value"]], {"metric": "metric", "value": "value [95% interval]"})


def ranking_text(metrics: pd.DataFrame) -> str:
    """Return whether the model puts the right rows first, as the AUC's interval says."""
    auc = metrics[metrics["metric"] == "roc_auc"].to_dict("records")[0]
    found = f"{interval(auc['value'], auc['ci_low'], auc['ci_high'])}, where 0.5 is a coin"
    if scores.ranks_backwards(metrics):
        return (
            "**Finding: this model ranks backwards.** A row with the outcome scores *below* one "
            f"without it more often than above it (area under the ROC curve {found}). "
            "What it learnt does not hold in the rows that came next: find out what changed, or "
            "give it another reference, before anybody acts on its scores."
        )
    if auc["ci_low"] > 0.5:
        return f"It puts the right rows first more often than a coin would ({found})."
    return f"Whether it ranks rows better than a coin would, the holdout cannot tell ({found})."


def threshold_text(costs: pd.DataFrame, false_alarm_cost: float, miss_cost: float) -> str:
    """Return which threshold is cheapest at these costs, and what always or never acting costs."""
    best = costs.sort_values("cost_per_1000", kind="stable").iloc[0]
    return (
        f"With a false alarm at {number(false_alarm_cost)} and a miss at {number(miss_cost)}, "
        f"acting from a probability of **{best['threshold']:.2f}** is cheapest: "
        f"{number(best['cost_per_1000'])} per 1,000 decisions, with precision "
        f"{percent(best['precision'])} and recall {percent(best['recall'])}."
    )


def decision_box(decision: Mapping[str, Any]) -> str:
    """Return action, why, evidence and what would reverse it, as Markdown for notebook and page."""
    action = str(decision["action"])
    lines = [
        f'<div class="db-decision db-decision-{action}">',
        "",
        f"**{ICONS[action]} {action.capitalize()}.** {MEANINGS[action]}",
        "",
        f"**Why:** {prose(str(decision['reason']))}",
        "",
        _place(decision),
        "",
        reverses(decision.get("reverses") or []),
        "",
        "</div>",
    ]
    return "\n".join(lines)


def _place(decision: Mapping[str, Any]) -> str:
    return (
        f"**Window** {decision.get('window') or '–'} · "
        f"**champion** `{decision['model_version']}` · "
        f"**drifted features** {listed(decision.get('drifted_features') or [])}"
    )


def reverses(conditions: Sequence[str]) -> str:
    """Return what would turn the decision around, as a list."""
    if not conditions:
        return "**What would reverse it:** nothing that this run can name."
    return "**What would reverse it:**\n\n" + "\n".join(f"- {prose(c)}" for c in conditions)


def quality_text(faults: pd.DataFrame) -> str:
    """Return the data-quality findings as a table, or that there are none."""
    heads = {
        "feature": "column",
        "fault": "finding",
        "severity": "severity",
        "reference_value": "in the reference",
        "current_value": "now",
        "detail": "detail",
    }
    return table(faults, heads, empty="No fault was found: every column is sound.")


def drift_text(report: pd.DataFrame) -> str:
    """Return in words which features drifted, the largest change, and whether it matters."""
    own = report[~report["kind"].isin(["prediction", "joint"])]
    flagged = own[own["drift_flag"].fillna(False).astype(bool)]
    if flagged.empty:
        return f"**No feature is flagged**, out of {len(own)}."
    largest = flagged.sort_values("effect", key=abs, ascending=False, na_position="last").iloc[0]
    matters = list(report.loc[report["matters"].fillna(False).astype(bool), "feature"])
    return (
        f"**{len(flagged)} of {len(own)} features are flagged:** "
        f"{listed(list(flagged['feature']))}. "
        f"The largest change is in {code(largest['feature'])}, with an effect of "
        f"{interval(largest['effect'], largest['effect_low'], largest['effect_high'])} "
        f"and a PSI of {number(largest['psi'])}. Drift that matters: {listed(matters)}."
    )


def drift_table(report: pd.DataFrame) -> str:
    """Return the drift report with readable headings."""
    shown = report.assign(
        value=report["effect"], ci_low=report["effect_low"], ci_high=report["effect_high"]
    )
    heads = {
        "feature": "column",
        "status": "status",
        "value": "effect [interval]",
        "psi": "PSI",
        "ks_stat": "KS",
        "pvalue_adjusted": "p, corrected",
        "drift_flag": "flagged",
        "matters": "matters",
    }
    return table(with_interval(shown), heads)


def flagged_features(report: pd.DataFrame, features: Sequence[Feature]) -> list[Feature]:
    """Return the model's features that the report flags, largest effect first."""
    flagged = report[report["drift_flag"].fillna(False).astype(bool)]
    order = list(flagged.sort_values("effect", key=abs, ascending=False)["feature"])
    known = {feature.name: feature for feature in features}
    return [known[name] for name in order if name in known]


def performance_table(performance: pd.DataFrame) -> str:
    """Return performance now, its baseline, the change and the verdict; then the estimates."""
    if performance.empty:
        return "Performance was not judged."
    judged = performance[performance["basis"] != "alternative"]
    rows = [
        {
            "metric": row["metric"].replace("_", " "),
            "basis": row["basis"],
            "verdict": _verdict(row),
            "now": interval(row["value"], row["ci_low"], row["ci_high"]),
            "baseline": interval(row["baseline"], row["baseline_low"], row["baseline_high"]),
            "change": interval(row["change"], row["change_low"], row["change_high"]),
        }
        for _, row in judged.iterrows()
    ]
    shown = table(pd.DataFrame(rows), markup=["verdict"])
    counts = performance[(performance["basis"] == "estimated") & (performance["status"] == "ok")]
    if counts.empty:
        return shown
    why = explain_method(str(counts["method"].iloc[0]))
    return f"{shown}\n\n{why}\n\n{_methods_table(performance)}"


def _methods_table(performance: pd.DataFrame) -> str:
    """Return what each method estimates, a row a method with the chosen one first."""
    known = performance[performance["basis"].isin(["estimated", "alternative"])]
    values = known.pivot_table(index="method", columns="metric", values="value", sort=False)
    rows = values.map(number).rename(columns=METRIC_LABELS).reset_index()
    rows["method"] = [
        f"{m} (chosen)" if b == "estimated" else m
        for m, b in known.drop_duplicates("method")[["method", "basis"]].itertuples(index=False)
    ]
    return table(rows)


def _verdict(row: pd.Series) -> str:
    if row["status"] != "ok":
        return str(row["status"]).replace("_", " ")
    return "**worse**" if bool(row["worse"]) else "no worse"


def decomposition_table(parts: pd.DataFrame) -> str:
    """Return the parts of the change of Brier loss, each with its interval and verdict."""
    words = {True: "**beyond chance**", False: "within chance"}
    shown = parts.rename(columns={"change": "value"}).assign(
        verdict=parts["beyond_chance"].map(words).where(parts["status"] == "ok", parts["status"])
    )
    shown["verdict"] = shown["verdict"].str.replace("_", " ")
    heads = {"part": "part", "value": "change of Brier loss [95% interval]", "verdict": "verdict"}
    joined = with_interval(shown, "change_low", "change_high")
    return table(joined, heads, empty="The change was not split.", markup=["verdict"])


def candidates(recommendation: Mapping[str, Any]) -> pd.DataFrame:
    """Return the graded challengers of a recommendation; no rows when none was trained."""
    challenger = recommendation["evidence"]["challenger"] or {}
    return pd.DataFrame(challenger.get("candidates") or [])


def economics_text(evidence: Mapping[str, Any]) -> str:
    """Return the economics of a retrain in words: price, windows credited, break-even, gain."""
    terms, best = evidence["economics"], evidence["challenger"]
    windows = terms["horizon"] if best is None else best["windows"]
    price = (
        f"A retrain costs {number(terms['retrain_cost'])}; one unit of mean Brier loss costs "
        f"{number(terms['error_cost'])} in each window. Credited over {number(windows)} "
        f"window{'' if windows == 1 else 's'}, a retrain breaks even at a gain of "
        f"**{number(terms['break_even_gain'])}** a row."
    )
    if best is None:
        return f"{price} No challenger was looked at."
    gain = interval(best["gain"], best["gain_low"], best["gain_high"])
    verdict = "pays" if best["pays"] else "is not sure to pay"
    measured = number(best.get("measured", best["gain"]))
    return (
        f"{price} In this window newer fits lose {measured} less than the champion on "
        f"{number(best['n_gate'])} rows that they had not seen; of that, and of the windows "
        f"before, {gain} is expected to last. A retrain by the recipe {code(best['recipe'])}, on "
        f"{number(best['n_train'])} rows, **{verdict}**. {_age(best)}"
    )


def _age(best: Mapping[str, Any]) -> str:
    grows = f"a champion's gap grows by {number(best['staleness'])} a window of age"
    if best["stale"] and best["gain"] > 0:
        return f"The champion is stale: newer fits do better; {grows}."
    if best["stale"]:
        return f"Models go stale here, but this champion is not behind now; {grows}."
    return f"The champion is not stale; {grows}."


def record_text(file: str, challenger: str | None) -> str:
    """Return what was written down, and which version waits for its promotion."""
    waits = f"{code(challenger)} waits for its promotion" if challenger else "nobody is proposed"
    return f"Written to {code(file)}; {waits}."


def checks_table(checks: Mapping[str, Any]) -> str:
    """Return the serving checks as a table under one sentence that says whether all passed."""
    rows = pd.DataFrame(checks["checks"])
    passed = int(rows["passed"].sum())
    state = "All" if passed == len(rows) else f"**Only {passed} of**"
    names = {"name": "check", "expected": "expected", "found": "answer", "passed": "passed"}
    return f"{state} {len(rows)} checks passed.\n\n{table(rows, names)}"
