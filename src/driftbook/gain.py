"""What a trial's losses say: the champion's gap, the best recipe, and how fast models go stale."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from driftbook import performance
from driftbook.performance import Floats
from driftbook.training import Model
from driftbook.trial import BASE, Trial

# One-sided chance of calling a champion stale that is not, shared by the two tests of it.
FALSE_STALE = 0.05
# Prior weight, in windows, of "models do not go stale here" when the slope is estimated.
PRIOR_WINDOWS = 1.0


@dataclass(frozen=True)
class Gap:
    """A mean gain of Brier loss a row with its standard error and degrees of freedom."""

    mean: float
    error: float
    df: int
    rows: int

    def low(self, confidence: float) -> float:
        """Return the bound that the true gain exceeds with one-sided ``confidence``."""
        return self.mean - float(stats.t.ppf(confidence, self.df)) * self.error

    def high(self, confidence: float) -> float:
        """Return the bound that the true gain stays below with one-sided ``confidence``."""
        return 2 * self.mean - self.low(confidence)


def paired_gap(found: Trial) -> Gap | None:
    """Return champion minus challenger on the gates; each gate's recipe was chosen before it."""
    gains = []
    for k, champion in enumerate(found.champion):
        loss = found.losses.get(chosen(found, k), [])[k : k + 1]
        if champion is not None and loss and loss[0] is not None:
            gains.append(champion - loss[0])
    return _gap(gains)


def own_gap(found: Trial, name: str) -> Gap | None:
    """Return champion minus one recipe on the gates where it could be fitted."""
    pairs = zip(found.champion, found.losses[name], strict=True)
    return _gap([champion - x for champion, x in pairs if champion is not None and x is not None])


def chosen(found: Trial, before: int) -> str:
    """Return the recipe that the segments before index ``before`` speak for.

    The sliding block stays unless another recipe's mean loss on the same rows is lower by more
    than one standard error; of several the one with the largest assured lead is taken.

    Source: the one-standard-error rule, Breiman et al. (1984), CART, §3.4.3.
    """
    best, assured = BASE, 0.0
    for name in found.losses:
        gap = lead(found, name, before)
        if name != BASE and gap is not None and gap.mean - gap.error > assured:
            best, assured = name, gap.mean - gap.error
    return best


def staleness(found: Trial) -> float:
    """Return by how much a model's mean Brier loss rises for each window of age, at least 0.

    Least squares through the origin over all pairs of fits of the base recipe on the same rows,
    shrunk towards 0 by one window of evidence: the windows seen so far are pooled.
    """
    top, bottom = 0.0, PRIOR_WINDOWS
    for base, pairs in zip(found.losses.get(BASE, []), found.older, strict=False):
        for age, older in pairs:
            if base is not None:
                top += age * float((older - base).sum()) / found.window
                bottom += age * age * len(base) / found.window
    return max(0.0, top / bottom)


def is_stale(found: Trial, model: Model) -> bool:
    """Return whether newer fits of the champion's size beat it, or beat fits a window older.

    Two paired t-tests at half of ``FALSE_STALE`` each; rows in blocks, and the luck of two fits of
    the same size added, so that a window of any length errs as often.

    Source: excess loss of a fit of d parameters on n rows as chi-square with d degrees of freedom
    over 2n, Wilks (1938), Ann. Math. Stat. 9, scaled to Brier loss by twice the mean p(1 - p).
    """
    base = found.losses.get(BASE, [])
    against_champion, against_older = [], []
    for k, loss in enumerate(base):
        champion = found.champion[k]
        if loss is None:
            continue
        if champion is not None:
            against_champion.append(champion - loss)
        if found.older[k]:
            against_older.append(max(found.older[k], key=lambda pair: pair[0])[1] - loss)
    luck = _luck(model)
    return any(
        gap is not None
        and gap.mean > float(stats.t.ppf(1 - FALSE_STALE / 2, gap.df)) * np.hypot(gap.error, luck)
        for gap in (_gap(against_champion), _gap(against_older))
    )


def lead(found: Trial, name: str, before: int) -> Gap | None:
    """Return how much lower a recipe's loss is than the sliding block's on the same segments."""
    pairs = zip(found.losses.get(BASE, [])[:before], found.losses[name][:before], strict=False)
    gains = [base - loss for base, loss in pairs if base is not None and loss is not None]
    return _gap(gains)


def _gap(gains: list[Floats]) -> Gap | None:
    if not gains:
        return None
    rows = np.concatenate(gains)
    error, df = performance.standard_error(rows)
    return Gap(float(rows.mean()), error, df, len(rows))


def _luck(model: Model) -> float:
    """Return the standard deviation of the Brier loss between two fits on as many rows."""
    p = model.holdout_scores
    width = sum(
        1 if f.kind != "categorical" else model.reference[f.name].nunique() for f in model.features
    )
    scale = 2.0 * float(np.mean(p * (1 - p)))
    return scale * float(np.sqrt(2.0 * (width + 1) / 2.0)) / len(model.reference)
