"""The default run as a plain script: pandas, SciPy and scikit-learn, no package for monitoring.

Called with the flights (Parquet), the window to judge and a folder, it reads the rows once, fits
what a run fits first (a logistic regression on scaled columns, one for its calibration, one on
all rows of the first two months), describes data and model, compares every later month with the
reference (KS, PSI, change of mean and spread), fits a newer model before each of them and seven
candidates before the last, and writes the CSV files that a run writes, with the same columns
wherever it has the numbers. What nobody writes by hand is left out: one weighted fit says what is
expected without labels where Driftbook asks several methods of six graded windows; intervals are
textbook formulas; nothing is bootstrapped, drawn, hashed, served or kept in a registry.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, brier_score_loss, log_loss, roc_auc_score, roc_curve
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

COLUMNS = ["hour", "distance", "temp", "dewp", "humid", "wind_speed", "precip", "visib"]
TARGET, TIME = "delayed", "time_hour"
HOLDOUT = 0.25
METRICS = {
    "roc_auc": roc_auc_score,
    "accuracy": lambda y, p: accuracy_score(y, p >= 0.5),
    "log_loss": log_loss,
    "brier": brier_score_loss,
}


class Fitted:
    """A pipeline and the sigmoid on its log odds."""

    def __init__(self, pipeline: Pipeline, sigmoid: LogisticRegression | None) -> None:
        self.pipeline, self.sigmoid = pipeline, sigmoid

    def predict(self, rows: pd.DataFrame) -> Any:
        score = self.pipeline.decision_function(rows[COLUMNS])
        if self.sigmoid is None:
            return 1 / (1 + np.exp(-score))
        return self.sigmoid.predict_proba(score[:, None])[:, 1]


def fit_bare(rows: pd.DataFrame, weights: Any = None) -> Pipeline:
    made = make_pipeline(
        SimpleImputer(strategy="median"), StandardScaler(), LogisticRegression(max_iter=1000)
    )
    return made.fit(rows[COLUMNS], rows[TARGET], logisticregression__sample_weight=weights)


def fit_sigmoid(pipeline: Pipeline, rows: pd.DataFrame) -> LogisticRegression:
    score = pipeline.decision_function(rows[COLUMNS])
    return LogisticRegression().fit(score[:, None], rows[TARGET])


def fit_calibrated(rows: pd.DataFrame, weights: Any = None) -> Fitted:
    start = int(len(rows) * (1 - HOLDOUT))
    before = None if weights is None else weights[:start]
    sigmoid = fit_sigmoid(fit_bare(rows.iloc[:start], before), rows.iloc[start:])
    return Fitted(fit_bare(rows, weights), sigmoid)


def fit_champion(reference: pd.DataFrame) -> tuple[Fitted, Fitted, pd.DataFrame]:
    """Return the fit that is graded, the one that serves, and the rows that grade."""
    start = int(len(reference) * (1 - HOLDOUT))
    training, holdout = reference.iloc[:start], reference.iloc[start:]
    graded = fit_calibrated(training)
    served = Fitted(fit_bare(reference), fit_sigmoid(graded.pipeline, holdout))
    return graded, served, holdout


def interval(name: str, y: Any, p: Any) -> tuple[float, float, float]:
    value, n = float(METRICS[name](y, p)), len(y)
    if name == "roc_auc":  # Hanley and McNeil (1982)
        ones, zeros = y.sum(), n - y.sum()
        q1, q2 = value / (2 - value), 2 * value**2 / (1 + value)
        spread = value * (1 - value) + (ones - 1) * (q1 - value**2) + (zeros - 1) * (q2 - value**2)
        error = np.sqrt(spread / (ones * zeros))
    elif name == "accuracy":
        error = np.sqrt(value * (1 - value) / n)
    else:
        likely = np.where(y == 1, p, 1 - p)
        error = (np.square(1 - likely) if name == "brier" else -np.log(likely)).std() / np.sqrt(n)
    return value, value - 1.96 * error, value + 1.96 * error


def compare(name: str, before: Any, now: Any) -> dict[str, Any]:
    before, now = before[~np.isnan(before)], now[~np.isnan(now)]
    cuts = np.unique(np.quantile(before, np.linspace(0, 1, 11)))
    cuts[0], cuts[-1] = -np.inf, np.inf
    p, q = (np.histogram(values, cuts)[0] / len(values) + 1e-6 for values in (before, now))
    found = stats.ks_2samp(before, now, method="asymp")
    sd = before.std()
    effect = (now.mean() - before.mean()) / sd
    error = np.sqrt(1 / len(before) + (now.std() / sd) ** 2 / len(now))
    return {
        "feature": name,
        "kind": "numeric",
        "status": "ok",
        "ks_stat": found.statistic,
        "ks_pvalue": found.pvalue,
        "psi": float(np.sum((q - p) * np.log(q / p))),
        "effect": effect,
        "effect_low": effect - 1.96 * error,
        "effect_high": effect + 1.96 * error,
        "spread": np.log(now.std() / sd),
        "n_reference": len(before),
        "n_current": len(now),
    }


def main(source: Path, window: str, out: Path) -> None:
    frame = pd.read_parquet(source, columns=[TIME, *COLUMNS, TARGET])
    month = frame[TIME].dt.strftime("%Y-%m").to_numpy()
    starts = np.flatnonzero(np.append(True, month[1:] != month[:-1]))
    stops = np.append(starts[1:], len(frame))
    windows = {month[a]: (a, b) for a, b in zip(starts, stops, strict=True)}
    names = list(windows)
    reference = frame.iloc[: windows[names[1]][1]]
    a, b = windows[window]
    current = frame.iloc[a:b]
    later = names[2 : names.index(window) + 1]

    def write(path: str, table: Any) -> None:
        place = out / path
        place.parent.mkdir(parents=True, exist_ok=True)
        pd.DataFrame(table).assign(model_version="plain").to_csv(place, index=False)

    graded, served, holdout = fit_champion(reference)
    training = reference.iloc[: len(reference) - len(holdout)]
    y, p = holdout[TARGET].to_numpy(), graded.predict(holdout)

    # 01: data and model
    told = reference[COLUMNS].describe(percentiles=[0.05, 0.5, 0.95]).T
    told["missing"], told["distinct"] = (
        reference[COLUMNS].isna().sum(),
        reference[COLUMNS].nunique(),
    )
    write("metrics/columns.csv", told.rename_axis("feature").reset_index())
    write("metrics/correlation.csv", reference[COLUMNS].corr().rename_axis("feature").reset_index())
    links = []
    for name in COLUMNS:
        r = reference[name].corr(reference[TARGET])
        z, half = np.arctanh(r), 1.96 / np.sqrt(len(reference) - 3)
        links.append((name, "correlation", r, np.tanh(z - half), np.tanh(z + half)))
    write(
        "metrics/associations.csv",
        pd.DataFrame(links, columns=["feature", "measure", "value", "ci_low", "ci_high"]),
    )
    parts = {"training": training, "holdout": holdout, "window under judgement": current}
    write(
        "metrics/parts.csv",
        [
            {
                "part": name,
                "rows": len(rows),
                "first": rows[TIME].min(),
                "last": rows[TIME].max(),
                "positive_share": rows[TARGET].mean(),
            }
            for name, rows in parts.items()
        ],
    )
    shared = len(training.merge(holdout.drop_duplicates(), on=[*COLUMNS, TARGET]))
    alone = [
        (name, roc_auc_score(y, holdout[name].fillna(holdout[name].median())), shared)
        for name in COLUMNS
    ]
    write("metrics/leakage.csv", pd.DataFrame(alone, columns=["feature", "alone", "shared_rows"]))
    known = {name: interval(name, y, p) for name in METRICS}
    summary = [(name, *values) for name, values in known.items()]
    counts = [("n_train", len(training), None, None), ("n_test", len(holdout), None, None)]
    shown = pd.DataFrame([*summary, *counts], columns=["metric", "value", "ci_low", "ci_high"])
    write("metrics/train_eval_summary.csv", shown)
    tenth = pd.qcut(p, 10, duplicates="drop")
    groups = pd.DataFrame({"y": y, "p": p}).groupby(tenth, observed=True)
    bins = groups.agg(predicted=("p", "mean"), observed=("y", "mean"), n=("y", "size"))
    write("metrics/calibration.csv", bins.reset_index(drop=True))
    said = pd.DataFrame({"time": holdout[TIME], "outcome": y, "prediction": p})
    write("metrics/holdout_predictions.csv", said.rename_axis("row").reset_index())
    fpr, tpr, _ = roc_curve(y, p)
    grid = np.linspace(0, 1, 101)
    write("metrics/outcomes.csv", {"fpr": grid, "tpr": np.interp(grid, fpr, tpr)})
    actions = []
    for cut in np.arange(0.05, 1.0, 0.05):
        alarm = p >= cut
        hits, misses = int((alarm & (y == 1)).sum()), int((~alarm & (y == 1)).sum())
        false = int(alarm.sum()) - hits
        cost = 1000 * (false + 3 * misses) / len(y)
        actions.append((cut, int(alarm.sum()), hits, false, misses, cost))
    columns = ["threshold", "alarms", "hits", "false_alarms", "misses", "cost_per_1000"]
    write("metrics/actions.csv", pd.DataFrame(actions, columns=columns))

    # 02: drift of every later window; the last one in full
    before = {name: reference[name].to_numpy(dtype=float) for name in COLUMNS}
    effects, report = [], pd.DataFrame()
    for name in later:
        start, stop = windows[name]
        now = frame.iloc[start:stop]
        report = pd.DataFrame(
            [
                compare(column, before[column], now[column].to_numpy(dtype=float))
                for column in COLUMNS
            ]
        )
        effects.append(report.assign(window=name))
    table = pd.concat(effects)
    write(
        "drift/effects_by_window.csv", table[["window", "feature", "effect", "spread", "n_current"]]
    )
    rng, base = np.random.default_rng(0), brier_score_loss(y, p)
    few = holdout.iloc[np.sort(rng.choice(len(holdout), 4000, replace=False))]
    report["importance"] = [
        brier_score_loss(few[TARGET], graded.predict(few.assign(**{c: rng.permutation(few[c])})))
        - base
        for c in COLUMNS
    ]
    report["pvalue_adjusted"] = stats.false_discovery_control(report["ks_pvalue"])
    report["drift_flag"] = report["pvalue_adjusted"].lt(0.033) & report["effect"].abs().gt(0.055)
    write("drift/drift_report.csv", report.sort_values("effect", key=np.abs, ascending=False))
    faults = pd.DataFrame(
        {"feature": COLUMNS, "missing": current[COLUMNS].isna().mean().to_numpy()}
    )
    faults["constant"] = current[COLUMNS].nunique().le(1).to_numpy()
    write("drift/quality.csv", faults[faults["constant"] | faults["missing"].gt(0.5)])
    shapes = []
    for name in COLUMNS:
        edges = np.histogram_bin_edges(before[name][~np.isnan(before[name])], 25)
        shares = [np.histogram(v, edges)[0] / len(v) for v in (before[name], current[name])]
        for low, high, one, two in zip(edges[:-1], edges[1:], *shares, strict=True):
            shapes.append((name, low, high, one, two))
    columns = ["feature", "low", "high", "reference_share", "current_share"]
    write("drift/distributions.csv", pd.DataFrame(shapes, columns=columns))

    # 03: is it worse, why, and would a retrain pay
    now_y, now_p = current[TARGET].to_numpy(), served.predict(current)
    lines = []
    for name in METRICS:
        value, low, high = interval(name, now_y, now_p)
        old = known[name]
        error = np.hypot(high - low, old[2] - old[1]) / 2
        change = value - old[0]
        lines.append(
            (name, "realised", value, low, high, *old, change, change - error, change + error)
        )
    # Without labels: the holdout's calibration, its rows weighed towards the window's.
    both = pd.concat([holdout[COLUMNS], current[COLUMNS]])
    is_new = np.repeat([0, 1], [len(holdout), len(current)])
    told = make_pipeline(SimpleImputer(strategy="median"), StandardScaler(), LogisticRegression())
    odds = np.exp(told.fit(both, is_new).decision_function(holdout[COLUMNS]))
    score = served.pipeline.decision_function(current[COLUMNS])
    sigmoid = LogisticRegression().fit(
        graded.pipeline.decision_function(holdout[COLUMNS])[:, None], y, np.clip(odds, 0, 20)
    )
    chance = sigmoid.predict_proba(score[:, None])[:, 1]
    expected = float((chance * (1 - now_p) ** 2 + (1 - chance) * now_p**2).mean())
    lines.append(("brier", "estimated", expected, *[None] * 5, expected - base, None, None))
    columns = ["metric", "basis", "value", "ci_low", "ci_high", "baseline", "baseline_low"]
    columns += ["baseline_high", "change", "change_low", "change_high"]
    write("policy/performance.csv", pd.DataFrame(lines, columns=columns))
    moved = float(np.average(np.square(y - p), weights=odds)) - base
    total = brier_score_loss(now_y, now_p) - base
    split = {"covariate shift": moved, "concept change": total - moved, "total": total}
    write("policy/decomposition.csv", pd.DataFrame(split.items(), columns=["part", "change"]))
    write("policy/segments.csv", pd.DataFrame(columns=["segment", "value", "n", "loss"]))
    by_window, block = [], len(reference)
    for name in later:
        start, stop = windows[name]
        rows = frame.iloc[start:stop]
        newer = fit_calibrated(frame.iloc[max(0, start - block) : start])
        value, low, high = interval("brier", rows[TARGET].to_numpy(), served.predict(rows))
        gained = brier_score_loss(rows[TARGET], newer.predict(rows))
        by_window.append((name, len(rows), base, value, low, high, gained))
    columns = ["window", "n", "baseline", "realised", "realised_low", "realised_high", "newer"]
    write("policy/performance_by_window.csv", pd.DataFrame(by_window, columns=columns))
    recent, everything = frame.iloc[max(0, a - block) : a], frame.iloc[:a]
    age = np.arange(len(recent))[::-1]
    fading = {f"fading {k}": 0.5 ** (age * k / len(recent)) for k in (3, 6, 12)}
    tried = {name: fit_calibrated(recent, weights) for name, weights in fading.items()}
    tried |= {"everything": fit_calibrated(everything)}
    tried |= {"recalibrated": Fitted(served.pipeline, fit_sigmoid(served.pipeline, recent))}
    gains = {
        name: brier_score_loss(now_y, now_p) - brier_score_loss(now_y, one.predict(current))
        for name, one in tried.items()
    }
    gains["recent"] = by_window[-1][3] - by_window[-1][-1]
    row = {"window": window, "challenger_gain": max(gains.values())}
    row |= {name: values[0] for name, values in known.items()}
    write("tracking/runs.csv", [row])


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
