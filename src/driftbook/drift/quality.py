"""Data quality: faults of the data themselves, told apart from a world that changed."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import astuple, dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd
from scipy import special

from driftbook.data.cells import to_numbers
from driftbook.drift import column_tests, units
from driftbook.drift.profile import SENTINELS, ColumnProfile
from driftbook.drift.reference import find_reference
from driftbook.model.design import model_inputs
from driftbook.model.training import Model
from driftbook.settings import Settings

QUALITY_COLUMNS = ("feature", "fault", "severity", "reference_value", "current_value", "detail")
# A fault is called only where chance would produce it less than once in a million columns.
CHANCE = 1e-6
# Shares of the rows from which a fault is worth a word, and from which nothing else can be trusted.
# Conventions of this project; ordinary drift reaches none of them.
NOTED, BROKEN, REPLACED = 0.05, 0.1, 0.5
_BATCH = 1 << 15  # rows hashed at a time: so many stay in a core's own cache
DUPLICATES_BROKEN = 0.3

Severity = Literal["broken", "note", "accepted"]


@dataclass(frozen=True)
class QualityFinding:
    """One fault of one column, with the values that show it."""

    feature: str
    fault: str
    severity: Severity
    reference_value: str
    current_value: str
    detail: str


@dataclass(frozen=True)
class ProfiledColumn:
    """A column's two profiles, and its longest run of one value in the reference."""

    name: str
    reference: ColumnProfile
    current: ColumnProfile
    run: int = 1

    @property
    def settled(self) -> bool:
        """Return whether the window is too short to break a habit of the reference.

        A column that keeps one value for long stretches of time (a quarterly figure, a month) is
        often constant, or at a new value, in a window.
        """
        return self.current.n < 2 * self.run


def check_quality(
    model: Model,
    current: pd.DataFrame,
    settings: Settings,
    profiles: Mapping[str, ColumnProfile] | None = None,
    accepted: Collection[str] = (),
) -> pd.DataFrame:
    """Return the faults of the rows of one window, a row each; empty when there are none.

    ``severity``: ``broken`` stops every other conclusion, ``note`` does not, and ``accepted`` is
    what would be broken in a column of ``accepted``, whose change is known and agreed to. A fault
    needs a size that no ordinary drift has (the cut-offs are conventions of this project) and a
    chance below one in a million under the reference. ``profiles``: of the columns of ``current``,
    where they are counted already. Faults: ``absent``, ``text``, ``all_missing``, ``missing``,
    ``constant``, ``infinite``, ``unit``, ``sentinel``, ``range``, ``unseen``, ``duplicates``.
    """
    reference = find_reference(model)
    if profiles is None:
        profiles = reference.profile_window(current)
    findings: list[QualityFinding] = []
    for feature in model.features:
        name = feature.name
        if name not in profiles:
            words = ("present", "no such column", "column is absent")
            findings.append(QualityFinding(name, "absent", "broken", *words))
            continue
        known, run = reference.profiles[name], reference.runs[name]
        findings += find_column_faults(ProfiledColumn(name, known, profiles[name], run))
    findings += _find_unpredicted(model, current)
    findings += _find_unknown_classes(model, current)
    if len(current) >= settings.policy.min_rows:
        findings += _duplicates(model, current)
    return pd.DataFrame(
        [astuple(_accept(finding, accepted)) for finding in findings],
        columns=list(QUALITY_COLUMNS),
    )


def _accept(finding: QualityFinding, accepted: Collection[str]) -> QualityFinding:
    """Return a finding, no fault any more where it breaks a column that is accepted."""
    agreed = finding.severity == "broken" and finding.feature in accepted
    return replace(finding, severity="accepted") if agreed else finding


def _find_unpredicted(model: Model, current: pd.DataFrame) -> Iterator[QualityFinding]:
    """Yield where a model that is served elsewhere has left no prediction."""
    for name in model.prediction:
        if name not in current.columns:
            words = ("present", "no such column", "the column of predictions is absent")
            yield QualityFinding(name, "absent", "broken", *words)
            continue
        share = float(np.isnan(to_numbers(current[name])).mean()) if len(current) else 0.0
        if share:
            shown = f"{share:.1%}"
            detail = f"no prediction in {shown} of rows, which are left out"
            yield QualityFinding(name, "missing", _severity(share, BROKEN), "0.0%", shown, detail)


def _find_unknown_classes(model: Model, current: pd.DataFrame) -> Iterator[QualityFinding]:
    """Yield where labels are classes that the model cannot predict: each of them is a miss."""
    if model.task.name != "multiclass" or model.target not in current.columns:
        return
    outcomes = model.outcomes(current)
    unknown, labelled = outcomes < 0, int(np.count_nonzero(~np.isnan(outcomes)))
    if not unknown.any():
        return
    shown = f"{np.count_nonzero(unknown) / labelled:.1%}"
    names = ", ".join(repr(str(one)) for one in current[model.target][unknown].unique()[:3])
    detail = (
        f"classes that the model does not know ({names}) in {shown} of labelled rows; a retrain "
        "keeps the model's classes: a first run in a new artifacts folder learns all of them"
    )
    yield QualityFinding(model.target, "unseen", "note", "0.0%", shown, detail)


