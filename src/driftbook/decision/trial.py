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
from driftbook.model import design, threads
from driftbook.model.fitting import read_weights
from driftbook.model.imported import ENCODED, FeatureForm, choose_form
from driftbook.model.tasks import Task
from driftbook.model.training import Model
from driftbook.settings import Settings

# Every recipe is tried in so many segments before the window, the plain one in more of them: how
# the champion's gap moves from window to window is seen in many.
GATES, PAST, PLAIN_PAST = 4, 8, 26
QUARTERS = 4
# Trees take a hundred times as long to fit: fewer segments, fewer recipes.
SLOW_GATES, SLOW_PAST = 2, 2


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

    ``losses[recipe][k]``: losses on ``segments[k]`` up to its reach, None where the recipe
    could not be fitted. ``champion``: likewise of each of the ``rows`` rows, NaN on the first
    ``reference`` of them, from which it learnt. ``older[k]``: losses on segment k's own rows of
    the base recipe's fit that is up to one window older, None where there is none.
    ``quarters``: mean loss on a calm window of fits on each interleaved quarter of the block
    before it; where inputs moved, quarters differ by how they extrapolate, which is no luck.
    """

    segments: tuple[TrialSegment, ...]
    losses: dict[str, list[Floats | None]]
    champion: Floats
    older: list[Floats | None]
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


@threads.one_tree_thread()
def run_trial(
    model: Model,
    fresh: pd.DataFrame,
    window: int,
    settings: Settings,
    memo: FitMemo | None = None,
    calm: bool = False,
    without: frozenset[str] = frozenset(),
) -> Trial | None:
    """Return the trial of all recipes, or None where ``fresh`` has too few labelled rows.

    ``fresh``: labelled rows since the champion's reference, in time order; the newest ``window``
    of them are the gates, cut so that each holds at least ``policy.min_rows``. A first version's
    own reference is tried too, a later one's was tried before it was trained. ``memo`` saves
    fitting the same rows again in a replay; ``calm``: nothing else speaks of a change;
    ``without``: columns that are broken or accepted, which no new fit learns from.
    """
    linear = settings.model.estimator == "linear"
    gates = min(GATES if linear else SLOW_GATES, window // settings.policy.min_rows)
    if gates < 1 or len(fresh) < window:
        return None
    weight = settings.data.weight
    known = weight is not None and {weight} <= {*model.reference.columns} & {*fresh.columns}
    features = tuple(f for f in model.features if f.name not in without)
    columns = [*(f.name for f in features), *([weight] if known else []), model.target]
    rows = pd.concat([model.reference[columns], fresh[columns]], ignore_index=True)
    stamps = recipes.read_stamps(join_stamps(model, fresh, settings), settings.data.timestamp)
    n_reference = len(model.reference)
    # A column that is gone is to the champion as if all its values were missing.
    said = model.predict(fresh.reindex(columns=fresh.columns.union(model.input_names, sort=False)))
    weights = read_weights(rows, weight)
    table = design.tabulate_rows(rows, features, model.outcomes(rows), weights)
    stage = _Stage(
        model=model,
        table=table,
        stamps=stamps,
        form=_choose_form(table, n_reference, settings, model.task),
        said=np.concatenate([np.full((n_reference, *said.shape[1:]), np.nan), said]),
        block=recipes.count_block_rows(model),
        window=window,
        linear=linear,
        settings=settings,
        memo=FitMemo(0) if memo is None else memo,
    )
    untried = n_reference if "lessons" in model.origin else n_reference // 2
    segments = stage.cut_segments(untried, gates)
    graded = [stage.grade(segment) for segment in segments]
    names = dict.fromkeys(name for losses in graded for name in losses)
    return Trial(
        segments=segments,
        losses={name: [losses.get(name) for losses in graded] for name in names},
        champion=stage.losses(slice(None), stage.said),
        older=[stage.losses_a_window_later(segments[: k + 1]) for k in range(len(segments))],
        window=window,
        rows=len(rows),
        reference=n_reference,
        quarters=stage.losses_of_quarters() if calm else (),
    )


def join_stamps(model: Model, fresh: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """Return the times of the reference's rows and of ``fresh``; no column if a side has none."""
    name = settings.data.timestamp
    if name is None or name not in model.reference or name not in fresh:
        return pd.DataFrame(index=range(len(model.reference) + len(fresh)))
    return pd.concat([model.reference[[name]], fresh[[name]]], ignore_index=True)


def _choose_form(
    table: design.BlockTable, reference: int, settings: Settings, task: Task
) -> FeatureForm:
    """Return how an imported estimator takes the features of the reference."""
    if not settings.model.is_imported:
        return ENCODED
    return choose_form(settings.model, task, table.inputs[:reference], table.y[:reference])


