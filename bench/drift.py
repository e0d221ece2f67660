"""What judging a window of a million rows costs, beside SciPy and NumPy on the same columns.

A model is trained on as many rows as the window has, all of them its reference, which is what is
"stored": its side of every comparison is made before the first turn. Each turn times, one after
the other in one process, a plain script (``scipy.stats.ks_2samp`` and PSI on ten quantiles by
``numpy.histogram``, both from the raw columns), the columns' part of Driftbook (profile of the
window, comparison of the profiles), and ``assess`` without and with labels. ``assess all rows`` is
``assess`` where what needs rows takes all of them instead of a sample (``data.sample_rows``). Ten
columns of text stand beside ``value_counts`` of pandas with SciPy's ``chi2_contingency``.
Other libraries stand beside them in ``drift_peers.py``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from _measuring import compare_turns, find_median, measure_call, report_bench, take_turns
from driftbook import Settings, assess, train
from driftbook.data.columns import Feature
from driftbook.drift.profile import profile_reference, profile_values
from driftbook.drift.reference import find_reference
from driftbook.drift.report import compare_columns

PLAIN, PLAIN_TEXT = "SciPy and NumPy", "text: pandas and SciPy"
TEXT = "text: profile and compare"
COLUMNS = [f"x{k}" for k in range(8)]


def make_rows(rng: np.random.Generator, rows: int, moved: float) -> pd.DataFrame:
    """Return normal columns, the second of them moved, and a label that two of them explain."""
    table = pd.DataFrame({name: rng.normal(size=rows) for name in COLUMNS})
    table["x1"] += moved
    chance = 1 / (1 + np.exp(-0.8 * table["x0"] + 0.5 * table["x1"]))
    return table.assign(label=(rng.random(rows) < chance).astype(np.int64))


def compare_plainly(reference: pd.DataFrame, current: pd.DataFrame) -> list[tuple[float, float]]:
    """Return by column KS's p-value and PSI, as a script without a library for drift has them."""
    found = []
    for name in COLUMNS:
        before, now = reference[name].to_numpy(), current[name].to_numpy()
        cuts = np.quantile(before, np.linspace(0, 1, 11))
        cuts[0], cuts[-1] = -np.inf, np.inf
        p, q = (np.histogram(values, cuts)[0] / len(values) + 1e-6 for values in (before, now))
        pvalue = float(stats.ks_2samp(before, now, method="asymp").pvalue)
        found.append((pvalue, float(np.sum((q - p) * np.log(q / p)))))
    return found


def make_text(rng: np.random.Generator, rows: int) -> pd.DataFrame:
    """Return ten columns of 30 levels, one in ten of their values missing."""
    levels = np.array([f"level {k}" for k in range(30)] + [None] * 3, dtype=object)
    drawn = {f"t{k}": levels[rng.integers(0, len(levels), rows)] for k in range(10)}
    return pd.DataFrame(drawn).astype("str")


def compare_text_plainly(reference: pd.DataFrame, current: pd.DataFrame) -> list[float]:
    """Return by column the p-value of the chi-square test of two tables of counts."""
    found = []
    for name in reference:
        both = [frame[name].value_counts() for frame in (reference, current)]
        table = pd.concat(both, axis=1).fillna(0)
        found.append(float(stats.chi2_contingency(table).pvalue))
    return found


def find_parts(rows: int) -> dict[str, Callable[[], Any]]:
    """Return by name what is measured, each ready to run."""
    rng = np.random.default_rng(0)
    reference, labelled = make_rows(rng, rows, 0.0), make_rows(rng, rows, 0.02)
    current = labelled[COLUMNS]
    plain: dict[str, Any] = {"source": "window.parquet", "target": "label", "window": rows}
    sampled = Settings.parse({"data": plain})
    whole = Settings.parse({"data": {**plain, "sample_rows": rows}})
    model = train(reference, whole)
    few = train(reference, sampled)
    side = find_reference(model)

    def judge_columns() -> object:
        now = side.profile_window(current)
        return compare_columns(model.features, side.profiles, now, whole.drift)

    words, new_words = make_text(rng, rows), make_text(rng, rows)
    known = {str(name): profile_reference(words[name], "categorical") for name in words}
    features = tuple(Feature(name, "categorical") for name in known)

    def judge_text() -> object:
        now = {name: profile_values(new_words[name], known[name].bins) for name in known}
        return compare_columns(features, known, now, whole.drift)

    parts: dict[str, Callable[[], Any]] = {
        PLAIN: lambda: compare_plainly(reference, current),
        "profile": lambda: side.profile_window(current),
        "profile and compare": judge_columns,
        "assess without labels": lambda: assess(few, current, sampled),
        "assess with labels": lambda: assess(few, labelled, sampled),
        "assess all rows without labels": lambda: assess(model, current, whole),
        "assess all rows with labels": lambda: assess(model, labelled, whole),
        PLAIN_TEXT: lambda: compare_text_plainly(words, new_words),
        TEXT: judge_text,
    }
    return parts


def main() -> int:
    """Print the table and write it as JSON; there is no bound to fail."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    options, _ = parser.parse_known_args()  # `make bench` gives all benchmarks the same words
    parts = {name: partial(measure_call, work) for name, work in find_parts(options.rows).items()}
    # The first turn makes the model's own side, which every later window finds.
    turns = take_turns(parts, options.repeats)
    found = []
    for name, taken in turns.items():
        beside = turns[PLAIN_TEXT if name.startswith("text") else PLAIN]
        times = compare_turns(beside, taken)
        found.append({"part": name, **find_median(taken)._asdict(), "times_as_fast": times})
    title = f"{options.rows:,} rows x {len(COLUMNS)} floats, and ten columns of text"
    note = f"times_as_fast: as the plain way; medians of {options.repeats}"
    return report_bench("drift", __doc__, {title: found}, notes=[note])


if __name__ == "__main__":
    raise SystemExit(main())
