"""Everything that pages are written from, read once from the artifacts folder."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from driftbook import paths
from driftbook.errors import DriftbookError
from driftbook.store import files, registry
from driftbook.store import ledger as champions
from driftbook.words import restore_cells

# Which published folder each notebook fills; the manifest says which run filled it last.
NOTEBOOK_PARTS = {Path(name).stem: paths.STEP_PARTS[step] for step, name in paths.STEPS.items()} | {
    Path(paths.BACKTEST_NOTEBOOK).stem: "backtest"
}
OVER_WINDOWS = (
    "run_id", "window", "action", "model_version", "drift_ratio", "baseline",
    "realised", "realised_low", "realised_high", "estimated", "estimated_low", "estimated_high",
)  # fmt: skip


@dataclass(frozen=True)
class PastRun:
    """A finished run: its recommendation and that file's hash, as the ledger names it."""

    document: dict[str, Any]
    sha256: str

    @property
    def run_id(self) -> str:
        """Return the run's id."""
        return str(self.document["run_id"])


@dataclass(frozen=True)
class PublishedRun:
    """What a committed run left, and what all runs before it decided."""

    artifacts: Path
    manifest: dict[str, Any]
    recommendation: dict[str, Any]
    performance: pd.DataFrame
    trend: pd.DataFrame
    drift: pd.DataFrame
    quality: pd.DataFrame
    metrics: pd.DataFrame
    checks: dict[str, Any]
    history: tuple[PastRun, ...]
    ledger: list[dict[str, Any]]
    champion: str | None

    @property
    def run_id(self) -> str:
        """Return the run that the pages are about."""
        return str(self.manifest["run_id"])

    @property
    def loss(self) -> str:
        """Return the metric that the decision rests on."""
        return str(self.recommendation.get("loss", "brier"))

    @property
    def task(self) -> str:
        """Return what kind of prediction the model makes."""
        return str(self.recommendation.get("task", "binary"))

    @property
    def task_found(self) -> bool:
        """Return whether the task was found from the target; the settings named none."""
        model: Mapping[str, Any] = self.manifest["settings"].get("model", {})
        return bool(model.get("task", "auto") == "auto")

    @property
    def window(self) -> str:
        """Return the window under judgement."""
        return str(self.recommendation.get("window") or "–")

    def read_card(self, version: str) -> dict[str, Any]:
        """Return what a version's card says; empty where it is no longer kept."""
        return _json(self.artifacts / paths.MODELS / version / "card.json")

    @property
    def own_notebooks(self) -> list[Path]:
        """Return the owner's notebooks as the run that decided executed them, in their order."""
        folder = self.artifacts / paths.RUNS / self.run_id
        settings = self.manifest["settings"]
        if (folder / paths.MANIFEST).is_file():  # a backtest since may have had other settings
            settings = files.read_json_object(folder / paths.MANIFEST)["settings"]
        named = settings.get("runbook", {}).get("notebooks", [])
        found = [folder / paths.EXECUTED / Path(name).name for name in named]
        return [path for path in found if path.is_file()]

    def executed_notebook(self, notebook: str) -> Path | None:
        """Return the executed copy of a notebook in the run that filled its folder, if any."""
        run_id = self.manifest.get("parts", {}).get(NOTEBOOK_PARTS[notebook])
        path = self.artifacts / paths.RUNS / str(run_id) / paths.EXECUTED / f"{notebook}.ipynb"
        return path if path.is_file() else None


