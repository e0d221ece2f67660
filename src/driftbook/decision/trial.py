"""A trial in time: every recipe learns from the past only and is graded on what came next.

Labelled rows are cut into contiguous segments. Before each segment every recipe is fitted on the
rows older than it; its loss there is out of sample, and so is the champion's on rows newer than
its reference. Source: prequential evaluation, Dawid (1984), JRSS A 147; Gama et al. (2013).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pandas as pd

from driftbook.data.arrays import Floats
from driftbook.decision import recipes
from driftbook.model import design
from driftbook.model.score_calibration import fit_rising_sigmoid
from driftbook.model.scores import to_log_odds
from driftbook.model.training import Model
from driftbook.performance import realised
from driftbook.settings import Settings

BASE_RECIPE = "recent"
GATES, PAST = 4, 8
QUARTERS = 4
# Trees take a hundred times as long to fit: fewer segments, fewer recipes.
SLOW_GATES, SLOW_PAST = 2, 2
MOST_TRIAL_ROWS = (
    50_000  # more rows of the same kind change a linear fit by less than a trial can see
)


@dataclass(frozen=True)
class TrialSegment:
    """Fits on the rows before ``start`` are graded on ``start:reach``; ``start:stop`` is its own.

    Segments before the window reach to their own stop; the window's gates all reach to its end,
    because a version serves for longer than a part of a window.
    """

    start: int
    stop: int
    reach: int
    gate: bool


@dataclass(frozen=True)
class Trial:
    """What every fit lost, row by row, on rows newer than its own.

    ``losses[recipe][k]``: squared errors on ``segments[k]`` up to its reach, None where the recipe
    could not be fitted. ``champion``: likewise of each of the ``rows`` rows, NaN on the first
    ``reference`` of them, from which it learnt. ``older[k]``: pairs of age in windows and losses
    on segment k's own rows of the base recipe's earlier fits, at most one window older.
    ``quarters``: mean loss on a calm window of fits on each interleaved quarter of the block
    before it; where inputs moved, quarters differ by how they extrapolate, which is no luck.
    """

    segments: tuple[TrialSegment, ...]
    losses: dict[str, list[Floats | None]]
    champion: Floats
    older: list[list[tuple[float, Floats]]]
    window: int
    rows: int
    reference: int
    quarters: tuple[float, ...] = ()

    def losses_of(self, recipe: str) -> list[Floats | None]:
        """Return the recipe's losses in each segment, None throughout where it was never fitted."""
        return self.losses.get(recipe, [None] * len(self.segments))


@dataclass
class FitMemo:
    """Fits that earlier trials of one replay made, by their rows' positions in its table.

    ``first``: position of the first row of the champion's reference. Only for data in which every
    row is labelled, where positions and rows agree.
    """

    first: int
    fits: dict[tuple[object, ...], recipes.BlockFit | None] = field(default_factory=dict)


