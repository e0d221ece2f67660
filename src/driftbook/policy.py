"""The decision: hold, monitor, retrain, or investigate the data first."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pandas as pd

from driftbook import challenger as challengers
from driftbook import drift, performance, quality
from driftbook.challenger import Challenger
from driftbook.settings import Settings
from driftbook.training import Model

Action = Literal["hold", "monitor", "retrain", "investigate"]


@dataclass(frozen=True)
class Assessment:
    """One recommendation with its evidence, and what would reverse it."""

    action: Action
    reason: str
    drift: pd.DataFrame
    performance: pd.DataFrame
    quality: pd.DataFrame
    model_version: str
    n_current: int
    settings: Settings
    window: str | None = None
    challenger: Challenger | None = None
    decomposition: pd.DataFrame | None = None
    reverses: tuple[str, ...] = field(default=())

    @property
    def drifted_features(self) -> list[str]:
        """Return the names of the flagged features; prediction and joint rows are not features."""
        if self.drift.empty:
            return []
        own = ~self.drift["kind"].isin(["prediction", "joint"])
        return [str(name) for name in self.drift.loc[own & self.drift["drift_flag"], "feature"]]

    def to_dict(self) -> dict[str, Any]:
        """Return what ``retrain_recommendation.json`` holds; a value that cannot be had is null."""
        features = (
            0
            if self.drift.empty
            else int((~self.drift["kind"].isin(["prediction", "joint"])).sum())
        )
        found = {
            "action": self.action,
            "reason": self.reason,
            "drifted_features": self.drifted_features,
            "drift_ratio": len(self.drifted_features) / features if features else None,
            "threshold": self.settings.drift.psi_threshold,
            "window": self.window,
            "model_version": self.model_version,
            "n_current": self.n_current,
            "evidence": {
                "quality": _records(self.quality),
                "drift": _records(self.drift),
                "performance": _records(self.performance),
                "decomposition": _records(self.decomposition),
                "challenger": self._challenger(),
                "economics": self._economics(),
            },
            "reverses": list(self.reverses),
        }
        plain: dict[str, Any] = _plain(found)
        return plain

    def _challenger(self) -> dict[str, Any] | None:
        if self.challenger is None:
            return None
        keys = (
            "recipe", "gain", "gain_low", "gain_high", "n_train", "n_gate",
            "champion_loss", "challenger_loss", "pays",
        )  # fmt: skip
        found = {key: getattr(self.challenger, key) for key in keys}
        return {
            "model_version": self.challenger.model.version,
            **found,
            "candidates": _records(self.challenger.candidates),
        }

    def _economics(self) -> dict[str, Any]:
        terms = self.settings.policy.model_dump(mode="json")
        return {**terms, "break_even_gain": challengers.break_even(self.settings)}


def assess(
    model: Model, current: pd.DataFrame, settings: Settings, history: pd.DataFrame | None = None
) -> Assessment:
    """Return what to do about ``model`` after the rows of ``current``, with all the evidence.

    ``current``: one window in time order, with or without the target column; ``history``: mature
    labelled rows since the model's reference, in time order, from which a challenger may learn.
    Without it a challenger learns from the older part of ``current``. Odd data (a column gone,
    all missing, constant, one class) is a finding, never an exception. Pure: the same arguments
    give the same assessment.
    """
    faults = quality.check(model, current, settings)
    if len(current) < settings.policy.min_rows:
        reason = f"insufficient_data: {len(current)} rows, fewer than min_rows = {settings.policy.min_rows}"
        more = f"a window of at least {settings.policy.min_rows} rows"
        return _assessment(model, current, settings, "monitor", reason, (more,), faults=faults)
    broken = faults[faults["severity"] == "broken"] if len(faults) else faults
    report = drift.compare(model, current, settings)
    table = performance.judge(model, current, settings)
    evidence = {"faults": faults, "report": report, "table": table}
    if len(broken):
        reason = "broken data: " + "; ".join(_fault(row) for _, row in broken.head(3).iterrows())
        undo = tuple(
            f"{row['feature']} back to normal in the same window" for _, row in broken.iterrows()
        )
        return _assessment(model, current, settings, "investigate", reason, undo, **evidence)
    moved = report[report["matters"]] if len(report) else report
    worse = _worse(table)
    if worse.empty:
        action: Action = "monitor" if len(moved) else "hold"
        reason = _quiet_reason(moved, table)
        return _assessment(
            model, current, settings, action, reason, _quiet_reverses(settings), **evidence
        )
    found = challengers.challenge(model, current, history, settings)
    action = "retrain" if found is not None and found.pays else "monitor"
    reason = _worse_reason(worse, found, settings)
    return _assessment(
        model,
        current,
        settings,
        action,
        reason,
        _worse_reverses(found, settings),
        **evidence,
        found=found,
    )


def _assessment(
    model: Model,
    current: pd.DataFrame,
    settings: Settings,
    action: Action,
    reason: str,
    reverses: tuple[str, ...],
    faults: pd.DataFrame | None = None,
    report: pd.DataFrame | None = None,
    table: pd.DataFrame | None = None,
    found: Challenger | None = None,
) -> Assessment:
    empty = pd.DataFrame()
    return Assessment(
        action=action,
        reason=reason,
        drift=empty if report is None else report,
        performance=empty if table is None else table,
        quality=empty if faults is None else faults,
        model_version=model.version,
        n_current=len(current),
        settings=settings,
        challenger=found,
        reverses=reverses,
    )


def _worse(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows called worse: realised ones, or estimated ones where no label is known."""
    judged = table[table["status"] == "ok"]
    realised = judged[judged["basis"] == "realised"]
    basis = realised if len(realised) else judged
    return basis[basis["worse"].astype(bool)]


