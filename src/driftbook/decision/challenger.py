"""Challengers: is the champion stale, what would a retrain earn, and on what should it learn."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pandas as pd

from driftbook.decision import experience, retraining, trial
from driftbook.decision import gap as gain
from driftbook.decision.experience import TrialExperience
from driftbook.decision.trial import Trial
from driftbook.model.training import Model
from driftbook.settings import PolicySettings, Settings

# In a calm window a champion is stale only where newer fits lose less by this share of its loss
# (a convention): heavy tails make fits differ by more than any test of theirs knows.
CALM_SHARE = 0.1


@dataclass(frozen=True)
class Challenger:
    """A version that wants to replace the champion, and the evidence for it.

    ``measured``: mean fall of Brier loss a row, champion minus the recipe's fits, on the ``n_gate``
    rows of the window, each graded by a fit on earlier rows, its recipe chosen on earlier rows
    too. ``gain``: the part of it that lasts, from the gaps of all windows since the champion's
    reference and what is known of how gaps move; ``gain_low``, ``gain_high``: one-sided bounds at
    ``policy.confidence``. ``staleness``: growth of a gap a window, pooled over all windows seen.
    ``break_even``: what the gain must exceed, credited over ``windows`` windows. ``stale``: newer
    fits beat the champion, or beat fits a window older (a test at 5%). ``pays``: the gain exceeds
    the break-even with the stated confidence. ``candidates``: every recipe's own measured gain.
    """

    recipe: str
    measured: float
    gain: float
    gain_low: float
    gain_high: float
    n_train: int
    n_gate: int
    champion_loss: float
    challenger_loss: float
    staleness: float
    break_even: float
    windows: int
    stale: bool
    pays: bool
    candidates: pd.DataFrame = field(repr=False)
    make: retraining.RetrainOrder = field(repr=False)

    @cached_property
    def model(self) -> Model:
        """Return the challenger, trained when first asked for: most windows need none."""
        return retraining.retrain_model(self.make)


def try_recipes(
    model: Model,
    current: pd.DataFrame,
    fresh: pd.DataFrame,
    settings: Settings,
    memo: trial.FitMemo | None = None,
    calm: bool = False,
) -> Trial | None:
    """Return the trial of all recipes, or None with too few labelled rows.

    ``fresh``: labelled rows since the champion's reference. The gates are the labelled rows of
    ``current``; where it has none (labels mature later) they are the newest rows of ``fresh``, as
    many as ``current`` has.
    """
    window = len(gather_labelled(model, current, None)) or min(len(current), len(fresh))
    if window < settings.policy.min_rows or not set(model.feature_names) <= set(fresh.columns):
        return None
    return trial.run_trial(model, fresh, window, settings, memo, calm)


def weigh_challenger(
    model: Model, fresh: pd.DataFrame, found: Trial, settings: Settings, calm: bool = False
) -> Challenger | None:
    """Return the challenger that a trial's losses speak for; None where nothing can be trained.

    The gain is that of the recipe chosen before the window began; the challenger is made by the
    recipe chosen after it, and keeps all lessons for the champions after it. In a ``calm`` window,
    without any other sign of change, a champion must be more surely stale to be called so.
    """
    confidence = settings.policy.confidence
    before = experience.parse_experience(model.origin.get("lessons"))
    taught = before + gain.learn_from_trial(found)
    earlier = gain.choose_recipe(before + gain.learn_from_trial(found, gates=False))
    gap = gain.measure_gap(found, earlier) or gain.measure_gap(found, trial.BASE_RECIPE)
    lasting, moved = gain.expect_gap(found, earlier, before)
    # In a calm window only age makes a champion stale, not that it learnt from fewer rows.
    aged = gain.expect_gap(found, trial.BASE_RECIPE, before)[0] if calm else lasting
    known = replace(taught, motion=moved)
    order = retraining.RetrainOrder(
        model, fresh, gain.choose_recipe(known), found.window, settings, known.to_text()
    )
    n_train = retraining.count_rows_used(order)
    if gap is None or n_train is None:
        return None
    price, windows = find_break_even(settings.policy, moved.slope)
    loss = float(found.champion[-found.window :].mean())
    return Challenger(
        recipe=order.recipe,
        measured=gap.mean,
        gain=lasting.mean,
        gain_low=lasting.low(confidence),
        gain_high=lasting.high(confidence),
        n_train=n_train,
        n_gate=int(gap.rows),
        champion_loss=loss,
        challenger_loss=loss - gap.mean,
        staleness=moved.slope,
        break_even=price,
        windows=windows,
        stale=gain.is_stale(aged, known.ageing, gain.measure_fit_noise(found, model), calm)
        and (not calm or aged.mean >= CALM_SHARE * loss),
        pays=lasting.low(confidence) > price,
        candidates=_candidates(found, known, order, confidence),
        make=order,
    )


def find_break_even(policy: PolicySettings, slope: float = 0.0) -> tuple[float, int]:
    """Return the gain in this window at which a retrain pays, and over how many windows.

    A model whose loss rises by ``slope`` a window costs ``c / T + slope * (T - 1) / 2`` a window
    when it is retrained every T windows, with ``c = retrain_cost / error_cost``. The cheapest T,
    at most ``policy.horizon``, is how long a retrain is credited; staying is dearer once the
    champion's gap exceeds that cost. The gap measured in this window will have grown by half a
    slope in the next; it must be above 0 in any case. Without staleness: ``c / horizon``.

    Source: renewal-reward argument, Ross (1996), Stochastic Processes, §3.6; the same trade of
    staleness against retraining as Mahadevan and Mathioudakis (2023), arXiv 2310.04216.
    """
    if policy.error_cost == 0.0:
        return float("inf"), policy.horizon
    windows = np.arange(1, policy.horizon + 1)
    price = policy.retrain_cost / policy.error_cost / windows + slope * (windows - 1) / 2
    best = int(np.argmin(price))
    return max(0.0, float(price[best]) - slope / 2), best + 1


def find_turning_cost(policy: PolicySettings, gain_low: float, slope: float) -> float:
    """Return the ``retrain_cost`` up to which a retrain with that sure gain pays, 0 if none does.

    The inverse of :func:`find_break_even`: a retrain pays where some T of at most ``policy.horizon``
    windows costs less a window than staying.
    """
    if gain_low <= 0.0:
        return 0.0
    windows = np.arange(1, policy.horizon + 1)
    costs = windows * (gain_low + slope / 2 - slope * (windows - 1) / 2)
    return max(0.0, float(policy.error_cost * costs.max()))


def gather_labelled(
    model: Model, current: pd.DataFrame, history: pd.DataFrame | None
) -> pd.DataFrame:
    """Return the rows of history and current whose label is 0 or 1, in time order."""
    parts = [part for part in (history, current) if part is not None]
    parts = [part for part in parts if model.target in part.columns and len(part)]
    if not parts:
        return current.iloc[:0]
    rows = pd.concat(parts, ignore_index=True)
    y = pd.to_numeric(rows[model.target], errors="coerce")
    rows = rows.assign(**{model.target: y})
    return rows[y.isin([0, 1])].reset_index(drop=True)


def _candidates(
    found: Trial, known: TrialExperience, order: retraining.RetrainOrder, confidence: float
) -> pd.DataFrame:
    rows = []
    for name in found.losses:
        on_gates, lead = gain.measure_gap(found, name), known.leads.get(name)
        n_train = retraining.count_rows_used(order.with_recipe(name))
        if on_gates is None or n_train is None:
            continue
        rows.append(
            {
                "recipe": name,
                "gain": on_gates.mean,
                "gain_low": on_gates.low(confidence),
                "gain_high": on_gates.high(confidence),
                "n_train": n_train,
                "n_gate": int(on_gates.rows),
                "lead": 0.0 if lead is None else lead.mean,
                "lead_error": 0.0 if lead is None else lead.error,
            }
        )
    return pd.DataFrame(rows)
