"""Several classes and values without labels: our estimate and NannyML's against what came true.

As in ``label_free.py``, with the champion, windows and error of that benchmark: several classes
beside NannyML's multiclass CBPE, values beside its DLE. Both peers are fitted on the champion's
own holdout and get the same predictions. ``--size small`` estimates every second window, ``full``
all of them, and those of a boosted champion too.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import _nannyml
import numpy as np
import pandas as pd
from label_free import FOLDER, SHARE, SHARED, WINDOWS, Stream

from _measuring import write_result
from _peers import set_up_peer
from driftbook.data import windows as data
from driftbook.data.targets import TaskName
from driftbook.model.training import train
from driftbook.performance import realised
from driftbook.settings import Settings

METRICS = {"multiclass": ("roc_auc", "accuracy"), "regression": ("mae", "rmse")}
# Stream by task: its file and the column to predict. Of a stream made for another question the
# column is a measured one, and the old target is left out.
STREAMS: dict[TaskName, dict[str, tuple[str, str]]] = {
    "multiclass": {
        "flights": ("flights", "lateness"),
        "steel_load": ("steel_load", "target"),
        "beijing_wind": ("beijing_pm25", "cbwd"),
    },
    "regression": {
        "flights": ("flights", "arrival_delay"),
        "beijing_temperature": ("beijing_pm25", "TEMP"),
        "elec2_price": ("elec2", "nswprice"),
        "noaa_feature_1": ("noaa_weather", "feat_1"),
    },
}

# For values NannyML learns the loss from the features too.
CLASSES_PEER = """
chances = {name[2:]: name for name in rows if name.startswith("p_")}
peer = nannyml.CBPE(problem_type="classification_multiclass", y_pred_proba=chances, y_pred="said",
    y_true="y", metrics=metrics, chunk_size=known)
"""
VALUES_PEER = """
features = [name for name in rows if name.startswith("x_")]
for name in rows[features].select_dtypes(exclude="number"):
    rows[name] = rows[name].astype("category").cat.codes.astype("category")
peer = nannyml.DLE(feature_column_names=features, y_pred="p", y_true="y", metrics=metrics,
    chunk_size=known)
"""


def load_stream(task: TaskName, name: str, estimator: str, every: int = 1) -> Stream | None:
    """Return a stream with a champion of the task, or None where its file is absent."""
    source, target = STREAMS[task][name]
    given: dict[str, object] = {"target": target}
    if source != "flights":
        path = SHARED / f"{source}.parquet"
        if not path.is_file():
            return None
        timed = "ts" if "ts" in pd.read_parquet(path) else None
        left_out = [] if target == "target" else ["target"]
        given |= {"source": str(path), "timestamp": timed, "window": 1000, "exclude": left_out}
    chosen = {"task": task, "estimator": estimator}
    settings = Settings.parse({"data": given, "model": chosen})
    frame = data.load_dataset(settings).frame
    start = round(SHARE * len(frame))
    cuts = [int(cut) for cut in np.linspace(start, len(frame), WINDOWS + 1)]
    return Stream(name, train(frame.iloc[:start], settings), frame, cuts, settings, every)


def estimate_windows(stream: Stream) -> pd.DataFrame:
    """Return a row a window and metric: what came true with its error, and our estimate."""
    model = stream.model
    lines = []
    for place in stream.judged:
        blind = stream.windows[place].drop(columns=model.target)
        table = realised.judge_performance(model, blind, stream.settings)
        said = table[table["basis"] == "estimated"].set_index("metric")
        rows = stream.scored[place]
        for metric in METRICS[model.task.name]:
            came = model.task.score_metric(metric, rows.y, rows.p)
            one = said.loc[metric]
            lines.append(
                {
                    "window": place,
                    "metric": metric,
                    "realised": came.value,
                    "error": float(came.influence.std()) / np.sqrt(max(came.n, 1)),
                    "unchanged": one["baseline"],
                    "ours": one["value"],
                    "covered": bool(one["ci_low"] <= came.value <= one["ci_high"]),
                }
            )
    return pd.DataFrame(lines)


def ask_peer(stream: Stream, python: Path | None) -> pd.DataFrame:
    """Return window, metric and NannyML's estimate; empty where it has none."""
    nothing = pd.DataFrame(columns=["window", "metric", "nannyml"])
    if python is None:
        return nothing
    model = stream.model
    held = realised.score_holdout(model)
    parts = [_list_rows(stream, model.holdout, held, -1)]
    parts += [
        _list_rows(stream, stream.windows[place], stream.scored[place], place)
        for place in stream.judged
    ]
    program = CLASSES_PEER if model.task.classes else VALUES_PEER
    found = _nannyml.ask(python, program, pd.concat(parts), METRICS[model.task.name])
    if isinstance(found, str):
        print(f"NannyML gave no estimate for {stream.name}: {found}")
        return nothing
    return found


