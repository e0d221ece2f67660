"""Alarms with a budget over time: what all windows since the reference prove together.

A test that errs in one window of thirty errs in most years. So one window's evidence is only
*seen*; an alarm is raised where the windows since the reference prove a change so surely that in a
whole year in which nothing changes the chance of any alarm is at most ``policy.false_alarms``. It
is spent twice, on a window that proves a change alone and on many small ones that prove it
together, and stays raised until the evidence turns.

The many: for each start of a change, the likelihood of the readings since then under a change of
unknown size over that under none. The noise that all windows share through their one reference is
integrated; readings before the start tell of it. The mean over the starts of a year is an
e-process: it exceeds 1/a with a chance of at most a.

Source: Ville (1939); Shin, Ramdas and Rinaldo (2022), arXiv 2203.03532, mixtures over starts;
Robbins (1970), Annals of Mathematical Statistics 41, the normal mixture.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from scipy import special

from driftbook.data.arrays import Floats
from driftbook.drift.column_tests import find_material_pvalue
from driftbook.drift.readings import ASPECT_SHARES, LOCATION, Reading
from driftbook.drift.report import BUDGETS, MIN_IMPACT
from driftbook.drift.time_order import to_normal_scores
from driftbook.settings import Settings

# Of the chance of a false alarm in a year: what each source of evidence may spend.
SPENT = {"one window's drift": 0.25, "drift": 0.25, "one window's loss": 0.1, "loss": 0.1,
         "newer models": 0.2}  # fmt: skip
LOSS = "(loss)"
ONE_WINDOW = "one window"
WINDOWS_A_YEAR = {"day": 365, "week": 52, "month": 12, "quarter": 4, "year": 1}
# One day may be its weather: so many in a row prove what no sum over days does.
DAYS_TOGETHER = 4
MOST_MORE = 26  # windows that an alarm is looked ahead for
ROWS_A_YEAR = 52  # windows of a number of rows: a year of weeks
# Changes of this size are looked for, in sds of a row and as a share of the baseline's loss, and
# others so many times larger.
DRIFT_SCALE, LOSS_SCALE = 0.2, 0.15
FAR = (1.0, 5.0)
# How sure it must be that a change found by many windows is larger than a harmless one.
MATERIAL_LEVEL = 0.005
# A reading of the loss that is worse by so little chance keeps an alarm of one window raised.
SEEN_LEVEL = 0.05


@dataclass(frozen=True)
class Seen:
    """One window's evidence in a few numbers, for the windows after it.

    ``readings``: by ``column: aspect``, and of the loss; ``pvalues``: of each row of the drift
    report, corrected for all of them; ``matters``: the rows that are flagged and matter;
    ``broken``: columns with a fault that forbids any other judgement.
    """

    rows: int = 0
    readings: Mapping[str, Reading] = field(default_factory=dict)
    pvalues: Mapping[str, float] = field(default_factory=dict)
    matters: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Return what tells windows apart: equal rows judged again are the same window."""
        values = {name: r.value for name, r in self.readings.items() if name != LOSS}
        # Which pairs the dependence is read from changes with what is accepted.
        pvalues = {name: p for name, p in self.pvalues.items() if name != "(joint)"}
        text = json.dumps([self.rows, values, pvalues], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def moved(self, alpha: float) -> set[str]:
        """Return the rows that matter and are flagged at ``alpha`` for dependent rows too."""
        return {name for name in self.matters if self.pvalues.get(name, 1.0) < alpha}

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values that :func:`parse_seen` reads back."""
        return asdict(self)


def parse_seen(values: Mapping[str, Any]) -> Seen:
    """Return the record of :meth:`Seen.to_dict`, also where JSON has made NaN and infinity null."""
    readings = {
        name: Reading(**(one | {"df": math.inf if one["df"] is None else one["df"]}))
        for name, one in values["readings"].items()
    }
    pvalues = {
        name: math.nan if value is None else value for name, value in values["pvalues"].items()
    }
    named = tuple(values["matters"]), tuple(values["broken"])
    return Seen(values["rows"], readings, pvalues, *named)


@dataclass(frozen=True)
class Alarm:
    """What all windows prove of one source, beside what an alarm asks for.

    ``source``: a row of the drift report or ``(loss)``; ``aspect``: what of it moved, or "one
    window"; ``evidence`` against ``threshold``: how many times likelier the readings are under a
    change than under none, or 1 over the p-value of one window; ``moved``: the change since it
    began, ``since`` how many windows ago; ``more``: how many more windows like this one would
    raise it, None where a year of them would not.
    """

    source: str
    aspect: str
    evidence: float
    threshold: float
    raised: bool
    moved: float
    since: int
    more: int | None = 0

    @property
    def share(self) -> float:
        """Return how far the evidence has come, 1 at the threshold, on a scale of logarithms."""
        come = math.log(max(self.evidence, 1.0)) / math.log(self.threshold)
        return max(come, 1.0) if self.raised else come


@dataclass(frozen=True)
class Watch:
    """What an alarm on one source asks for.

    ``budget``: the chance of a false alarm over ``windows`` windows; ``scale``: of the changes that
    are looked for; ``own_noise``: each reading's variance is estimated from its own window, so that
    degrees of freedom add up; ``settled``: the noise that windows share is the same in all of them,
    so that those before a change tell of it.
    """

    budget: float
    scale: float
    one_sided: bool = False
    windows: int = ROWS_A_YEAR
    own_noise: bool = False
    settled: bool = True

    @property
    def threshold(self) -> float:
        """Return what the mean likelihood ratio over a year's starts must reach."""
        return 1.0 / self.budget


def count_windows(settings: Settings) -> int:
    """Return for how many windows the budget of false alarms holds: a year of them by default."""
    if settings.policy.horizon_windows is not None:
        return settings.policy.horizon_windows
    window = settings.data.window
    return ROWS_A_YEAR if isinstance(window, int) else WINDOWS_A_YEAR[window]


def count_together(settings: Settings) -> int:
    """Return how many windows in a row must show what one alone would prove: several days."""
    return DAYS_TOGETHER if settings.data.window == "day" else 1


def drop_repeated(past: Sequence[Seen], now: Seen, year: int) -> tuple[Seen, ...]:
    """Return a year's windows before ``now`` at most, each of them once, in their order."""
    found = {one.key: one for one in past}
    found.pop(now.key, None)
    return tuple(found.values())[max(0, len(found) + 1 - year) :]


def find_alarms(
    past: Sequence[Seen],
    now: Seen,
    settings: Settings,
    shares: Mapping[str, tuple[float, bool]],
    loss: float,
    accepted: Collection[str] = (),
) -> tuple[Alarm, ...]:
    """Return an alarm, raised or not, for each source of evidence of the newest window.

    ``past``: what earlier windows since the reference showed, in order. ``shares``: importance of
    each column and whether it is beyond noise: a change that matters little to the model is no
    alarm. ``loss``: the baseline's, which sets the scale of changes that are looked for.
    ``accepted``: columns that raise no alarm any more; the others keep their shares of the budget,
    so that no threshold moves amid what has been counted.
    """
    year, budget = count_windows(settings), settings.policy.false_alarms
    windows = [*drop_repeated(past, now, year), now]
    kinds = [name for name in now.pvalues if not name.startswith("(")]
    found = []
    for name in (name for name in now.pvalues if name not in accepted):
        level = SPENT["one window's drift"] * budget / year
        found.append(_judge_single(name, windows, level, settings))
    for name in (name for name in kinds if name not in accepted):
        aspects = [key for key in now.readings if key.rpartition(": ")[0] == name]
        parts = {key: ASPECT_SHARES.get(_aspect(key), 0.0) for key in aspects}
        levels = [key for key, share in parts.items() if not share]
        parts |= {key: ASPECT_SHARES[LOCATION] / len(levels) for key in levels}
        for key, part in parts.items():
            share = BUDGETS["column"] / len(kinds) * part
            watch = Watch(SPENT["drift"] * budget * share, DRIFT_SCALE, windows=year)
            alarm = judge_readings(name, _aspect(key), _readings(windows, key), watch)
            found.append(_if_it_matters(alarm, now.readings[key], shares.get(name), settings))
    if LOSS in now.readings:
        level = SPENT["one window's loss"] * budget / year
        readings = _readings(windows, LOSS)
        found.append(_judge_single_loss(readings, level))
        scale = LOSS_SCALE * loss
        watch = Watch(SPENT["loss"] * budget, scale, one_sided=True, windows=year)
        found.append(judge_readings(LOSS, "many windows", readings, watch))
    return tuple(found)


def judge_readings(
    source: str, aspect: str, readings: Sequence[Reading | None], watch: Watch
) -> Alarm:
    """Return what the readings of all windows prove together; None where a window has none.

    Raised once the evidence reaches the threshold, and until it no longer speaks for a change.
    Without any reading nothing is proven.
    """
    if not readings:
        return Alarm(source, aspect, 0.0, watch.threshold, False, 0.0, 0, None)
    windows, newest = len(readings), readings[-1]
    # What more windows like the newest would prove stands after what all until now do.
    more = [] if newest is None else [newest] * MOST_MORE
    evidence, starts = trace_evidence([*readings, *more], watch)
    raised = False
    for value in evidence[:windows]:
        raised = bool(value >= watch.threshold or (raised and value >= 1.0))
    start = int(starts[windows - 1])
    since = [one for one in readings[start:] if one is not None]
    weights = [1.0 / one.variance for one in since]
    moved = float(np.average([one.value for one in since], weights=weights)) if since else 0.0
    reached = np.flatnonzero(evidence[windows:] >= watch.threshold)
    alarm = Alarm(
        source,
        aspect,
        float(evidence[windows - 1]),
        watch.threshold,
        raised,
        moved,
        windows - start,
    )
    return alarm if raised else replace(alarm, more=int(reached[0]) + 1 if len(reached) else None)


def trace_evidence(readings: Sequence[Reading | None], watch: Watch) -> tuple[Floats, Floats]:
    """Return after each window the mean likelihood ratio over starts, and the likeliest start.

    Shapes (windows,). Under no change its chance of ever reaching 1/a within ``watch.windows``
    windows is at most a.
    """
    n = len(readings)
    known = [one for one in readings if one is not None]
    if not known:
        return np.zeros(n), np.arange(n, dtype=np.float64)
    shared = known[-1].shared
    precision = np.array([0.0 if one is None else 1.0 / one.variance for one in readings])
    values = np.array([0.0 if one is None else one.value for one in readings])
    weight, total = np.cumsum(precision), np.cumsum(precision * values)
    # Rows: starts, columns: the newest window. What came before a start tells of the shared noise.
    before, before_total = np.append(0.0, weight[:-1]), np.append(0.0, total[:-1])
    prior = before + (1.0 / shared if shared > 0.0 else np.inf)
    level = np.where(np.isfinite(prior), before_total / prior, 0.0)
    if not watch.settled:
        prior = np.full(n, 1.0 / shared if shared > 0.0 else np.inf)
        level = np.zeros(n)
    since = weight[None, :] - before[:, None]
    known_since = np.triu(np.ones((n, n), dtype=bool)) & (since > 0.0)
    safe = np.where(known_since, since, 1.0)
    mean = (total[None, :] - before_total[:, None]) / safe
    variance = 1.0 / safe + 1.0 / prior[:, None]
    df = np.array([np.inf if one is None else one.df for one in readings])
    if watch.own_noise:
        total_df = np.cumsum(np.where(precision > 0.0, df, 0.0))
        each = np.maximum(1.0, total_df[None, :] - np.append(0.0, total_df[:-1])[:, None])
    else:
        each = np.full((n, n), min(one.df for one in known))
    z = to_normal_scores((mean - level[:, None]) / np.sqrt(variance), each)
    # Small and large changes are looked for alike, none much smaller than a window's own noise.
    least = max(watch.scale**2, known[-1].variance)
    sizes = [_weigh_change(z, variance, least * far**2, watch.one_sided) for far in FAR]
    logs = np.logaddexp.reduce(sizes) - math.log(len(FAR))
    logs = np.where(known_since, logs + _weigh_starts(n, watch.windows)[:, None], -np.inf)
    with np.errstate(over="ignore"):
        found = np.exp(np.minimum(np.logaddexp.reduce(logs), 700.0))
    return np.where(known_since.any(axis=0), found, 0.0), np.argmax(logs, axis=0).astype(np.float64)


def _weigh_change(z: Floats, variance: Floats, size: float, one_sided: bool) -> Floats:
    """Return the logarithm of the likelihood ratio of a normal change of variance ``size``."""
    part = size / (variance + size)
    logs = 0.5 * np.log1p(-part) + 0.5 * z * z * part
    if one_sided:
        logs = logs + np.log(2.0) + special.log_ndtr(z * np.sqrt(part))
    return np.asarray(logs)


def _weigh_starts(n: int, year: int) -> Floats:
    """Return the logarithm of each start's prior: half on the first window, half over a year.

    What a reference and the windows after it differ by most often lies between them.
    """
    weights = np.full(n, math.log(0.5 / year))
    weights[0] = math.log(0.5 + 0.5 / year)
    return weights


def _judge_single(name: str, windows: Sequence[Seen], level: float, settings: Settings) -> Alarm:
    """Return the alarm of a row of the drift report that one window proves by itself.

    Where windows are days the days around it must show it too, see :func:`count_together`.
    """
    streak, proven = 0, False
    for one in windows:
        pvalue = one.pvalues.get(name, math.nan)
        seen = name in one.matters and pvalue < settings.drift.alpha
        streak = streak + 1 if seen else 0
        proven = seen and (proven or pvalue < level)
    raised = proven and streak >= count_together(settings)
    pvalue = windows[-1].pvalues[name]
    evidence = 0.0 if math.isnan(pvalue) else 1.0 / max(pvalue, 1e-300)
    return Alarm(
        name, ONE_WINDOW, evidence, 1.0 / level, raised, math.nan, 1, 0 if raised else None
    )


def _judge_single_loss(readings: Sequence[Reading | None], level: float) -> Alarm:
    raised, pvalue, since = False, 1.0, 0
    for one in readings:
        z = 0.0 if one is None else float(to_normal_scores(one.value / one.error, one.df))
        pvalue = float(special.ndtr(-z))
        raised = pvalue < level or (raised and pvalue < SEEN_LEVEL)
        since = since + 1 if raised else 0
    newest = readings[-1]
    moved = math.nan if newest is None else newest.value
    evidence = 1.0 / max(pvalue, 1e-300)
    more = 0 if raised else None
    return Alarm(LOSS, ONE_WINDOW, evidence, 1.0 / level, raised, moved, max(1, since), more)


def _if_it_matters(
    alarm: Alarm, newest: Reading, share: tuple[float, bool] | None, settings: Settings
) -> Alarm:
    """Return the alarm, not raised where the change is harmless or means little to the model."""
    size = abs(alarm.moved)
    importance, sure = (math.nan, True) if share is None else share
    little = not math.isnan(importance) and (importance * size < MIN_IMPACT or not sure)
    m = max(1, round(1.0 / newest.shared))
    rows = newest.rows * alarm.since
    pvalue = find_material_pvalue(size, settings.drift.min_effect, m, rows)
    if little or pvalue >= MATERIAL_LEVEL:
        return replace(alarm, raised=False, more=None)
    return alarm


def _readings(windows: Sequence[Seen], key: str) -> list[Reading | None]:
    return [one.readings.get(key) for one in windows]


def _aspect(key: str) -> str:
    return key.rpartition(": ")[2]
