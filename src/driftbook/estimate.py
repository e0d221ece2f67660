"""Performance without labels: CBPE."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from driftbook import scores

if TYPE_CHECKING:
    from driftbook.performance import Rows

Floats = npt.NDArray[np.float64]


def expected_scores(p: Floats, chance: Floats) -> dict[str, float]:
    """Return each metric's expectation for predictions ``p`` whose true chances are ``chance``."""
    losses = {
        name: float(
            np.mean(
                chance * per_row(np.ones_like(p), p) + (1 - chance) * per_row(np.zeros_like(p), p)
            )
        )
        for name, per_row in scores.PER_ROW.items()
    }
    order = np.argsort(p, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(p[order]) > 0])
    ones = np.add.reduceat(chance[order], starts)
    zeros = np.add.reduceat(1 - chance[order], starts)
    own = float(np.sum(chance * (1 - chance)))
    won = float((ones * (np.cumsum(zeros) - zeros / 2)).sum()) - own / 2
    total = float(ones.sum() * zeros.sum()) - own
    return {**losses, "roc_auc": won / total if total > 0 else float("nan")}


def table(reference: Rows, rows: Rows, min_rows: int) -> list[dict[str, object]]:
    """Return the estimated rows of the performance table."""
    from driftbook import performance

    found: list[dict[str, object]] = []
    expected = expected_scores(rows.p, rows.p) if len(rows.p) else {}
    expected_base = expected_scores(reference.p, reference.p)
    confidence = performance.worse_confidence(len(scores.METRICS))
    for metric in scores.METRICS:
        base = scores.score(metric, reference.y, reference.p)
        row = performance.blank(metric, "estimated", "CBPE", len(rows.p))
        row |= {"baseline": base.value, "baseline_low": base.ci_low, "baseline_high": base.ci_high}
        if len(rows.p) < min_rows or base.status != "ok":
            found.append(row | {"status": "insufficient"})
            continue
        shift = expected[metric] - expected_base[metric]
        se, df = performance.standard_error(base.influence)
        scaled = se * np.sqrt(len(reference.p) / len(rows.p))
        if not np.isfinite(shift):
            found.append(row | {"status": "undefined"})
            continue
        half = performance.difference((scaled, df), (se, df), confidence)
        value = base.value + shift
        row |= {"status": "ok", "value": value, "ci_low": value - half, "ci_high": value + half}
        found.append(row | performance.verdict(metric, shift, half))
    return found
