"""Performance without labels: how far the estimate lies from what came true, beside NannyML's CBPE.

The champion learns from the first 20% of a stream; the rest is 24 windows, each judged without its
target. A line gives the mean of |estimate − realised| over the realised score's own standard error
(DeLong for the AUC, binomial for accuracy): 0.8 is what sampling alone leaves to a perfect
estimate. ``delay_1`` also knows the labels of all earlier windows, which grade the methods. NannyML
gets the same scores, fitted on the champion's holdout, and runs in an environment of its own, which
is made once. ``--size small`` takes every second window of five streams,
``full`` all windows of all streams, and a boosted champion too. Tables go to
``artifacts/bench/decision/`` as CSV.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import _nannyml
import numpy as np
import pandas as pd

from _measuring import write_result
from _peers import set_up_peer
from driftbook.data import synthetic
from driftbook.data import windows as data
from driftbook.model import scores
from driftbook.model.training import Model, train
from driftbook.performance import realised
from driftbook.settings import Settings

FOLDER = Path("artifacts/bench/decision")
ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared" / "data"
SMALL = ("nml_employment_ma", "nml_car_loan", "flights", "beijing_pm25", "elec2")
MORE = ("bank_additional", "bike_hour_bin", "gss_wages", "noaa_weather", "phishing")
CONCEPT = "synthetic:concept"
METRICS = ("roc_auc", "accuracy")
WINDOWS, SHARE = 24, 0.2
AIM = 0.7

PEER = """
rows["said"] = (rows["p"] >= 0.5).astype(int)
peer = nannyml.CBPE(problem_type="classification_binary", y_pred_proba="p", y_pred="said",
    y_true="y", metrics=metrics, chunk_size=known)
"""


@dataclass(frozen=True)
class Stream:
    """A champion and the windows that came after its reference, with their labels."""

    name: str
    model: Model
    frame: pd.DataFrame
    cuts: list[int]
    settings: Settings
    every: int = 1  # of so many windows one is estimated

    @property
    def judged(self) -> range:
        """Return the places of the windows that are estimated."""
        return range(0, len(self.cuts) - 1, self.every)

    @cached_property
    def windows(self) -> list[pd.DataFrame]:
        """Return the rows of each window."""
        rows = self.frame
        return [rows.iloc[a:b].reset_index(drop=True) for a, b in pairwise(self.cuts)]

    @cached_property
    def scored(self) -> list[realised.ScoredRows]:
        """Return what the champion said about the rows of each window, and what came true."""
        return [realised.score_outcomes(self.model, window) for window in self.windows]


def load(name: str, estimator: str, every: int = 1) -> Stream | None:
    """Return a stream with its champion, or None where its file is absent."""
    model = {"estimator": estimator}
    if name == "flights":
        settings = Settings.parse({"model": model})
        frame = data.load_dataset(settings).frame
    elif name.startswith("synthetic:"):
        settings = Settings.parse({"data": {"source": name}, "model": model})
        frame = synthetic.make_scenario(name.partition(":")[2])
    else:
        path = SHARED / f"{name}.parquet"
        if not path.is_file():
            return None
        frame = pd.read_parquet(path)
        given = {"source": str(path), "target": "target", "window": 1000}
        given["timestamp"] = "ts" if "ts" in frame else None
        settings = Settings.parse({"data": given, "model": model})
    start = round(SHARE * len(frame))
    cuts = [int(cut) for cut in np.linspace(start, len(frame), WINDOWS + 1)]
    return Stream(name, train(frame.iloc[:start], settings), frame, cuts, settings, every)


def estimates(stream: Stream) -> pd.DataFrame:
    """Return a row a window and metric: realised with its error, and every estimate of ours."""
    target = stream.model.target
    lines = []
    for place in stream.judged:
        blind = stream.windows[place].drop(columns=target)
        alone = _chosen(stream, blind, None)
        later = _chosen(stream, blind, stream.frame.iloc[stream.cuts[0] : stream.cuts[place]])
        rows = stream.scored[place]
        for metric in METRICS:
            came = scores.score_metric(metric, rows.y, rows.p)
            own = alone[alone["metric"] == metric].set_index("method")
            chosen = own[own["basis"] == "estimated"].iloc[0]
            delayed = later[(later["metric"] == metric) & (later["basis"] == "estimated")].iloc[0]
            lines.append(
                {
                    "window": place,
                    "metric": metric,
                    "realised": came.value,
                    "error": float(came.influence.std()) / np.sqrt(max(came.n, 1)),
                    "ours": chosen["value"],
                    "method": chosen.name,
                    "covered": bool(chosen["ci_low"] <= came.value <= chosen["ci_high"]),
                    "cbpe": own.loc["CBPE", "value"],
                    "pape": own.loc["PAPE", "value"],
                    "delay_1": delayed["value"],
                    "delay_1_covered": bool(delayed["ci_low"] <= came.value <= delayed["ci_high"]),
                }
            )
    return pd.DataFrame(lines)


def _chosen(stream: Stream, blind: pd.DataFrame, history: pd.DataFrame | None) -> pd.DataFrame:
    table = realised.judge_performance(stream.model, blind, stream.settings, history)
    return table[table["basis"] != "realised"]


def with_peer(stream: Stream, found: pd.DataFrame, python: Path | None) -> pd.DataFrame:
    """Return ``found`` with a column ``nannyml``: its CBPE on the same scores; NaN without it."""
    if python is None:
        return found.assign(nannyml=np.nan)
    held = realised.score_holdout(stream.model)
    parts = [pd.DataFrame({"window": -1, "y": held.y, "p": held.p})]
    for place in stream.judged:
        rows = stream.scored[place]
        parts.append(pd.DataFrame({"window": place, "y": rows.y, "p": rows.p}))
    answer = _nannyml.ask(python, PEER, pd.concat(parts), METRICS)
    if isinstance(answer, str):
        print(f"NannyML gave no estimate for {stream.name}: {answer}")
        return found.assign(nannyml=np.nan)
    return found.merge(answer, on=["window", "metric"], how="left")


def summary(stream: Stream, found: pd.DataFrame) -> Iterator[dict[str, object]]:
    """Yield a line a metric: mean |error| / SE of each method, ours over NannyML's, coverage."""
    for metric in METRICS:
        rows = found[found["metric"] == metric]
        distance = {
            name: float(((rows[name] - rows["realised"]).abs() / rows["error"]).mean())
            for name in ("ours", "cbpe", "pape", "nannyml", "delay_1")
        }
        yield {
            "stream": stream.name,
            "estimator": stream.settings.model.estimator,
            "metric": metric,
            **distance,
            "ratio": distance["ours"] / distance["nannyml"],
            "ratio_delay_1": distance["delay_1"] / distance["nannyml"],
            "coverage": rows["covered"].mean(),
            "coverage_delay_1": rows["delay_1_covered"].mean(),
            "methods": ", ".join(f"{m} {c}" for m, c in rows["method"].value_counts().items()),
        }