def load_published_run(artifacts: Path) -> PublishedRun:
    """Return the evidence of the run that is published in ``artifacts``.

    Tables that a run may lack (quality, serving checks, …) are empty then.

    Raises:
        DriftbookError: nothing has been published there yet, or no decision (a backtest alone).
    """
    if not (artifacts / paths.MANIFEST).is_file():
        raise DriftbookError(
            f"{artifacts} holds no finished run to report on; start one with `driftbook run`"
        )
    if not (artifacts / paths.RECOMMENDATION).is_file():
        raise DriftbookError(
            f"{artifacts} holds no decision to report on yet; make one with `driftbook run`"
        )
    models = artifacts / paths.MODELS
    return PublishedRun(
        artifacts=artifacts,
        manifest=_json(artifacts / paths.MANIFEST),
        recommendation=_json(artifacts / paths.RECOMMENDATION),
        performance=_csv(artifacts / paths.PERFORMANCE),
        trend=_csv(artifacts / paths.PERFORMANCE_BY_WINDOW),
        drift=_csv(artifacts / paths.DRIFT_REPORT),
        quality=_csv(artifacts / paths.QUALITY),
        metrics=_csv(artifacts / paths.TRAIN_EVAL_SUMMARY),
        checks=_json(artifacts / paths.API_CHECKS),
        history=load_past_runs(artifacts),
        ledger=champions.read_ledger(models),
        champion=registry.read_index(models).aliases.get("champion"),
    )


def read_two_sentences(recommendation: Mapping[str, Any]) -> list[str]:
    """Return why a decision was taken, in two sentences: in plain words, else the reason's first.

    >>> read_two_sentences({"reason": "Loss rose to 0.2. So did AUC. A third."})
    ['Loss rose to 0.2.', 'So did AUC.']
    """
    plain = recommendation.get("plain")
    if isinstance(plain, Mapping) and plain.get("why"):
        why = plain["why"]
        return [why] if isinstance(why, str) else [str(sentence) for sentence in why]
    reason = " ".join(str(recommendation["reason"]).split())
    return re.split(r"(?<=[.!?])\s+(?=[^a-z\s])", reason)[:2]


def load_past_runs(artifacts: Path) -> tuple[PastRun, ...]:
    """Return every finished run that holds a recommendation, oldest first."""
    found = []
    for path in sorted((artifacts / paths.RUNS).glob(f"*/{paths.RECOMMENDATION}")):
        content = path.read_bytes()
        found.append(PastRun(json.loads(content), files.hash_bytes(content)))
    return tuple(found)


def tabulate_past_runs(past: Sequence[PastRun], loss: str) -> pd.DataFrame:
    """Return a row a run: window, action, drift and ``loss``, realised and estimated.

    Numbers that a run could not have are NaN, and so are those of a run of another loss;
    ``baseline`` is the champion's of that run.
    """
    return pd.DataFrame([_row(one.document, loss) for one in past], columns=list(OVER_WINDOWS))


def _row(document: Mapping[str, Any], loss: str) -> dict[str, Any]:
    keys = ("run_id", "window", "action", "model_version", "drift_ratio")
    row = {key: document.get(key) for key in keys}
    for judged in document["evidence"]["performance"] or []:
        if judged["metric"] == loss and judged["value"] is not None:
            basis = judged["basis"]
            row[basis] = judged["value"]
            row[f"{basis}_low"], row[f"{basis}_high"] = judged["ci_low"], judged["ci_high"]
            row["baseline"] = judged["baseline"]
    return row


def choose_headline(performance: pd.DataFrame, metric: str) -> pd.Series | None:
    """Return the row of ``metric`` that counts: realised where it is there, else estimated."""
    # A window too small to judge has a table without rows.
    if performance.empty:
        return None
    known = performance[(performance["metric"] == metric) & performance["value"].notna()]
    if known.empty:
        return None
    realised = known[known["basis"] == "realised"]
    counts = realised if len(realised) else known[known["basis"] == "estimated"]
    return counts.iloc[0] if len(counts) else None


def _json(path: Path) -> dict[str, Any]:
    return files.read_json_object(path) if path.is_file() else {}


def _csv(path: Path) -> pd.DataFrame:
    if not path.is_file() or path.stat().st_size <= 1:
        return pd.DataFrame()
    return restore_cells(pd.read_csv(path))
