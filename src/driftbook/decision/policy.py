"""The decision: hold, monitor, retrain, or investigate the data first."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import pandas as pd

from driftbook.data.plain_json import to_plain_json
from driftbook.decision import costs, reasons
from driftbook.decision.alarms import Alarm, Seen
from driftbook.decision.challenger import Challenger, weigh_challenger
from driftbook.decision.findings import WindowFindings, examine_window
from driftbook.decision.plain_words import PlainWords, explain_decision
from driftbook.drift.window_counts import WindowCounts
from driftbook.model.priced import price_model
from driftbook.model.tasks import Task
from driftbook.model.training import Model
from driftbook.paths import Action
from driftbook.settings import Settings

THRESHOLD_MEANING = (
    "PSI at which plots mark a column (drift.psi_threshold); it decides nothing: a column has "
    "drifted where its pvalue_adjusted is below drift.alpha"
)


@dataclass(frozen=True)
class Assessment:
    """One recommendation with its evidence, and what would reverse it."""

    action: Action
    reason: str
    drift: pd.DataFrame
    performance: pd.DataFrame
    quality: pd.DataFrame
    segments: pd.DataFrame
    model_version: str
    n_current: int
    settings: Settings
    task: Task
    window: str | None = None
    challenger: Challenger | None = None
    decomposition: pd.DataFrame | None = None
    reverses: tuple[str, ...] = ()
    seen: Seen = field(default_factory=Seen)
    alarms: tuple[Alarm, ...] = ()
    plain: PlainWords | None = None
    acknowledged: tuple[Mapping[str, str], ...] = ()  # by column: why, by whom and when if known

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
        document: dict[str, Any] = to_plain_json(
            {
                "action": self.action,
                "reason": self.reason,
                "plain": None if self.plain is None else asdict(self.plain),
                "drifted_features": flagged,
                "drift_ratio": None if few or not features else len(flagged) / features,
                "threshold": self.settings.drift.psi_threshold,
                "threshold_meaning": THRESHOLD_MEANING,
                "window": self.window,
                "model_version": self.model_version,
                "served_elsewhere": self.settings.is_external,
                "task": self.task.name,
                "loss": self.task.loss,
                "n_current": self.n_current,
                "evidence": {
                    "quality": self.quality,
                    "drift": self.drift,
                    "performance": self.performance,
                    "decomposition": self.decomposition,
                    "segments": self.segments,
                    "alarms": [{**vars(alarm), "share": alarm.share} for alarm in self.alarms],
                    "challenger": self._challenger(),
                    "economics": self._economics(),
                },
                "reverses": self.reverses,
                "acknowledged": [dict(one) for one in self.acknowledged],
            }
        )
        return document

    def _challenger(self) -> dict[str, Any] | None:
        found = self.challenger
        if found is None:
            return None
        version = found.model.version if self.action == "retrain" else None
        unwritten = ("candidates", "order", "model", "decided_otherwise", "alarm", "gaps")
        numbers = {key: value for key, value in vars(found).items() if key not in unwritten}
        otherwise = found.decided_otherwise if self.action == "retrain" else None
        return {
            "model_version": version,
            "decided_otherwise": otherwise,
            **numbers,
            "candidates": found.candidates,
        }

    def _economics(self) -> dict[str, Any]:
        terms, found = self.settings.policy, self.challenger
        even = costs.find_break_even(terms)[0] if found is None else found.break_even
        window = self.settings.data.window
        period = window if isinstance(window, str) else "window"
        return {**terms.model_dump(mode="json"), "break_even_gain": even, "period": period}


def assess(
    model: Model,
    current: pd.DataFrame,
    settings: Settings,
    history: pd.DataFrame | None = None,
    past: Sequence[Seen] = (),
    earlier: pd.DataFrame | None = None,
    accepted: Collection[str] = (),
    counted: WindowCounts | None = None,
) -> Assessment:
    """Return what to do about ``model`` after the rows of ``current``, with all the evidence.

    ``current``: one window in time order, with or without the target column; ``history``: mature
    labelled rows since the model's reference, in time order, from which a challenger may learn;
    the newest of them calibrate the estimate of performance without labels.
    Without it a challenger learns from the reference and the older part of ``current``.
    ``past``: what earlier windows since the reference showed, ``assessment.seen`` of each, in
    order; without it the window stands alone, and only what it proves by itself is an alarm.
    ``earlier``: rows before the window, labelled or not, with ``data.timestamp``: where they reach
    back a year, what the same season of earlier years shows too is no alarm.
    ``accepted``: features whose lasting change somebody has accepted: their faults are shown as
    such and are none any more, their drift raises no alarm, and a challenger does without them.
    ``counted``: what all rows of the window hold, where ``current`` is a uniform sample of them
    (``drift.window_counts.count_window``); number of rows, data quality and drift of columns are
    then those of all rows. Odd
    data (a column gone, all missing, constant, one class) is a finding, never an exception. Pure:
    the same arguments give the same assessment.
    """
    model = price_model(model, settings.policy)
    found = examine_window(
        model, current, settings, history, past, None, earlier, accepted, counted
    )
    return conclude_decision(model, found, settings)


def conclude_decision(model: Model, found: WindowFindings, settings: Settings) -> Assessment:
    """Return the assessment that the evidence and the costs of ``settings.policy`` lead to."""
    settings = settings.for_window(found.rows)
    challenger = None
    if found.trial is not None:
        learning = settings.for_learning()
        evidence = model.learner, found.fresh, found.trial, learning
        challenger = weigh_challenger(*evidence, found.calm, found.left_out)
    action: Action = "monitor"
    if not found.too_few:
        broken, moved, worse = (len(each) > 0 for each in (found.broken, found.moved, found.worse))
        fault = bool(found.without), found.lasting
        action = decide_action(broken, moved, worse, challenger, *fault, found.passing)
    return Assessment(
        action=action,
        reason=reasons.phrase_reason(action, found, challenger, settings),
        drift=found.drift,
        performance=found.performance,
        quality=found.quality,
        segments=found.segments,
        model_version=model.version,
        n_current=found.rows,
        settings=settings,
        task=model.task,
        challenger=challenger,
        decomposition=found.causes,
        plain=explain_decision(action, found, challenger, settings),
        reverses=reasons.phrase_reversals(action, found, challenger, settings.policy),
        seen=found.seen,
        acknowledged=tuple({"column": name} for name in sorted(found.accepted)),
        alarms=(*found.alarms, *(() if challenger is None else (challenger.alarm,))),
    )


def decide_action(
    broken: bool,
    moved: bool,
    worse: bool,
    found: Challenger | None,
    spared: bool = False,
    lasting: bool = False,
    passing: bool = False,
) -> Action:
    """Return the action of the design's table.

    ``broken``: the data has a fault; ``moved``: drift that matters; ``worse``: performance below
    the champion's holdout; both proven by an alarm. A champion that newer fits beat counts as worse
    too: it does worse than a model of its kind can. Where an earlier champion had to be replaced
    the world is known to change, and what a retrain is expected to earn decides alone. ``spared``:
    the challenger does without what is broken; ``lasting``: the fault was asked about in the window
    before, and is no longer a question; ``passing``: what is worse was so on too few days in a row
    for a retrain.
    """
    if broken and not spared:
        return "investigate"
    ripe = worse and not passing
    if found is not None and found.pays and (ripe or found.stale or found.changed_before):
        return "retrain"
    if broken:
        return "monitor" if lasting else "investigate"
    return "monitor" if moved or worse else "hold"


def _features(report: pd.DataFrame) -> pd.DataFrame:
    return report[~report["kind"].isin(["prediction", "joint"])]