def means(lines: pd.DataFrame) -> pd.DataFrame:
    """Return the means over streams: of the errors and their ratio, and of the ratios by stream."""
    numbers = ["ours", "cbpe", "pape", "nannyml", "delay_1", "coverage", "coverage_delay_1"]
    known = lines.dropna(subset=["nannyml"]) if lines["nannyml"].notna().any() else lines
    grouped = known.groupby(["estimator", "metric"], sort=False)
    found = grouped[numbers].mean()
    found["ratio"] = found["ours"] / found["nannyml"]
    found["ratio_delay_1"] = found["delay_1"] / found["nannyml"]
    for name in ("ratio", "ratio_delay_1"):
        found[f"mean_{name}"] = grouped[name].mean()
        found[f"worst_{name}"] = grouped[name].max()
    found["streams"] = grouped["ours"].count()
    return found.reset_index()


def blindness(found: pd.DataFrame) -> pd.DataFrame:
    """Return means over the windows after the rule changed: no estimate without labels sees it."""
    after = found[found["window"] >= WINDOWS * (2 / 3 - SHARE) / (1 - SHARE) + 1]
    names = ["realised", "ours", "cbpe", "pape", "nannyml", "delay_1"]
    return after.groupby("metric", sort=False)[names].mean().reset_index()


def no_drift(windows: int) -> pd.DataFrame:
    """Return how often an estimate is called worse in windows without drift or labels."""
    lines = []
    settings = Settings.parse({"data": {"source": "synthetic:none"}})
    for reference, few in ((1200, 10), (20_000, 30)):
        models = max(1, windows // few)
        for rows in (50, 200, 1200):
            rng = np.random.default_rng([21, reference, rows])
            worse = []
            for _ in range(models):
                model = train(_drawn(rng, reference), settings)
                for _ in range(10):
                    blind = _drawn(rng, rows).drop(columns="target")
                    table = realised.judge_performance(model, blind, settings)
                    worse.append(not realised.find_worse_rows(table).empty)
            line = {"reference": reference, "rows": rows, "windows": len(worse)}
            lines.append({**line, "worse": np.mean(worse)})
    return pd.DataFrame(lines)


def _drawn(rng: np.random.Generator, rows: int) -> pd.DataFrame:
    numbers = {f"x{k}": rng.normal(size=rows) for k in range(6)}
    words = {f"c{k}": rng.choice(list("abcd"), rows) for k in range(2)}
    frame = pd.DataFrame({**numbers, **words})
    signal = frame["x0"] - frame["x1"] + 0.7 * (frame["c0"] == "a")
    return frame.assign(target=(rng.random(rows) < 1 / (1 + np.exp(-signal))).astype(int))


def main() -> int:
    """Return 1 when the mean ratio to NannyML's error is above the aim in a metric, else 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=("small", "full"), default="small")
    options, _ = parser.parse_known_args()  # `make bench` gives all benchmarks the same words
    full = options.size == "full"
    FOLDER.mkdir(parents=True, exist_ok=True)
    python, blind = set_up_peer("nannyml"), pd.DataFrame()
    lines: list[dict[str, object]] = []
    estimators = ("logistic_regression", "hist_gradient_boosting")[: 1 + full]
    for estimator in estimators:
        for name in (*SMALL, *(MORE if full else ()), CONCEPT):
            stream = load(name, estimator, every=1 if full else 2)
            if stream is None:
                print(f"{name} is skipped: there is no {name}.parquet in the shared data folder")
                continue
            found = with_peer(stream, estimates(stream), python)
            if name == CONCEPT:
                blind = pd.concat([blind, blindness(found).assign(estimator=estimator)])
            else:
                lines += summary(stream, found)
    tables = {"label_free": pd.DataFrame(lines)}
    tables["label_free_means"] = means(tables["label_free"])
    tables["label_free_concept"] = blind
    tables["label_free_no_drift"] = no_drift(1200 if full else 12)
    for title, table in tables.items():
        table.to_csv(FOLDER / f"{title}.csv", index=False)
        print(f"\n{title}\n{table.round(4).to_string(index=False)}")
    write_result("decision/label_free", __doc__, tables)
    ratio = tables["label_free_means"]["ratio"]
    return int(bool((ratio > AIM).any()))


if __name__ == "__main__":
    sys.exit(main())
