"""A run: the folder that notebooks write to, and what they read from it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import pandas as pd

from driftbook.data import windows as data
from driftbook.data.plain_json import to_plain_json
from driftbook.data.windows import Dataset, Window, WindowSplit
from driftbook.errors import UsageError
from driftbook.model import training
from driftbook.model.training import Model
from driftbook.settings import Settings
from driftbook.store import registry

SCRATCH_RUN = "scratch"


@dataclass(frozen=True)
class Run:
    """One execution of the notebooks: its settings, its window, and the folder it writes to.

    ``folder`` mirrors the artifacts folder (``metrics/``, ``drift/``, …). A staged run is published
    when it is whole; a scratch run, as opened in JupyterLab, never is.
    """

    run_id: str
    settings: Settings
    artifacts: Path
    folder: Path
    window: str | None = None
    pinned_champion: str | None = None

    @cached_property
    def dataset(self) -> Dataset:
        """Return the data source, loaded and checked."""
        if self.run_id == SCRATCH_RUN:
            return data.load_dataset(self.settings, self.artifacts)
        return _dataset_of_run(self.settings.model_dump_json(), self.settings.bases, self.artifacts)

    @property
    def models(self) -> Path:
        """Return the run's own registry, which holds what the published one does not."""
        return self.folder / "models"

    @property
    def published_models(self) -> Path:
        """Return the published registry."""
        return self.artifacts / "models"

    def registry_of(self, version: str) -> Path:
        """Return the registry that holds ``version``: the published one, else the run's own."""
        if version in registry.read_index(self.published_models).versions:
            return self.published_models
        return self.models

    @cached_property
    def champion(self) -> Model:
        """Return the version being served; where there is none yet, the first one is trained."""
        version = (
            self.pinned_champion or registry.read_index(self.published_models).aliases["champion"]
        )
        if version is None:
            version = (
                registry.read_index(self.models).aliases["champion"] or self._store_first().version
            )
        return registry.load_model(self.registry_of(version), version)

    @cached_property
    def model(self) -> Model:
        """Return the version that train and evaluation are about.

        That is the version these settings and this data make. Where it is registered already and
        another was promoted since, it is today's champion.
        """
        version = self._store_first().version
        published = registry.read_index(self.published_models)
        if version in published.versions and self.champion.version != version:
            return self.champion
        return registry.load_model(self.registry_of(version), version)

    def _store_first(self) -> Model:
        if self.settings.data.source == "predictions":
            raise UsageError(
                "source 'predictions' judges served traffic and needs a champion; train one "
                "from labelled data first"
            )
        windows = data.find_reference_windows(self.dataset, self.settings)
        stop = windows[-1].stop
        origin = {
            "source": self.dataset.source,
            "windows": f"{windows[0].name} to {windows[-1].name}",
            "stop_row": str(stop),
        }
        model = training.train(self.dataset.frame.iloc[:stop], self.settings, origin=origin)
        if model.version not in registry.read_index(self.published_models).versions:
            registry.save_model(self.models, model)
            if registry.read_index(self.published_models).aliases["champion"] is None:
                registry.set_first_champion(self.models, model.version)
        return model

    @cached_property
    def split(self) -> WindowSplit:
        """Return the window under judgement and the mature history before it."""
        return data.split_at_window(
            self.dataset,
            self.settings,
            self.window,
            find_reference_end(self.dataset, self.champion),
        )

    def save_challenger(self, model: Model) -> str:
        """Store a challenger trained on the labels known by now; return its version."""
        newest = self.split.labelled
        if newest is None:
            raise ValueError("no label has matured since the champion's reference")
        origin = {
            **model.origin,
            "source": self.dataset.source,
            "stop_row": str(newest.stop),
            "windows": f"up to {newest.name}",
        }
        stored = dataclasses.replace(model, origin=origin)
        if stored.version not in registry.read_index(self.published_models).versions:
            registry.save_model(self.models, stored)
        return stored.version

    def write_csv(self, path: str, frame: pd.DataFrame, model: Model | None = None) -> Path:
        """Write ``frame`` under the run's folder with the run, the model version and the window."""
        return _write(self.folder / path, frame.assign(**self._lineage(model)).to_csv(index=False))

    def write_json(self, path: str, values: Mapping[str, Any], model: Model | None = None) -> Path:
        """Write ``values`` likewise; NaN and infinities, which JSON lacks, become null."""
        text = json.dumps(
            to_plain_json({**values, **self._lineage(model)}), indent=2, allow_nan=False
        )
        return _write(self.folder / path, text + "\n")

    def _lineage(self, model: Model | None) -> dict[str, Any]:
        chosen = self.champion if model is None else model
        window = {} if model is not None else {"window": self.split.window.name}
        return {"run_id": self.run_id, "model_version": chosen.version, **window}

    def read_csv(self, path: str) -> pd.DataFrame:
        """Return a table of this run, or the published one where the run has not written it."""
        return pd.read_csv(self._existing(path))

    def read_json(self, path: str) -> dict[str, Any]:
        """Return a document of this run, or the published one where the run has not written it."""
        values: dict[str, Any] = json.loads(self._existing(path).read_text(encoding="utf-8"))
        return values

    def _existing(self, path: str) -> Path:
        for folder in (self.folder, self.artifacts / "runs" / self.run_id, self.artifacts):
            if (folder / path).exists():
                return folder / path
        raise UsageError(
            f"artifact {path} does not exist yet; run the notebook that writes it first"
        )


