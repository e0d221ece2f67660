"""What ``driftbook run`` and ``driftbook backtest`` do, in order, from settings to publication."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from driftbook.data.plain_json import to_plain_json
from driftbook.errors import UsageError
from driftbook.runbook.kernel import WarmKernel
from driftbook.runbook.project import BACKTEST, STEPS, Project
from driftbook.runbook.terminal import Terminal

if TYPE_CHECKING:
    from driftbook.store.transaction import StagedRun

FIRST_STEP = next(iter(STEPS))


@dataclass(frozen=True)
class RunbookJob:
    """Which notebooks to execute, on which window, and what stays with the run."""

    kind: Literal["run", "backtest"]
    notebooks: tuple[str, ...]
    first: str = FIRST_STEP
    window: str | None = None
    notes: str = ""
    tracked: bool = False

    @classmethod
    def run(
        cls,
        first: str = FIRST_STEP,
        window: str | None = None,
        notes: str = "",
        tracked: bool = False,
    ) -> RunbookJob:
        """Return the job of ``driftbook run --from first``; earlier steps stay as published."""
        names = list(STEPS)
        chosen = tuple(STEPS[name] for name in names[names.index(first) :])
        return cls("run", chosen, first, window, notes, tracked)

    @classmethod
    def backtest(cls) -> RunbookJob:
        """Return the job of ``driftbook backtest``."""
        return cls("backtest", (BACKTEST,))

    def parameters(
        self, project: Project, run_id: str | None, window: str | None
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


def perform_job(
    project: Project,
    job: RunbookJob,
    terminal: Terminal,
    *,
    cell_timeout_s: int,
    render_pages: bool,
) -> FinishedJob:
    """Return the run that was executed, committed and published.

    Whatever a user can have got wrong is found first, before anything is written.

    Raises:
        UsageError: wrong settings, notebooks, data or window; nothing was written.
        NotebookError: a cell failed; the last published run is as it was.
        DriftbookError: the run is published, but its pages could not be rendered.
    """
    settings = project.settings
    if job.first != FIRST_STEP and not (project.artifacts / "manifest.json").exists():
        terminal.say(f"nothing is published yet, so this run starts with {FIRST_STEP}")
        job = RunbookJob.run(FIRST_STEP, job.window, job.notes, job.tracked)
    notebooks = [project.notebooks / name for name in job.notebooks]
    with WarmKernel(project.notebooks) as kernel:
        # Imported here because the kernel starts meanwhile.
        with _without("rfc3987_syntax"):
            from driftbook.runbook import notebooks as runner
        from driftbook.runbook import resume
        from driftbook.store import manifest, transaction

        runner.check_parameters(notebooks, job.parameters(project, None, None))
        with _checked(project, job, kernel, terminal) as found:
            resume.check_resume(
                project.artifacts, job.first, settings.model_dump(mode="json"), found["data"]
            )
            staged = transaction.stage_run(
                settings, project.artifacts, found["window"], job.notes, job.kind, found["data"]
            )
            with _kept_whole(staged):
                resume.carry_published(project.artifacts, job.first, staged.folder, staged.run_id)
                runner.execute_notebooks(
                    notebooks,
                    job.parameters(project, staged.run_id, found["window"]),
                    staged.folder / "executed",
                    failed_dir=project.artifacts / "failed" / staged.run_id,
                    kernel=kernel,
                    terminal=terminal,
                    cell_timeout_s=cell_timeout_s,
                )
                if job.kind == "run":
                    kernel.call(
                        "driftbook.runbook.flow:record_job", **_record(project, job, staged)
                    )
                transaction.commit_run(staged, project.artifacts, manifest.PUBLISHED_PARTS)
            transaction.publish_run(project.artifacts, staged.run_id)
            # The pages are about a decision; a backtest in an empty folder has none to show.
            decided = (project.artifacts / "policy" / "retrain_recommendation.json").is_file()
            page = _render(project, kernel, terminal) if render_pages and decided else None
    return FinishedJob(staged.run_id, page)


def _render(project: Project, kernel: WarmKernel, terminal: Terminal) -> Path:
    with terminal.step("pages"):
        return Path(
            kernel.call(
                "driftbook.runbook.flow:render_job",
                artifacts=str(project.artifacts),
                options=project.options,
            )
        )


@contextmanager
def _without(package: str) -> Iterator[None]:
    """Hide an optional package from imports.

    The one that checks IRIs for jsonschema compiles a grammar for a second; a notebook has none.
    """
    modules = cast("dict[str, Any]", sys.modules)
    if package in modules:
        yield
        return
    modules[package] = None
    try:
        yield
    finally:
        del modules[package]


@contextmanager
def _checked(
    project: Project, job: RunbookJob, kernel: WarmKernel, terminal: Terminal
) -> Iterator[dict[str, Any]]:
    """Hold the artifacts folder and give the data; it is made only when the data are sound."""
    from driftbook.store import transaction

    new = not project.artifacts.exists()
    with ExitStack() as held:
        if not new:
            held.enter_context(transaction.lock_artifacts(project.artifacts))
            for message in transaction.recover_artifacts(project.artifacts):
                terminal.say(message)
        try:
            with terminal.step("settings and data"):
                found = kernel.call(
                    "driftbook.runbook.flow:check_job",
                    settings_file=str(project.settings_file),
                    bases=[str(base) for base in project.settings.bases],
                    artifacts=str(project.artifacts),
                    window=job.window,
                )
        except BaseException:
            if new:  # the cache of the data, if it came that far
                shutil.rmtree(project.artifacts, ignore_errors=True)
            raise
        if new:
            held.enter_context(transaction.lock_artifacts(project.artifacts))
        yield found


@contextmanager
def _kept_whole(staged: StagedRun) -> Iterator[None]:
    """Leave no trace of a run that does not reach its commit, whatever stops it."""
    from driftbook.store import transaction

    try:
        yield
    except BaseException:
        transaction.drop_run(staged)
        raise


def _record(project: Project, job: RunbookJob, staged: StagedRun) -> dict[str, Any]:
    return {
        "artifacts": str(project.artifacts),
        "folder": str(staged.folder),
        "run_name": project.settings.model_name,
        "tracked": job.tracked,
    }


def check_job(
    settings_file: str, artifacts: str, window: str | None, bases: Sequence[str]
) -> dict[str, Any]:
    """Return the window to judge and what the manifest says of the data; called in the kernel.

    Raises:
        UsageError: whatever is wrong with the settings, the data or the window.
    """
    from driftbook.settings import Settings
    from driftbook.store import run as runs

    settings = Settings.load(settings_file).based(*map(Path, bases))
    _refuse_another_model(settings.model_name, Path(artifacts))
    dataset, chosen = runs.check_run(settings, Path(artifacts), window)
    return {"window": chosen.name, "data": to_plain_json(runs.describe_data(dataset, chosen))}


def _refuse_another_model(name: str, artifacts: Path) -> None:
    from driftbook.store import registry

    champion = registry.read_index(artifacts / "models").aliases["champion"]
    if champion is None:
        return
    card = registry.read_verified_files(artifacts / "models", champion)["card.json"]
    found = json.loads(card)["name"]
    if found != name:
        raise UsageError(
            f"{artifacts} holds the model {found!r}, the settings are about {name!r}; give each "
            "model a folder of its own with --artifacts"
        )


def record_job(artifacts: str, folder: str, run_name: str, tracked: bool) -> None:
    """Write the row of ``runs.csv`` and the record for MLflow; called in the kernel."""
    from driftbook.store import mlflow_spool, runs_table

    runs_table.record_run(Path(artifacts), Path(folder), run_name)
    if tracked:
        mlflow_spool.add(Path(artifacts), Path(folder), run_name)


def render_job(artifacts: str, options: str) -> str:
    """Return the path of the first page, rendered again; called in the kernel."""
    from driftbook.site.render import render_site

    return str(render_site(Path(artifacts), options=options))
