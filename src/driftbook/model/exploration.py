"""A short look at the data before anything is trained: gaps, shapes, links to the target, leaks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.tree import DecisionTreeRegressor

from driftbook.data.arrays import Floats
from driftbook.data.cells import to_numbers
from driftbook.data.columns import Feature
from driftbook.model.class_scores import mark_classes
from driftbook.model.scores import measure_ranking
from driftbook.model.tasks import BINARY, Task
from driftbook.model.training import Model

# A convention: a column that tells the target this well alone is more often a leak than a find.
LEAK_LIMIT = 0.95


def describe_columns(frame: pd.DataFrame, features: Sequence[Feature]) -> pd.DataFrame:
    """Return a row a feature: kind, rows, missing, distinct values, and where most values lie.

    ``low``, ``typical`` and ``high`` are the 5th, 50th and 95th percentile of the values that are
    there (NaN for text); ``most_common`` is the commonest value as text, with its share. Missing
    values are counted and otherwise left out.
    """
    return pd.DataFrame([_column(frame[feature.name], feature) for feature in features])


def _column(values: pd.Series, feature: Feature) -> dict[str, object]:
    present = values.dropna()
    low = typical = high = np.nan
    common = ""  # a commonest number says little about a continuous column
    if len(present) and feature.kind == "numeric":
        low, typical, high = np.quantile(to_numbers(present), [0.05, 0.5, 0.95])
    elif len(present):
        shares = present.astype(str).value_counts(normalize=True)
        common = f"{shares.index[0]} ({shares.iloc[0]:.0%})"
    return {
        "feature": feature.name,
        "kind": feature.kind,
        "rows": len(values),
        "missing": int(values.isna().sum()),
        "missing_share": float(values.isna().mean()) if len(values) else np.nan,
        "distinct": int(present.nunique()),
        "low": low,
        "typical": typical,
        "high": high,
        "most_common": common,
    }


def measure_associations(
    frame: pd.DataFrame,
    features: Sequence[Feature],
    target: str,
    task: Task = BINARY,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Return how strongly each feature goes with the target, strongest first.

    Numbers and booleans with 0 and 1 or with values: Pearson's correlation and Fisher's interval.
    Text with classes: Cramér's V; one of each kind: the correlation ratio. Both are corrected for
    their bias, without an interval. Rows with a missing value or label are left out of their own
    column; a column that does not vary, or has fewer than 4 rows, gives NaN.

    Source: Fisher (1921), "On the probable error of a coefficient of correlation"; Bergsma (2013),
    "A bias-correction for Cramér's V and Tschuprow's T"; Kelley (1935), PNAS 21: epsilon squared.
    """
    rows = []
    for feature in features:
        pair = frame[[feature.name, target]].dropna()
        columns = pair[feature.name], pair[target]
        text = feature.kind == "categorical"
        if text and task.classes:
            found = "Cramér's V", _cramers_v(*columns), np.nan, np.nan
        elif text:
            found = "correlation ratio", _correlation_ratio(*columns), np.nan, np.nan
        elif task.name == "multiclass":
            found = "correlation ratio", _correlation_ratio(*columns[::-1]), np.nan, np.nan
        else:
            found = "correlation", *_correlate(*columns, confidence)
        rows.append((feature.name, feature.kind, *found, len(pair)))
    names = ["feature", "kind", "measure", "value", "ci_low", "ci_high", "n"]
    table = pd.DataFrame(rows, columns=names)
    return table.sort_values("value", key=np.abs, ascending=False, ignore_index=True)


def _correlation_ratio(groups: pd.Series, values: pd.Series) -> float:
    y = pd.Series(to_numbers(values))
    found = y.groupby(groups.astype(str).to_numpy())
    n, k = len(y), found.ngroups
    whole = float(np.square(y - y.mean()).sum()) if n else 0.0
    if n < 4 or not 1 < k < n or whole <= 0.0:
        return float("nan")
    within = float(np.square(y - found.transform("mean")).sum())
    return float(np.sqrt(max(0.0, 1.0 - within / (n - k) * (n - 1) / whole)))