def _fault(row: Mapping[str, Any] | pd.Series) -> str:
    return f"{row['feature']} {row['detail'] or row['fault']}"


def _quiet_reason(moved: pd.DataFrame, table: pd.DataFrame) -> str:
    judged = table[table["status"] == "ok"]
    how = "measured" if (judged["basis"] == "realised").any() else "estimated without labels"
    state = (
        f"performance is no worse ({how})" if len(judged) else "performance cannot be judged yet"
    )
    if moved.empty:
        return f"no drift that matters, and {state}"
    names = ", ".join(str(name) for name in moved["feature"].head(5))
    return f"drift that matters ({names}), but {state}"


def _quiet_reverses(settings: Settings) -> tuple[str, ...]:
    return (
        "performance worse than the champion's holdout beyond its interval",
        f"a challenger that gains more than {challengers.break_even(settings):.5f} Brier loss a row",
    )


def _worse_reason(worse: pd.DataFrame, found: Challenger | None, settings: Settings) -> str:
    first = worse.iloc[0]
    basis = "" if first["basis"] == "realised" else " (estimated)"
    what = (
        f"{first['metric']} is worse{basis}: {first['value']:.4f} against {first['baseline']:.4f}"
    )
    if found is None:
        return f"{what}; too few labelled rows to train and grade a challenger"
    gain = f"{found.gain:.4f} [{found.gain_low:.4f}, {found.gain_high:.4f}]"
    even = challengers.break_even(settings)
    if found.pays:
        return f"{what}; a {found.recipe} challenger gains {gain} Brier loss, break-even {even:.5f}"
    return f"{what}; no challenger is sure to pay (best: {found.recipe}, gain {gain}, break-even {even:.5f})"


def _worse_reverses(found: Challenger | None, settings: Settings) -> tuple[str, ...]:
    if found is None:
        return ("enough labelled rows to grade a challenger", "performance back at its baseline")
    paying = found.gain_low * settings.policy.horizon * settings.policy.error_cost
    side = "above" if found.pays else "below"
    return (
        f"a retrain_cost {side} {max(paying, 0.0):.5f}",
        "performance back at its baseline in the next window",
    )


def _records(frame: pd.DataFrame | None) -> list[dict[str, Any]] | None:
    return None if frame is None else [dict(row) for row in frame.to_dict("records")]


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
