"""The seven synthetic scenarios, whose truth is known: what is recommended, over many seeds.

Each seed makes a stream of its own, a champion on its first two windows, and judges the newest
window with all labels since then to learn from, as a run would. A line gives the share of seeds
with the scenario's action, with every other one, and with that action or a retrain that pays all
the same: on 24,000 rows drawn anew its model gains more than the break-even, as more rows than the
champion had may do. ``--size small`` takes 20 seeds a scenario,
``full`` 100. The table goes to ``artifacts/bench/decision/`` as CSV.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from _measuring import write_result
from driftbook.data.synthetic import make_scenario
from driftbook.decision.policy import assess
from driftbook.model.training import train
from driftbook.settings import Settings

FOLDER = Path("artifacts/bench/decision")
SETTINGS = Settings.parse({"data": {"source": "synthetic:none"}})
WINDOW, REFERENCE = 1200, 2400
ACTIONS = {
    "none": "hold",
    "covariate": "monitor",
    "irrelevant": "hold",
    "concept": "retrain",
    "prior": "retrain",
    "correlation": "monitor",
    "outage": "investigate",
}
AIM = 0.9


def count_actions(seeds: int) -> pd.DataFrame:
    """Return a row a scenario: how many seeds are decided well, and the share of each action."""
    lines = []
    for scenario, right in ACTIONS.items():
        fresh = pd.concat([make_scenario(scenario, seed=s).tail(WINDOW) for s in range(20)])
        decided = [_decide(scenario, seed, fresh) for seed in range(seeds)]
        found = pd.Series([action for action, _ in decided])
        good = [action == right or pays for action, pays in decided]
        shares = {
            action: float((found == action).mean()) for action in dict.fromkeys(ACTIONS.values())
        }
        line = {
            "scenario": scenario,
            "truth": right,
            "seeds": seeds,
            "right_or_pays": np.mean(good),
        }
        lines.append({**line, **shares})
    return pd.DataFrame(lines)


def _decide(scenario: str, seed: int, fresh: pd.DataFrame) -> tuple[str, bool]:
    """Return the action, and whether a retrain pays on rows that nobody has seen."""
    frame = make_scenario(scenario, seed=1000 + seed)
    model = train(frame.iloc[:REFERENCE], SETTINGS)
    history = frame.iloc[REFERENCE:-WINDOW].reset_index(drop=True)
    found = assess(model, frame.iloc[-WINDOW:].reset_index(drop=True), SETTINGS, history)
    if found.action != "retrain" or found.challenger is None:
        return found.action, False
    y = model.outcomes(fresh)
    losses = [
        model.task.row_losses(y, each.predict(fresh)) for each in (model, found.challenger.model)
    ]
    return found.action, float((losses[0] - losses[1]).mean()) > found.challenger.break_even


def main() -> int:
    """Return 1 when fewer than nine of ten seeds of a scenario are decided well, else 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=("small", "full"), default="small")
    options, _ = parser.parse_known_args()  # `make bench` gives all benchmarks the same words
    FOLDER.mkdir(parents=True, exist_ok=True)
    table = count_actions(100 if options.size == "full" else 20)
    table.to_csv(FOLDER / "scenarios.csv", index=False)
    print(f"\nactions by scenario\n{table.round(3).to_string(index=False)}")
    write_result("decision/scenarios", __doc__, {"actions by scenario": table})
    return int(bool((table["right_or_pays"] < AIM).any()))


if __name__ == "__main__":
    sys.exit(main())
