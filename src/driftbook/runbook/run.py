"""A run: the window that its notebooks are about, and the folder that they write to.

Whatever several notebooks show is made once: the notebooks of one run share a kernel, and in it
:func:`open_run` gives all of them the same :class:`Run`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import pandas as pd

from driftbook import paths
from driftbook.addresses import NOT_SHOWN
from driftbook.data import windows
from driftbook.data.plain_json import to_plain_json
from driftbook.data.windows import Dataset, Window, WindowSplit
from driftbook.decision import policy
from driftbook.decision.accepted import AcceptedSince, find_accepted
from driftbook.decision.alarms import Seen, count_windows, parse_seen
from driftbook.decision.findings import see_window
from driftbook.decision.policy import Assessment
from driftbook.drift.window_counts import count_window
from driftbook.errors import UsageError
from driftbook.model import training
from driftbook.model.importing import import_from
from driftbook.model.priced import price_model
from driftbook.model.training import Model
from driftbook.runbook.project import name_as_served
from driftbook.settings import Settings
from driftbook.store import files, registry, registry_models
from driftbook.store.acknowledgements import Acknowledgement, read_acknowledgements
from driftbook.store.registry import RegistryIndex
from driftbook.words import format_csv

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
    ledger_lines: int | None = None  # what was signed when it began; None: whatever is signed now
    replays: bool = False  # a backtest, which judges no window of its own

    @cached_property
    def dataset(self) -> Dataset:
        """Return the data source, loaded and checked."""
        return windows.load_dataset(self.settings, self.artifacts)

    @property
    def window_names(self) -> list[str]:
        """Return the names of all windows of the data, in order."""
        return [window.name for window in self.dataset.windows]

    def vary(self, **changes: Mapping[str, Any]) -> Run:
        """Return a scratch run like this one with some settings changed, by section.

        ``run.vary(drift={"min_effect": 0.2})`` changes one setting and keeps all others; the run
        itself and its artifacts stay as they are.

        Raises:
            UsageError: a setting that does not exist, or a value that it cannot have.
        """
        plain = self.settings.model_dump(mode="json")
        plain["data"]["source"] = self.settings.data.address
        for section, chosen in changes.items():
            plain[section] = {**plain.get(section, {}), **chosen}
        settings = Settings.parse(plain).based(*self.settings.bases)
        folder = self.artifacts / paths.SCRATCH
        return Run(SCRATCH_RUN, settings, self.artifacts, folder, self.window, self.pinned_champion)

    @property
    def models(self) -> Path:
        """Return the run's own registry, which holds what the published one does not."""
        return self.folder / paths.MODELS

    @property
    def _published(self) -> RegistryIndex:
        return registry.read_index(self.artifacts / paths.MODELS)

    def registry_of(self, version: str) -> Path:
        """Return the registry that holds ``version``: the published one, else the run's own."""
        published = version in self._published.versions
        return self.artifacts / paths.MODELS if published else self.models

    @cached_property
    def champion(self) -> Model:
        """Return the version being served; where there is none yet, the first one is trained."""
        if self.settings.is_external:
            # Whoever serves it decides which version that is; its rows tell.
            return self._load(self.own_version)
        serving = self._published.aliases["champion"]
        return self._load(self.pinned_champion or serving or self.own_version)

    @cached_property
    def model(self) -> Model:
        """Return the version that train and evaluation are about.

        That is the version these settings and this data make. Where it is registered already and
        another was promoted since, it is today's champion.
        """
        own = self.own_version
        known = own == self.champion.version or own in self._published.versions
        return self.champion if known else self._load(own)

    def _load(self, version: str) -> Model:
        chosen = self.settings.model
        with import_from(chosen.folders):
            model = registry_models.load_model(self.registry_of(version), version, chosen.trusted)
        return price_model(model, self.settings.policy)

    @cached_property
    def own_version(self) -> str:
        """Return the version that these settings and this data make, trained if it is new."""
        if self.settings.data.source == "predictions":
            raise UsageError(
                "source 'predictions' judges served traffic and needs a champion; train one "
                "from labelled data first"
            )
        chosen = windows.find_reference_windows(self.dataset, self.settings)
        reference = self.dataset.frame.iloc[: chosen[-1].stop]
        version = training.find_version(reference, self.settings)
        if version not in registry.read_index(self.registry_of(version)).versions:
            origin = {
                "source": self.dataset.source,
                "windows": f"{chosen[0].name} to {chosen[-1].name}",
                "stop_row": str(self.dataset.count_upto(chosen[-1])),
            }
            model = training.train(reference, self.settings, origin=origin)
            registry_models.save_model(self.models, model, self.settings.model.trusted)
            if self._published.aliases["champion"] is None or self.settings.is_external:
                registry.set_first_champion(self.models, version)
        return version

    @property
    def reference_end(self) -> int:
        """Return the first row of the data that is later than the champion's reference."""
        return find_reference_end(self.dataset, self.champion)

    @cached_property
    def split(self) -> WindowSplit:
        """Return the window under judgement and the mature history before it."""
        return windows.split_at_window(self.dataset, self.settings, self.window, self.reference_end)

    @cached_property
    def assessment(self) -> Assessment:
        """Return the one judgement of the window: quality, drift, performance and the action."""
        split, settings = self.split, self.settings
        past = [one for _, one in self.past]
        found = policy.assess(
            self.champion,
            split.current,
            settings,
            split.history,
            past,
            split.earlier,
            self._find_accepted(split.window.name),
            count_window(self.champion, self.dataset, split.window),
        )
        agreed = tuple(one.to_dict() for one in self.acknowledged)
        return replace(found, window=split.window.name, acknowledged=agreed)

    @cached_property
    def _signed(self) -> Mapping[str, tuple[Acknowledgement, ...]]:
        """Return by version what is accepted of its columns, from whichever window on."""
        return read_acknowledgements(self.artifacts / paths.MODELS, self.ledger_lines)

    @cached_property
    def acknowledged(self) -> tuple[Acknowledgement, ...]:
        """Return which lasting changes of the champion's columns are accepted in this window."""
        accepted = self._find_accepted(self.split.window.name)
        signed = self._signed.get(self.champion.version, ())
        return tuple(one for one in signed if one.column in accepted)

    @property
    def accepted_since(self) -> AcceptedSince:
        """Return by version the columns that are accepted, and from which window on."""
        return {
            version: {one.column: one.window for one in signed}
            for version, signed in self._signed.items()
        }

    def _find_accepted(self, window: str) -> tuple[str, ...]:
        since = self.accepted_since.get(self.champion.version, {})
        return find_accepted(since, self.dataset.windows, window)

    @cached_property
    def past(self) -> list[tuple[str, Seen]]:
        """Return what earlier windows since the champion's reference showed, by name, in order.

        Those that the published run saw are taken from it as long as rows, settings and what is
        accepted are the same, or where the data holds them no more; all others are judged from the
        data, so that the order of runs does not matter.
        """
        after, judged = self.reference_end, self.split.window
        known = {w.name: w for w in self.dataset.windows if after <= w.start < judged.start}
        kept, every = self._kept_windows(), {w.name for w in self.dataset.windows}
        found = [(name, seen) for name, (_, seen) in kept.items() if name not in every]
        for name, window in list(known.items())[-count_windows(self.settings) :]:
            accepted = self._find_accepted(name)
            if name in kept and kept[name][0] == self._key_window(window, accepted):
                found.append((name, kept[name][1]))
                continue
            split = windows.split_at_window(self.dataset, self.settings, name, after)
            rows = split.current, self.settings, split.history, split.earlier
            counted = count_window(self.champion, self.dataset, window)
            found.append((name, see_window(self.champion, *rows, accepted, counted)))
        return found

    @property
    def seen(self) -> list[tuple[str, Seen]]:
        """Return what each window since the reference showed, by name, the one judged last."""
        return [*self.past, (self.split.window.name, self.assessment.seen)]

    def _key_window(self, window: Window, accepted: Sequence[str]) -> tuple[str, list[str]]:
        return self.dataset.key_window(window), list(accepted)

    def _kept_windows(self) -> dict[str, tuple[tuple[str, list[str]], Seen]]:
        """Return by window its rows' hash with what was accepted, and what the last run saw there.

        Nothing where that run judged another champion, or by other settings.
        """
        path = self.artifacts / paths.SEEN
        kept = files.read_json_object(path) if path.is_file() else {}
        if any(kept.get(key) != value for key, value in self._judged_by().items()):
            return {}
        return {
            one["window"]: ((one["sha256"], one.get("accepted", [])), parse_seen(one))
            for one in kept["windows"]
        }

    def _judged_by(self) -> dict[str, Any]:
        """Return what a window's few numbers depend on, besides its rows."""
        data, drift = self.settings.data, self.settings.drift
        return {
            "champion": self.champion.version,
            "label_delay": data.label_delay,
            "sample_rows": data.sample_rows,
            "drift": drift.model_dump(mode="json"),
        }

    def describe_past(self) -> dict[str, Any]:
        """Return what the next run is told: each window in a few numbers, this one last."""
        keys = {
            w.name: self._key_window(w, self._find_accepted(w.name)) for w in self.dataset.windows
        }
        kept = {name: key for name, (key, _) in self._kept_windows().items()}
        found = []
        for name, seen in self.seen:
            digest, accepted = keys.get(name) or kept.get(name, ("", []))
            found.append({"window": name, "sha256": digest, "accepted": accepted, **seen.to_dict()})
        return {**self._judged_by(), "windows": found}

    def save_challenger(self, model: Model) -> str | None:
        """Store a challenger trained on the labels known by now; return its version.

        Beside a model that is served elsewhere it only prices a retrain: nothing is to be promoted.
        """
        if self.settings.is_external:
            return None
        newest = self.split.labelled
        if newest is None:
            raise ValueError("no label has matured since the champion's reference")
        origin = {
            **model.origin,
            "source": self.dataset.source,
            "stop_row": str(self.dataset.count_upto(newest)),
            "windows": self._span_windows(model, newest),
        }
        if model.version not in self._published.versions:
            trusted = self.settings.model.trusted
            registry_models.save_model(self.models, replace(model, origin=origin), trusted)
        return model.version

    def _span_windows(self, model: Model, newest: Window) -> str:
        """Return from which window on, and up to which one, a challenger learnt."""
        name, data = self.dataset.timestamp, self.dataset
        if name is None or name not in model.reference:
            return f"up to {newest.name}"
        first = int(data.frame[name].searchsorted(model.reference[name].min(), side="left"))
        start = next((w for w in data.windows if w.start <= first < w.stop), newest)
        return f"{start.name} to {newest.name}"

    def write_csv(self, path: str, frame: pd.DataFrame, model: Model | None = None) -> Path:
        """Write ``frame`` under the run's folder with the run, the model version and the window.

        Its texts are written as :func:`~driftbook.words.escape_cell` says.
        """
        return _write(self.folder / path, format_csv(frame.assign(**self._lineage(model))))

    def write_text(self, path: str, text: str) -> Path:
        """Write Markdown likewise, the run, the model version and the window as its last line."""
        names = ", ".join(f"{name} {value}" for name, value in self._lineage(None).items())
        return _write(self.folder / path, f"{text.strip()}\n\n{names}\n")

    def write_json(self, path: str, values: Mapping[str, Any], model: Model | None = None) -> Path:
        """Write ``values`` likewise; NaN and infinities, which JSON lacks, become null."""
        return _write_json(self.folder / path, {**values, **self._lineage(model)})

    def write_data_note(self) -> None:
        """Write what the manifest says about the data, and with it which window is judged.

        Raises:
            UsageError: whatever is wrong with the data, the reference or the window.
        """
        dataset, window = self.dataset, self._noted_window
        note: dict[str, Any] = {
            "source": dataset.source,
            "sha256": dataset.fingerprint,
            "rows": dataset.all_rows,
            "dropped": dataset.dropped,
            "notes": dataset.notes,
            "features": [feature.name for feature in dataset.features],
            "windows": [w.name for w in dataset.windows],
            "window": window.name,
            "window_rows": window.rows,
        }
        if dataset.stream is not None:
            note["sampled"] = {"rows": len(dataset.frame), "window_rows": window.sampled}
        _write_json(self.folder / paths.RUN_DATA, note)

    @property
    def _noted_window(self) -> Window:
        """Return the window under judgement; of a replay, which is about all, the last of them."""
        complete = [one for one in self.dataset.windows if one.complete]
        return complete[-1] if self.replays and complete else self.split.window

    def _lineage(self, model: Model | None) -> dict[str, Any]:
        chosen = self.champion if model is None else model
        window = {} if model is not None else {"window": self._noted_window.name}
        return {"run_id": self.run_id, "model_version": chosen.version, **window}


