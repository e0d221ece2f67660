"""How the champion did in every window since its reference, as it was known at the time."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from driftbook.data.windows import Dataset, Window
from driftbook.model import threads
from driftbook.model.training import Model
from driftbook.performance import realised
from driftbook.settings import Settings

# A line of more windows than this is hard to read, and each one costs a round of scoring.
MOST_TREND_WINDOWS = 24
TREND_COLUMNS = (
    "window", "n", "baseline",
    "realised", "realised_low", "realised_high", "estimated", "estimated_low", "estimated_high",
)  # fmt: skip


@threads.one_blas_thread()
def trace_performance(
    model: Model,
    dataset: Dataset,
    settings: Settings,
    last: Window,
    after: int,
    judged: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Return a row a window from ``after`` to ``last``: the task's loss, realised and estimated.

    ``after`` is the row where the model's reference ends; at most the 24 windows up to ``last``
    are judged. Labels that were not known when ``last`` ended (``data.label_delay``) count as
    unknown; what cannot be had in a window is NaN. An estimate rests on the labels that were known
    when its own window ended. ``judged``: the performance table of ``last`` where there is one
    already. Intervals are those of :func:`driftbook.performance.realised.judge_performance`.
    """
    position = dataset.windows.index(last)
    chosen = [w for w in dataset.windows[: position + 1] if w.start >= after][-MOST_TREND_WINDOWS:]
    known = position - settings.data.label_delay
    rows = []
    for place, window in enumerate(chosen, position + 1 - len(chosen)):
        table = judged
        if table is None or window != last:
            frame = dataset.rows(window)
            if place > known:
                frame = frame.assign(**{dataset.target: np.nan})
            mature = dataset.windows[max(0, place - max(1, settings.data.label_delay))].stop
            history = dataset.frame.iloc[after : max(after, min(mature, window.start))]
            table = realised.judge_performance(model, frame, settings, history)
        found = _pick_numbers(table, model.task.loss)
        rows.append({"window": window.name, "n": window.rows, **found})
    return pd.DataFrame(rows, columns=list(TREND_COLUMNS))


def _pick_numbers(table: pd.DataFrame, loss: str) -> dict[str, Any]:
    found: dict[str, Any] = {"baseline": math.nan}
    for row in table[table["metric"] == loss].to_dict("records"):
        basis = row["basis"]
        found |= {basis: row["value"], "baseline": row["baseline"]}
        found |= {f"{basis}_low": row["ci_low"], f"{basis}_high": row["ci_high"]}
    return found