def find_column_faults(column: ProfiledColumn) -> list[QualityFinding]:
    """Return the faults that the two profiles of one column show."""
    before, after = column.reference, column.current
    if not after.rows or not before.n:
        return []
    text = _strange(column, "text", "text instead of numbers", before.invalid, after.invalid)
    found = [*text, *_missing(column)]
    if not after.n:
        return found
    found += _constant(column)
    if before.bins.kind != "numeric":
        return found + [*_unseen(column)]
    found += _strange(column, "infinite", "infinite", before.infinite, after.infinite)
    return found + ([*_unit(column)] or [*_sentinel(column)] or [*_range(column)])


def _strange(
    column: ProfiledColumn, fault: str, words: str, before: int, after: int
) -> Iterator[QualityFinding]:
    """Yield values of a sort that the reference never had, from their counts on either side."""
    share = after / column.current.rows
    if share and not before:
        shown = f"{share:.1%}"
        severity, detail = _severity(share, NOTED), f"{words} in {shown} of rows"
        yield QualityFinding(column.name, fault, severity, "0.0%", shown, detail)


def _missing(column: ProfiledColumn) -> Iterator[QualityFinding]:
    known, now = column.reference, column.current
    before, after = known.missing_share, now.missing_share
    values = f"{before:.1%}", f"{after:.1%}"
    if now.invalid:
        return
    if not now.n:
        detail = f"all missing (reference {before:.1%})"
        yield QualityFinding(column.name, "all_missing", "broken", *values, detail)
        return
    chance = column_tests.share_test(known.missing, known.rows, now.missing, now.rows, minimum=0.0)
    if after - before < NOTED or chance > CHANCE:
        return
    broken = after - before >= BROKEN and after >= 2.0 * before
    detail = f"missing in {after:.1%} of rows (reference {before:.1%})"
    yield QualityFinding(column.name, "missing", "broken" if broken else "note", *values, detail)


def _constant(column: ProfiledColumn) -> Iterator[QualityFinding]:
    reference, current = column.reference, column.current
    value = _only_value(current)
    different = int(np.count_nonzero(reference.counts))
    if value is None or different == 1 or column.settled:
        return
    # Upper 99% limit of the value's share (Clopper & Pearson 1934), to the power of the rows seen.
    seen = int(reference.counts[np.flatnonzero(current.counts)[0]])
    limit = float(special.betaincinv(seen + 1, reference.n - seen, 0.99))
    if current.n * math.log(limit) > math.log(CHANCE):
        return
    detail = f"constant at {value} (reference: {different} different values)"
    yield QualityFinding(column.name, "constant", "broken", f"{different} values", value, detail)


def _only_value(current: ColumnProfile) -> str | None:
    """Return in words the one value that all present rows share, if there is one."""
    if current.bins.kind == "numeric":
        same = current.low == current.high and not current.infinite
        return f"{current.low:.6g}" if same else None
    cells = np.flatnonzero(current.counts)
    levels = current.bins.levels
    return repr(levels[cells[0]]) if len(cells) == 1 and cells[0] < len(levels) else None


def _unit(column: ProfiledColumn) -> Iterator[QualityFinding]:
    found = units.find_unit_change(column.reference, column.current)
    if found is None:
        return
    before, after = (
        f"median {side.quantiles(np.array([0.5]))[0]:.4g}"
        for side in (column.reference, column.current)
    )
    severity: Severity = "broken" if found.certain else "note"
    detail = f"unit changed: {found.words}"
    yield QualityFinding(column.name, "unit", severity, before, after, detail)


def _sentinel(column: ProfiledColumn) -> Iterator[QualityFinding]:
    """Yield the numbers that stand for "no value" and never occurred in the reference."""
    low, high, width = _span(column.reference)
    edges, current = column.reference.bins.edges, column.current
    places = np.searchsorted(edges, SENTINELS)
    for value, cell in zip(SENTINELS, 2 * places + 1, strict=True):
        share = int(current.counts[cell]) / current.n
        far = value < low - width / 2.0 or value > high + width / 2.0
        if share >= NOTED and far and current.n > share * current.n:
            words = f"{low:.4g} to {high:.4g}", f"{value:g} in {share:.1%}"
            detail = f"{words[1]} of rows, never in the reference"
            yield QualityFinding(column.name, "sentinel", "broken", *words, detail)


