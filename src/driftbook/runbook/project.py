"""Where a command works: the settings file, the artifacts folder and the notebooks."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from driftbook.errors import DriftbookError, UsageError
from driftbook.settings import Settings

SETTINGS_FILE = "runbook.yaml"
STEPS = {
    "train-eval": "01-train-eval.ipynb",
    "drift": "02-drift.ipynb",
    "decision": "03-retrain-decision.ipynb",
    "serving": "04-serving.ipynb",
}
BACKTEST = "05-backtest.ipynb"


@dataclass(frozen=True)
class Project:
    """One model's settings and artifacts."""

    settings_file: Path
    artifacts: Path
    options: str = ""  # of the command line, to lead back here

    @cached_property
    def settings(self) -> Settings:
        """Return the validated settings.

        Raises:
            UsageError: what is wrong with them, and where.
        """
        return Settings.load(self.settings_file)

    @cached_property
    def notebooks(self) -> Path:
        """Return the folder of the notebooks: near the settings, near here, or in the checkout.

        Raises:
            UsageError: there is none.
        """
        checkout = Path(__file__).resolve().parents[2]
        for folder in (*_upward(self.settings_file.parent), *_upward(Path.cwd()), checkout):
            if (folder / "notebooks" / STEPS["train-eval"]).is_file():
                return folder / "notebooks"
        raise UsageError(
            f"no folder notebooks/ with {STEPS['train-eval']} above {self.settings_file.parent} "
            f"or {Path.cwd()}; run from inside the project"
        )

    @contextmanager
    def settled(self, say: Callable[[str], None]) -> Iterator[None]:
        """Hold the artifacts folder, once what a stopped command left there is put right.

        Raises:
            DriftbookError: there is no such folder, or another command is at work on it.
        """
        from driftbook.store import transaction

        if not self.artifacts.is_dir():
            raise DriftbookError(f"{self.artifacts} does not exist yet; run 'driftbook run' first")
        with transaction.lock_artifacts(self.artifacts):
            for message in transaction.recover_artifacts(self.artifacts):
                say(message)
            yield


def locate_project(settings_file: Path | None = None, artifacts: Path | None = None) -> Project:
    """Return the project of a command line.

    Without ``settings_file`` it is the nearest ``runbook.yaml`` from the working directory
    upward; without ``artifacts`` it is the folder ``artifacts`` beside the settings file.

    Raises:
        UsageError: there is no such settings file.
    """
    given = {"--settings": settings_file, "--artifacts": artifacts}
    options = "".join(f" {name} {shlex.quote(str(path))}" for name, path in given.items() if path)
    if settings_file is None:
        found = (folder / SETTINGS_FILE for folder in _upward(Path.cwd()))
        settings_file = next((path for path in found if path.is_file()), None)
    if settings_file is None:
        raise UsageError(
            f"no {SETTINGS_FILE} in {Path.cwd()} or above it; go to the project's folder or give "
            "a file with --settings"
        )
    settings_file = settings_file.absolute()
    return Project(
        settings_file, (artifacts or settings_file.parent / "artifacts").absolute(), options
    )


def _upward(folder: Path) -> Iterator[Path]:
    folder = folder.absolute()
    yield from (folder, *folder.parents)