def run_trial(
    model: Model,
    fresh: pd.DataFrame,
    window: int,
    settings: Settings,
    memo: FitMemo | None = None,
    calm: bool = False,
) -> Trial | None:
    """Return the trial of all recipes, or None where ``fresh`` has too few labelled rows.

    ``fresh``: labelled rows since the champion's reference, in time order; the newest ``window``
    of them are the gates, cut so that each holds at least ``policy.min_rows``. A first version's
    own reference is tried too, a later one's was tried before it was trained. ``memo`` saves
    fitting the same rows again in a replay; ``calm``: nothing else speaks of a change.
    """
    columns = [*model.feature_names, model.target]
    gates = min(_slow(settings, SLOW_GATES, GATES), window // settings.policy.min_rows)
    if gates < 1 or len(fresh) < window:
        return None
    rows = pd.concat([model.reference[columns], fresh[columns]], ignore_index=True)
    n_reference = len(model.reference)
    stage = _Stage(
        table=design.tabulate_rows(rows, model.features, model.target),
        chance=np.append(np.full(n_reference, np.nan), realised.score_outcomes(model, fresh).p),
        block=count_block_rows(model),
        window=window,
        settings=settings,
        memo=FitMemo(0) if memo is None else memo,
    )
    untried = n_reference if "lessons" in model.origin else n_reference // 2
    segments = _segments(len(rows), untried, window, gates, settings)
    found: dict[str, list[Floats | None]] = {}
    fits: list[recipes.BlockFit | None] = []
    for k, segment in enumerate(segments):
        graded, base = _grade(stage, segment)
        fits.append(base)
        for name, losses in graded.items():
            found.setdefault(name, [None] * len(segments))[k] = losses
    return Trial(
        segments=segments,
        losses=found,
        champion=_losses(stage, slice(None), stage.chance),
        older=[_older(stage, segments, fits, k) for k in range(len(segments))],
        window=window,
        rows=len(rows),
        reference=n_reference,
        quarters=_quarters(stage) if calm else (),
    )


def count_block_rows(model: Model) -> int:
    """Return how many rows the sliding block holds: as many as the first model's reference."""
    return int(model.origin.get("block_rows", len(model.reference)))


def plan_rows(recipe: str, stop: int, block: int) -> tuple[slice, Floats | None]:
    """Return the rows before ``stop`` that ``recipe`` learns from, and their weights."""
    if recipe in ("everything", "weighted"):
        return slice(max(0, stop - max(block, MOST_TRIAL_ROWS)), stop), None
    rows = slice(max(0, stop - block), stop)
    share = recipes.FADING.get(recipe)
    return rows, None if share is None else recipes.weigh_fading(stop - rows.start, share * block)


@dataclass(frozen=True)
class _Stage:
    table: design.BlockTable
    chance: Floats  # the champion's probabilities, NaN on the rows of its own reference
    block: int
    window: int
    settings: Settings
    memo: FitMemo


def _slow(settings: Settings, slow: int, fast: int) -> int:
    return fast if settings.model.estimator == "logistic_regression" else slow


def _segments(
    n: int, untried: int, window: int, gates: int, settings: Settings
) -> tuple[TrialSegment, ...]:
    """Return the window's gates and, before it, at most ``PAST`` segments of at most a window.

    Older segments start at row ``untried``; they are whole windows where there are at least four,
    else halves or quarters.
    """
    start = n - window
    reach, most = start - untried, _slow(settings, SLOW_PAST, PAST)
    steps = [window // k for k in (1, 2, 4) if window // k >= settings.policy.min_rows]
    step = next((s for s in steps if reach // s >= PAST // 2), steps[-1])
    count = max(0, min(most, reach // step))
    past = [start - step * k for k in range(count, -1, -1)]
    edges = np.linspace(start, n, gates + 1).astype(int)
    older = [TrialSegment(a, b, b, gate=False) for a, b in pairwise(past)]
    newer = [TrialSegment(int(a), int(b), n, gate=True) for a, b in pairwise(edges)]
    return (*older, *newer)


def _grade(
    stage: _Stage, segment: TrialSegment
) -> tuple[dict[str, Floats], recipes.BlockFit | None]:
    """Return each recipe's losses up to the segment's reach, and the base recipe's fit."""
    losses, base = {}, None
    graded = slice(segment.start, segment.reach)
    for name in _names(stage, segment):
        fitted = _fit(stage, name, segment.start)
        if fitted is None:
            continue
        losses[name] = _losses(stage, graded, fitted.predict(stage.table, graded))
        base = fitted if name == BASE_RECIPE else base
    again = _recalibrated(stage, segment.start, graded)
    if again is not None:
        losses["recalibrated"] = _losses(stage, graded, again)
    return losses, base


def _fit(stage: _Stage, name: str, stop: int) -> recipes.BlockFit | None:
    rows, weights = plan_rows(name, stop, stage.block)
    first, known = stage.memo.first, stage.memo.fits
    key = (name, first + rows.start, first + rows.stop, stage.window, stage.table.vocabulary)
    if key not in known:
        if name == "weighted":
            weights = recipes.weigh_resembling(stage.table, rows, stage.window)
        known[key] = recipes.fit_block(stage.table, rows, weights, stage.settings.model)
    return known[key]


def _names(stage: _Stage, segment: TrialSegment) -> list[str]:
    names = [BASE_RECIPE, *(recipes.FADING if _slow(stage.settings, 0, 1) else ["fading"])]
    if segment.start > stage.block:
        names.append("everything")
    # Two fits in one, and the dearest: once a window is enough.
    first = segment.start == len(stage.table.y) - stage.window
    if segment.start > 2 * stage.window and (first or not segment.gate):
        names.append("weighted")
    return names


def _recalibrated(stage: _Stage, stop: int, graded: slice) -> Floats | None:
    rows, _ = plan_rows(BASE_RECIPE, stop, stage.block)
    known = ~np.isnan(stage.chance[rows])
    y, chance = stage.table.y[rows][known], stage.chance[rows][known]
    if len(y) < stage.settings.policy.min_rows or len(np.unique(y)) < 2:
        return None
    sigmoid = fit_rising_sigmoid(to_log_odds(chance), y, np.ones(len(y)))
    probability = sigmoid.probabilities(to_log_odds(stage.chance[graded]))
    return None if np.isnan(probability).any() else probability


def _older(
    stage: _Stage, segments: Sequence[TrialSegment], fits: Sequence[recipes.BlockFit | None], k: int
) -> list[tuple[float, Floats]]:
    newest, found = segments[k], []
    own = slice(newest.start, newest.stop)
    for segment, fitted in zip(segments[:k], fits[:k], strict=True):
        age = (newest.start - segment.start) / stage.window
        if fitted is not None and age <= 1.0 + 1e-9:
            found.append((age, _losses(stage, own, fitted.predict(stage.table, own))))
    return found


def _quarters(stage: _Stage) -> tuple[float, ...]:
    """Return how fits on every fourth row do on the window: alike in time, they differ by luck."""
    start = len(stage.table.y) - stage.window
    first = max(0, start - stage.block)
    found = []
    for k in range(QUARTERS):
        rows = slice(first + k, start, QUARTERS)
        fitted = recipes.fit_block(stage.table, rows, None, stage.settings.model)
        if fitted is None:
            return ()
        window = slice(start, len(stage.table.y))
        found.append(float(_losses(stage, window, fitted.predict(stage.table, window)).mean()))
    return tuple(found)


def _losses(stage: _Stage, rows: slice, p: Floats) -> Floats:
    losses: Floats = np.square(p - stage.table.y[rows])
    return losses
