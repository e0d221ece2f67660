"""Performance by segment: each value of a column against its own past, corrected over all."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from driftbook.data.arrays import Floats
from driftbook.data.cells import to_numbers
from driftbook.model.row_sums import (
    block_standard_error,
    difference_half_width,
    find_worse_confidence,
)
from driftbook.model.training import Model
from driftbook.performance.realised import ScoredRows
from driftbook.performance.verdicts import TOLERATED_SHARE, WORSE, name_verdict
from driftbook.settings import Settings

SEGMENT_COLUMNS = (
    "segment", "value", "n", "loss", "baseline", "change", "change_low", "change_high", "verdict",
)  # fmt: skip
Names = NDArray[np.object_]
# The commonest values of a column have a row each; all others share one.
MOST_VALUES = 50
# Numbers of more different values are cut into groups of about equal size.
SEGMENT_GROUPS = 5
OTHER, MISSING = "other", "missing"
FEW = "few rows"


@dataclass(frozen=True)
class SegmentRow:
    """One value of one column: its mean loss in ``n`` current rows against its own baseline."""

    segment: str
    value: str
    n: int
    loss: float
    baseline: float
    change: float
    change_low: float
    change_high: float
    verdict: str


def judge_segments(
    model: Model, current: pd.DataFrame, scored: ScoredRows, settings: Settings
) -> pd.DataFrame:
    """Return a row a value of each column of ``data.segments``, the worst first.

    ``loss`` is the mean of the rows whose outcome is known, ``baseline`` that of the same value on
    the champion's holdout. The interval of ``change`` is two-sided and corrected over all rows
    (Bonferroni): at most 1% of windows without any change have a ``worse`` one. ``verdict``:
    ``worse`` (the interval lies above 0), ``no worse`` (it excludes a rise by ``policy.tolerance``,
    a tenth of the model's baseline loss by default), ``can't tell yet``, or ``few rows`` (fewer
    than ``policy.min_rows`` in the window or the holdout). A column that either side lacks has no
    row.
    """
    names = [
        name
        for name in settings.data.segments
        if name in current.columns and name in model.reference.columns
    ]
    now = model.task.row_losses(scored.y, scored.p)
    before = model.task.row_losses(model.holdout_outcomes, model.holdout_scores)
    pairs = [pair for name in names for pair in _pair_losses(model, current, name, now, before)]
    few = settings.policy.min_rows
    tests = sum(min(len(a), len(b)) >= few for _, _, a, b in pairs)
    confidence = find_worse_confidence(max(1, tests))
    own = settings.policy.tolerance
    share = TOLERATED_SHARE * float(before.mean()) if len(before) else math.nan
    tolerated = share if own is None else own
    rows = [_judge(*pair, few, confidence, tolerated) for pair in pairs]
    table = pd.DataFrame([astuple(row) for row in rows], columns=list(SEGMENT_COLUMNS))
    surely = table["verdict"].eq(WORSE)
    order = table.assign(surely=~surely, fall=-table["change"]).sort_values(
        ["surely", "fall"], kind="stable", na_position="last"
    )
    return order[list(SEGMENT_COLUMNS)].reset_index(drop=True)


def find_worse_segments(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of :func:`judge_segments` that are surely worse, the worst first."""
    return table[table["verdict"] == WORSE]


def find_common_cause(table: pd.DataFrame) -> tuple[str, str] | None:
    """Return column and value of the one segment that the whole rise of the loss comes from.

    That is where one value alone is worse in its column, and its rows bring at least 80% of what
    the loss of all rows rose by (a convention).
    """
    worst = find_worse_segments(table).head(1).to_dict("records")
    if not worst:
        return None
    one = worst[0]
    column = table[(table["segment"] == one["segment"]) & table["change"].notna()]
    whole = float((column["change"] * column["n"]).sum())
    alone = int(column["verdict"].eq(WORSE).sum()) == 1
    brings = one["change"] * one["n"] >= 0.8 * whole > 0.0
    return (str(one["segment"]), str(one["value"])) if alone and brings else None


def _pair_losses(
    model: Model, current: pd.DataFrame, name: str, now: Floats, before: Floats
) -> Iterator[tuple[str, str, Floats, Floats]]:
    """Yield column, value, and the known losses of its rows now and on the holdout."""
    edges = _find_edges(model.reference[name])
    old, new = (_name_values(rows[name], edges) for rows in (model.holdout, current))
    kept = _commonest(_name_values(model.reference[name], edges), new)
    old, new = (np.where(np.isin(values, kept), values, OTHER) for values in (old, new))
    for value in sorted({*new.tolist()}, key=lambda text: (text in (OTHER, MISSING), text)):
        losses = now[new == value]
        yield name, value, losses[~np.isnan(losses)], before[old == value]


def _find_edges(values: pd.Series) -> Floats | None:
    """Return where the groups of a column of many different numbers begin, None for names."""
    if not pd.api.types.is_numeric_dtype(values.dtype) or values.nunique() <= MOST_VALUES:
        return None
    numbers = to_numbers(values)
    return np.unique(np.nanquantile(numbers, np.linspace(0, 1, SEGMENT_GROUPS + 1)[1:-1]))


def _name_values(values: pd.Series, edges: Floats | None) -> Names:
    if edges is None:
        texts = [f"{v:.15g}" if isinstance(v, float) else str(v) for v in values.astype(object)]
    else:
        inner = [f"{low:.6g} to {high:.6g}" for low, high in pairwise(edges)]
        names = [f"below {edges[0]:.6g}", *inner, f"{edges[-1]:.6g} or more"]
        texts = [names[k] for k in np.searchsorted(edges, to_numbers(values), side="right")]
    return np.where(values.isna().to_numpy(), MISSING, np.array(texts, dtype=object))


def _commonest(reference: Names, current: Names) -> list[str]:
    """Return the commonest values of the reference, then of the window, 50 at most."""
    known, new = (pd.Series(part).value_counts().index.tolist() for part in (reference, current))
    return list(dict.fromkeys([*known, *new]))[:MOST_VALUES]


def _judge(
    name: str,
    value: str,
    now: Floats,
    before: Floats,
    few: int,
    confidence: float,
    tolerated: float,
) -> SegmentRow:
    loss = float(now.mean()) if len(now) else math.nan
    base = float(before.mean()) if len(before) else math.nan
    change = loss - base
    if min(len(now), len(before)) < few:
        return SegmentRow(name, value, len(now), loss, base, change, math.nan, math.nan, FEW)
    half = difference_half_width(
        block_standard_error(now), block_standard_error(before), confidence
    )
    low, high = change - half, change + half
    verdict = name_verdict(low, high, tolerated)
    return SegmentRow(name, value, len(now), loss, base, change, low, high, verdict)