def _range(column: ProfiledColumn) -> Iterator[QualityFinding]:
    """Yield values more than the reference's width out of its range.

    Broken when they are a cluster apart while other rows stand; a note when the whole column went.
    """
    low, high, width = _span(column.reference)
    place, current = column.reference.bins.values, column.current
    far = (place > high + width) | (place < low - width)
    inside = (place >= low) & (place <= high)
    count = int(current.counts[far].sum())
    share, kept = count / current.n, int(current.counts[inside].sum()) / current.n
    if share < NOTED or count < 5:
        return
    between = 1.0 - share - kept
    apart = kept >= 0.2 and between < share / 4.0 and not column.settled
    detail = f"{share:.1%} of values lie far outside the reference's {low:.4g} to {high:.4g}"
    values = f"{low:.4g} to {high:.4g}", f"{share:.1%} far outside"
    yield QualityFinding(column.name, "range", "broken" if apart else "note", *values, detail)


def _unseen(column: ProfiledColumn) -> Iterator[QualityFinding]:
    reference, current = column.reference, column.current
    unseen = int(current.counts[-1])
    # Levels beyond those kept are no news. Where most rows have such a one, as of an id, the kept
    # ones were common by luck, and that fewer of them come back says nothing.
    rest = int(reference.counts[-1]) / reference.n
    share = 0.0 if rest > REPLACED else unseen / current.n - rest
    # Good (1953): the next row shows a new level with a chance of about singletons / rows; three
    # more rows bound the chance when there was none (rule of three).
    rare = reference.counts[-1] + np.count_nonzero(reference.counts == 1) + 3
    expected = min(1.0, float(rare) / reference.n)
    if share < NOTED or float(special.bdtrc(unseen - 1, current.n, expected)) > CHANCE:
        return
    broken = share >= REPLACED and not column.settled
    detail = f"levels never seen in the reference in {share:.1%} of rows"
    values = f"at most {expected:.1%}", f"{share:.1%}"
    yield QualityFinding(column.name, "unseen", "broken" if broken else "note", *values, detail)


def _duplicates(model: Model, current: pd.DataFrame) -> Iterator[QualityFinding]:
    """Yield a flood of repeated rows: more than the reference's own repeats and chance explain."""
    if not {f.name for f in model.features} <= set(current.columns):
        return
    n, m = len(current), len(model.reference)
    # No more rows repeat than values of any one column do: that of the most values mostly tells.
    if 1.0 - _estimate_distinct(current[_find_widest(model)]) / n < NOTED / 2.0:
        return
    repeats = 1.0 - _row_keys(model, current).nunique() / n
    if repeats < NOTED:
        return
    sizes = _row_keys(model, model.reference).value_counts()
    # Rows repeat in bursts (share as in the reference) or by chance (pairs grow with n squared);
    # three pairs more bound a chance that produced none.
    pairs = float((sizes * (sizes - 1.0)).sum()) / 2.0 + 3.0
    usual = max(1.0 - len(sizes) / m, pairs / (m * (m - 1.0)) * (n - 1.0))
    if repeats - usual < NOTED:
        return
    severity = _severity(repeats - usual, DUPLICATES_BROKEN)
    values = f"{min(usual, 1.0):.1%}", f"{repeats:.1%}"
    detail = f"{values[1]} of rows repeat another row (expected at most {values[0]})"
    yield QualityFinding("(rows)", "duplicates", severity, *values, detail)


def _find_widest(model: Model) -> str:
    """Return the feature with the most different values in the reference."""
    known = find_reference(model).profiles
    return max(known, key=lambda name: np.count_nonzero(known[name].counts))


def _estimate_distinct(values: pd.Series) -> float:
    """Return how many different values a column holds, to 0.2% of its rows.

    Numbers are hashed to at least four times as many places as there are rows, a tenth of a sort's
    time: as many different values as it takes to fill so many.

    Source: linear counting, Whang et al. (1990), ACM Transactions on Database Systems 15.
    """
    if not pd.api.types.is_numeric_dtype(values.dtype):
        return float(values.nunique(dropna=False))
    numbers = to_numbers(values)
    bits = max(16, (4 * len(numbers) - 1).bit_length())
    filled = np.zeros(1 << bits, dtype=bool)
    for start in range(0, len(numbers), _BATCH):
        keys = pd.util.hash_array(numbers[start : start + _BATCH])
        filled[keys >> np.uint64(64 - bits)] = True
    return -len(filled) * math.log1p(-np.count_nonzero(filled) / len(filled))


def _row_keys(model: Model, frame: pd.DataFrame) -> pd.Series:
    """Return a hash of each row's features; equal rows have equal keys."""
    return pd.util.hash_pandas_object(model_inputs(frame, model.features), index=False)


def _severity(share: float, limit: float) -> Severity:
    return "broken" if share >= limit else "note"


def _span(reference: ColumnProfile) -> tuple[float, float, float]:
    """Return the smallest and largest number of the reference and its width from 1% to 99%."""
    low, high = reference.low, reference.high
    narrow = float(np.ptp(reference.quantiles(np.array([0.01, 0.99]))))
    return low, high, narrow or high - low or max(abs(low), 1.0)
