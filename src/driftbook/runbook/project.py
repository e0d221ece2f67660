"""Where a command works: the settings file, the artifacts folder and the notebooks."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from driftbook import paths
from driftbook.errors import DriftbookError, UsageError
from driftbook.settings import Settings

QUICK_SHARE = 0.1


@dataclass(frozen=True)
class Project:
    """One model's settings and artifacts."""

    settings_file: Path
    artifacts: Path
    options: str = ""  # of the command line, to lead back here
    quick: bool = False
    given: Settings | None = None  # an archived run's, in place of those of the file

    @cached_property
    def settings(self) -> Settings:
        """Return the validated settings.

        Raises:
            UsageError: what is wrong with them, and where.
        """
        found = name_as_served(self.given or Settings.load(self.settings_file), self.artifacts)
        if not self.quick:
            return found
        # As many windows as ever: those of a number of rows shrink with them.
        changed: dict[str, object] = {"share": found.data.share * QUICK_SHARE}
        if isinstance(found.data.window, int):
            changed["window"] = max(1, round(found.data.window * QUICK_SHARE))
        return found.model_copy(update={"data": found.data.model_copy(update=changed)})

    def make_quick(self) -> Project:
        """Return the same project on a tenth of its rows, whose results replace no real ones."""
        artifacts = self.artifacts / "quick"
        given = self.options.partition(" --artifacts")[0]
        options = f"{given} --artifacts {shlex.quote(str(artifacts))}"
        return replace(self, artifacts=artifacts, options=options, quick=True)

    @cached_property
    def notebooks(self) -> Path:
        """Return the folder of the notebooks: near the settings, near here, or our own.

        Raises:
            UsageError: there is none.
        """
        first = paths.NOTEBOOKS / paths.STEPS[paths.FIRST_STEP]
        near, here = self.settings_file.parent, Path.cwd()
        own = paths.find_layout()
        for folder in (*paths.walk_upward(near), *paths.walk_upward(here), own):
            if (folder / first).is_file():
                return folder / paths.NOTEBOOKS
        raise UsageError(
            f"no folder {first.parent}/ with {first.name} above {near} or {here}; run from inside "
            "the project"
        )

    def find_own_notebooks(self) -> list[Path]:
        """Return the owner's notebooks, which stand beside the settings or where these say.

        Raises:
            UsageError: the site has a page of such a name already.
        """
        given = self.settings.runbook.notebooks
        if not given:
            return []
        from driftbook.site.render import list_page_names

        pages = list_page_names()
        for notebook in map(Path, given):
            if notebook.stem.lower() in pages or notebook.stem.lower().startswith("run-"):
                raise UsageError(
                    f"runbook.notebooks names {notebook}, but the page {notebook.stem}.html is the "
                    "runbook's own; give the notebook another name"
                )
        return [self.settings_file.parent / notebook for notebook in given]

    def list_due_alerts(self) -> list[Path]:
        """Return the notes of runs whose decision nobody has been told yet."""
        return sorted((self.artifacts / paths.RUNS).glob(f"*/{paths.ALERT_DUE}"))

    def require_artifacts(self) -> Path:
        """Return the artifacts folder, which another command may be at work on.

        Raises:
            DriftbookError: there is no such folder.
            UsageError: a newer release wrote it.
        """
        if not self.artifacts.is_dir():
            raise DriftbookError(f"{self.artifacts} does not exist yet; run 'driftbook run' first")
        from driftbook.store import layout

        layout.read_layout(self.artifacts)
        return self.artifacts

    @contextmanager
    def hold_artifacts(
        self, say: Callable[[str], None], create: bool = False, wait: bool = False
    ) -> Iterator[None]:
        """Hold the artifacts folder, once what a stopped command left there is put right.

        ``wait``: until another command that is at work on it has ended.

        Raises:
            DriftbookError: there is no such folder.
            BusyError: another command is at work on it.
        """
        from driftbook.store import layout, temporary, transaction

        temporary.clear_temporary_folders()
        if not create:
            self.require_artifacts()
        with transaction.lock_artifacts(self.artifacts, say if wait else None):
            migrated = layout.migrate_layout(self.artifacts)
            if migrated is not None:
                say(migrated)
            for message in transaction.recover_artifacts(self.artifacts):
                say(message)
            yield


def name_as_served(settings: Settings, artifacts: Path) -> Settings:
    """Return the settings about the champion in ``artifacts`` by its name, where they give none."""
    from driftbook.store import registry

    if settings.model.name is not None:
        return settings
    models = artifacts / paths.MODELS
    try:
        champion = registry.read_index(models).aliases.get("champion")
        card = {} if champion is None else registry.read_card(champion, models)
    except (DriftbookError, OSError, ValueError):
        return settings  # whoever loads the champion tells what is wrong
    return settings.served_as(str(card["name"])) if "name" in card else settings


def locate_project(settings_file: Path | None = None, artifacts: Path | None = None) -> Project:
    """Return the project of a command line.

    Without ``settings_file`` it is the nearest ``runbook.yaml`` from the working directory
    upward; without ``artifacts`` it is the folder ``artifacts`` beside the settings file.

    Raises:
        UsageError: there is no such settings file.
    """
    given = {"--settings": settings_file, "--artifacts": artifacts}
    options = "".join(f" {name} {shlex.quote(str(path))}" for name, path in given.items() if path)
    found = (settings_file or paths.find_project_root() / paths.SETTINGS_FILE).absolute()
    if settings_file is None and not found.is_file():
        raise UsageError(
            f"no {found.name} in {found.parent} or above it; go to the project's folder or give "
            "a file with --settings"
        )
    return Project(found, (artifacts or found.parent / paths.ARTIFACTS).absolute(), options)