def _list_rows(
    stream: Stream, frame: pd.DataFrame, scored: realised.ScoredRows, window: int
) -> pd.DataFrame:
    task = stream.model.task
    if not task.classes:
        features = frame[stream.model.feature_names].add_prefix("x_").reset_index(drop=True)
        return features.assign(window=window, y=scored.y, p=scored.p)
    names = np.array(task.classes)
    chances = pd.DataFrame(scored.p, columns=[f"p_{name}" for name in names])
    known = scored.y >= 0  # a class that the champion does not know has no chance
    said = names[scored.p.argmax(axis=1)]
    came = names[np.where(known, scored.y, 0).astype(int)]
    return chances.assign(window=window, y=came, said=said)[known]


def summarise_stream(stream: Stream, found: pd.DataFrame) -> list[dict[str, object]]:
    """Return a line a metric: mean |error| / SE of each, ours over NannyML's, coverage."""
    lines: list[dict[str, object]] = []
    for metric, rows in found.groupby("metric", sort=False):
        known = rows.dropna(subset=["realised"])
        distance = {
            name: float(((known[name] - known["realised"]).abs() / known["error"]).mean())
            for name in ("unchanged", "ours", "nannyml")
        }
        lines.append(
            {
                "task": stream.model.task.name,
                "stream": stream.name,
                "estimator": stream.settings.model.estimator,
                "metric": metric,
                **distance,
                "ratio": distance["ours"] / distance["nannyml"],
                "coverage": known["covered"].mean(),
            }
        )
    return lines


def main() -> int:
    """Return 1 when our mean error in a task and metric is above NannyML's, else 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=("small", "full"), default="small")
    options, _ = parser.parse_known_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    python = set_up_peer("nannyml")
    lines: list[dict[str, object]] = []
    full = options.size == "full"
    for estimator in ("linear", "hist_gradient_boosting")[: 1 + full]:
        for task, streams in STREAMS.items():
            for name in streams:
                stream = load_stream(task, name, estimator, every=1 if full else 2)
                if stream is None:
                    print(f"{name} is skipped: its file is not in the shared data folder")
                    continue
                ours = estimate_windows(stream)
                peer = ask_peer(stream, python)
                lines += summarise_stream(stream, ours.merge(peer, "left", ["window", "metric"]))
    table = pd.DataFrame(lines)
    grouped = table.groupby(["task", "estimator", "metric"], sort=False)
    means = grouped[["unchanged", "ours", "nannyml", "coverage"]].mean()
    means["ratio"] = means["ours"] / means["nannyml"]
    tables = {"tasks": table, "tasks_means": means.reset_index()}
    for title, one in tables.items():
        one.to_csv(FOLDER / f"label_free_{title}.csv", index=False)
        print(f"\nlabel_free_{title}\n{one.round(3).to_string(index=False)}")
    write_result("decision/label_free_tasks", __doc__, tables)
    return int(bool((means["ratio"] > 1).any()))


if __name__ == "__main__":
    sys.exit(main())
