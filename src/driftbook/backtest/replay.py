"""Would this policy have served me? Every policy replayed on the same windows, and its price."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from driftbook.backtest import hindsight, policies
from driftbook.backtest.policies import PolicyStep, RetrainRule
from driftbook.backtest.timeline import Tenure, Timeline
from driftbook.data.windows import Dataset
from driftbook.decision.accepted import AcceptedSince
from driftbook.errors import UsageError
from driftbook.settings import PolicySettings, Settings

# The cost curve spans these multiples of the retrain cost in the settings.
MULTIPLES = (1 / 16, 1 / 4, 1.0, 4.0, 16.0)
PRICED = ("driftbook", "CARA-style", "UPF-style", *hindsight.KNOWN_AFTERWARDS)
STAND_IN = (
    "The model is served elsewhere and cannot be trained here: all policies retrain a linear model "
    "of the same rows, which says when a newer model of its kind would have paid"
)
RIVER = "ADWIN and DDM are left out: river is not installed; pip install 'driftbook[backtest]'"


@dataclass(frozen=True)
class BacktestResult:
    """What each policy would have cost.

    ``policies``: policy, retrains, mean_loss, total_cost, excess (over hindsight's cost, minus 1).
    ``schedule``: a row a policy and window: whether it was retrained before it, with which
    recipe, its loss, and why; of ours also the window it was judged on, in the numbers of that
    window's own page. ``losses``: mean Brier loss of the sliding-block model trained
    before the row's window on the column's window. ``costs``: the policies' totals at several
    retrain costs, and which is cheapest there. ``notes``: what was left out, and why.
    """

    policies: pd.DataFrame
    schedule: pd.DataFrame
    losses: pd.DataFrame
    costs: pd.DataFrame
    notes: tuple[str, ...]


def replay_policies(
    dataset: Dataset,
    settings: Settings,
    progress: Callable[[int, int], None] | None = None,
    rules: Mapping[str, RetrainRule] | None = None,
    accepted: AcceptedSince | None = None,
) -> BacktestResult:
    """Return every policy's record on the windows of ``dataset`` after the first reference.

    Before each window a policy sees what was known then: features up to the window before, labels
    ``data.label_delay`` windows older. A retrain learns from a sliding block as long as the
    reference; Driftbook's own recipes may differ, hindsight's only its timing (``hindsight, any
    recipe`` beside it chooses both, for linear models, which train fast). A policy pays the
    sum over windows of mean Brier loss times ``error_cost``, plus its retrains times
    ``retrain_cost``. ``progress`` is called with steps done and steps in all. ``rules``: policies
    of the caller's own by name, each a function of the moment before a window. ``accepted``: by
    version, columns whose lasting change somebody has accepted, as live runs know them.

    Raises:
        UsageError: fewer than two complete windows after the reference, or a rule has the name of
            another policy.
    """
    watched, settings = settings.is_external, settings.for_learning()
    done, total = 0, 0

    def step(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(done, total)

    after = [w for w in dataset.windows[settings.data.reference :] if w.complete]
    total = 2 * len(after) + len(MULTIPLES)
    timeline = Timeline.build(dataset, settings, step, accepted)
    made = timeline.train_recipes(step)
    fixed = follow_unpriced(timeline)
    own = rules or {}
    if taken := sorted({*own} & {*fixed, *PRICED}):
        raise UsageError(f"a policy is named {taken[0]!r} already; give yours another name")
    fixed |= {name: policies.follow_rule(timeline, rule) for name, rule in own.items()}
    step(1)
    records, curve = {}, []
    for multiple in MULTIPLES:
        cost = settings.policy.retrain_cost * multiple
        policy = settings.policy.model_copy(update={"retrain_cost": cost})
        found = follow_priced(timeline, policy, made) | fixed
        curve.append(tabulate_policies(timeline, found, policy).assign(retrain_cost=cost))
        if multiple == 1.0:
            records = found
        step(1)
    names = [w.name for w in timeline.windows]
    return BacktestResult(
        policies=tabulate_policies(timeline, records, settings.policy),
        schedule=_tabulate_schedule(timeline, records),
        losses=pd.DataFrame(timeline.losses, index=names, columns=names),
        costs=_tabulate_costs(curve),
        notes=(*(() if policies.has_river() else (RIVER,)), *((STAND_IN,) if watched else ())),
    )


def follow_unpriced(timeline: Timeline) -> dict[str, list[PolicyStep]]:
    """Return the policies whose steps do not depend on what a retrain costs."""
    found = {
        "never": policies.follow_rule(timeline, policies.never_retrain),
        "always": policies.follow_rule(timeline, policies.retrain_every(1)),
        **{
            f"every {k}": policies.follow_rule(timeline, policies.retrain_every(k))
            for k in policies.PERIODS
            if k < len(timeline.windows)
        },
        "KS p<0.05 or PSI>=0.2": policies.follow_rule(timeline, policies.retrain_on_any_drift),
        "error trigger": policies.follow_rule(timeline, policies.retrain_on_error),
        f"{policies.WORSE_WINDOWS} worse windows": policies.follow_rule(
            timeline, policies.retrain_after_worse_windows(policies.WORSE_WINDOWS)
        ),
    }
    if policies.has_river():
        found |= {"ADWIN": policies.follow_adwin(timeline), "DDM": policies.follow_ddm(timeline)}
    return found


def follow_priced(
    timeline: Timeline, policy: PolicySettings, made: Mapping[str, Sequence[Tenure]]
) -> dict[str, list[PolicyStep]]:
    """Return the steps of the policies that weigh what a retrain costs, and of what is hindsight.

    ``made``: the models of other recipes, which hindsight may choose from too.
    """
    found = {
        "driftbook": policies.follow_driftbook(timeline, policy),
        "CARA-style": policies.follow_rule(timeline, policies.retrain_on_cumulative_cost(policy)),
        "UPF-style": policies.follow_rule(timeline, policies.retrain_on_forecast(policy)),
        hindsight.HINDSIGHT: hindsight.find_hindsight(timeline, policy),
        hindsight.BEST_PERIOD: hindsight.find_best_period(timeline, policy),
    }
    if made:
        best = hindsight.find_hindsight_of_recipes(timeline, made, policy)
        found[hindsight.ANY_RECIPE] = best
    return found


def tabulate_policies(
    timeline: Timeline, records: dict[str, list[PolicyStep]], policy: PolicySettings
) -> pd.DataFrame:
    """Return what each policy paid at the costs of ``policy``, the cheapest first.

    ``records``: the steps of each policy, ``hindsight`` among them.
    """
    rows = []
    for name, steps in records.items():
        losses = np.array([timeline.loss(s.champion, s.window) for s in steps])
        retrains = sum(s.retrained for s in steps)
        total = hindsight.price_steps(timeline, steps, policy)
        rows.append((name, retrains, float(np.nanmean(losses)), total))
    table = pd.DataFrame(rows, columns=["policy", "retrains", "mean_loss", "total_cost"])
    best = table.loc[table["policy"] == hindsight.HINDSIGHT, "total_cost"].iloc[0]
    table["excess"] = table["total_cost"] / best - 1 if best > 0 else 0.0
    return table.sort_values("total_cost", kind="stable", ignore_index=True)


def _tabulate_schedule(timeline: Timeline, records: dict[str, list[PolicyStep]]) -> pd.DataFrame:
    names = [w.name for w in timeline.windows]
    rows = [
        {
            "policy": name,
            "window": names[s.window],
            "retrained": s.retrained,
            "recipe": s.champion.recipe,
            "trained_before": names[s.champion.trained_before],
            "loss": timeline.loss(s.champion, s.window),
            "reason": s.reason,
            **_tell_judgement(s, names),
        }
        for name, steps in records.items()
        for s in steps
    ]
    return pd.DataFrame(rows)


def _tell_judgement(step: PolicyStep, names: Sequence[str]) -> dict[str, object]:
    """Return what Driftbook's step rests on; empty cells of other policies and the first window."""
    found = step.judged
    if found is None:
        keys = ("judged_on", "action", "judged_loss", "gain", "break_even", "why")
        return dict.fromkeys(keys)
    return {
        "judged_on": names[found.window],
        "action": found.action,
        "judged_loss": found.loss,
        "gain": found.gain,
        "break_even": found.break_even,
        "why": found.why,
    }


def _tabulate_costs(parts: list[pd.DataFrame]) -> pd.DataFrame:
    """Return the totals at each retrain cost; ``cheapest`` marks the best without hindsight."""
    table = pd.concat(parts, ignore_index=True)
    real = table[~table["policy"].isin(hindsight.KNOWN_AFTERWARDS)]
    best = real.loc[real.groupby("retrain_cost")["total_cost"].idxmin()].index
    columns = ["retrain_cost", "policy", "retrains", "mean_loss", "total_cost", "excess"]
    return table[columns].assign(cheapest=table.index.isin(best))
