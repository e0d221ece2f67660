"""A window in a few numbers: how far each column has moved, in a form that adds up over windows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import special

from driftbook.data.arrays import Floats, Ints
from driftbook.data.cells import to_numbers
from driftbook.data.ranks import rank_values
from driftbook.drift import column_tests
from driftbook.drift.levels import code_levels
from driftbook.drift.profile import ColumnProfile
from driftbook.drift.reference import find_reference
from driftbook.drift.time_order import (
    TimeDependence,
    count_blocks,
    measure_time_dependence,
    to_normal_scores,
)
from driftbook.model.model_side import ModelSide, keep_while_model_lives
from driftbook.model.training import Model

LOCATION, SPREAD, MISSING = "location", "spread", "missing"
_OTHERS = "share of the others"
# Of a category's levels the commonest are followed each on its own, all others together.
FOLLOWED_LEVELS = 5
# How a column's share of the budget is parted; several levels share that of the location.
ASPECT_SHARES = {LOCATION: 0.8, SPREAD: 0.1, MISSING: 0.1}
_LEAST_TAIL = 1e-300
_FAR, _UNDERFLOW = 12.0, 1e-250


@dataclass(frozen=True)
class Reading:
    """One number of a window: ``value`` is 0 in the mean as long as nothing has changed.

    ``variance``: of the window's own noise; ``shared``: of the noise that all windows have in
    common, because they are compared with one reference; ``df``: degrees of freedom of both.
    """

    value: float
    variance: float
    shared: float
    df: float = math.inf
    rows: int = 0

    @property
    def error(self) -> float:
        """Return the standard error of the value of this window alone."""
        return math.sqrt(self.variance + self.shared)


def read_columns(model: Model, profiles: Mapping[str, ColumnProfile]) -> dict[str, Reading]:
    """Return by ``column: aspect`` how far the columns of one window have moved.

    ``profiles``: of the window's columns. Aspects: ``location`` and ``spread`` of a number column
    on its ranks, the share of each common level of a category, and the share ``missing``, where
    there is any. Values are in standard deviations of one row. Rows that depend on each other in
    time, as the reference shows them, widen the variances.

    Source: normal scores, van der Waerden (1952); Mood (1954); the hypergeometric distribution.
    """
    reference, order = find_reference(model).profiles, find_reference_order(model)
    found = {}
    for name, now in profiles.items():
        for aspect, score, m, n in _score_aspects(reference[name], now):
            held = order.measure(name, aspect, n)
            value = score * math.sqrt(1.0 / m + 1.0 / n)
            reading = Reading(value, held.ratio / n, held.ratio / m, held.df, n)
            found[f"{name}: {aspect}"] = reading
    return found


def leave_season(now: Mapping[str, Reading], then: Mapping[str, Reading]) -> dict[str, Reading]:
    """Return the readings of a window less those of the same season of earlier years.

    Both are compared with one reference, whose noise cancels; the season's own takes its place. It
    is that of a window's rows: by how much years differ beyond it, few years do not say.
    """
    found = dict(now)
    for key in now.keys() & then.keys():
        one, other = now[key], then[key]
        value = one.value - other.value
        found[key] = Reading(value, one.variance, other.variance, one.df, one.rows)
    return found


def widen_pvalues(model: Model, report: pd.DataFrame) -> dict[str, float]:
    """Return the p-value of each row of a drift report, for rows that depend on each other.

    A column's p-value is as if its rows were independent; its normal score is divided by the root
    of the dependence of its values. The prediction's dependence is that of its holdout, the
    joint row's the largest of any column's. NaN stays NaN.
    """
    order, found = find_reference_order(model), {}
    kinds = {feature.name: feature.kind for feature in model.features}
    for row in report.to_dict("records"):
        name, n = str(row["feature"]), int(row["n_current"])
        if row["kind"] == "prediction":
            held = order.measure_prediction(n)
        else:
            names = [name] if name in kinds else list(kinds)
            every = (order.measure(one, order.main_aspect(one), n) for one in names)
            held = max(every, key=lambda one: one.ratio)
        z = _normal_score(float(row["pvalue"]), float(row["statistic"]), str(row["test"]))
        found[name] = float(2.0 * special.ndtr(-to_normal_scores(z / held.ratio**0.5, held.df)))
    return found


def _normal_score(pvalue: float, statistic: float, test: str) -> float:
    """Return a p-value as a standard normal score; where it underflows, that of its statistic.

    A chi-square's is the root of it (Fisher 1922): its degrees of freedom are few beside it.
    """
    if not pvalue <= _UNDERFLOW:
        return float(-special.ndtri(pvalue / 2.0))
    far = math.sqrt(abs(statistic)) if test.startswith("chi-square") else abs(statistic)
    return max(far, float(-special.ndtri(_UNDERFLOW / 2.0)))


class ReferenceOrder(ModelSide):
    """How rows of a model's reference depend on each other in time, each column when first used."""

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self._kept: dict[tuple[str, str, int], TimeDependence] = {}

    def main_aspect(self, name: str) -> str:
        """Return the aspect by which a column's dependence is known: its location or top level."""
        bins = find_reference(self.model).profiles[name].bins
        return LOCATION if bins.kind == "numeric" else _name_share(*bins.levels[:1])

    def measure(self, name: str, aspect: str, window: int) -> TimeDependence:
        """Return the dependence of one aspect of a column in windows of ``window`` rows."""
        key = name, aspect, count_blocks(len(self.model.reference), window)
        if key not in self._kept:
            for each, values in self._series(name, aspect):
                self._kept[name, each, key[2]] = measure_time_dependence(values, window)
        return self._kept[key]

    def measure_prediction(self, window: int) -> TimeDependence:
        """Return the largest dependence of any output's predictions on the holdout."""
        p = self.model.holdout_scores.reshape(len(self.model.holdout_scores), -1)
        blocks, found = count_blocks(len(self.model.reference), window), []
        for k in range(p.shape[1]):
            key = "", str(k), blocks
            if key not in self._kept:
                self._kept[key] = measure_time_dependence(p[:, k].copy(), window)
            found.append(self._kept[key])
        return max(found, key=lambda one: one.ratio)

    def _series(self, name: str, aspect: str) -> Iterator[tuple[str, Floats]]:
        """Yield the aspect with its value in each row, and the others that come with it.

        What takes long is ranking numbers and reading text; every aspect that rests on it is asked
        for sooner or later.
        """
        values = self.model.reference[name]
        bins = find_reference(self.model).profiles[name].bins
        numeric = bins.kind == "numeric"
        if aspect == MISSING:
            present = pd.Series(to_numbers(values)) if numeric else values
            yield aspect, np.asarray(present.isna(), dtype=np.float64)
            return
        if numeric:
            numbers = to_numbers(values)
            numbers = numbers[~np.isnan(numbers)]
            ranks = rank_values(numbers) / (len(numbers) + 1)
            yield LOCATION, special.ndtri(ranks)
            yield SPREAD, (ranks - 0.5) ** 2
            return
        codes, names = code_levels(values, bins.kind)
        codes = codes[codes >= 0]
        followed, rest = bins.levels[:FOLLOWED_LEVELS], bins.levels[FOLLOWED_LEVELS:]
        shares = {_OTHERS: rest, aspect: rest} | {_name_share(one): (one,) for one in followed}
        for each, levels in shares.items():
            yield each, names.isin(levels).astype(np.float64)[codes]