@lru_cache(maxsize=1)
def _dataset_of_run(settings: str, bases: tuple[Path, ...], artifacts: Path) -> Dataset:
    """Return the dataset, once for all the notebooks of a run in one kernel."""
    return data.load_dataset(Settings.model_validate_json(settings).based(*bases), artifacts)


def find_reference_end(dataset: Dataset, model: Model) -> int:
    """Return the first row of ``dataset`` that is later than the model's reference."""
    if model.origin.get("source") != dataset.source:
        return 0
    return _end_of(dataset, model.reference, int(model.origin.get("stop_row", 0)))


def _end_of(dataset: Dataset, reference: pd.DataFrame, stop: int) -> int:
    """Return where ``reference``, which ended before row ``stop`` when it was made, ends now.

    Time tells, because older rows may have left the source since. Where several rows share the
    reference's last moment the recorded row decides, as long as it lies among or just after them.
    """
    if dataset.timestamp is None or dataset.timestamp not in reference.columns:
        return stop
    times, last = dataset.frame[dataset.timestamp], reference[dataset.timestamp].max()
    first_tied, after_tied = (int(times.searchsorted(last, side=s)) for s in ("left", "right"))
    return stop if first_tied < stop <= after_tied else after_tied


def check_run(settings: Settings, artifacts: Path, window: str | None) -> tuple[Dataset, Window]:
    """Return the data and the window that a run would judge; nothing is written but the data cache.

    Raises:
        UsageError: whatever is wrong with the data or the window.
    """
    dataset = data.load_dataset(settings, artifacts)
    if registry.read_index(artifacts / "models").aliases["champion"] is None:
        stop = data.find_reference_windows(dataset, settings)[-1].stop
        reference = dataset.frame.iloc[:stop].dropna(subset=dataset.target)
        after = _end_of(dataset, reference, stop) if len(reference) else stop
    else:
        after = find_reference_end(dataset, registry.load_model(artifacts / "models"))
    return dataset, data.split_at_window(dataset, settings, window, after).window


def describe_data(dataset: Dataset, window: Window) -> dict[str, Any]:
    """Return what the manifest says about the data of a run."""
    return {
        "source": dataset.source,
        "sha256": dataset.fingerprint,
        "rows": len(dataset.frame),
        "dropped": dataset.dropped,
        "features": [feature.name for feature in dataset.features],
        "windows": [w.name for w in dataset.windows],
        "window": window.name,
        "window_rows": window.rows,
    }


def find_project_root(start: Path | None = None) -> Path:
    """Return the nearest folder from ``start`` upward that holds ``runbook.yaml``."""
    start = (start or Path.cwd()).resolve()
    for folder in (start, *start.parents):
        if (folder / "runbook.yaml").exists():
            return folder
    return start


def resolve_path(path: str | Path) -> Path:
    """Return ``path`` as given where absolute, else under the project's root."""
    path = Path(path)
    return path if path.is_absolute() else find_project_root() / path


def open_run(
    settings_file: str | Path, artifacts_dir: str | Path, window: str | None, run_id: str | None
) -> Run:
    """Return the run a notebook belongs to.

    ``run_id`` of a run in progress opens its staging folder. ``None``, as in a notebook opened by
    hand, opens a scratch run; the id of a finished run opens a scratch copy of it, with the
    settings, window and champion that it had.

    Raises:
        UsageError: no such run, or wrong settings.
    """
    artifacts = resolve_path(artifacts_dir)
    if run_id is None:
        settings = Settings.load(resolve_path(settings_file))
        return Run(SCRATCH_RUN, settings, artifacts, artifacts / SCRATCH_RUN, window)
    for parent in (artifacts / ".staging", artifacts / "runs"):
        folder = parent / run_id
        if (folder / "run.json").exists():
            break
    else:
        raise UsageError(f"no run {run_id!r} under {artifacts}; leave run_id = None to explore")
    note = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    settings = Settings.load(folder / "settings.yaml").based(*(Path(b) for b in note["bases"]))
    if parent.name == "runs":
        folder = artifacts / SCRATCH_RUN / run_id
    return Run(run_id, settings, artifacts, folder, window or note["window"], note["champion"])


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path