def find_reference_end(dataset: Dataset, model: Model) -> int:
    """Return the first row of ``dataset`` that is later than the model's reference."""
    if model.origin.get("source") != dataset.source:
        return 0
    stop = dataset.find_place(int(model.origin.get("stop_row", 0)))
    return _end_of(dataset, model.reference, stop)


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


def open_run(
    settings_file: str | Path, artifacts_dir: str | Path, window: str | None, run_id: str | None
) -> Run:
    """Return the run a notebook belongs to.

    ``run_id`` of a run in progress opens its staging folder, with the settings and the window it
    was staged with. ``None``, as in a notebook opened by hand, opens a scratch run; the id of a
    finished run opens a scratch copy of it, with the settings, window and champion that it had.

    Raises:
        UsageError: no such run, or wrong settings.
    """
    artifacts = paths.resolve_path(artifacts_dir)
    if run_id is None:
        settings = name_as_served(Settings.load(paths.resolve_path(settings_file)), artifacts)
        return Run(SCRATCH_RUN, settings, artifacts, artifacts / paths.SCRATCH, window)
    if (artifacts / paths.STAGING / run_id / paths.RUN_NOTE).exists():
        return _open_staged(artifacts, run_id, paths.resolve_path(settings_file))
    folder = artifacts / paths.RUNS / run_id
    if not (folder / paths.RUN_NOTE).exists():
        raise UsageError(f"no run {run_id!r} under {artifacts}; leave run_id = None to explore")
    found = _open_folder(artifacts, folder, paths.resolve_path(settings_file))
    judged = window or files.read_json_object(folder / paths.RUN_DATA)["window"]
    return replace(found, folder=artifacts / paths.SCRATCH / run_id, window=judged)


@lru_cache(maxsize=1)
def _open_staged(artifacts: Path, run_id: str, settings_file: Path) -> Run:
    """Return the run in progress: the same one for all notebooks of a kernel."""
    return _open_folder(artifacts, artifacts / paths.STAGING / run_id, settings_file)


def _open_folder(artifacts: Path, folder: Path, settings_file: Path) -> Run:
    note = files.read_json_object(folder / paths.RUN_NOTE)
    settings = Settings.load(folder / paths.RUN_SETTINGS).based(*map(Path, note["bases"]))
    if NOT_SHOWN in settings.data.source and settings_file.is_file():
        # A run's own copy keeps no password; the owner's file does.
        settings = settings.addressed_as(Settings.load(settings_file))
    settings = name_as_served(settings, artifacts)
    pinned = note["champion"], note.get("ledger_lines", 0)
    replays = note.get("kind") == "backtest"
    return Run(folder.name, settings, artifacts, folder, note["window"], *pinned, replays)


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def _write_json(path: Path, values: Mapping[str, Any]) -> Path:
    return _write(path, json.dumps(to_plain_json(values), indent=2, allow_nan=False) + "\n")
