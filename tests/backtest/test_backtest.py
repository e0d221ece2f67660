"""The backtest: prices by hand, hindsight by brute force, and no look into the future."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st

from driftbook.backtest import hindsight, policies, replay
from driftbook.backtest.policies import PolicyStep
from driftbook.backtest.replay import BacktestResult
from driftbook.backtest.timeline import Tenure, Timeline
from driftbook.data import synthetic
from driftbook.data import windows as data
from driftbook.data.arrays import Floats
from driftbook.data.columns import find_features
from driftbook.data.windows import Dataset, Window
from driftbook.decision import recipes
from driftbook.errors import UsageError
from driftbook.model.design import BlockTable
from driftbook.model.tasks import BINARY, Task
from driftbook.model.training import train
from driftbook.settings import PolicySettings, Settings

ROWS, WINDOWS, REFERENCE = 120, 7, 2
AFTER = WINDOWS - REFERENCE
# Decisions before window CUT (counted after the reference) must not know it.
CUT = 3


def _settings(delay: int = 0, **terms: Any) -> Settings:
    source = {"source": "synthetic:none", "window": ROWS, "label_delay": delay}
    return Settings.parse({"data": source, "policy": terms})


def _frame() -> pd.DataFrame:
    """Return a stream whose inputs move and whose rule turns after the first window served."""
    frame = synthetic.make_scenario("none", rows=WINDOWS * ROWS, seed=3)[
        ["f0", "f1", "f2", "target"]
    ]
    late = frame.index >= (REFERENCE + 1) * ROWS
    frame.loc[late, "f0"] += 1.5
    frame.loc[late, "target"] = 1 - frame.loc[late, "target"]
    return frame


def _dataset(frame: pd.DataFrame, settings: Settings) -> Dataset:
    edges = range(0, len(frame), ROWS)
    windows = tuple(Window(f"w{a // ROWS}", a, a + ROWS, True) for a in edges)
    digest = data.hash_frame(frame)
    features = find_features(frame, settings)
    return Dataset(frame, features, "target", None, windows, {}, digest, "synthetic:none")


@cache
def _replayed(delay: int = 0, change: str = "", first: int = WINDOWS) -> BacktestResult:
    """Return the replay after ``change`` was done to every row from window ``first`` on."""
    frame, rng = _frame(), np.random.default_rng(5)
    rows = slice(first * ROWS, None)
    late = frame.iloc[rows].copy()
    if change == "labels":
        late["target"] = 1 - late["target"]
    if change == "rows":
        late = late.iloc[rng.permutation(len(late))].set_axis(late.index)
        late["f1"] = 5.0 - 3.0 * late["f1"]
        late["target"] = rng.integers(0, 2, len(late))
    frame = pd.concat([frame.iloc[: rows.start], late])
    settings = _settings(delay)
    with pytest.MonkeyPatch.context() as patch:
        if delay or change:  # the cost curve is looked at in the plain replay only
            patch.setattr(replay, "MULTIPLES", (1.0,))
        return replay.replay_policies(_dataset(frame, settings), settings)


def _decisions(found: BacktestResult, policy: str, until: int) -> list[tuple[Any, ...]]:
    own = found.schedule[found.schedule["policy"] == policy].head(until + 1)
    return list(own[["window", "retrained", "recipe", "trained_before", "reason"]].itertuples())


def _strict(found: BacktestResult) -> list[str]:
    return [
        name for name in found.schedule["policy"].unique() if name not in hindsight.KNOWN_AFTERWARDS
    ]


@dataclass(frozen=True)
class _Named:
    version: str
    task: Task = BINARY


def _timeline(losses: Floats, delay: int = 0) -> Timeline:
    """Return a timeline whose models and rows are only their losses, three rows a window."""
    n = len(losses)
    windows = tuple(Window(f"w{i}", 3 * i, 3 * i + 3, True) for i in range(n))
    made = [Tenure(cast("Any", _Named(f"m{s}")), "recent", s, 0) for s in range(n)]
    rows = {(f"m{s}", t): np.full(3, losses[s, t]) for s in range(n) for t in range(s, n)}
    empty = cast("Dataset", None)
    return Timeline(empty, _settings(delay), windows, made, losses, _row_losses=rows)


def _random_losses(seed: int, n: int) -> Floats:
    losses = np.random.default_rng(seed).random((n, n))
    return np.where(np.arange(n)[:, None] <= np.arange(n)[None, :], losses, np.nan)


def _price(losses: Floats, retrained: list[bool], policy: PolicySettings) -> float:
    total, model = 0.0, 0
    for t, again in enumerate(retrained):
        if again:
            model = t
            total += policy.retrain_cost
        total += policy.error_cost * losses[model, t]
    return float(total)


def _cheapest(losses: Floats, policy: PolicySettings) -> float:
    rest = len(losses) - 1
    return min(
        _price(losses, [False, *times], policy) for times in product((False, True), repeat=rest)
    )


@given(
    seed=st.integers(0, 10_000),
    n=st.integers(2, 7),
    error_cost=st.floats(0.1, 5.0),
    retrain_cost=st.floats(0.0, 2.0),
)
@effort(max_examples=60)
def test_hindsight_is_the_best_of_all_schedules(
    seed: int, n: int, error_cost: float, retrain_cost: float
) -> None:
    losses = _random_losses(seed, n)
    policy = PolicySettings(error_cost=error_cost, retrain_cost=retrain_cost)
    steps = hindsight.find_hindsight(_timeline(losses), policy)
    assert [s.window for s in steps] == list(range(n)) and not steps[0].retrained
    paid = _price(losses, [s.retrained for s in steps], policy)
    assert paid == pytest.approx(_cheapest(losses, policy), abs=1e-12)


@given(seed=st.integers(0, 10_000), n=st.integers(2, 5), price=st.floats(0.0, 1.0))
@effort(max_examples=40)
def test_hindsight_over_recipes_is_the_best_of_all_choices(seed: int, n: int, price: float) -> None:
    policy = PolicySettings(retrain_cost=price)
    losses, other = _random_losses(seed, n), _random_losses(seed + 1, n)
    timeline = _timeline(losses)
    made = [Tenure(cast("Any", _Named(f"o{s}")), "fading", s, 0) for s in range(n)]
    for s, t in product(range(n), repeat=2):
        timeline._row_losses[f"o{s}", t] = np.full(3, other[s, t])
    steps = hindsight.find_hindsight_of_recipes(timeline, {"fading": made}, policy)
    costs = []
    for choices in product((0, 1, 2), repeat=n - 1):  # stay, the block, the other recipe
        total, table, model = float(losses[0, 0]), losses, 0
        for t, choice in enumerate(choices, start=1):
            if choice:
                table, model, total = (losses, other)[choice - 1], t, total + price
            total += float(table[model, t])
        costs.append(total)
    assert hindsight.price_steps(timeline, steps, policy) == pytest.approx(min(costs), abs=1e-12)


def test_the_best_period_is_the_cheapest_fixed_schedule() -> None:
    losses = np.array([[0.1 * (t - s) for t in range(6)] for s in range(6)])
    timeline, policy = _timeline(np.where(losses < 0, np.nan, losses)), PolicySettings
    # Every second window saves three growths of 0.1 at two prices; every one saves more at five.
    for price, times in ((0.01, [1, 2, 3, 4, 5]), (0.15, [2, 4]), (10.0, [])):
        steps = hindsight.find_best_period(timeline, policy(retrain_cost=price))
        assert [s.window for s in steps if s.retrained] == times


@pytest.mark.parametrize(("growth", "retrains"), [(0.05, True), (0.0, False)])
def test_a_forecast_retrains_where_losses_grow_with_age(growth: float, retrains: bool) -> None:
    noise = np.random.default_rng(4).normal(0, 0.002, (10, 10))
    losses = np.array([[0.2 + growth * (t - s) for t in range(10)] for s in range(10)]) + noise
    timeline = _timeline(np.where(np.tril(np.ones((10, 10)), -1) > 0, np.nan, losses))
    policy = PolicySettings(retrain_cost=0.2, horizon=6)
    steps = policies.follow_rule(timeline, policies.retrain_on_forecast(policy))
    assert any(s.retrained for s in steps) is retrains
    assert not any(s.retrained for s in steps[:3])  # fewer than six losses say nothing


@pytest.mark.parametrize(("price", "retrains"), [(0.0, [1, 2]), (0.15, [1]), (5.0, [])])
def test_hindsight_by_hand(price: float, retrains: list[int]) -> None:
    losses = np.array([[0.1, 0.5, 0.6], [np.nan, 0.2, 0.3], [np.nan, np.nan, 0.2]])
    steps = hindsight.find_hindsight(_timeline(losses), PolicySettings(retrain_cost=price))
    assert [s.window for s in steps if s.retrained] == retrains


def test_fixed_periods_retrain_when_they_say() -> None:
    line = _timeline(_random_losses(0, 7))

    def times(rule: policies.RetrainRule) -> list[int]:
        steps = policies.follow_rule(line, rule)
        for step in steps:
            newest = max([0, *(s.window for s in steps[: step.window + 1] if s.retrained)])
            assert step.champion.trained_before == newest
        return [s.window for s in steps if s.retrained]

    assert times(policies.never_retrain) == []
    assert times(policies.retrain_every(1)) == [1, 2, 3, 4, 5, 6]
    assert times(policies.retrain_every(2)) == [2, 4, 6]
    assert times(policies.retrain_every(3)) == [3, 6]


@pytest.mark.parametrize("delay", [0, 1, 2])
def test_cumulative_staleness_by_a_loop(delay: int) -> None:
    losses = _random_losses(4, 8)
    policy = PolicySettings(error_cost=2.0, retrain_cost=0.3)
    steps = policies.follow_rule(
        _timeline(losses, delay), policies.retrain_on_cumulative_cost(policy)
    )
    model, expected = 0, []
    for t in range(1, 8):
        paid = 0.0
        for u in range(model + 1, t - delay):
            paid += 2.0 * (losses[model, u] - losses[u, u])
        if paid >= 0.3:
            model = t
            expected.append(t)
    assert expected
    assert [s.window for s in steps if s.retrained] == expected


@pytest.mark.parametrize("delay", [0, 2])
@pytest.mark.parametrize("name", ["adwin", "ddm"])
def test_detectors_hear_of_an_error_once_its_label_is_known(name: str, delay: int) -> None:
    n, change = 8, 3
    line = _timeline(_random_losses(0, n), delay)
    rng = np.random.default_rng(2)
    for s, t in product(range(n), range(n)):
        level = 0.9 if s < change <= t else 0.05
        line._row_losses[(f"m{s}", t)] = np.clip(level + rng.normal(0, 0.02, 200), 0, 1)
    steps: list[PolicyStep] = getattr(policies, f"follow_{name}")(line)
    assert [s.window for s in steps if s.retrained] == [change + 1 + delay]


def test_each_decision_stands_with_the_window_it_was_judged_on_in_that_windows_numbers() -> None:
    found = _replayed().schedule
    own = found[found["policy"] == "driftbook"].reset_index(drop=True)
    assert pd.isna(own.loc[0, "judged_on"])
    for k in range(1, len(own)):
        row, before = own.loc[k], own.loc[k - 1]
        assert row["judged_on"] == before["window"]
        assert row["retrained"] == (row["action"] == "retrain")
        # What was lost in the judged window is what the row before says of it.
        assert row["judged_loss"] == pytest.approx(before["loss"])
        assert row["reason"].startswith(f"{row['action']}: ")
        if not np.isnan(row["gain"]) and row["action"] == "retrain":
            assert f"{row['gain']:.4f} [" in row["reason"]
        assert row["why"].count(".") >= 2
    others = found[found["policy"] != "driftbook"]
    assert others[["judged_on", "action", "why"]].isna().all().all()


def test_the_table_is_the_price_of_each_schedule() -> None:
    found, policy = _replayed(), _settings().policy
    table = found.policies.set_index("policy")
    assert list(found.policies.columns) == [
        "policy", "retrains", "mean_loss", "total_cost", "excess",
    ]  # fmt: skip
    assert {"driftbook", "hindsight", "never", "always", "every 2", "every 3"} <= set(table.index)
    assert table.index.is_unique and set(table.index) == set(found.schedule["policy"])
    for name, steps in found.schedule.groupby("policy"):
        losses, retrains = 0.0, 0
        for loss, again in zip(steps["loss"], steps["retrained"], strict=True):
            losses += loss
            retrains += bool(again)
        assert len(steps) == AFTER
        assert table.loc[name, "retrains"] == retrains
        assert table.loc[name, "mean_loss"] == pytest.approx(losses / AFTER)
        total = losses * policy.error_cost + retrains * policy.retrain_cost
        assert table.loc[name, "total_cost"] == pytest.approx(total)
        excess = total / table.loc["hindsight", "total_cost"] - 1
        assert table.loc[name, "excess"] == pytest.approx(excess)
    assert table.loc["hindsight", "excess"] == 0.0
    assert table.loc["never", "retrains"] == 0 and table.loc["always", "retrains"] == AFTER - 1
    assert table.loc["never", "total_cost"] > table.loc["driftbook", "total_cost"]


def test_never_always_and_hindsight_follow_from_the_loss_matrix() -> None:
    found, policy = _replayed(), _settings().policy
    losses, own = found.losses.to_numpy(), found.schedule.set_index("policy")["loss"]
    assert own["never"].tolist() == pytest.approx(losses[0].tolist())
    assert own["always"].tolist() == pytest.approx(np.diag(losses).tolist())
    assert np.isnan(losses[np.tril_indices(AFTER, -1)]).all()
    total = found.policies.set_index("policy").loc["hindsight", "total_cost"]
    assert total == pytest.approx(_cheapest(losses, policy))
    blocks = found.policies.set_index("policy").drop(index=["driftbook", hindsight.ANY_RECIPE])
    assert blocks["excess"].min() >= 0.0  # its own recipes may beat the sliding block's best


@pytest.mark.parametrize("delay", [0, 1])
def test_losses_are_those_of_a_block_that_ends_with_the_newest_known_label(delay: int) -> None:
    frame, settings = _frame(), _settings(delay)
    for s, t in ((2, 2), (3, 4)):
        stop = (REFERENCE + s - delay) * ROWS
        model = train(frame.iloc[stop - REFERENCE * ROWS : stop], settings)
        rows = frame.iloc[(REFERENCE + t) * ROWS : (REFERENCE + t + 1) * ROWS]
        chance, total = model.predict_proba(rows), 0.0
        for p, y in zip(chance, rows["target"], strict=True):
            total += (p - y) ** 2
        assert _replayed(delay).losses.iloc[s, t] == pytest.approx(total / ROWS)


def test_no_policy_knows_the_rows_to_come() -> None:
    plain, altered = _replayed(), _replayed(change="rows", first=REFERENCE + CUT)
    assert len(_strict(plain)) >= 10 and "3 worse windows" in _strict(plain)
    for name in _strict(plain):
        assert _decisions(plain, name, CUT) == _decisions(altered, name, CUT), name
    before = plain.schedule["policy"].eq("driftbook") & plain.schedule["retrained"]
    assert before.any()
    later = [
        n for n in _strict(plain) if _decisions(plain, n, AFTER) != _decisions(altered, n, AFTER)
    ]
    assert {"driftbook", "error trigger", "CARA-style"} <= set(later)


def test_no_policy_knows_labels_that_are_not_mature() -> None:
    plain = _replayed(delay=1)
    unknown = _replayed(delay=1, change="labels", first=REFERENCE + CUT - 1)
    for name in _strict(plain):
        assert _decisions(plain, name, CUT) == _decisions(unknown, name, CUT), name
    moved = [
        n for n in _strict(plain) if _decisions(plain, n, AFTER) != _decisions(unknown, n, AFTER)
    ]
    assert {"driftbook", "CARA-style"} <= set(moved)
    kept = plain.losses.iloc[: CUT + 1, CUT - 1].dropna()
    assert (kept != unknown.losses.iloc[: CUT + 1, CUT - 1].dropna()).all()


def test_models_learn_from_mature_labels_only() -> None:
    settings = _settings(delay=1)
    frame = _frame()
    poisoned = frame.copy()
    first = (REFERENCE + CUT - 1) * ROWS
    poisoned.loc[first:, "target"] = 1 - poisoned.loc[first:, "target"]
    lines = [Timeline.build(_dataset(f, settings), settings) for f in (frame, poisoned)]
    versions = [[c.model.version for c in line.champions] for line in lines]
    assert versions[0][: CUT + 1] == versions[1][: CUT + 1]
    assert versions[0][CUT + 1] != versions[1][CUT + 1]
    assert [c.seen for c in lines[0].champions] == [
        ROWS * (REFERENCE + max(0, t - 1)) for t in range(AFTER)
    ]


def test_the_cost_curve_marks_the_cheapest_real_policy() -> None:
    costs, base = _replayed().costs, _settings().policy.retrain_cost
    assert sorted(costs["retrain_cost"].unique()) == pytest.approx(
        [base / 16, base / 4, base, base * 4, base * 16]
    )
    for price, part in costs.groupby("retrain_cost"):
        (best,) = part.loc[part["cheapest"], "policy"]
        real = part[~part["policy"].isin(hindsight.KNOWN_AFTERWARDS)].set_index("policy")[
            "total_cost"
        ]
        assert real[best] == real.min()
        total = part["mean_loss"] * AFTER + part["retrains"] * price
        assert part["total_cost"].tolist() == pytest.approx(total.tolist())


@pytest.mark.parametrize(("delay", "count"), [(0, 1), (0, 2), (1, 2), (0, 3)])
def test_worse_windows_in_a_row_by_a_loop(delay: int, count: int) -> None:
    settings = _settings(delay)
    line = Timeline.build(_dataset(_frame(), settings), settings)
    steps = policies.follow_rule(line, policies.retrain_after_worse_windows(count))
    made = 0
    for step in steps[1:]:
        known = range(step.window - delay)
        served = [u for u in known if u >= made]
        model = line.champions[made].model
        base = np.square(model.holdout_outcomes - model.holdout_scores).mean()
        newest = served[-count:]
        expected = len(newest) == count and all(line.losses[made, u] > base for u in newest)
        assert step.retrained == expected, step
        made = step.window if expected else made
    assert any(step.retrained for step in steps) or count == 3


def test_a_rule_of_one_s_own_is_replayed_beside_the_others() -> None:
    settings = _settings()
    part = _dataset(_frame().iloc[: (REFERENCE + 3) * ROWS], settings)
    seen = []

    def rule(now: policies.PolicyMoment) -> tuple[bool, str]:
        seen.append((now.t, now.newest))
        return now.t == 2, "because I say so"

    found = replay.replay_policies(part, settings, rules={"mine": rule})
    own = found.schedule[found.schedule["policy"] == "mine"]
    assert own["retrained"].tolist() == [False, False, True]
    assert seen == [(1, 0), (2, 1)]
    assert "mine" in set(found.policies["policy"]) and "mine" in set(found.costs["policy"])
    for taken in ("always", "driftbook"):
        with pytest.raises(UsageError, match=f"named '{taken}' already"):
            replay.replay_policies(part, settings, rules={taken: rule})


def test_without_river_its_policies_are_left_out_and_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert {"ADWIN", "DDM"} <= set(_replayed().policies["policy"]) and _replayed().notes == ()
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "river" else found(name, *a)
    )
    settings, seen = _settings(), list[tuple[int, int]]()
    part = _dataset(_frame().iloc[: (REFERENCE + 2) * ROWS], settings)
    bare = replay.replay_policies(part, settings, lambda done, total: seen.append((done, total)))
    assert not {"ADWIN", "DDM"} & set(bare.policies["policy"])
    assert {"driftbook", "hindsight"} <= set(bare.policies["policy"])
    (note,) = bare.notes
    assert "river" in note and "ADWIN" in note and "DDM" in note
    # Progress counts one by one and ends at its total.
    assert seen == [(done, len(seen)) for done in range(1, len(seen) + 1)]


def test_fits_on_sampled_rows_are_not_taken_for_those_of_other_rows() -> None:
    settings = _settings()
    plain = Timeline.build(_dataset(_frame(), settings), settings)
    assert plain._memo(plain.first) is not None
    # Such small samples cannot be set: fits are hardly as good on them.
    data = settings.data.model_copy(update={"sample_rows": ROWS})
    sampled = settings.model_copy(update={"data": data})
    line = Timeline.build(_dataset(_frame(), sampled), sampled)
    assert len(line.first.model.reference) == ROWS
    assert line._memo(line.first) is None


def test_prices_and_champions_share_the_fits_of_their_trials(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    blocks: list[tuple[object, ...]] = []
    plain = recipes.fit_block

    def told(table: BlockTable, rows: slice, weights: Floats | None, *rest: Any) -> Any:
        given = None if weights is None else weights.tobytes()
        blocks.append((table.y[rows].tobytes(), table.numbers[rows].tobytes(), given))
        return plain(table, rows, weights, *rest)

    monkeypatch.setattr(recipes, "fit_block", told)
    settings = _settings()
    line = Timeline.build(_dataset(_frame(), settings), settings)
    steps = policies.follow_driftbook(line, settings.policy)
    fitted = len(blocks)
    assert fitted > 0 and any(step.retrained for step in steps)
    for price in (0.0, 0.0005, 0.02, 1.0):
        terms = settings.policy.model_copy(update={"retrain_cost": price})
        policies.follow_driftbook(line, terms)
    assert len(blocks) == len(set(blocks))
    # The champion of the first price is tried again by none of the others.
    before = len(blocks)
    for t in range(1, AFTER):
        for price in (0.0, 3.0):
            terms = settings.policy.model_copy(update={"retrain_cost": price})
            line.assess(line.first, t, settings.model_copy(update={"policy": terms}))
    assert len(blocks) == before


def test_one_window_is_too_few() -> None:
    settings = _settings()
    part = _dataset(_frame().iloc[: (REFERENCE + 1) * ROWS], settings)
    with pytest.raises(UsageError, match="found 1"):
        replay.replay_policies(part, settings)
