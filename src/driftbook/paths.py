"""Every path of an artifact, every step and every action: spelled here and nowhere else.

Paths are relative to the artifacts folder, to the folder of a run, or to the project's root.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, get_args

Action = Literal["hold", "monitor", "retrain", "investigate"]
ACTIONS: tuple[Action, ...] = get_args(Action)
# What comes after each action, as words of the command line; options of the project follow.
NEXT_STEPS: Mapping[Action, str] = {
    "hold": "run --from drift",
    "monitor": "run --from drift",
    "retrain": "promote",
    "investigate": "open {run_id}",
}
# Where make has a target for such a step, its name.
MAKE_TARGETS: Mapping[str, str] = {"run --from drift": "run-drift", "promote": "promote"}


def choose_next_step(action: Action, served_elsewhere: bool = False) -> str:
    """Return what comes after an action; a model served elsewhere is not promoted here."""
    elsewhere = served_elsewhere and action == "retrain"
    return NEXT_STEPS["monitor" if elsewhere else action]


# The project.
SETTINGS_FILE = Path("runbook.yaml")
NOTEBOOKS = Path("notebooks")
ARTIFACTS = Path("artifacts")
STEPS: Mapping[str, str] = {
    "train-eval": "01-train-eval.ipynb",
    "drift": "02-drift.ipynb",
    "decision": "03-retrain-decision.ipynb",
    "serving": "04-serving.ipynb",
}
# The folder that each step fills.
STEP_PARTS: Mapping[str, str] = {
    "train-eval": "metrics",
    "drift": "drift",
    "decision": "policy",
    "serving": "serving",
}
FIRST_STEP = next(iter(STEPS))
BACKTEST_NOTEBOOK = "05-backtest.ipynb"

# What a run leaves, and users and scripts rely on.
TRAIN_EVAL_SUMMARY = Path("metrics", "train_eval_summary.csv")
QUALITY = Path("drift", "quality.csv")
DRIFT_REPORT = Path("drift", "drift_report.csv")
PERFORMANCE = Path("policy", "performance.csv")
SEGMENTS = Path("policy", "segments.csv")
PERFORMANCE_BY_WINDOW = Path("policy", "performance_by_window.csv")
RECOMMENDATION = Path("policy", "retrain_recommendation.json")
SEEN = Path("policy", "seen.json")
API_CHECKS = Path("serving", "api_checks.json")
POLICIES = Path("backtest", "policies.csv")
RUNS_TABLE = Path("tracking", "runs.csv")
MANIFEST = Path("manifest.json")
REQUIRED_FILES = (TRAIN_EVAL_SUMMARY, DRIFT_REPORT, RECOMMENDATION, API_CHECKS, RUNS_TABLE)
# What notebooks of the owner's write.
OWN_PART = "own"
# The folders that a run or a backtest replaces as a whole, where it wrote to them.
PUBLISHED_PARTS = (*STEP_PARTS.values(), OWN_PART, "tracking", "backtest")

# What the artifacts folder keeps beside them.
LAYOUT = Path("layout.json")  # which number the layout of all of this has
MODELS = Path("models")
INDEX = Path("index.json")  # within MODELS
LEDGER = Path("ledger.jsonl")  # within MODELS
RUNS = Path("runs")
STAGING = Path(".staging")
SCRATCH = Path("scratch")
FAILED = Path("failed")
LOG = Path("log")
ALERTS = Path("alerts.json")  # which decisions were told, and to whom
MLFLOW_STORE = Path("tracking", "mlflow.db")
MLFLOW_FILES = Path("tracking", "mlflow-files")
# Within the folder of the pages.
FIRST_CHART = Path("figures", "story.png")
# Within the folder of a run.
RUN_NOTE = Path("run.json")
RUN_SETTINGS = Path("settings.yaml")
RUN_DATA = Path("data.json")
RUN_TRACKING = Path("tracking.json")
EXECUTED = Path("executed")
PUBLISHED_MARK = Path(".published")
ALERT_DUE = Path(".alert-due")  # until the run's alert was sent, or could not be


def walk_upward(folder: Path) -> Iterator[Path]:
    """Yield ``folder`` and all folders above it, the nearest first."""
    folder = folder.absolute()
    yield from (folder, *folder.parents)


def find_project_root(start: Path | None = None) -> Path:
    """Return the nearest folder from ``start`` upward that holds the settings, else ``start``."""
    start = (start or Path.cwd()).resolve()
    holding = (folder for folder in walk_upward(start) if (folder / SETTINGS_FILE).is_file())
    return next(holding, start)


def find_layout() -> Path:
    """Return the folder of the runbook's own notebooks, hand-written pages and settings.

    A wheel carries them inside the package; otherwise they are those of the checkout.
    """
    package = Path(__file__).resolve().parent
    inside = package / "layout"
    return inside if inside.is_dir() else package.parents[1]


def resolve_path(path: str | Path) -> Path:
    """Return ``path`` as given where absolute, else under the project's root."""
    return find_project_root() / path
