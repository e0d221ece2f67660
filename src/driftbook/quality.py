"""Data quality: faults of the data themselves, told apart from a world that changed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple, dataclass
from typing import Literal

import numpy as np
import pandas as pd
from scipy import special

from driftbook import shift
from driftbook.columns import Feature
from driftbook.profile import ColumnProfile, Values, profile
from driftbook.reference import reference_of
from driftbook.settings import Settings
from driftbook.training import Model

COLUMNS = ("feature", "fault", "severity", "reference_value", "current_value", "detail")
# A fault is called only where chance would produce it less than once in a million columns.
CHANCE = 1e-6
_GRID = np.linspace(0.05, 0.95, 19)
_AFFINE = {
    "°F read as °C": (5.0 / 9.0, -160.0 / 9.0),
    "°C read as °F": (9.0 / 5.0, 32.0),
    "°C read as K": (1.0, 273.15),
    "K read as °C": (1.0, -273.15),
}


@dataclass(frozen=True)
class Finding:
    """One fault of one column, with the values that show it."""

    feature: str
    fault: str
    severity: Literal["broken", "note"]
    reference_value: str
    current_value: str
    detail: str


def check(model: Model, current: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """Return the faults of the rows of one window, one row each; empty when there are none.

    ``severity``: ``broken`` stops every other conclusion, ``note`` does not. A fault needs a
    size that no ordinary drift has (each cut-off is a convention of this project) and a chance
    below one in a million under the reference.
    """
    reference = reference_of(model)
    findings: list[Finding] = []
    for feature in model.features:
        if feature.name not in current.columns:
            findings.append(
                Finding(feature.name, "absent", "broken", "present", "no such column", "column is absent")
            )
            continue
        before = reference.profiles[feature.name]
        after = profile(current[feature.name], before.bins)
        findings.extend(column_faults(feature, before, after))
    findings.extend(_duplicates(model, current))
    return pd.DataFrame([astuple(finding) for finding in findings], columns=list(COLUMNS))


def column_faults(
    feature: Feature, reference: ColumnProfile, current: ColumnProfile
) -> Iterator[Finding]:
    """Return the faults that two profiles of one column show."""
    if not current.rows or not reference.n:
        return
    name = feature.name
    if reference.invalid == 0 and current.invalid:
        share = current.invalid / current.rows
        severity: Literal["broken", "note"] = "broken" if share >= 0.05 else "note"
        yield Finding(name, "text", severity, "0.0%", f"{share:.1%}", f"text instead of numbers in {share:.1%} of rows")
    yield from _missing(name, reference, current)
    if not current.n:
        return
    yield from _constant(name, reference, current)
    if feature.kind == "numeric":
        yield from _numeric_faults(name, reference, current)
    else:
        yield from _unseen(name, reference, current)


def _missing(name: str, reference: ColumnProfile, current: ColumnProfile) -> Iterator[Finding]:
    before, after = reference.missing_share, current.missing_share
    if not current.n:
        yield Finding(name, "all_missing", "broken", f"{before:.1%}", "100.0%", f"all missing (reference {before:.1%})")
        return
    tables = (
        np.array([reference.n, reference.missing]),
        np.array([current.n, current.missing]),
    )
    if after - before < 0.05 or shift.rank_test(*tables, np.array([0.0, 1.0]))[1] > CHANCE:
        return
    severity: Literal["broken", "note"] = "broken" if after >= before + 0.1 and after >= 2 * before else "note"
    yield Finding(name, "missing", severity, f"{before:.1%}", f"{after:.1%}", f"missing in {after:.1%} of rows (reference {before:.1%})")


def _constant(name: str, reference: ColumnProfile, current: ColumnProfile) -> Iterator[Finding]:
    filled = np.flatnonzero(current.counts)
    if len(filled) > 1 or np.count_nonzero(reference.counts) == 1:
        return
    cell = int(filled[0])
    # Upper 99% limit of the cell's share (Clopper-Pearson), to the power of the rows seen.
    seen = int(reference.counts[cell])
    limit = 1.0 if seen == reference.n else float(special.betaincinv(seen + 1, reference.n - seen, 0.99))
    if current.n * np.log(limit) > np.log(CHANCE):
        return
    value = _shown(current, cell)
    levels = int(np.count_nonzero(reference.counts))
    yield Finding(name, "constant", "broken", f"{levels} values", value, f"constant at {value} (reference: {levels} different values)")


def _numeric_faults(name: str, reference: ColumnProfile, current: ColumnProfile) -> Iterator[Finding]:
    if current.infinite and not reference.infinite:
        share = current.infinite / current.rows
        severity: Literal["broken", "note"] = "broken" if share >= 0.05 else "note"
        yield Finding(name, "infinite", severity, "0.0%", f"{share:.1%}", f"infinite in {share:.1%} of rows")
    unit = _unit_change(reference, current)
    if unit is not None:
        middle = [quantiles(side, np.array([0.5]))[0] for side in (reference, current)]
        yield Finding(name, "unit", "broken", f"median {middle[0]:.4g}", f"median {middle[1]:.4g}", f"changed unit: {unit}")
        return
    values, counts = reference.bins.values, reference.counts
    low, high = values[np.flatnonzero(counts)[[0, -1]]]
    q01, q99 = quantiles(reference, np.array([0.01, 0.99]))
    width = (q99 - q01) or (high - low)
    far = (values > high + width) | (values < low - width)
    share = float(current.counts[far].sum()) / current.n
    if width and share >= 0.05 and current.counts[far].sum() >= 5:
        yield Finding(name, "range", "broken", f"{low:.4g} to {high:.4g}", f"{share:.1%} far outside", f"{share:.1%} of values lie far outside the reference's range {low:.4g} to {high:.4g}")


def quantiles(profile: ColumnProfile, shares: Values) -> Values:
    """Return quantiles of a number column from its cells (inverse of the distribution function)."""
    cumulative = np.cumsum(profile.counts) / profile.n
    found: Values = profile.bins.values[np.searchsorted(cumulative, shares - 1e-12)]
    return found


def _unit_change(reference: ColumnProfile, current: ColumnProfile) -> str | None:
    """Return in words the change of unit that maps the reference onto the current values."""
    before, after = quantiles(reference, _GRID), quantiles(current, _GRID)
    spread_before, spread_after = before[-2] - before[1], after[-2] - after[1]
    if current.n < 30 or spread_before <= 0.0 or spread_after <= 0.0:
        return None
    factor = spread_after / spread_before
    if (factor > 8.0 or factor < 0.125) and _matches(before * factor, after, spread_after):
        return f"values are about {factor:.3g} times the reference's"
    for label, (slope, offset) in _AFFINE.items():
        moved = before * slope + offset
        if abs(after[9] - before[9]) > spread_before / 2 and _matches(moved, after, slope * spread_before):
            return label
    return None


def _matches(expected: Values, found: Values, spread: float) -> bool:
    return bool(np.abs(expected - found).max() < 0.25 * spread)


def _unseen(name: str, reference: ColumnProfile, current: ColumnProfile) -> Iterator[Finding]:
    unseen = int(current.counts[-1])
    share = unseen / current.n
    # Good (1953): the chance that the next row shows a new level is about singletons / rows.
    expected = (int(reference.counts[-1]) + int((reference.counts == 1).sum()) + 3.0) / reference.n
    if share < 0.01 or float(special.bdtrc(unseen - 1, current.n, min(1.0, expected))) > CHANCE:
        return
    severity: Literal["broken", "note"] = "broken" if share >= 0.5 else "note"
    yield Finding(name, "unseen", severity, f"{expected:.1%}", f"{share:.1%}", f"levels never seen in the reference in {share:.1%} of rows")


def _duplicates(model: Model, current: pd.DataFrame) -> Iterator[Finding]:
    names = [f.name for f in model.features]
    if len(current) < 30 or not set(names) <= set(current.columns):
        return
    n, m = len(current), len(model.reference)
    repeated = int(current[names].duplicated().sum())
    if repeated / n < 0.05:
        return
    # The chance that two reference rows agree, with Poisson's upper limit for pairs never seen.
    sizes = model.reference.groupby(names, dropna=False, observed=True).size().to_numpy()
    pairs = float((sizes * (sizes - 1.0)).sum() / 2.0) + 3.0
    excess = (repeated - pairs / (m * (m - 1.0) / 2.0) * n * (n - 1.0) / 2.0) / n
    if excess >= 0.05:
        severity: Literal["broken", "note"] = "broken" if excess >= 0.3 else "note"
        yield Finding("(rows)", "duplicates", severity, f"{pairs:.0f} pairs", f"{repeated / n:.1%}", f"{repeated / n:.1%} of rows repeat an earlier row")


def _shown(profile: ColumnProfile, cell: int) -> str:
    if profile.bins.kind == "numeric":
        return f"{profile.bins.values[cell]:.6g}"
    return repr(profile.bins.levels[cell]) if cell < len(profile.bins.levels) else "an unseen level"
