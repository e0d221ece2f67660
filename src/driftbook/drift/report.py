"""Drift: what moved between a model's reference and a window, how far, and does it matter."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from driftbook.data.arrays import Floats
from driftbook.data.columns import Feature
from driftbook.data.sampling import take_sample
from driftbook.drift import joint
from driftbook.drift.column_change import MIN_PRESENT, ColumnChange, compare_profiles
from driftbook.drift.profile import ColumnProfile
from driftbook.drift.reference import ReferenceSide, find_reference
from driftbook.drift.season import SeasonSide, find_seasonal
from driftbook.model import threads
from driftbook.model.training import Model
from driftbook.settings import DriftSettings, Settings

DRIFT_COLUMNS = (
    "feature", "kind", "status", "ks_stat", "ks_pvalue", "pvalue_adjusted", "psi", "drift_flag",
    "test", "statistic", "pvalue", "effect", "effect_low", "effect_high", "effect_unit",
    "direction", "importance", "impact", "matters", "psi_expected", "psi_low", "psi_high",
    "n_reference", "n_current", "missing_reference", "missing_current", "season_effect",
    "seasonal", "accepted",
)  # fmt: skip
# Shares of the false-alarm budget: the columns together, the prediction, the joint distribution.
BUDGETS = {"column": 0.94, "prediction": 0.03, "joint": 0.03}
# A flagged column matters when its share of the model's importance times its shift reaches this,
# and the importance is not mere noise: two standard errors, or a tenth of the whole.
MIN_IMPACT = 0.02
_SURE_ERRORS, _SURE_SHARE = 2.0, 0.1
# A row of no single column: an unknown impact is no reason for silence.
_NO_IMPORTANCE = {"importance": math.nan, "impact": math.nan, "noted": True}


@threads.one_blas_thread()
def report_drift(
    model: Model,
    current: pd.DataFrame,
    settings: Settings,
    profiles: Mapping[str, ColumnProfile] | None = None,
    against: SeasonSide | None = None,
    accepted: Collection[str] = (),
    predictions: Floats | None = None,
) -> pd.DataFrame:
    """Return a row for each feature of the model, then ``(prediction)`` and ``(joint)``.

    A prediction of several classes has a row a class, such as ``(prediction late)``.

    ``current``: rows of one window with the model's features; other columns are ignored.
    ``profiles``: of its columns, where they are counted already. A row is flagged when its
    p-value, corrected across all rows, is below ``drift.alpha``; that p-value is for a change
    larger than ``drift.min_effect`` reference standard deviations, so significance and size are
    judged at once. Missing values count as a change of their own; a column without enough present
    values says so in ``status`` and in no number. ``importance`` is the column's share of the
    model's, ``impact`` that share times the size of the shift; ``matters``: flagged, with an
    impact of at least 0.02 (a convention of this project) by an importance beyond noise.
    ``against``: the same season of earlier years, where the window is compared with that instead.
    ``accepted``: columns whose change is known and agreed to: it is shown, matters no more, and
    their pairs with others are left out of ``(joint)``. ``predictions``: of the rows of
    ``current``, where they are had already and no more rows than ``data.sample_rows``.
    ``season_effect`` and ``seasonal`` stay empty until :func:`add_season` fills them.

    Source: Holm (1979) with weights; those of the statistics stand beside each of them.
    """
    if profiles is None:
        profiles = find_reference(model).profile_window(current)
    reference = find_reference(model) if against is None else against
    rows = compare_columns(model.features, reference.profiles, profiles, settings.drift)
    whole = len(profiles) == len(model.features) and len(current) >= MIN_PRESENT
    window = take_sample(current if whole else current.iloc[:0], settings.data.sample_rows)
    shares = share_importance(model)
    for row in rows:
        share, sure = shares.get(row["feature"], (math.nan, True))
        size = 1.0 if math.isnan(row["effect"]) else abs(row["effect"])
        row |= {"importance": share, "impact": share * size, "noted": sure}
    rows += _prediction_rows(model, window, reference, settings.drift, predictions)
    rows.append(_joint_row(model, window, reference, settings.drift, shares, accepted))
    report = _judged(rows, settings.drift)
    agreed = report["feature"].isin(accepted)
    return report.assign(matters=report["matters"] & ~agreed, accepted=agreed)


def add_season(report: pd.DataFrame, beside: pd.DataFrame) -> pd.DataFrame:
    """Return a report with what is left of each change ``beside`` the same season's report."""
    left = beside["effect"].to_numpy(dtype=float)
    same = report["effect_unit"].to_numpy() == beside["effect_unit"].to_numpy()
    left = np.where(same, left, math.nan)
    seasonal = find_seasonal(report["effect"].to_numpy(dtype=float), left)
    return report.assign(
        season_effect=left, seasonal=report["drift_flag"].astype(bool) & (seasonal == 1.0)
    )


def compare_columns(
    features: Sequence[Feature],
    reference: Mapping[str, ColumnProfile],
    current: Mapping[str, ColumnProfile],
    settings: DriftSettings,
) -> list[dict[str, Any]]:
    """Return the uncorrected change of each feature as a row, a function of its two profiles.

    A feature without a current profile has the status ``absent``.
    """
    rows = []
    for feature in features:
        before = reference[feature.name]
        if feature.name in current:
            change = compare_profiles(before, current[feature.name], settings)
        else:
            change = ColumnChange("absent", before.rows, 0, before.missing_share)
        rows.append({"feature": feature.name, "kind": feature.kind, **vars(change)})
    return rows


