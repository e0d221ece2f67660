"""Drift: what moved between a model's reference and a window, how far, and does it matter."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import special

from driftbook import joint, shift
from driftbook.columns import Feature
from driftbook.profile import ColumnProfile, Counts, Values, profile
from driftbook.reference import Reference, log_odds, reference_of
from driftbook.settings import DriftSettings, Settings
from driftbook.training import Model

COLUMNS = (
    "feature", "kind", "status", "ks_stat", "ks_pvalue", "pvalue_adjusted", "psi", "drift_flag",
    "test", "statistic", "pvalue", "effect", "effect_low", "effect_high", "effect_unit", "direction",
    "importance", "impact", "matters", "psi_expected", "psi_low", "psi_high",
    "n_reference", "n_current", "missing_reference", "missing_current",
)  # fmt: skip
MIN_PRESENT = 10
# Shares of the false-alarm budget: the columns together, the prediction, the joint distribution.
FAMILY_SHARES = {"columns": 0.9, "prediction": 0.05, "joint": 0.05}
# Within a number column: shift of location, of the whole distribution function, of spread.
LOCATION, SHAPE, SPREAD = 0.7, 0.2, 0.1
# Of a column's share, the part that goes to missing values when there are any.
MISSING_SHARE = 0.1
# A flagged column matters when its share of the model's importance times its shift reaches this.
MIN_IMPACT = 0.02


def compare(model: Model, current: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """Return a row for each feature of the model, then ``(prediction)`` and ``(joint)``.

    ``current``: rows of one window with the model's features; other columns are ignored. A row is
    flagged when its p-value, corrected across all rows, is below ``drift.alpha``; that p-value is
    for a change larger than ``drift.min_effect`` reference standard deviations, so significance
    and size are judged at once. Missing values count as a change of their own; a column without
    enough present values says so in ``status`` and in no number. ``matters``: flagged, and the
    column's share of the model's importance times its shift is at least 0.02.

    Source: Holm (1979) with weights; sources of the statistics in :mod:`driftbook.shift`.
    """
    reference = reference_of(model, settings.drift.min_effect)
    usable = [f for f in model.features if f.name in current.columns]
    profiles = {f.name: profile(current[f.name], reference.profiles[f.name].bins) for f in usable}
    rows = columns(model.features, reference.profiles, profiles, settings.drift)
    whole = len(usable) == len(model.features) and len(current) > 0
    rows.append(_prediction_row(model, current if whole else None, reference, settings.drift))
    rows.append(_joint_row(model, current if whole else None, reference, settings.drift))
    return _judged(rows, model.importance, settings.drift)


def columns(
    features: Sequence[Feature],
    reference: Mapping[str, ColumnProfile],
    current: Mapping[str, ColumnProfile],
    settings: DriftSettings,
) -> list[dict[str, Any]]:
    """Return the uncorrected comparison of each feature, a function of its two profiles alone."""
    rows = []
    for feature in features:
        row: dict[str, Any] = {"feature": feature.name, "kind": feature.kind}
        here = reference[feature.name]
        if feature.name in current:
            row |= compare_profiles(here, current[feature.name], settings)
        else:
            row |= _unjudged("absent", here.rows, 0, here.missing_share, math.nan)
        rows.append(row)
    return rows


def compare_profiles(
    reference: ColumnProfile, current: ColumnProfile, settings: DriftSettings, slack: float | None = None
) -> dict[str, Any]:
    """Return the comparison of one column: status, statistics, effect with interval, direction.

    ``slack``: harmless change of a number column in reference sds, by default ``min_effect``.
    """
    row = _unjudged("ok", reference.rows, current.rows, reference.missing_share, current.missing_share)
    missing_p = _missing_pvalue(reference, current, settings.min_effect)
    if current.rows and not current.n:
        row["status"] = "all_missing"
    elif min(reference.n, current.n) < MIN_PRESENT:
        row["status"] = "insufficient"
    elif reference.bins.kind == "numeric":
        row |= _numeric(reference, current, settings, settings.min_effect if slack is None else slack)
    else:
        row |= _category(reference, current, settings)
    if missing_p is not None and min(reference.rows, current.rows) >= MIN_PRESENT:
        present_p = row["pvalue"]
        split = missing_p / MISSING_SHARE
        if not math.isnan(present_p):
            present_p = present_p / (1.0 - MISSING_SHARE)
            if split < present_p:
                row["direction"] = ""
            split = min(split, present_p)
        row["pvalue"] = min(1.0, split)
        more = current.missing_share - reference.missing_share
        if row["direction"] == "" and more:
            word = "more" if more > 0 else "fewer"
            row["direction"] = (
                f"{word} missing: {reference.missing_share:.1%} to {current.missing_share:.1%}"
            )
    return row


def holm(pvalues: Values, weights: Values) -> Values:
    """Return p-values corrected for the family; NaN stays NaN and takes no share of the budget.

    ``weights``: each test's share of the budget. The chance of any false rejection is at most
    alpha under every dependence. Source: Holm (1979), Scandinavian Journal of Statistics 6.

    >>> holm(np.array([0.01, 0.04]), np.array([1.0, 1.0]))
    array([0.02, 0.04])
    """
    adjusted = np.full(len(pvalues), math.nan)
    known = np.flatnonzero(~np.isnan(pvalues))
    order = known[np.argsort(pvalues[known] / weights[known], kind="stable")]
    left = np.cumsum(weights[order][::-1])[::-1]
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(pvalues[order] / weights[order] * left))
    return adjusted


def _judged(
    rows: list[dict[str, Any]], importance: Mapping[str, float], settings: DriftSettings
) -> pd.DataFrame:
    inputs = max(1, sum(row["kind"] not in ("prediction", "joint") for row in rows))
    weights = np.array([FAMILY_SHARES.get(row["kind"], FAMILY_SHARES["columns"] / inputs) for row in rows])
    adjusted = holm(np.array([row["pvalue"] for row in rows]), weights)
    whole = sum(importance.values())
    for row, pvalue in zip(rows, adjusted, strict=True):
        row["pvalue_adjusted"] = pvalue
        row["drift_flag"] = bool(pvalue < settings.alpha)
        share = importance.get(row["feature"], math.nan)
        row["importance"] = share / whole if whole > 0.0 else share
        size = abs(row["effect"]) if not math.isnan(row["effect"]) else 1.0
        row["impact"] = row["importance"] * size
        known = row["kind"] not in ("prediction", "joint") and whole > 0.0
        row["matters"] = bool(row["drift_flag"] and (row["impact"] >= MIN_IMPACT if known else True))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _unjudged(status: str, m: int, n: int, missing_m: float, missing_n: float) -> dict[str, Any]:
    nothing = dict.fromkeys(
        ("ks_stat", "ks_pvalue", "pvalue", "psi", "statistic", "effect", "effect_low", "effect_high",
         "psi_expected", "psi_low", "psi_high"),
        math.nan,
    )  # fmt: skip
    return nothing | {
        "status": status, "test": "", "effect_unit": "", "direction": "",
        "n_reference": m, "n_current": n, "missing_reference": missing_m, "missing_current": missing_n,
    }  # fmt: skip


def _numeric(
    reference: ColumnProfile, current: ColumnProfile, settings: DriftSettings, slack: float
) -> dict[str, Any]:
    before, after = shift.summary(reference), shift.summary(current)
    ks_stat, ks_pvalue = shift.ks(reference.counts, current.counts)
    found = {"ks_stat": ks_stat, "ks_pvalue": ks_pvalue, **_psi(reference, current, settings.bins)}
    unit = before.sd or after.sd or abs(after.mean - before.mean)
    if unit == 0.0:
        return found | {"status": "constant", "pvalue": 1.0, "effect": 0.0, "direction": "unchanged",
                        "effect_low": 0.0, "effect_high": 0.0, "effect_unit": "sd", "test": "constant"}  # fmt: skip
    filled = (reference.counts + current.counts) > 0
    ref, cur = reference.counts[filled], current.counts[filled]
    shares = shift.mid_shares(ref + cur)
    z, location_p = shift.rank_test(ref, cur, special.ndtri(shares))
    spread_p = shift.rank_test(ref, cur, (shares - 0.5) ** 2)[1]
    effect = (after.mean - before.mean) / unit
    m, n = reference.n, current.n
    ratio = after.sd / before.sd if before.sd and after.sd else math.nan
    if before.sd:
        location_p = max(location_p, shift.material_pvalue(effect, slack, m, n, after.sd / unit))
        width = math.log(ratio) if after.sd else math.inf
        spread_p = max(spread_p, shift.material_pvalue(width / math.sqrt((before.kurtosis - 1.0) / 4.0 + 1e-9), slack, m, n))
    shape_p = shift.banded_ks(reference, current, slack * before.sd)[1]
    pvalue = shift.combine(np.array([location_p, shape_p, spread_p]), np.array([LOCATION, SHAPE, SPREAD]))
    error = 1.96 * math.sqrt(before.sd**2 / m + after.sd**2 / n) / unit
    return found | {
        "test": "rank scores + KS", "statistic": z, "pvalue": pvalue,
        "effect": effect, "effect_low": effect - error, "effect_high": effect + error, "effect_unit": "sd",
        "direction": _numeric_direction(effect, error, ratio),
    }  # fmt: skip


def _numeric_direction(effect: float, error: float, ratio: float) -> str:
    words = []
    if abs(effect) > error:
        words.append(f"{'higher' if effect > 0 else 'lower'} by {abs(effect):.2f} sd")
    if not math.isnan(ratio) and (ratio > 1.2 or ratio < 1 / 1.2):
        words.append(f"{'wider' if ratio > 1 else 'narrower'}: sd x{ratio:.2f}")
    return ", ".join(words) or "shape"


def _category(reference: ColumnProfile, current: ColumnProfile, settings: DriftSettings) -> dict[str, Any]:
    m, n = reference.n, current.n
    ref, cur, rare_ref, rare_cur = shift.pool_rare(reference.counts, current.counts)
    statistic, df = shift.chi_square(ref, cur)
    found = _psi(reference, current, settings.bins)
    size = m * n / (m + n)
    rare_p = _share_pvalue(rare_ref, m, rare_cur, n, settings.min_effect)
    low, high = shift.noncentral_interval(statistic, df) if df else (0.0, 0.0)
    if df == 0 and rare_ref + rare_cur == 0:
        status = {"status": "constant"}
    else:
        status = {"status": "ok" if df else "sparse"}
    table_p = 1.0
    if df == 1 and len(ref) == 2:
        table_p = _share_pvalue(int(ref[1]), m, int(cur[1]), n, settings.min_effect)
    elif df:
        from scipy import stats

        table_p = float(stats.ncx2.sf(statistic, df, size * settings.min_effect**2)) if settings.min_effect else float(special.chdtrc(df, statistic))
    return found | status | {
        "test": "chi-square", "statistic": statistic,
        "pvalue": min(1.0, table_p / 0.9, rare_p / 0.1),
        "effect": math.sqrt(max(0.0, statistic - df) / size), "effect_low": math.sqrt(low / size),
        "effect_high": math.sqrt(high / size), "effect_unit": "w",
        "direction": _category_direction(reference, current),
    }  # fmt: skip


def _category_direction(reference: ColumnProfile, current: ColumnProfile) -> str:
    change = current.counts / current.n - reference.counts / reference.n
    moved = int(np.argmax(np.abs(change)))
    if change[moved] == 0.0:
        return "unchanged"
    name = repr(reference.bins.levels[moved]) if moved < len(reference.bins.levels) else "other levels"
    word = "more" if change[moved] > 0 else "fewer"
    return f"{word} {name}: {abs(change[moved]) * 100:.1f} points"


def _missing_pvalue(reference: ColumnProfile, current: ColumnProfile, minimum: float) -> float | None:
    if not reference.missing and not current.missing:
        return None
    return _share_pvalue(reference.missing, reference.rows, current.missing, current.rows, minimum)


def _share_pvalue(ref: int, m: int, cur: int, n: int, minimum: float) -> float:
    """Return the p-value of equal shares ref / m and cur / n, against the minimum effect."""
    if not m or not n or ref + cur in (0, m + n):
        return 1.0
    tables: tuple[Counts, Counts] = (np.array([m - ref, ref]), np.array([n - cur, cur]))
    pvalue = shift.rank_test(*tables, np.array([0.0, 1.0]))[1]
    pooled = (ref + cur) / (m + n)
    effect = (cur / n - ref / m) / math.sqrt(pooled * (1.0 - pooled))
    return max(pvalue, shift.material_pvalue(effect, minimum, m, n))


def _psi(reference: ColumnProfile, current: ColumnProfile, bins: int) -> dict[str, float]:
    p, q = shift.psi_shares(reference, current, bins)
    value = shift.psi(p, q)
    scale = 1.0 / reference.n + 1.0 / current.n
    df = len(p) - 1
    low, high = shift.noncentral_interval(value / scale, df) if df else (0.0, 0.0)
    return {"psi": value, "psi_expected": df * scale, "psi_low": low * scale, "psi_high": high * scale}


def _prediction_row(
    model: Model, current: pd.DataFrame | None, reference: Reference, settings: DriftSettings
) -> dict[str, Any]:
    row: dict[str, Any] = {"feature": "(prediction)", "kind": "prediction"}
    if current is None:
        return row | _unjudged("absent", reference.prediction.n, 0, 0.0, math.nan)
    scores = pd.Series(log_odds(model.predict_proba(current)))
    now = profile(scores, reference.prediction.bins)
    return row | compare_profiles(reference.prediction, now, settings, reference.prediction_slack)


def _joint_row(
    model: Model, current: pd.DataFrame | None, reference: Reference, settings: DriftSettings
) -> dict[str, Any]:
    row: dict[str, Any] = {"feature": "(joint)", "kind": "joint"}
    m = len(model.reference)
    if current is None:
        return row | _unjudged("absent", m, 0, 0.0, math.nan)
    row |= _unjudged("insufficient", m, len(current), 0.0, 0.0)
    now = joint.scores(current, model.features, reference.levels)
    found = joint.compare(reference.scores, now, settings.min_effect)
    if not found.pairs:
        return row
    change = found.current - found.reference
    return row | {
        "status": "ok", "test": f"rank correlation, {found.pairs} pairs", "statistic": change / found.error,
        "pvalue": found.pvalue, "effect": change, "effect_low": change - 1.96 * found.error,
        "effect_high": change + 1.96 * found.error, "effect_unit": "correlation",
        "direction": f"{found.left} with {found.right}: {found.reference:+.2f} to {found.current:+.2f}",
    }  # fmt: skip