def _correlate(
    values: pd.Series, target: pd.Series, confidence: float = 0.95
) -> tuple[float, float, float]:
    x, y = to_numbers(values), to_numbers(target)
    if len(x) < 4 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return np.nan, np.nan, np.nan
    found = stats.pearsonr(x, y)
    low, high = found.confidence_interval(confidence)
    return float(found.statistic), float(low), float(high)


def _cramers_v(values: pd.Series, target: pd.Series) -> float:
    table = pd.crosstab(values, target).to_numpy()
    n = table.sum()
    if n < 4 or min(table.shape) < 2:
        return float("nan")
    rows, cols = table.shape
    phi2 = stats.chi2_contingency(table, correction=False)[0] / n
    phi2 = max(0.0, phi2 - (cols - 1) * (rows - 1) / (n - 1))
    size = min(rows - (rows - 1) ** 2 / (n - 1), cols - (cols - 1) ** 2 / (n - 1)) - 1
    return float(np.sqrt(phi2 / size)) if size > 0 else float("nan")


def find_leaks(
    train: pd.DataFrame,
    holdout: pd.DataFrame,
    features: Sequence[Feature],
    target: str,
    task: Task = BINARY,
    limit: float = LEAK_LIMIT,
) -> pd.DataFrame:
    """Return how well each feature alone tells the target on the holdout, best first.

    ``alone`` is, by ``measure``, the ROC AUC of the feature on its own, of several classes their
    mean; or R², the share of the variance of values that it explains, 0 where it misleads. A
    number ranks two classes as it is, in the direction of the training rows; for others it is cut
    into at most 20 pieces, each of which stands for the training rows in it (a regression tree),
    as a text value always does; an unseen one stands for all. Holdout rows with a missing number
    or label are left out; NaN when that leaves less than two classes or values. ``suspicious``
    marks what reaches ``limit`` (the default, 0.95, is a convention).
    """
    rows, measure = [], "ROC AUC" if task.classes else "R²"
    for feature in features:
        known = train[[feature.name, target]].dropna()
        pair = holdout[[feature.name, target]].dropna()
        outcomes = task.encode(pair[target])
        told = _tell_alone(known, pair[feature.name], feature, task)
        rows.append((feature.name, measure, _grade_alone(task, outcomes, told), len(pair)))
    table = pd.DataFrame(rows, columns=["feature", "measure", "alone", "n"])
    table["suspicious"] = table["alone"] >= limit
    return table.sort_values("alone", ascending=False, ignore_index=True)


def _tell_alone(known: pd.DataFrame, values: pd.Series, feature: Feature, task: Task) -> Floats:
    """Return what training rows say of the outcome by one column, (n, outputs)."""
    column, target = known.columns
    y = task.encode(known[target])
    taught = mark_classes(y, len(task.outputs)) if len(task.outputs) > 1 else y[:, None]
    if feature.kind == "categorical":
        means = pd.DataFrame(taught).groupby(known[column].astype(str).to_numpy()).mean()
        told = means.reindex(values.astype(str)).fillna(pd.Series(taught.mean(axis=0)))
        return told.to_numpy(dtype=np.float64)
    numbers = to_numbers(values)[:, None]
    if task.name == "binary":
        # The direction comes from training rows only; the holdout must not choose it.
        direction = _correlate(known[column], pd.Series(y))[0]
        return numbers * (-1.0 if direction < 0 else 1.0)
    if not len(known) or not len(numbers):
        return np.full((len(numbers), taught.shape[1]), np.nan)
    tree = DecisionTreeRegressor(max_leaf_nodes=20, min_samples_leaf=5, random_state=0)
    found = tree.fit(_within_float32(to_numbers(known[column])[:, None]), taught)
    return np.asarray(found.predict(_within_float32(numbers))).reshape(len(numbers), -1)


def _within_float32(values: Floats) -> Floats:
    # What trees take; an infinite value is as large as any.
    return np.clip(values, *np.array([-1.0, 1.0]) * np.finfo(np.float32).max)


