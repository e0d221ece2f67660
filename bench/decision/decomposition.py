"""Why performance moved: the three parts on streams whose cause is known.

Prints for each synthetic scenario the mean of each part over some windows beside its true value,
how often its interval is beyond chance, and how often it covers the truth; writes the table to
``artifacts/bench/decision/decomposition.csv``. The last two cases are the hard ones: an offset of
the rule while the inputs stand, and a bend that a linear champion misses while the inputs move
along it. Seeds are fixed.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import special

from _measuring import write_result
from driftbook.data import synthetic
from driftbook.model.training import Model, train
from driftbook.performance.causes import (
    CAUSES,
    CONCEPT,
    COVARIATE,
    PRIOR,
    TOTAL_CHANGE,
    explain_change,
)
from driftbook.settings import Settings

FILE = Path("artifacts/bench/decision/decomposition.csv")
REFERENCE, MANY = 2400, 60_000
# The part that is the whole change; in `none` and `irrelevant` there is none to be had.
TRUE_CAUSES = {
    "none": None,
    "irrelevant": None,
    "covariate": COVARIATE,
    "correlation": COVARIATE,
    "prior": PRIOR,
    "concept": CONCEPT,
    "offset": CONCEPT,
    "bent": COVARIATE,
}
Draw = Callable[[int, int, int], pd.DataFrame]


def scenario(name: str) -> Draw:
    """Return how a stream is drawn: rows before the onset, rows after it, and the seed."""
    if name == "offset":
        return _offset
    if name == "bent":
        return _bent

    def draw(before: int, after: int, seed: int) -> pd.DataFrame:
        return synthetic.make_scenario(name, rows=before + after, seed=seed, onset=before)

    return draw


def _offset(before: int, after: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng([21, seed])
    x = rng.standard_normal((before + after, 8))
    late = np.arange(len(x)) >= before
    odds = x @ np.array([1.2, -0.9, 0.7, 0.6, -0.4, 0.0, 0.0, 0.0]) - 0.4 + 1.2 * late
    return _frame(rng, x, odds)


def _bent(before: int, after: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng([22, seed])
    x = rng.standard_normal((before + after, 8))
    x[before:, 0] += 1.0
    odds = x[:, 0] - 0.8 * x[:, 0] ** 2 + 0.8 * x[:, 1] * x[:, 0] + 0.7 * x[:, 2] - 0.5
    return _frame(rng, x, odds)


def _frame(rng: np.random.Generator, x: np.ndarray, odds: np.ndarray) -> pd.DataFrame:
    target = (rng.random(len(x)) < special.expit(odds)).astype(np.int64)
    return pd.DataFrame(x, columns=list(synthetic.SYNTHETIC_FEATURES)).assign(target=target)


def judged(name: str, rows: int, models: int, windows: int, estimator: str) -> pd.DataFrame:
    """Return a row a window and part: the estimate, its interval and the truth of that model."""
    wanted = {"data": {"source": "synthetic:none"}, "model": {"estimator": estimator}}
    settings = Settings.parse(wanted)
    lines = []
    for seed in range(models):
        table = scenario(name)(REFERENCE, MANY, seed)
        model = train(table[:REFERENCE], settings)
        later = table[REFERENCE:].reset_index(drop=True)
        truth = _truth(name, model, later, seed)
        for place in range(windows):
            window = later[place * rows : (place + 1) * rows]
            started = time.process_time()
            found = explain_change(model, window, 30)
            spent = 1e3 * (time.process_time() - started)
            lines.append(found.assign(truth=found["part"].map(truth), milliseconds=spent))
    return pd.concat(lines, ignore_index=True)


def _truth(name: str, model: Model, later: pd.DataFrame, seed: int) -> dict[str, float]:
    """Return each part's true value: the loss after the onset less that before it is one part's.

    Both losses are the served fit's, on many rows that it has not seen.
    """
    fresh = scenario(name)(MANY, 0, 10_000 + seed)
    before, after = (
        float(np.mean((model.predict_proba(rows) - rows["target"]) ** 2)) for rows in (fresh, later)
    )
    cause, total = TRUE_CAUSES[name], after - before
    parts = {part: total if part == cause else 0.0 for part in CAUSES}
    return parts | {TOTAL_CHANGE: total}


def summary(size: str) -> pd.DataFrame:
    """Return the table of all cases: a row a scenario, window size and part."""
    full = size == "full"
    cases = [(name, 1200, "linear") for name in TRUE_CAUSES]
    cases += [("none", rows, "linear") for rows in (200, 500)]
    cases += [
        (name, 1200, "hist_gradient_boosting") for name in (("none", "concept") if full else ())
    ]
    models, windows = (200, 2) if full else (30, 1)
    lines = []
    for name, rows, estimator in cases:
        found = judged(name, rows, models, windows, estimator)
        found["covers"] = found["truth"].between(found["change_low"], found["change_high"])
        found["half_width"] = (found["change_high"] - found["change_low"]) / 2
        wanted = ["truth", "change", "half_width", "beyond_chance", "covers", "milliseconds"]
        means = found.astype({"beyond_chance": float}).groupby("part", sort=False)[wanted].mean()
        head = {"scenario": name, "rows": rows, "estimator": estimator}
        lines += [{**head, "part": part, **row} for part, row in means.to_dict("index").items()]
    return pd.DataFrame(lines)


def main() -> int:
    """Return 0 when every pure case is given to its own cause."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=("small", "full"), default="small")
    options, _ = parser.parse_known_args()  # `make bench` gives all benchmarks the same words
    table = summary(options.size)
    FILE.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(FILE, index=False)
    print(table.round(4).to_string(index=False))
    parts = table[table["part"] != TOTAL_CHANGE]
    none = parts[parts["scenario"] == "none"]
    print(f"\nintervals of parts that cover 0 where nothing changed: {none['covers'].mean():.1%}")
    write_result("decision/decomposition", __doc__, {"parts": table})
    return int(bool((parts["change"] - parts["truth"]).abs().max() > 0.02))


if __name__ == "__main__":
    sys.exit(main())
