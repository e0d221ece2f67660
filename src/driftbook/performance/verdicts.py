"""The three verdicts on a change: worse, no worse, can't tell yet; from its one interval."""

from __future__ import annotations

import numpy as np
import pandas as pd

from driftbook.words import METRIC_DIRECTIONS

# Of metrics of the owner's own: which way is better is not known, so they have no verdict.
OWN_BASIS = "own"
WORSE, NO_WORSE, UNSURE = "worse", "no worse", "can't tell yet"
# The confidence of every interval that is shown, two-sided.
INTERVAL = 0.95
# A change for the worse by less than this share of what the baseline lacks to perfection matters
# to nobody (a convention); of a loss it is that share of the baseline's.
TOLERATED_SHARE = 0.1


def name_verdict(low: float, high: float, tolerated: float) -> str:
    """Return the verdict on a change whose interval, positive for the worse, is ``low, high``.

    >>> name_verdict(0.01, 0.05, 0.02), name_verdict(-0.03, 0.01, 0.02)
    ('worse', 'no worse')
    >>> name_verdict(-0.01, 0.05, 0.02), name_verdict(float("nan"), float("nan"), 0.02)
    ("can't tell yet", "can't tell yet")
    """
    return WORSE if low > 0.0 else NO_WORSE if high < tolerated else UNSURE


def add_verdicts(table: pd.DataFrame, loss: str, tolerance: float | None) -> pd.DataFrame:
    """Return a performance table with the verdict of each judged row that has none yet.

    ``tolerance``: the rise of ``loss`` that does not matter; a tenth of its baseline where None.
    Rows that were not judged have None.
    """
    found: list[str | None] = []
    for row in table.to_dict("records"):
        silent = row["basis"] in ("alternative", OWN_BASIS)
        if row["status"] != "ok" or silent or np.isnan(row["change"]):
            found.append(None)
            continue
        if isinstance(row["verdict"], str):
            found.append(row["verdict"])
            continue
        low, high, tolerated = row["change_low"], row["change_high"], row["baseline"]
        if METRIC_DIRECTIONS[row["metric"]] > 0:
            low, high, tolerated = -high, -low, 1.0 - tolerated
        own = tolerance if row["metric"] == loss else None
        found.append(name_verdict(low, high, TOLERATED_SHARE * tolerated if own is None else own))
    return table.assign(verdict=pd.Series(found, index=table.index, dtype=object))