def _grade_alone(task: Task, y: Floats, told: Floats) -> float:
    if len(y) < 2 or np.isnan(told).any():
        return float("nan")
    if task.name == "regression":
        spread = float(np.square(y - y.mean()).mean())
        rest = float(np.square(y - told[:, 0]).mean())
        return max(0.0, 1.0 - rest / spread) if spread else float("nan")
    came = mark_classes(y, len(task.outputs)) if len(task.outputs) > 1 else y[:, None]
    each = [measure_ranking(came[:, k], told[:, k]) for k in range(came.shape[1])]
    # A class that is not there has no AUC; the others have.
    return float(np.nanmean(each)) if not np.isnan(each).all() else float("nan")


def count_shared_rows(
    train: pd.DataFrame, holdout: pd.DataFrame, columns: Sequence[str]
) -> dict[str, float]:
    """Return how many holdout rows have an equal twin among the training rows.

    Rows are equal when they agree in every one of ``columns``, a missing value being equal to a
    missing value. Keys: ``rows`` (holdout), ``shared`` and ``share`` (NaN without rows).
    """
    # Hashes instead of a join: memory stays at eight bytes a row.
    seen, held = (
        pd.util.hash_pandas_object(part[list(columns)], index=False) for part in (train, holdout)
    )
    twins = held.isin(seen)
    return {"rows": len(twins), "shared": int(twins.sum()), "share": float(twins.mean())}


def correlate_columns(frame: pd.DataFrame, features: Sequence[Feature]) -> pd.DataFrame:
    """Return the rank correlation of each two number columns: a row a column, a column a column.

    Pairs of rows in which a value is missing are left out; NaN for a constant column. Source:
    Spearman (1904).
    """
    names = [feature.name for feature in features if feature.kind == "numeric"]
    numbers = pd.DataFrame({name: to_numbers(frame[name]) for name in names})
    found = numbers.corr(method="spearman")
    return found.rename_axis("feature").reset_index()


def tabulate_holdout(model: Model, timestamp: str | None = None) -> pd.DataFrame:
    """Return the holdout row by row: outcome, and what the fit that never saw it predicted.

    ``row``: the position in the reference; a prediction of several classes has a column a class.
    """
    held = model.holdout
    found = pd.DataFrame({"row": np.arange(model.n_train, model.n_train + len(held))})
    if timestamp is not None and timestamp in held:
        found["time"] = held[timestamp].astype(str).to_numpy()
    found["outcome"] = held[model.target].to_numpy()
    said = model.holdout_scores.reshape(len(held), -1)
    names = model.task.outputs
    for k in range(said.shape[1]):
        found[f"prediction {names[k]}".strip()] = said[:, k]
    return found


def describe_parts(
    named: dict[str, pd.DataFrame],
    target: str,
    timestamp: str | None = None,
    task: Task = BINARY,
) -> pd.DataFrame:
    """Return which rows went where: a row a part with its size, time span and outcomes.

    Of 0 and 1 ``positive_share``, of classes the ``commonest`` with its ``commonest_share``, of
    values ``mean`` and ``sd``. ``first`` and ``last`` are empty without a timestamp; what labels
    would tell is NaN, or empty, where none is known yet.
    """
    rows = []
    for name, frame in named.items():
        times = frame[timestamp] if timestamp in frame else pd.Series(dtype=object)
        y = task.encode(frame[target]) if target in frame else np.empty(0)
        known = y[~np.isnan(y)]
        rows.append(
            {
                "part": name,
                "rows": len(frame),
                "first": str(times.iloc[0]) if len(times) else "",
                "last": str(times.iloc[-1]) if len(times) else "",
                "labelled": len(known),
                **_describe_outcomes(task, known),
            }
        )
    return pd.DataFrame(rows)


def _describe_outcomes(task: Task, y: Floats) -> dict[str, object]:
    if task.name == "binary":
        return {"positive_share": float(y.mean()) if len(y) else np.nan}
    if task.name == "regression":
        return {"mean": float(y.mean()), "sd": float(y.std())} if len(y) else {}
    counts = mark_classes(y, len(task.classes)).sum(axis=0)
    if not counts.any():
        return {"commonest": "", "commonest_share": np.nan}
    most = int(counts.argmax())
    return {"commonest": task.classes[most], "commonest_share": float(counts[most] / len(y))}
