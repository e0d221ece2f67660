"""Ranks retraining policies by what each costs above hindsight, on real and synthetic streams.

Each stream: a first reference of 20% of the rows, 24 windows after it, logistic regression, and
four prices of a retrain. A line gives a policy's total cost over that of the best schedule known
afterwards, minus 1, averaged over the prices; ``margin`` is by how much ours is above the better of
never and always at the price where that is worst. The ranking pairs each policy with ours on every
stream: a t interval of the mean difference over streams, each of which counts once. Streams of the
shared data folder are skipped where it is absent. ``--size small`` takes a synthetic stream and
two short real ones, ``full`` all of them. Tables go to ``artifacts/bench/decision/`` as CSV.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from _measuring import write_result
from driftbook.backtest import replay
from driftbook.backtest.hindsight import ANY_RECIPE
from driftbook.backtest.timeline import Timeline
from driftbook.data import synthetic, windows
from driftbook.data.windows import Dataset
from driftbook.settings import Settings

FOLDER = Path("artifacts/bench/decision")
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
COSTS = (0.0005, 0.002, 0.008, 0.03)
WINDOWS, REFERENCE = 24, 6  # a reference of six windows is 20% of thirty
SYNTHETIC = ("none", "covariate", "concept", "prior")
SHORT = ("bike_hour_bin", "noaa_weather")
LONG = (
    "phishing", "gss_wages", "bank_additional", "beijing_pm25", "elec2", "flights",
    "nml_car_loan", "nml_employment_ma",
)  # fmt: skip
AIM, MOST_MARGIN = 0.008, 0.01
KINDS = {"synthetic": [f"synthetic:{s}" for s in SYNTHETIC], "real": [*SHORT, *LONG]}


def stream(name: str, scratch: Path, delay: int = 0) -> tuple[Dataset, Settings] | None:
    """Return a stream cut into thirty windows, or None where its file is absent.

    ``delay``: windows until labels are known.
    """
    source = {"source": name}
    if name.startswith("synthetic:"):
        path = scratch / f"{name.partition(':')[2]}.parquet"
        synthetic.make_scenario(name.partition(":")[2], rows=18_000, seed=5).to_parquet(path)
        source, rows = {"source": str(path)}, 18_000
    elif name == "flights":
        rows = len(windows.load_dataset(Settings(), scratch).frame)
    else:
        path = SHARED / f"{name}.parquet"
        if not path.is_file():
            return None
        frame = pd.read_parquet(path)
        source, rows = {"source": str(path), "target": "target"}, len(frame)
        source |= {"timestamp": "ts"} if "ts" in frame.columns else {}
    cut = {"window": rows // (WINDOWS + REFERENCE), "reference": REFERENCE, "label_delay": delay}
    settings = Settings.parse({"data": source | cut})
    return windows.load_dataset(settings, scratch), settings


def paid(name: str, dataset: Dataset, settings: Settings) -> Iterator[pd.DataFrame]:
    """Yield at each price a row a policy: what it paid on the stream."""
    timeline = Timeline.build(dataset, settings)
    fixed, made = replay.follow_unpriced(timeline), timeline.train_recipes()
    for cost in COSTS:
        policy = settings.policy.model_copy(update={"retrain_cost": cost})
        records = replay.follow_priced(timeline, policy, made) | fixed
        yield replay.tabulate_policies(timeline, records, policy).assign(
            stream=name, retrain_cost=cost
        )


def by_stream(found: pd.DataFrame) -> pd.DataFrame:
    """Return the mean excess over the prices, a row a stream and a column a policy, in percent."""
    table = found.pivot_table(index="stream", columns="policy", values="excess", sort=False)
    per_price = found.pivot_table(
        index=["stream", "retrain_cost"], columns="policy", values="excess", sort=False
    )
    margin = per_price["driftbook"] - per_price[["never", "always"]].min(axis=1)
    table["margin"] = margin.groupby("stream").max()
    order = [
        "driftbook",
        "margin",
        ANY_RECIPE,
        "never",
        "always",
        "KS p<0.05 or PSI>=0.2",
        "CARA-style",
    ]
    shown = [*order, *(c for c in table.columns if c not in [*order, "hindsight"])]
    for kind, names in KINDS.items():
        rows = table.loc[[name for name in names if name in table.index]]
        if len(rows):
            table.loc[f"mean of {len(rows)} {kind}"] = rows.mean()
    return 100 * table[shown]


def rank(found: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """Return by policy its mean excess on the streams ``names`` and how far it is above ours.

    ``above_ours`` with its 95% interval, in percentage points; ``cells_won``: streams and prices at
    which ours was cheaper, of those at which both were not equal.
    """
    part = found[found["stream"].isin(names)]
    cells = part.pivot_table(index=["stream", "retrain_cost"], columns="policy", values="excess")
    apart = 100 * cells.sub(cells["driftbook"], axis=0)
    each = apart.groupby("stream").mean()
    reach = stats.t.ppf(0.975, len(each) - 1) * each.std(ddof=1) / np.sqrt(len(each))
    table = pd.DataFrame(
        {
            "mean_excess": 100 * cells.groupby("stream").mean().mean(),
            "above_ours": each.mean(),
            "low": each.mean() - reach,
            "high": each.mean() + reach,
            "cells_won": (apart > 0).sum() / (apart != 0).sum(),
        }
    )
    return table.sort_values("mean_excess")


def main() -> int:
    """Return 0 when ours is within the aim on the real streams' mean, or there are none."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=("small", "full"), default="small")
    parser.add_argument("--streams", nargs="*", help="only these, by name")
    parser.add_argument("--delay", type=int, default=0, help="windows until labels are known")
    options, _ = parser.parse_known_args()  # `make bench` gives all benchmarks the same words
    few = ["synthetic:concept", *SHORT]
    names = few if options.size == "small" else [*KINDS["synthetic"], *KINDS["real"]]
    FOLDER.mkdir(parents=True, exist_ok=True)
    parts: list[pd.DataFrame] = []
    with tempfile.TemporaryDirectory(prefix="driftbook-bench-") as scratch:
        for name in options.streams or names:
            loaded = stream(name, Path(scratch), options.delay)
            if loaded is None:
                print(f"{name} is skipped: there is no {name}.parquet in the shared data folder")
                continue
            started = time.perf_counter()
            parts += paid(name, *loaded)
            print(f"{name}: {time.perf_counter() - started:.0f} s", flush=True)
    found = pd.concat(parts, ignore_index=True)
    table = by_stream(found)
    found.to_csv(FOLDER / "retrain.csv", index=False)
    table.to_csv(FOLDER / "excess_by_stream.csv")
    print(f"\nexcess over hindsight, %\n{table.round(2).to_string()}")
    for kind, streams in KINDS.items():
        if len(there := [name for name in streams if name in found["stream"].unique()]) > 1:
            ranking = rank(found, there)
            ranking.to_csv(FOLDER / f"retrain_ranking_{kind}.csv")
            print(f"\n{len(there)} {kind} streams, ranked, %\n{ranking.round(2).to_string()}")
    shown = {"excess over hindsight, %": table.reset_index(), "prices": found}
    write_result("decision/retrain", __doc__, shown)
    real = table.loc[[name for name in KINDS["real"] if name in table.index]]
    if real.empty:
        return 0
    mean, margin = real["driftbook"].mean(), real["margin"].max()
    print(f"\nours on real streams: mean {mean:.2f}% (aim {AIM:.1%}), worst margin {margin:.2f}%")
    return int(not np.isfinite(mean) or mean > 100 * AIM or margin > 100 * MOST_MARGIN)


if __name__ == "__main__":
    sys.exit(main())