@dataclass(frozen=True)
class _Stage:
    """All rows of a trial, oldest first, and the fits on parts of them."""

    model: Model
    table: design.BlockTable
    said: Floats  # the champion's predictions, NaN on the rows of its own reference
    block: int
    window: int
    linear: bool
    settings: Settings
    memo: FitMemo
    form: FeatureForm
    stamps: pd.DatetimeIndex | None

    @property
    def start(self) -> int:
        """Return the first row of the window."""
        return len(self.table.y) - self.window

    def cut_segments(self, untried: int, gates: int) -> tuple[TrialSegment, ...]:
        """Return the window's gates and, before it, at most 26 segments of up to a window.

        Older segments start at row ``untried``; they are whole windows where there are at least
        four, else halves or quarters.
        """
        reach, most = self.start - untried, PLAIN_PAST if self.linear else SLOW_PAST
        least = self.settings.policy.min_rows
        steps = [self.window // k for k in (1, 2, 4) if self.window // k >= least]
        step = next((s for s in steps if reach // s >= PAST // 2), steps[-1])
        count = max(0, min(most, reach // step))
        past = [self.start - step * k for k in range(count, -1, -1)]
        n = len(self.table.y)
        edges = np.linspace(self.start, n, gates + 1).astype(int).tolist()
        older = [TrialSegment(a, b, b, gate=False) for a, b in pairwise(past)]
        return (*older, *(TrialSegment(a, b, n, gate=True) for a, b in pairwise(edges)))

    def grade(self, segment: TrialSegment) -> dict[str, Floats]:
        """Return each recipe's losses up to the segment's reach; without those not fitted."""
        graded = slice(segment.start, segment.reach)
        fits = {name: self._fit(name, segment.start) for name in self._names(segment)}
        said = {
            name: fit.predict(self.table, graded) for name, fit in fits.items() if fit is not None
        }
        whole = len(fits) > 1 and self.table.features == self.model.features
        again = self._recalibrated(segment.start, graded) if whole else None
        if again is not None:
            said["recalibrated"] = again
        return {name: self.losses(graded, p) for name, p in said.items()}

    def losses_a_window_later(self, segments: Sequence[TrialSegment]) -> Floats | None:
        """Return losses on the last segment of the oldest base fit that is up to a window older."""
        *older, last = segments
        own = slice(last.start, last.stop)
        near = [segment for segment in older if own.start - segment.start <= self.window]
        fits = (self._fit(recipes.BASE_RECIPE, segment.start) for segment in near)
        fitted = next((fit for fit in fits if fit is not None), None)
        return None if fitted is None else self.losses(own, fitted.predict(self.table, own))

    def losses_of_quarters(self) -> tuple[float, ...]:
        """Return how fits on every fourth row do on the window: alike in time, unlike by luck."""
        first, window = max(0, self.start - self.block), slice(self.start, len(self.table.y))
        found = []
        for k in range(QUARTERS):
            rows = slice(first + k, self.start, QUARTERS)
            fitted = self._fit_rows(rows, None)
            if fitted is None:
                return ()
            found.append(float(self.losses(window, fitted.predict(self.table, window)).mean()))
        return tuple(found)

    def losses(self, rows: slice, p: Floats) -> Floats:
        """Return the loss of each of ``rows`` whose predictions are ``p``."""
        return self.model.task.row_losses(self.table.y[rows], p)

    def _fit_rows(self, rows: slice, weights: Floats | None) -> recipes.BlockFit | None:
        task, settings = self.model.task, self.settings.model
        return recipes.fit_block(self.table, rows, weights, settings, task, self.form)

    def _fit(self, name: str, stop: int) -> recipes.BlockFit | None:
        rows, weights = recipes.plan_rows(name, stop, self.block, self.stamps)
        first, known = self.memo.first, self.memo.fits
        names = tuple(feature.name for feature in self.table.features)
        place = first + rows.start, first + rows.stop, self.window
        key = (name, *place, names, self.table.vocabulary)
        if key not in known:
            if name == "weighted":
                weights = recipes.weigh_resembling(self.table, rows, self.window)
            known[key] = self._fit_rows(rows, weights)
        return known[key]

    def _names(self, segment: TrialSegment) -> list[str]:
        if segment.start < self.start - PAST * self.window:
            return [recipes.BASE_RECIPE]
        names = [recipes.BASE_RECIPE, *(recipes.FADING if self.linear else ["fading"])]
        if segment.start > self.block:
            names.append("everything")
        least = self.settings.policy.min_rows
        if self.linear and recipes.has_season(self.stamps, segment.start, self.block, least):
            names.append(recipes.SEASON)
        # Two fits in one, and the dearest: once a window is enough.
        first = segment.start == self.start
        if segment.start > 2 * self.window and (first or not segment.gate):
            names.append("weighted")
        return names

    def _recalibrated(self, stop: int, graded: slice) -> Floats | None:
        task = self.model.task
        rows, _ = recipes.plan_rows(recipes.BASE_RECIPE, stop, self.block)
        y, said = self.table.y[rows], task.to_scores(self.said[rows])
        known = ~np.isnan(said.reshape(len(said), -1)).any(axis=1)
        y, said = y[known], said[known]
        if len(y) < self.settings.policy.min_rows or not task.count_contrast(y):
            return None
        found = task.fit_calibration(said, y, np.ones(len(y)))
        moved = task.from_scores(found.moved(task.to_scores(self.said[graded])))
        return None if np.isnan(moved).any() else moved
