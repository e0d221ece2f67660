"""A short look at the data before anything is trained: gaps, shapes, links to the target, leaks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import pandas as pd
from scipy import stats

from driftbook.data.arrays import Floats
from driftbook.data.cells import to_numbers
from driftbook.data.columns import Feature
from driftbook.model.scores import measure_ranking
from driftbook.words import format_number, format_percent

# A convention: a column that ranks the target this well alone is more often a leak than a find.
LEAK_AUC = 0.95
TargetView = Callable[[pd.DataFrame, str], pd.DataFrame]


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
    frame: pd.DataFrame, features: Sequence[Feature], target: str, confidence: float = 0.95
) -> pd.DataFrame:
    """Return how strongly each feature goes with the target, strongest first.

    Numbers and booleans: Pearson's correlation with a 0/1 target or one of numbers, and Fisher's
    interval; with a target of names the correlation ratio. Text: Cramér's V, corrected for its
    bias; with a target of numbers the correlation ratio. These have no interval. Rows with a
    missing value or label are left out of their own column; a column that does not vary, or has
    fewer than 4 rows, gives NaN.

    Source: Fisher (1921), "On the probable error of a coefficient of correlation"; Bergsma (2013),
    "A bias-correction for Cramér's V and Tschuprow's T".
    """
    rows = []
    for feature in features:
        pair = frame[[feature.name, target]].dropna()
        columns = pair[feature.name], pair[target]
        numbers = pd.api.types.is_numeric_dtype(pair[target].dtype)
        values = numbers and not pair[target].isin([0, 1]).all()
        if feature.kind == "categorical" and not values:
            found = "Cramér's V", _cramers_v(*columns), np.nan, np.nan
        elif feature.kind == "categorical":
            found = "correlation ratio", _correlation_ratio(*columns), np.nan, np.nan
        elif not numbers:
            found = "correlation ratio", _correlation_ratio(*columns[::-1]), np.nan, np.nan
        else:
            found = "correlation", *_correlate(*columns, confidence)
        rows.append((feature.name, feature.kind, *found, len(pair)))
    names = ["feature", "kind", "measure", "value", "ci_low", "ci_high", "n"]
    table = pd.DataFrame(rows, columns=names)
    return table.sort_values("value", key=np.abs, ascending=False, ignore_index=True)


def _correlate(
    values: pd.Series, target: pd.Series, confidence: float = 0.95
) -> tuple[float, float, float]:
    x, y = to_numbers(values), to_numbers(target)
    if len(x) < 4 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return np.nan, np.nan, np.nan
    found = stats.pearsonr(x, y)
    low, high = found.confidence_interval(confidence)
    return float(found.statistic), float(low), float(high)


def _correlation_ratio(groups: pd.Series, values: pd.Series) -> float:
    """Return the root of the share of the variance that lies between groups.

    Source: Fisher (1925), Statistical Methods for Research Workers: the correlation ratio eta.
    """
    numbers = pd.Series(to_numbers(values), index=values.index)
    whole = float(numbers.var(ddof=0)) if len(numbers) > 3 else 0.0
    if not whole > 0.0:
        return float("nan")
    means = numbers.groupby(groups, observed=True).transform("mean")
    return float(np.sqrt(means.var(ddof=0) / whole))


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
    limit: float = LEAK_AUC,
) -> pd.DataFrame:
    """Return how well each feature alone ranks the target on the holdout, best first.

    ``alone`` is, by ``measure``, the ROC AUC of the feature on its own (the mean over classes
    against all others, where there are several), in whichever direction the training rows point,
    or for a target of numbers the square of its correlation; a text value stands for the mean of
    its training rows, an unseen one for the overall mean. Holdout rows with a missing number or
    label are left out; NaN when one class is absent. ``suspicious`` marks ``alone >= limit`` (the
    default, 0.95, is a convention).
    """
    targets, measure = _split_target(train[target])
    rows = []
    known = int(holdout[target].notna().sum())
    for feature in features:
        found, count = [math.nan] * (not targets), known
        for only in targets:
            sides = only(train, target), only(holdout, target)
            score, label = _single_score(*sides, feature, target)
            found.append(_measure_alone(label, score, measure))
            count = len(label)
        rows.append((feature.name, measure, float(np.mean(found)), count))
    table = pd.DataFrame(rows, columns=["feature", "measure", "alone", "n"])
    table["suspicious"] = table["alone"] >= limit
    return table.sort_values("alone", ascending=False, ignore_index=True)


def _split_target(labels: pd.Series) -> tuple[list[TargetView], str]:
    """Return how to see the target as numbers, once or once a class, and what is measured then."""
    if pd.api.types.is_numeric_dtype(labels.dtype):
        binary = labels.dropna().isin([0, 1]).all()
        return [lambda frame, _: frame], "ROC AUC" if binary else "R²"
    names = sorted(labels.dropna().unique())
    return [partial(_mark_class, name) for name in names], "ROC AUC"


def _mark_class(name: str, frame: pd.DataFrame, target: str) -> pd.DataFrame:
    came = frame[target].eq(name).astype("float64").where(frame[target].notna())
    return frame.assign(**{target: came})


def _measure_alone(label: Floats, score: Floats, measure: str) -> float:
    if measure == "ROC AUC":
        return measure_ranking(label, score)
    if len(label) < 4 or np.ptp(label) == 0 or np.ptp(score) == 0:
        return float("nan")
    return float(stats.pearsonr(label, score).statistic ** 2)


def _single_score(
    train: pd.DataFrame, holdout: pd.DataFrame, feature: Feature, target: str
) -> tuple[Floats, Floats]:
    known = train[[feature.name, target]].dropna()
    pair = holdout[[feature.name, target]].dropna()
    label = to_numbers(pair[target])
    if feature.kind == "categorical":
        shares = known.groupby(feature.name, observed=True)[target].mean().astype(float)
        score = pair[feature.name].map(shares).astype(float).fillna(float(known[target].mean()))
        return to_numbers(score), label
    # The direction comes from training rows only; the holdout must not choose it.
    direction = _correlate(known[feature.name], known[target])[0]
    return to_numbers(pair[feature.name]) * (-1.0 if direction < 0 else 1.0), label


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


def describe_parts(
    named: dict[str, pd.DataFrame], target: str, timestamp: str | None = None
) -> pd.DataFrame:
    """Return which rows went where: a row a part with its size, time span and outcomes.

    ``first`` and ``last`` are empty without a timestamp; ``outcomes`` says the shares of the
    classes, or the mean of values, and nothing where no label is known yet.
    """
    rows = []
    for name, frame in named.items():
        times = frame[timestamp] if timestamp in frame else pd.Series(dtype=object)
        labels = frame[target].dropna() if target in frame else pd.Series(dtype=float)
        rows.append(
            {
                "part": name,
                "rows": len(frame),
                "first": str(times.iloc[0]) if len(times) else "",
                "last": str(times.iloc[-1]) if len(times) else "",
                "labelled": len(labels),
                "outcomes": _describe_outcomes(labels),
            }
        )
    return pd.DataFrame(rows)


def _describe_outcomes(labels: pd.Series) -> str:
    if labels.empty:
        return ""
    if pd.api.types.is_numeric_dtype(labels.dtype):
        if labels.isin([0, 1]).all():
            return f"{format_percent(float(labels.mean()))} ones"
        return f"mean {format_number(labels.mean())}, sd {format_number(labels.std(ddof=0))}"
    shares = labels.value_counts(normalize=True).head(5)
    return ", ".join(f"{format_percent(float(share))} {name}" for name, share in shares.items())
