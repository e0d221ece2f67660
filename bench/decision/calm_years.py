"""Years in which nothing changes: how many raise any alarm, and how soon a change is found.

Every year has a model and a reference of its own, of 10,000 rows by eight normal columns, and 52
windows of 500 rows that share it. Windows are judged one after another, each with what the earlier
ones showed. ``whole``: by ``assess`` with labels and history, challengers included; ``columns``:
the alarms on columns alone, on many more years, with the delay after which a shift of one column is
found, beside a test that errs in 3.3% of windows. Streams of the shared data folder, rows permuted
in blocks of a tenth of a window, are calm by construction. Seeds are fixed; tables go to
``artifacts/bench/decision/`` as CSV.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from false_alarms import draw
from retrain import stream
from scipy import stats

from _measuring import write_result
from driftbook.decision import alarms
from driftbook.decision.alarms import Seen, Watch, trace_evidence
from driftbook.decision.policy import assess
from driftbook.drift.readings import Reading
from driftbook.model.training import train
from driftbook.settings import Settings

FOLDER = Path("artifacts/bench/decision")
REFERENCE, ROWS, YEAR, COLUMNS = 10_000, 500, 52, 8
BEFORE, SHIFTS = 10, (0.10, 0.15, 0.25)
STREAMS = ("bike_hour_bin", "noaa_weather", "phishing")
SETTINGS = Settings.parse({"data": {"source": "synthetic:none"}})
BUDGETS = {"any": 0.05, "retrain": 0.01}


def judge_year(
    reference: pd.DataFrame, windows: list[pd.DataFrame], settings: Settings
) -> set[str]:
    """Return the actions of a year, each window with what earlier ones showed."""
    model, past = train(reference, settings), list[Seen]()
    actions: set[str] = set()
    for k, window in enumerate(windows):
        history = pd.concat(windows[max(0, k - 10) : k], ignore_index=True) if k else None
        found = assess(model, window, settings, history, past)
        past.append(found.seen)
        actions.add(found.action)
    return actions


def whole_years(years: int) -> pd.DataFrame:
    """Return the share of synthetic years with any action, and with a retrain."""
    rng = np.random.default_rng(21)
    seen = []
    for _ in range(years):
        reference = draw(rng, "normal", REFERENCE, COLUMNS)
        windows = [draw(rng, "normal", ROWS, COLUMNS) for _ in range(YEAR)]
        seen.append(judge_year(reference, windows, SETTINGS))
    return _count("synthetic, whole", seen)


def permuted_years(name: str, years: int) -> pd.DataFrame | None:
    """Return the same for a real stream whose rows are permuted in blocks; None without it."""
    loaded = stream(name, Path())
    if loaded is None:
        return None
    dataset, settings = loaded
    size = int(settings.data.window)
    rng, seen = np.random.default_rng(22), []
    for _ in range(years):
        block = np.arange(len(dataset.frame)) // max(1, size // 10)
        order = rng.permutation(block.max() + 1)
        frame = dataset.frame.iloc[np.argsort(order[block], kind="stable")]
        cuts = range(6 * size, len(frame) - size + 1, size)
        windows = [frame.iloc[a : a + size].reset_index(drop=True) for a in cuts]
        seen.append(judge_year(frame.iloc[: 6 * size], windows, settings))
    return _count(f"{name}, permuted in blocks", seen)


def _count(name: str, seen: list[set[str]]) -> pd.DataFrame:
    found = {
        "years": name,
        "n": len(seen),
        "any": np.mean([bool(one - {"hold"}) for one in seen]),
        "retrain": np.mean(["retrain" in one for one in seen]),
    }
    return pd.DataFrame([found])


def column_years(years: int) -> tuple[float, float, pd.DataFrame]:
    """Return the share of years with an alarm of a column, or by 3.3% a window, and the delays."""
    rng = np.random.default_rng(23)
    budget = SETTINGS.policy.false_alarms
    share = 0.94 / COLUMNS
    watch = Watch(alarms.SPENT["drift"] * budget * share * 0.8, alarms.DRIFT_SCALE, windows=YEAR)
    alone = alarms.SPENT["one window's drift"] * budget / YEAR * share
    today = SETTINGS.drift.alpha * share

    def look(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        readings = [Reading(float(v), 1 / ROWS, 1 / REFERENCE, np.inf, ROWS) for v in values]
        pvalues = 2 * stats.norm.sf(np.abs(values) / np.sqrt(1 / ROWS + 1 / REFERENCE))
        many = trace_evidence(readings, watch)[0] >= watch.threshold
        return many | (pvalues < alone), pvalues < today

    def draw_values(windows: int) -> np.ndarray:
        luck = rng.normal() / REFERENCE**0.5
        return np.asarray(luck + rng.normal(size=windows) / ROWS**0.5)

    years_hit = np.zeros(2)
    for _ in range(years):
        looks = [look(draw_values(YEAR)) for _ in range(COLUMNS)]
        years_hit += [any(one[k].any() for one in looks) for k in (0, 1)]
    lines = []
    for moved in SHIFTS:
        waits = []
        for _ in range(max(200, years // 4)):
            values = draw_values(BEFORE + 42)
            values[BEFORE:] += moved
            hits = [np.append(one[BEFORE:], True) for one in look(values)]
            waits.append([int(np.argmax(one)) + 1 for one in hits])
        wait = np.array(waits)
        line = {
            "shift_sd": moved,
            "alarm_after": wait[:, 0].mean(),
            "test_after": wait[:, 1].mean(),
        }
        lines.append({**line, "no_later": (wait[:, 0] <= wait[:, 1]).mean()})
    mine, theirs = (years_hit / years).tolist()
    return mine, theirs, pd.DataFrame(lines)


def main() -> int:
    """Return 0 when no budget of a year is surely exceeded (a binomial test at 1%)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=("small", "full"), default="small")
    options, _ = parser.parse_known_args()  # `make bench` gives all benchmarks the same words
    full = options.size == "full"
    FOLDER.mkdir(parents=True, exist_ok=True)
    tables = [whole_years(100 if full else 1)]
    for name in STREAMS if full else STREAMS[:1]:
        table = permuted_years(name, 20 if full else 1)
        if table is None:
            print(f"{name} is skipped: there is no {name}.parquet in the shared data folder")
        else:
            tables.append(table)
    found = pd.concat(tables, ignore_index=True)
    mine, theirs, delays = column_years(2000 if full else 200)
    found.to_csv(FOLDER / "calm_years.csv", index=False)
    delays.to_csv(FOLDER / "alarm_delays.csv", index=False)
    print(f"\ncalm years\n{found.round(3).to_string(index=False)}")
    print(f"\nyears with an alarm on a column: {mine:.1%}; by a test at 3.3% a window {theirs:.1%}")
    print(
        f"\nwindows until a shift of one column is found\n{delays.round(2).to_string(index=False)}"
    )
    write_result("decision/calm_years", __doc__, {"years": found, "delays": delays})
    over = 0
    for name, budget in BUDGETS.items():
        n = int(found["n"].sum())
        hits = round(float((found[name] * found["n"]).sum()))
        print(f"  {name}: {hits} of {n} years, budget {budget:.0%}")
        over += stats.binomtest(hits, n, budget, alternative="greater").pvalue < 0.01
    return int(over > 0)


if __name__ == "__main__":
    sys.exit(main())