@keep_while_model_lives
def find_reference_order(model: Model) -> ReferenceOrder:
    """Return how the rows of the model's reference depend on each other."""
    return ReferenceOrder(model)


def _name_share(level: str = "") -> str:
    return f"share of {level!r}"


def _score_aspects(
    before: ColumnProfile, now: ColumnProfile
) -> Iterator[tuple[str, float, int, int]]:
    """Yield aspect, standard normal score, and rows of the reference and of the window."""
    if before.n and now.n:
        m, n = before.n, now.n
        if before.bins.kind == "numeric":
            filled = (before.counts + now.counts) > 0
            ref, cur = before.counts[filled], now.counts[filled]
            ranks = column_tests.find_mid_ranks(ref + cur)
            yield LOCATION, _score(ref, cur, special.ndtri(ranks)), m, n
            if len(ref) > 2:
                yield SPREAD, _score(ref, cur, (ranks - 0.5) ** 2), m, n
        else:
            yield from _score_levels(before, now)
    if before.missing or now.missing:
        rows = before.rows, now.rows
        yield MISSING, _score_share(before.missing, rows[0], now.missing, rows[1]), *rows


def _score_levels(
    before: ColumnProfile, now: ColumnProfile
) -> Iterator[tuple[str, float, int, int]]:
    m, n, levels = before.n, now.n, before.bins.levels
    for k in range(min(FOLLOWED_LEVELS, len(levels))):
        share = _score_share(int(before.counts[k]), m, int(now.counts[k]), n)
        yield _name_share(levels[k]), share, m, n
    rest = int(before.counts[FOLLOWED_LEVELS:].sum()), int(now.counts[FOLLOWED_LEVELS:].sum())
    if any(rest):
        yield _OTHERS, _score_share(rest[0], m, rest[1], n), m, n


def _score_share(ref: int, m: int, cur: int, n: int) -> float:
    if ref + cur in (0, m + n):
        return 0.0
    table = np.array([m - ref, ref]), np.array([n - cur, cur])
    return _score(*table, np.array([0.0, 1.0]))


def _score(ref: Ints, cur: Ints, scores: Floats) -> float:
    """Return a rank test's exact-moment p-value as a standard normal score with its sign.

    Far out in the tail, where a p-value no longer tells large moves apart, it is the test's own z.
    """
    z, pvalue = column_tests.rank_test(ref, cur, scores)
    if abs(z) > _FAR:
        return z
    return math.copysign(-float(special.ndtri(max(pvalue, _LEAST_TAIL) / 2.0)), z)
