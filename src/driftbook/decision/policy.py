"""The decision: hold, monitor, retrain, or investigate the data first."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import pandas as pd

from driftbook.decision import challenger as challengers
from driftbook.decision import reasons
from driftbook.decision.challenger import Challenger
from driftbook.decision.trial import FitMemo, Trial
from driftbook.drift import quality
from driftbook.drift import report as drift
from driftbook.model import threads
from driftbook.model.training import Model
from driftbook.performance import causes, realised
from driftbook.settings import Settings

THRESHOLD_MEANING = (
    "PSI at which plots mark a column (drift.psi_threshold); it decides nothing: a column has "
    "drifted where its pvalue_adjusted is below drift.alpha"
)

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
        own = _features(self.drift)
        return [str(name) for name in own.loc[own["drift_flag"].astype(bool), "feature"]]

    def to_dict(self) -> dict[str, Any]:
        """Return what ``retrain_recommendation.json`` holds; a value that cannot be had is null."""
        features = len(_features(self.drift))
        flagged = self.drifted_features
        few = self.n_current < self.settings.policy.min_rows
        found: dict[str, Any] = {
            "action": self.action,
            "reason": self.reason,
            "drifted_features": flagged,
            "drift_ratio": None if few or not features else len(flagged) / features,
            "threshold": self.settings.drift.psi_threshold,
            "threshold_meaning": THRESHOLD_MEANING,
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
        return {key: _plain(value) for key, value in found.items()}

    def _challenger(self) -> dict[str, Any] | None:
        found = self.challenger
        if found is None:
            return None
        keys = (
            "recipe", "measured", "gain", "gain_low", "gain_high", "n_train", "n_gate",
            "champion_loss", "challenger_loss", "staleness", "break_even", "windows", "stale",
            "pays",
        )  # fmt: skip
        version = found.model.version if self.action == "retrain" else None
        numbers = {key: getattr(found, key) for key in keys}
        return {"model_version": version, **numbers, "candidates": _records(found.candidates)}

    def _economics(self) -> dict[str, Any]:
        terms = self.settings.policy
        even = challengers.find_break_even(terms)[0]
        if self.challenger is not None:
            even = self.challenger.break_even
        return {**terms.model_dump(mode="json"), "break_even_gain": even}


@dataclass(frozen=True)
class WindowFindings:
    """What one window says, before any cost is weighed: it serves every price of a retrain."""

    faults: pd.DataFrame
    report: pd.DataFrame
    table: pd.DataFrame
    trial: Trial | None
    fresh: pd.DataFrame
    parts: pd.DataFrame

    @property
    def broken(self) -> pd.DataFrame:
        """Return the faults that forbid any other judgement."""
        return self.faults[self.faults["severity"] == "broken"]

    @property
    def moved(self) -> pd.DataFrame:
        """Return the drift that matters."""
        return self.report[self.report["matters"].astype(bool)]

    @property
    def worse(self) -> pd.DataFrame:
        """Return the rows of the performance table that are worse."""
        return realised.find_worse_rows(self.table)

    @property
    def calm(self) -> bool:
        """Return whether neither drift that matters nor worse performance was found."""
        return self.moved.empty and self.worse.empty


def assess(
    model: Model, current: pd.DataFrame, settings: Settings, history: pd.DataFrame | None = None
) -> Assessment:
    """Return what to do about ``model`` after the rows of ``current``, with all the evidence.

    ``current``: one window in time order, with or without the target column; ``history``: mature
    labelled rows since the model's reference, in time order, from which a challenger may learn;
    the newest of them calibrate the estimate of performance without labels.
    Without it a challenger learns from the reference and the older part of ``current``. Odd data
    (a column gone, all missing, constant, one class) is a finding, never an exception. Pure: the
    same arguments give the same assessment.
    """
    return conclude_decision(
        model, examine_window(model, current, settings, history), len(current), settings
    )


@threads.one_blas_thread()
def examine_window(
    model: Model,
    current: pd.DataFrame,
    settings: Settings,
    history: pd.DataFrame | None = None,
    memo: FitMemo | None = None,
) -> WindowFindings:
    """Return the evidence of one window; a trial of challengers where it may matter.

    That is where something changed, and in a calm window where the labels of a whole earlier
    window show whether the champion has gone stale all the same. ``memo``: fits of earlier trials
    of a replay, so that none is made twice.
    """
    faults = quality.check_quality(model, current, settings)
    report = drift.report_drift(model, current, settings)
    if len(current) < settings.policy.min_rows:
        # The numbers are shown; too few rows to judge flag nothing.
        report = report.assign(drift_flag=False, matters=False)
        table = pd.DataFrame(columns=list(realised.PERFORMANCE_COLUMNS))
        parts = pd.DataFrame(columns=list(causes.CAUSE_COLUMNS))
        return WindowFindings(faults, report, table, None, current.iloc[:0], parts)
    found = WindowFindings(
        faults=faults,
        report=report,
        table=realised.judge_performance(model, current, settings, history),
        trial=None,
        fresh=challengers.gather_labelled(model, current, history),
        parts=causes.explain_change(model, current, settings.policy.min_rows),
    )
    enough = len(found.fresh) >= 2 * len(current)
    if len(found.broken) or (found.calm and not enough):
        return found
    tried = challengers.try_recipes(model, current, found.fresh, settings, memo, found.calm)
    return replace(found, trial=tried)


def conclude_decision(
    model: Model, found: WindowFindings, n_current: int, settings: Settings
) -> Assessment:
    """Return the assessment that the evidence and the costs of ``settings.policy`` lead to."""
    policy = settings.policy
    few = n_current < policy.min_rows
    challenger = None
    if found.trial is not None:
        challenger = challengers.weigh_challenger(
            model, found.fresh, found.trial, settings, found.calm
        )
    broken, moved, worse = found.broken, found.moved, found.worse
    action = decide_action(len(broken) > 0, len(moved) > 0, len(worse) > 0, challenger)
    reason = reasons.phrase_reason(
        action, broken, moved, worse, found.table, challenger, found.parts
    )
    reverses = reasons.phrase_reversals(action, broken, challenger, policy)
    return Assessment(
        action="monitor" if few else action,
        reason=reasons.phrase_too_few(n_current, policy) if few else reason,
        drift=found.report,
        performance=found.table,
        quality=found.faults,
        model_version=model.version,
        n_current=n_current,
        settings=settings,
        challenger=challenger,
        decomposition=found.parts,
        reverses=(f"a window of at least {policy.min_rows} rows",) if few else reverses,
    )


def decide_action(broken: bool, moved: bool, worse: bool, found: Challenger | None) -> Action:
    """Return the action of the design's table.

    ``broken``: the data has a fault; ``moved``: drift that matters; ``worse``: performance below
    the champion's holdout. A champion that newer fits beat counts as worse too: it does worse than
    a model of its kind can. Without any sign of change no challenger is looked at.
    """
    if broken:
        return "investigate"
    stale = found is not None and found.stale
    if found is not None and (worse or stale) and found.pays:
        return "retrain"
    return "monitor" if moved or worse else "hold"


def _features(report: pd.DataFrame) -> pd.DataFrame:
    return report[~report["kind"].isin(["prediction", "joint"])]


def _records(frame: pd.DataFrame | None) -> list[dict[str, Any]] | None:
    if frame is None:
        return None
    return [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]


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
