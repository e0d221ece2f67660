"""A data source replayed window by window: what was known when, and what each model then lost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from driftbook.data.arrays import Floats
from driftbook.data.columns import Feature
from driftbook.data.windows import Dataset, Window, find_reference_windows
from driftbook.decision import policy, recipes, retraining
from driftbook.decision.accepted import AcceptedSince, find_accepted
from driftbook.decision.alarms import Seen, count_windows
from driftbook.decision.findings import WindowFindings, examine_window, see_window
from driftbook.decision.trial import FitMemo
from driftbook.drift.reference import find_reference
from driftbook.drift.report import compare_columns
from driftbook.drift.window_counts import count_window
from driftbook.errors import UsageError
from driftbook.model import threads
from driftbook.model.design import model_inputs
from driftbook.model.priced import price_model
from driftbook.model.training import Model, train
from driftbook.settings import PolicySettings, Settings

TOGETHER = 16  # windows that a model predicts at once


@dataclass(frozen=True)
class Tenure:
    """A model in force: what it is, how it was made, and the row where its labels ended."""

    model: Model
    recipe: str
    trained_before: int  # the window before which it was trained, 0 for the first
    seen: int  # rows before this position were known when it was trained


@dataclass
class Timeline:
    """The windows after the first reference, with a memory of fits and judgements.

    At step t the model for window t is chosen, from what is known at the end of window t - 1:
    its features, and labels ``data.label_delay`` windows older. ``losses[s, t]`` is the mean
    loss on window t of the sliding-block model trained before window s, NaN for t < s.
    ``accepted``: by version, columns whose lasting change somebody has accepted.
    """

    dataset: Dataset
    settings: Settings
    windows: tuple[Window, ...]
    champions: list[Tenure] = field(default_factory=list)
    losses: Floats = field(default_factory=lambda: np.empty((0, 0)))
    accepted: AcceptedSince = field(default_factory=dict)
    _evidence: dict[tuple[str, int], WindowFindings] = field(default_factory=dict)
    _seen: dict[tuple[str, int], Seen] = field(default_factory=dict)
    _made: dict[tuple[str, int, str], Tenure] = field(default_factory=dict)
    _fits: dict[tuple[object, ...], recipes.BlockFit | None] = field(default_factory=dict)
    _row_losses: dict[tuple[str, int], Floats] = field(default_factory=dict)
    _mean_losses: dict[tuple[str, int], float] = field(default_factory=dict)
    _spans: dict[tuple[tuple[Feature, ...], int], tuple[pd.DataFrame, Floats, list[int]]] = field(
        default_factory=dict
    )

    @classmethod
    @threads.one_blas_thread()
    def build(
        cls,
        dataset: Dataset,
        settings: Settings,
        step: Callable[[int], None] = lambda _: None,
        accepted: AcceptedSince | None = None,
    ) -> Timeline:
        """Return the timeline with one sliding-block model a window, each trained once.

        Raises:
            UsageError: fewer than two complete windows after the reference.
        """
        reference = find_reference_windows(dataset, settings)
        windows = tuple(w for w in dataset.windows[len(reference) :] if w.complete)
        if len(windows) < 2:
            raise UsageError(
                f"a backtest needs two complete windows after the reference, found {len(windows)}; "
                "give more rows, a smaller data.window or a smaller data.reference"
            )
        found = cls(dataset, settings, windows, accepted=accepted or {})
        first = train(dataset.frame.iloc[: reference[-1].stop], settings)
        first = price_model(first, settings.policy)
        found.champions = [Tenure(first, "first", 0, reference[-1].stop)]
        step(1)
        for t in range(1, len(windows)):
            found.champions.append(found._sliding(t))
            step(1)
        found.losses = np.full((len(windows), len(windows)), np.nan)
        for s, champion in enumerate(found.champions):
            for t in range(s, len(windows)):
                found.losses[s, t] = found.loss(champion, t)
        return found

    @threads.one_blas_thread()
    def train_recipes(
        self, step: Callable[[int], None] = lambda _: None
    ) -> dict[str, list[Tenure]]:
        """Return by recipe the model that it makes before each window, the first one for the first.

        Of linear models only: others take too long to train so often.
        """
        timed = recipes.read_stamps(self.dataset.frame, self.settings.data.timestamp) is not None
        names = (*recipes.FADING, "everything", "weighted", *([recipes.SEASON] if timed else []))
        linear = self.settings.model.estimator == "linear"
        found: dict[str, list[Tenure]] = {name: [self.first] for name in names if linear}
        for t in range(1, len(self.windows)):
            fresh = self.dataset.frame.iloc[self.first.seen : self.known(t)]
            for name, made in found.items():
                made.append(self._make(name, t, fresh))
            step(1)
        return found

    def _make(self, name: str, t: int, fresh: pd.DataFrame) -> Tenure:
        if fresh.empty:
            return replace(self.first, trained_before=t)
        rows = self.windows[t - 1].rows
        order = retraining.RetrainOrder(
            self.first.model, fresh.reset_index(drop=True), name, rows, self.settings, ""
        )
        return Tenure(retraining.retrain_model(order), name, t, self.known(t))

    @property
    def first(self) -> Tenure:
        """Return the champion before the first window."""
        return self.champions[0]

    def known(self, t: int) -> int:
        """Return the row position before which labels are known when step t decides."""
        delay = self.settings.data.label_delay
        return self.windows[t - 1 - delay].stop if t - 1 - delay >= 0 else self.first.seen

    def loss(self, champion: Tenure, t: int) -> float:
        """Return the champion's mean loss on window t, NaN where no label is known."""
        key = (champion.model.version, t)
        if key not in self._mean_losses:
            losses = self.row_losses(champion, t)
            self._mean_losses[key] = float(losses.mean()) if len(losses) else float("nan")
        return self._mean_losses[key]

    def row_losses(self, champion: Tenure, t: int) -> Floats:
        """Return the losses of the labelled rows of window t, shape (labelled rows,).

        Who asks for one window asks for the next ones too: what predicting costs a table, however
        few rows it has, is paid once for several.
        """
        key = (champion.model.version, t)
        if key not in self._row_losses:
            model, first = champion.model, t - t % TOGETHER
            inputs, y, sizes = self._read_span(model, first)
            start = sum(sizes[: t - first])
            losses = model.task.row_losses(y[start:], model.predict_inputs(inputs.iloc[start:]))
            ends = np.cumsum(sizes[t - first :])
            for place, each in enumerate(np.split(losses, ends[:-1])):
                self._row_losses[model.version, t + place] = each[~np.isnan(each)]
        return self._row_losses[key]

    def _read_span(self, model: Model, first: int) -> tuple[pd.DataFrame, Floats, list[int]]:
        """Return windows as models of these features take them, their outcomes and their sizes."""
        key = (model.features, first)
        if key not in self._spans:
            each = [self.dataset.rows(one) for one in self.windows[first : first + TOGETHER]]
            rows = pd.concat(each, ignore_index=True)
            sizes = [len(one) for one in each]
            self._spans[key] = model_inputs(rows, model.features), model.outcomes(rows), sizes
        return self._spans[key]

    def price_windows(self, terms: PolicySettings) -> Floats:
        """Return by window the price of one unit of its mean loss, shape (windows,)."""
        return np.array([terms.for_rows(window.rows).error_cost for window in self.windows])

    def compare(self, champion: Tenure, t: int) -> pd.DataFrame:
        """Return a row a column that step t sees: window t - 1 against the champion."""
        side = find_reference(champion.model)
        counted = count_window(champion.model, self.dataset, self.windows[t - 1])
        now = side.profile_window(self._current(t)) if counted is None else counted.profiles
        drift = self.settings.drift
        return pd.DataFrame(compare_columns(champion.model.features, side.profiles, now, drift))

    def assess(self, champion: Tenure, t: int, settings: Settings) -> policy.Assessment:
        """Return what ``assess`` says at step t under the costs of ``settings.policy``."""
        key = (champion.model.version, t)
        if key not in self._evidence:
            history, past = self._history(champion, t), self._past(champion, t, settings)
            self._evidence[key] = examine_window(
                champion.model,
                self._current(t),
                settings,
                history,
                past,
                self._memo(champion),
                self.dataset.frame.iloc[: self.windows[t - 1].start],
                self._find_accepted(champion, t),
                count_window(champion.model, self.dataset, self.windows[t - 1]),
            )
        return policy.conclude_decision(champion.model, self._evidence[key], settings)

    def _history(self, champion: Tenure, t: int) -> pd.DataFrame:
        """Return the labelled rows since the champion's reference that step t knows."""
        stop = min(self.known(t), self.windows[t - 1].start)
        return self.dataset.frame.iloc[champion.seen : stop].reset_index(drop=True)

    def _past(self, champion: Tenure, t: int, settings: Settings) -> list[Seen]:
        """Return what the windows between the champion's reference and step t's own showed."""
        steps = [s for s in range(1, t) if self.windows[s - 1].start >= champion.seen]
        return [self._see(champion, s, settings) for s in steps[-count_windows(settings) :]]

    def _see(self, champion: Tenure, t: int, settings: Settings) -> Seen:
        key = champion.model.version, t
        if key in self._evidence:
            return self._evidence[key].seen
        if key not in self._seen:
            earlier = self.dataset.frame.iloc[: self.windows[t - 1].start]
            rows = self._current(t), settings, self._history(champion, t), earlier
            accepted = self._find_accepted(champion, t)
            counted = count_window(champion.model, self.dataset, self.windows[t - 1])
            self._seen[key] = see_window(champion.model, *rows, accepted, counted)
        return self._seen[key]

    def _find_accepted(self, champion: Tenure, t: int) -> tuple[str, ...]:
        """Return the champion's columns whose change is accepted in the window that step t sees."""
        since = self.accepted.get(champion.model.version, {})
        return find_accepted(since, self.dataset.windows, self.windows[t - 1].name)

    def promote(self, champion: Tenure, t: int, assessment: policy.Assessment) -> Tenure:
        """Return the champion that takes over before window t."""
        challenger = assessment.challenger
        if challenger is None:
            return champion
        key = (champion.model.version, t, challenger.recipe)
        if key not in self._made:
            model = retraining.retrain_model(challenger.order)
            self._made[key] = Tenure(model, challenger.recipe, t, self.known(t))
        return self._made[key]

    def _current(self, t: int) -> pd.DataFrame:
        rows = self.dataset.rows(self.windows[t - 1])
        delayed = self.settings.data.label_delay > 0
        return rows.drop(columns=self.dataset.target) if delayed else rows

    def _memo(self, champion: Tenure) -> FitMemo | None:
        if self.dataset.frame[self.dataset.target].isna().any():
            return None
        if retraining.GAPS in champion.model.origin:
            return None
        # A fit is known by the positions of its rows, which a sample of them does not have.
        largest = max(len(champion.model.reference), *(window.rows for window in self.windows))
        if largest >= self.settings.data.sample_rows:
            return None
        return FitMemo(champion.seen - len(champion.model.reference), self._fits)

    def _sliding(self, t: int) -> Tenure:
        stop, size = self.known(t), self.first.seen
        if stop == self.first.seen:
            return replace(self.first, trained_before=t)
        rows = self.dataset.frame.iloc[max(0, stop - size) : stop]
        model = train(rows, self.settings, "recent", task=self.first.model.task)
        return Tenure(model, "recent", t, stop)