def holm_adjust(pvalues: Floats, weights: Floats) -> Floats:
    """Return p-values corrected for the family; NaN stays NaN and takes no share of the budget.

    ``weights``: each test's share of the budget. The chance of any false rejection is at most
    alpha under every dependence. Source: Holm (1979), Scandinavian Journal of Statistics 6.

    >>> holm_adjust(np.array([0.01, 0.04]), np.array([1.0, 1.0]))
    array([0.02, 0.04])
    """
    adjusted = np.full(len(pvalues), math.nan)
    known = np.flatnonzero(~np.isnan(pvalues))
    order = known[np.argsort(pvalues[known] / weights[known], kind="stable")]
    left = np.cumsum(weights[order][::-1])[::-1]
    scaled = pvalues[order] / weights[order] * left
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(scaled))
    return adjusted


def share_importance(model: Model) -> dict[str, tuple[float, bool]]:
    """Return by feature its share of the model's importance, and whether that is beyond noise.

    NaN for one that never varied in training: nothing says what it is worth once it does.
    """
    whole = sum(model.importance.values())
    if whole <= 0.0:
        return {}
    found, reference = {}, find_reference(model)
    for name, rise in model.importance.items():
        share, error = rise / whole, model.importance_error.get(name, 0.0)
        if np.count_nonzero(reference.profiles[name].counts) == 1:
            share = math.nan
        found[name] = share, rise >= _SURE_ERRORS * error or share >= _SURE_SHARE
    return found


def adjust_pvalues(kinds: Sequence[str], pvalues: Floats) -> Floats:
    """Return the p-values of a report's rows of those kinds, corrected across all of them.

    The share of the budget that a kind has, in ``BUDGETS``, is parted among its rows.
    """
    named = [kind if kind in BUDGETS else "column" for kind in kinds]
    return holm_adjust(pvalues, np.array([BUDGETS[kind] / named.count(kind) for kind in named]))


def _judged(rows: list[dict[str, Any]], settings: DriftSettings) -> pd.DataFrame:
    pvalues = np.array([row["pvalue"] for row in rows])
    adjusted = adjust_pvalues([row["kind"] for row in rows], pvalues)
    for row, pvalue in zip(rows, adjusted, strict=True):
        row["pvalue_adjusted"] = float(pvalue)
        row["drift_flag"] = bool(pvalue < settings.alpha)
        # An impact that cannot be had (a model without any importance) is no reason for silence.
        enough = math.isnan(row["impact"]) or (row["impact"] >= MIN_IMPACT and row["noted"])
        row["matters"] = row["drift_flag"] and enough
        row |= {"season_effect": math.nan, "seasonal": False, "accepted": False}
    return pd.DataFrame(rows, columns=list(DRIFT_COLUMNS))


def _prediction_rows(
    model: Model,
    window: pd.DataFrame,
    reference: ReferenceSide | SeasonSide,
    settings: DriftSettings,
    predictions: Floats | None,
) -> list[dict[str, Any]]:
    """Return a row for each number of a prediction against that on the holdout."""
    changes = [ColumnChange("absent", len(model.holdout), 0)] * len(model.task.outputs)
    if not window.empty and set(model.input_names) <= set(window.columns):
        p = model.predict(window) if predictions is None else predictions
        changes = reference.compare_predictions(p, settings)
    return [
        {
            "feature": f"(prediction{name and ' '}{name})",
            "kind": "prediction",
            **_NO_IMPORTANCE,
            **vars(change),
        }
        for name, change in zip(model.task.outputs, changes, strict=True)
    ]


def _joint_row(
    model: Model,
    window: pd.DataFrame,
    reference: ReferenceSide | SeasonSide,
    settings: DriftSettings,
    shares: Mapping[str, tuple[float, bool]],
    accepted: Collection[str],
) -> dict[str, Any]:
    """Return the row of the dependence between columns; its impact counts pairs the model uses."""
    row: dict[str, Any] = {"feature": "(joint)", "kind": "joint", **_NO_IMPORTANCE}
    status = "absent" if window.empty else "insufficient"
    change = ColumnChange(status, len(model.reference), len(window))
    if window.empty:
        return row | vars(change)
    now = joint.score_ranks(window, model.features, reference.score_rules)
    before = reference.rank_scores
    if accepted:
        owners = [place for place, f in enumerate(model.features) if f.name in accepted]
        before, now = before.leave_out(owners), now.leave_out(owners)
    pairs, compared = joint.find_pair_changes(before, now, settings.min_effect)
    if not pairs:
        return row | vars(change)
    weights = [_pair_impact(pair, model, shares) for pair in pairs if pair.pvalue < settings.alpha]
    # Of the pairs that are each flagged on their own, the row is about the one that matters most.
    own = [p for p in pairs if p.pvalue < settings.alpha * BUDGETS["joint"]]
    first = pairs[int(np.argmax(weights[: len(own)]))] if own and shares else pairs[0]
    moved = first.current - first.reference
    change = replace(
        change, status="ok", test=f"rank correlation of {compared} pairs", pvalue=first.pvalue,
        statistic=moved / first.error, effect=moved, effect_unit="correlation",
        effect_low=moved - 1.96 * first.error, effect_high=moved + 1.96 * first.error,
        direction=f"{first.label}: {first.reference:+.2f} to {first.current:+.2f}",
    )  # fmt: skip
    if shares:
        row["impact"] = sum(weights)
    return row | vars(change)


def _pair_impact(
    pair: joint.PairChange, model: Model, shares: Mapping[str, tuple[float, bool]]
) -> float:
    """Return the change of correlation times the smaller importance share of the two columns."""
    names = [model.features[side].name for side in (pair.left, pair.right)]
    share = float(np.nanmin([1.0, *(shares[name][0] for name in names if name in shares)]))
    return share * abs(pair.current - pair.reference)
