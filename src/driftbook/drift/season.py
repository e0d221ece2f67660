"""The same season of earlier years: what of a change came last year too."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from pandas.api.types import is_datetime64_any_dtype

from driftbook.data.arrays import Floats
from driftbook.data.sampling import take_sample
from driftbook.drift import joint
from driftbook.drift.column_change import ColumnChange, compare_profiles
from driftbook.drift.profile import ColumnProfile, profile_reference, profile_values
from driftbook.drift.reference import find_reference
from driftbook.model.training import Model
from driftbook.settings import DriftSettings, Settings

# A window longer than this is no season but most of a year.
LONGEST = pd.Timedelta(days=183)
# An earlier year counts where it has at least this share of the window's rows.
LEAST_SHARE = 0.5
# A change is the season's where less than this part of it is left beside earlier years.
LEFT_OVER = 0.5


@dataclass(frozen=True)
class Season:
    """Rows of earlier ``years`` at the time of year of a window, named like "June"."""

    rows: pd.DataFrame
    years: int
    name: str


def find_season(
    current: pd.DataFrame, earlier: pd.DataFrame | None, settings: Settings
) -> Season | None:
    """Return the rows of ``earlier`` that lie whole years before ``current``; None without any.

    ``earlier``: rows before the window, in time order, labelled or not. A year counts where it
    covers the whole time of the window and holds at least half as many rows.
    """
    stamp = settings.data.timestamp
    if stamp is None or earlier is None or len(earlier) == 0 or len(current) == 0:
        return None
    if stamp not in earlier.columns or stamp not in current.columns:
        return None
    if not is_datetime64_any_dtype(earlier[stamp]) or not is_datetime64_any_dtype(current[stamp]):
        return None  # numbers only tell the order
    times, span = earlier[stamp], (current[stamp].min(), current[stamp].max())
    if span[1] - span[0] > LONGEST:
        return None
    parts, year = [], 1
    while (first := span[0] - pd.DateOffset(years=year)) >= times.iloc[0]:
        last = span[1] - pd.DateOffset(years=year)
        a, b = times.searchsorted(first, "left"), times.searchsorted(last, "right")
        if b - a >= LEAST_SHARE * len(current):
            parts.append(earlier.iloc[a:b])
        year += 1
    if not parts:
        return None
    rows = take_sample(pd.concat(parts[::-1], ignore_index=True), settings.data.sample_rows)
    return Season(rows, len(parts), _name_season(*span))


def _name_season(first: pd.Timestamp, last: pd.Timestamp) -> str:
    same = first.month == last.month and first.year == last.year
    return str(first.month_name()) if same else "the same time of year"


class SeasonSide:
    """What the season contributes to comparisons with a window, as a reference would.

    Columns are counted on the reference's own bins and scored by its rules.
    """

    def __init__(self, model: Model, season: Season) -> None:
        self._model, self._rows = model, season.rows

    @property
    def is_whole(self) -> bool:
        """Return whether the season's rows have all that the model needs."""
        needed = {*self._model.feature_names, *self._model.input_names}
        return needed <= set(self._rows.columns)

    @cached_property
    def profiles(self) -> dict[str, ColumnProfile]:
        """Return the profile of each feature in the season."""
        return dict(find_reference(self._model).profile_window(self._rows))

    @property
    def score_rules(self) -> joint.ScoreRules:
        """Return how the reference scores columns in the joint comparison."""
        return find_reference(self._model).score_rules

    @cached_property
    def rank_scores(self) -> joint.RankScores:
        """Return the season's columns on the reference's ranks."""
        return joint.score_ranks(self._rows, self._model.features, self.score_rules)

    def compare_predictions(self, p: Floats, settings: DriftSettings) -> list[ColumnChange]:
        """Return by output the change of predictions ``p`` since those for the season's rows."""
        to_scores = self._model.task.to_scores
        before, now = (
            np.asarray(to_scores(said)).reshape(len(said), -1)
            for said in (self._model.predict(self._rows), p)
        )
        changes = []
        for k in range(before.shape[1]):
            known = profile_reference(pd.Series(before[:, k]), "numeric")
            found = profile_values(pd.Series(now[:, k]), known.bins)
            changes.append(compare_profiles(known, found, settings))
        return changes


def find_seasonal(effect: Floats, left: Floats) -> Floats:
    """Return which changes are mostly the season's: 1 where so, 0 where not, NaN where unknown.

    ``effect``: against the reference; ``left``: against the same season of earlier years.
    """
    known = np.isfinite(effect) & np.isfinite(left)
    return np.where(known, (np.abs(left) < LEFT_OVER * np.abs(effect)).astype(np.float64), np.nan)
