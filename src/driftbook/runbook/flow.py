"""What ``driftbook run`` and ``driftbook backtest`` do, in order, from settings to publication."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal

from driftbook import paths
from driftbook.errors import DriftbookError, UsageError
from driftbook.runbook.command import skip_iri_grammar
from driftbook.runbook.kernel import WarmKernel
from driftbook.runbook.project import Project
from driftbook.runbook.terminal import Terminal
from driftbook.words import render_words

if TYPE_CHECKING:
    from driftbook.settings import Settings
    from driftbook.store.transaction import StagedRun


@dataclass(frozen=True)
class RunbookJob:
    """Which notebooks to execute, on which window, and what stays with the run."""

    kind: Literal["run", "backtest"] = "run"
    first: str = paths.FIRST_STEP
    window: str | None = None
    notes: str = ""
    tracked: bool = False
    # What an archived run notes about its data, where that run is made again: nobody is told of it.
    repeats: Mapping[str, Any] | None = None

    @property
    def is_told(self) -> bool:
        """Return whether its decision is news for those whom alerts are for."""
        return self.kind == "run" and self.repeats is None

    def find_notebooks(self, project: Project) -> list[Path]:
        """Return the notebooks to execute; those of the steps before ``first`` stay as they are."""
        steps = list(paths.STEPS)
        names = [paths.STEPS[step] for step in steps[steps.index(self.first) :]]
        chosen = [paths.BACKTEST_NOTEBOOK] if self.kind == "backtest" else names
        return [project.notebooks / name for name in chosen]

    def fill_parameters(
        self, project: Project, run_id: str | None = None, window: str | None = None
    ) -> dict[str, Any]:
        """Return the parameters of the notebooks; a backtest has no window."""
        common = {
            "settings_file": str(project.settings_file),
            "artifacts_dir": str(project.artifacts),
            "run_id": run_id,
        }
        return common if self.kind == "backtest" else {**common, "window": window}


@dataclass(frozen=True)
class FinishedJob:
    """A published run and the page to read it on; no page where none was asked for."""

    run_id: str
    page: Path | None
    seconds: float


def perform_job(
    project: Project, job: RunbookJob, terminal: Terminal, *, cell_timeout: int, render: bool
) -> FinishedJob:
    """Return the run that was executed, committed and published.

    Whatever a user can have got wrong is found before the first notebook; nothing stays then.

    Raises:
        UsageError: wrong settings, notebooks, data or window; nothing was written.
        NotebookError: a cell failed; the last published run is as it was.
        DriftbookError: the run is published, but its pages could not be rendered.
    """
    started, settings = perf_counter(), project.settings
    job = _choose_start(project, job, terminal)
    chosen = job.find_notebooks(project)
    own = project.find_own_notebooks() if job.kind == "run" else []
    with WarmKernel(project.notebooks) as kernel:
        # Imported here because the kernel starts meanwhile.
        skip_iri_grammar()
        from driftbook.runbook import alerts, notebooks
        from driftbook.store import runs_table

        notebooks.check_parameters(chosen, job.fill_parameters(project))
        for notebook in own:
            notebooks.read_parameters(notebook)
        if job.kind == "backtest":
            kernel.connect()  # while it starts, others may have the folder
        made = not project.artifacts.exists()
        with ExitStack() as held:
            held.enter_context(project.hold_artifacts(terminal.say, create=True))
            # Another first run may have published here since; nothing of it is this one's.
            new = made and not (project.artifacts / paths.MANIFEST).exists()
            with _published(project, job, new) as staged:
                window = _carry_over(project, job, staged, kernel, terminal)
                if job.kind == "backtest":  # it has all it needs, and computes for minutes
                    held.close()
                notebooks.execute_notebooks(
                    chosen,
                    job.fill_parameters(project, staged.run_id, window),
                    staged.folder / paths.EXECUTED,
                    failed_dir=project.artifacts / paths.FAILED / staged.run_id,
                    kernel=kernel,
                    terminal=terminal,
                    cell_timeout_s=cell_timeout,
                    own=own,
                )
                if job.kind == "backtest":
                    held.enter_context(project.hold_artifacts(terminal.say, wait=True))
                    _tell_moved(project, staged, terminal)
                else:
                    runs_table.record_run(project.artifacts, staged.folder, settings.model_name)
                    if job.is_told:
                        alerts.note_due_alert(project, staged.folder)
            if job.repeats is None:
                _prune(project, terminal)
            page, broken = _render(project, terminal) if render else (None, None)
    # Not before the folder is free: a slow server keeps no other command waiting.
    if job.is_told:
        alerts.send_due_alerts(project, terminal, page)
    if broken is not None:
        raise broken
    return FinishedJob(staged.run_id, page, perf_counter() - started)


def _choose_start(project: Project, job: RunbookJob, terminal: Terminal) -> RunbookJob:
    """Return a job that starts with the first step that there is something for, and say why."""
    from driftbook.runbook import resume

    if not (project.artifacts / paths.MANIFEST).exists():
        if job.first != paths.FIRST_STEP:
            terminal.say(f"nothing is published yet, so this run starts with {paths.FIRST_STEP}")
        return replace(job, first=paths.FIRST_STEP)
    trains = job.kind == "run" and job.first == paths.FIRST_STEP
    if trains and project.settings.data.source == "predictions":
        terminal.say("served predictions train no model, so this run starts with drift")
        return replace(job, first="drift")
    changed = resume.find_accepted_since(project.artifacts, job.first)
    if not changed:
        return job
    terminal.say(render_words("starts_with_drift.j2", columns=changed))
    return replace(job, first="drift")


@contextmanager
def _published(project: Project, job: RunbookJob, new: bool) -> Iterator[StagedRun]:
    """Give a staged run and publish it at the end; leave no trace of one that stops before."""
    from driftbook.store import transaction

    _refuse_another_model(project.settings, project.artifacts)
    staged = transaction.stage_run(
        project.settings, project.artifacts, job.window, job.notes, job.kind
    )
    with transaction.keep_staged(staged):
        try:
            yield staged
            transaction.commit_run(staged, project.artifacts)
        except BaseException as error:
            transaction.drop_run(staged)
            if new and isinstance(error, UsageError):  # wrong use: nothing was written
                shutil.rmtree(project.artifacts, ignore_errors=True)
            raise
    try:
        transaction.publish_run(project.artifacts, staged.run_id)
    except transaction.UnpublishedError:
        transaction.withdraw_run(project.artifacts, staged.run_id)
        raise


def _prune(project: Project, terminal: Terminal) -> None:
    """Remove old runs as the settings say, and say so."""
    from driftbook.store import pruning

    keep = project.settings.runbook.keep_runs
    gone = pruning.prune_artifacts(project.artifacts, keep)
    if gone.runs:
        terminal.say(render_words("pruned.j2", runs=gone.runs, versions=gone.versions, keep=keep))


def _tell_moved(project: Project, staged: StagedRun, terminal: Terminal) -> None:
    """Say so where the champion is another than the one that a backtest began with."""
    from driftbook.store import files, registry

    began = files.read_json_object(staged.folder / paths.RUN_NOTE)["champion"]
    champion = registry.read_index(project.artifacts / paths.MODELS).aliases["champion"]
    if began is not None and champion != began:
        terminal.say(render_words("champion_moved.j2", began=began, champion=champion))


def _carry_over(
    project: Project, job: RunbookJob, staged: StagedRun, kernel: WarmKernel, terminal: Terminal
) -> str:
    """Return the window to judge, once what came before may stand for the steps left out.

    The data are loaded where the notebooks will find them: in the kernel.
    """
    from driftbook.runbook import resume
    from driftbook.store import archive

    with terminal.step("settings and data"):
        arguments = (str(project.settings_file), str(project.artifacts), None, staged.run_id)
        kernel.run_code(
            f"from driftbook.runbook import run; run.open_run(*{arguments}).write_data_note()"
        )
    data = json.loads((staged.folder / paths.RUN_DATA).read_text(encoding="utf-8"))
    for note in data["notes"]:
        terminal.say(note)
    if job.repeats is not None:
        archive.require_same_data(job.repeats, data)
    settings = project.settings.model_dump(mode="json")
    resume.check_resume(project.artifacts, job.first, settings, data)
    resume.carry_published(project.artifacts, job.first, staged.folder, staged.run_id)
    return str(data["window"])


def _refuse_another_model(settings: Settings, artifacts: Path) -> None:
    from driftbook.store import registry

    models = artifacts / paths.MODELS
    champion = registry.read_index(models).aliases["champion"]
    if champion is None:
        return
    found = json.loads(registry.read_verified_files(models, champion)["card.json"])["name"]
    name = settings.model_name
    if found != name:
        raise UsageError(
            f"{artifacts} holds the model {found!r}, the settings are about {name!r}; give each "
            f"model a folder of its own with --artifacts, or set model.name to {found} if it is "
            "the same"
        )


def _render(project: Project, terminal: Terminal) -> tuple[Path | None, DriftbookError | None]:
    """Return the first page, or why there is none: the run is published, and told, all the same."""
    # The pages are about a decision; a backtest in an empty folder has none to show.
    if not (project.artifacts / paths.RECOMMENDATION).is_file():
        return None, None
    from driftbook.site.render import render_site

    try:
        with terminal.step("pages"):
            return render_site(project.artifacts, options=project.options), None
    except DriftbookError as error:
        return None, error
