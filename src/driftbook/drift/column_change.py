"""The change of one column: a record computed from two profiles and nothing else."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy import special

from driftbook.drift import column_tests
from driftbook.drift.profile import ColumnProfile, NumberSummary
from driftbook.settings import DriftSettings

MIN_PRESENT = 10
# How the tests of a number column share its budget: location, distribution function, spread.
TEST_WEIGHTS = np.array([0.85, 0.10, 0.05])
# How a category's budget is shared: the table of frequent levels, all rare levels together.
TABLE_SHARE, RARE_SHARE = 0.9, 0.1
# The part of a column's budget that goes to missing values when there are any.
MISSING_SHARE = 0.1
# Smaller changes of the sd are not worth words.
_NOTABLE_RATIO = 1.2


@dataclass(frozen=True)
class ColumnChange:
    """What two profiles of one column say; NaN stands for "not computed", and ``status`` says why.

    ``effect`` is the shift of the trimmed mean in reference sds (``effect_unit`` "sd"), Cohen's w
    corrected for its bias ("w"), or a difference of correlations ("correlation"), with a 95%
    interval. ``pvalue`` is not yet corrected for the number of columns and is for a change larger
    than the minimum effect. ``psi_expected`` is what PSI is without any drift;
    ``psi_low`` to ``psi_high`` is the interval of the part beyond that.
    """

    status: str
    n_reference: int
    n_current: int
    missing_reference: float = math.nan
    missing_current: float = math.nan
    ks_stat: float = math.nan
    ks_pvalue: float = math.nan
    test: str = ""
    statistic: float = math.nan
    pvalue: float = math.nan
    effect: float = math.nan
    effect_low: float = math.nan
    effect_high: float = math.nan
    effect_unit: str = ""
    direction: str = ""
    psi: float = math.nan
    psi_expected: float = math.nan
    psi_low: float = math.nan
    psi_high: float = math.nan


@dataclass(frozen=True)
class HarmlessShift:
    """A harmless change of a number column that is really there, and must be exceeded surely.

    ``effect``: in winsorised reference sds, for the spread in standard errors of its log for one
    row. On top of it ``location``, in units of the column, and ``spread``, of the log of the sd.
    """

    effect: float
    location: float = 0.0
    spread: float = 0.0


def compare_profiles(
    reference: ColumnProfile,
    current: ColumnProfile,
    settings: DriftSettings,
    slack: HarmlessShift | None = None,
) -> ColumnChange:
    """Return the change of one column between two profiles on the same bins.

    ``slack``: by default ``settings.min_effect`` plain reference sds. Missing values are left out
    of the comparison of values and are a test of their own. ``status``: ``ok``; ``constant`` one
    and the same value on both sides; ``all_missing``; ``insufficient`` fewer than 10 present values
    on a side; ``sparse`` a category without any frequent level.
    """
    missing = reference.missing_share, current.missing_share
    change = ColumnChange("ok", reference.rows, current.rows, *missing)
    if current.rows and not current.n:
        change = replace(change, status="all_missing")
    elif min(reference.n, current.n) < MIN_PRESENT:
        change = replace(change, status="insufficient")
    elif reference.bins.kind == "numeric":
        change = _numbers(change, reference, current, settings, slack)
    else:
        change = _levels(change, reference, current, settings)
    if reference.missing or current.missing:
        change = _with_missing(change, reference, current, settings.min_effect)
    return change


def _numbers(
    change: ColumnChange,
    reference: ColumnProfile,
    current: ColumnProfile,
    settings: DriftSettings,
    slack: HarmlessShift | None,
) -> ColumnChange:
    before, after = reference.summary, current.summary
    ks_stat, ks_pvalue = column_tests.ks_test(reference.counts, current.counts)
    change = replace(change, ks_stat=ks_stat, ks_pvalue=ks_pvalue)
    change = _with_psi(change, reference, current, settings.bins)
    if ks_stat == 0.0 and before.sd == 0.0:
        return replace(
            change, status="constant", test="rank", statistic=0.0, pvalue=1.0, effect=0.0,
            effect_low=0.0, effect_high=0.0, effect_unit="sd", direction="unchanged",
        )  # fmt: skip
    # Off a constant there is no sd to measure in; the size of the move itself is the unit.
    unit = before.sd or after.sd or abs(after.mean - before.mean) or 1.0
    effect = (after.mean - before.mean) / unit
    margin = 1.96 * math.hypot(before.sd / math.sqrt(reference.n), after.sd / math.sqrt(current.n))
    least = column_tests.MATERIAL_ROWS if slack is None else current.n
    slack = slack or HarmlessShift(settings.min_effect * reference.tails)
    z, pvalue = _number_tests(reference, current, slack, least)
    low, high = effect - margin / unit, effect + margin / unit
    return replace(
        change, test="rank scores and KS", statistic=z, pvalue=pvalue,
        effect=effect, effect_low=low, effect_high=high, effect_unit="sd",
        direction=_number_words(low, high, effect, before, after),
    )  # fmt: skip


def _number_tests(
    reference: ColumnProfile, current: ColumnProfile, slack: HarmlessShift, least: int
) -> tuple[float, float]:
    """Return z of the location test and the combined p-value of location, shape and spread.

    Location: normal scores, and the trimmed mean beyond the slack. Spread: Mood's scores, and the
    log ratio of the sds beyond the slack. Shape: KS beyond a band of the slack. Each must pass
    both its test against no change and the one against a harmless change.
    Source: van der Waerden (1952); Mood (1954); Berger (1982), intersection-union.
    """
    filled = (reference.counts + current.counts) > 0
    ref, cur = reference.counts[filled], current.counts[filled]
    shares = column_tests.find_mid_ranks(ref + cur)
    z, location = column_tests.rank_test(ref, cur, special.ndtri(shares))
    spread = column_tests.rank_test(ref, cur, (shares - 0.5) ** 2)[1] if len(ref) > 2 else 1.0
    material = _material(reference, current, slack, least)
    band = slack.effect * reference.summary.sd + slack.location
    shape = column_tests.banded_ks_test(reference, current, band)[1]
    pvalues = max(location, material[0]), shape, max(spread, material[1])
    return z, column_tests.combine_pvalues(np.array(pvalues), TEST_WEIGHTS)


def _material(
    reference: ColumnProfile, current: ColumnProfile, slack: HarmlessShift, least: int
) -> tuple[float, float]:
    """Return the p-values of "location, and spread, moved by no more than is harmless"."""
    before, after = reference.summary, current.summary
    moved = abs(after.mean - before.mean)
    if not before.sd:
        # No row strays from a constant by chance: what lies beyond the slack is a change.
        return float(moved <= slack.location), float(after.sd <= max(slack.location, slack.spread))
    m, n, ratio = reference.n, current.n, after.sd / before.sd
    harmless = slack.effect + slack.location / before.sd
    location = column_tests.find_material_pvalue(moved / before.sd, harmless, m, n, ratio, least)
    width = max(0.0, abs(math.log(max(ratio, 1e-300))) - slack.spread)
    width /= max(0.25, math.sqrt((before.kurtosis - 1.0) / 4.0))  # in standard errors of one row
    return location, column_tests.find_material_pvalue(width, slack.effect, m, n, 1.0, least)


def _number_words(
    low: float, high: float, effect: float, before: NumberSummary, after: NumberSummary
) -> str:
    words = []
    if low > 0.0 or high < 0.0:
        words.append(f"{'higher' if effect > 0 else 'lower'} by {abs(effect):.2f} sd")
    ratio = after.sd / before.sd if before.sd else 1.0
    if not ratio:
        words.append("one value only")
    elif max(ratio, 1.0 / ratio) > _NOTABLE_RATIO:
        words.append(f"{'wider' if ratio > 1 else 'narrower'}, sd ×{ratio:.3g}")
    return ", ".join(words) or "no clear direction"


def _levels(
    change: ColumnChange, reference: ColumnProfile, current: ColumnProfile, settings: DriftSettings
) -> ColumnChange:
    slack, m, n = settings.min_effect, reference.n, current.n
    change = _with_psi(change, reference, current, settings.bins)
    ref, cur, rare_ref, rare_cur = column_tests.pool_rare_levels(reference.counts, current.counts)
    statistic, df = column_tests.chi_square_test(ref, cur)
    rare = column_tests.share_test(rare_ref, m, rare_cur, n, slack)
    size = m * n / (m + n)
    low, high = column_tests.find_noncentral_interval(statistic, df) if df else (0.0, 0.0)
    if df == 1:
        pvalue = column_tests.share_test(int(ref[-1]), m, int(cur[-1]), n, slack)
    else:
        pvalue = column_tests.find_table_pvalue(statistic, df, m, n, slack) if df else 1.0
    if rare_ref + rare_cur:
        pvalue = min(1.0, pvalue / TABLE_SHARE, rare / RARE_SHARE)
    whole = np.count_nonzero(reference.counts + current.counts) == 1
    effect, low, high = (math.sqrt(max(0.0, x) / size) for x in (statistic - df, low, high))
    return replace(
        change, status="constant" if whole else "ok" if df else "sparse", test="chi-square",
        statistic=statistic, pvalue=pvalue, effect=effect, effect_low=low, effect_high=high,
        effect_unit="w", direction=_level_words(reference, current),
    )  # fmt: skip


def _level_words(reference: ColumnProfile, current: ColumnProfile) -> str:
    moves = current.counts / current.n - reference.counts / reference.n
    most = int(np.argmax(np.abs(moves)))
    if moves[most] == 0.0:
        return "unchanged"
    name = [*map(repr, reference.bins.levels), "unseen levels"][most]
    return f"{'more' if moves[most] > 0 else 'fewer'} {name} ({100 * moves[most]:+.1f} points)"


def _with_missing(
    change: ColumnChange, reference: ColumnProfile, current: ColumnProfile, slack: float
) -> ColumnChange:
    """Return the change with the test of the missing share joined in (Bonferroni, weighted)."""
    if min(reference.rows, current.rows) < MIN_PRESENT:
        return change
    pvalue = column_tests.share_test(
        reference.missing, reference.rows, current.missing, current.rows, slack
    )
    word = "more" if current.missing_share > reference.missing_share else "fewer"
    words = f"{word} missing ({reference.missing_share:.1%} to {current.missing_share:.1%})"
    if math.isnan(change.pvalue):
        return replace(change, pvalue=pvalue, test="missing", direction=words)
    missing, values = pvalue / MISSING_SHARE, change.pvalue / (1.0 - MISSING_SHARE)
    if missing < min(values, 0.05):
        both = f"{words}, {change.direction}" if values < 0.05 else words
        change = replace(change, test=f"{change.test}, missing", direction=both)
    return replace(change, pvalue=min(1.0, missing, values))


def _with_psi(
    change: ColumnChange, reference: ColumnProfile, current: ColumnProfile, bins: int
) -> ColumnChange:
    p, q = column_tests.find_psi_shares(reference, current, bins)
    psi = column_tests.measure_psi(p, q)
    expected, low, high = column_tests.find_psi_interval(p, q, reference.n, current.n)
    return replace(change, psi=psi, psi_expected=expected, psi_low=low, psi_high=high)
