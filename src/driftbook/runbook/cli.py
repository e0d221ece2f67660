"""The command ``driftbook``: parses, calls, prints. Everything heavy is imported by its command."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from driftbook import paths
from driftbook.errors import DriftbookError, UsageError
from driftbook.runbook.command import CommandGroup, skip_iri_grammar, stop_when_told
from driftbook.runbook.terminal import Terminal

if TYPE_CHECKING:
    from driftbook.runbook import flow
    from driftbook.runbook.project import Project

ALARMING = 3  # exit code of a run that is done, with an action that --fail-on names
EPILOG = """
\b
Examples
  driftbook new churn --data churn.csv --target churned   a folder for a model of your own
  driftbook run                                   judge the latest complete window
  driftbook run --from drift --window 2013-06     judge another one with today's champion
  driftbook run --settings mine.yaml --artifacts mine/    another model, side by side
  driftbook promote && driftbook serve            take the challenger, answer requests
  driftbook backtest                              would this policy have served me?
  driftbook reproduce RUN_ID                      does that run come out the same again?

\b
Exit codes
  0  done
  1  the check or the gate says no, or a notebook failed
  2  wrong use: arguments, settings or data; nothing was written
  3  done, and the action is one that --fail-on names
 75  another command is at work on the folder; a later try may pass

DRIFTBOOK_DEBUG=1 shows errors with their traceback.
"""


@click.group(
    cls=CommandGroup,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="driftbook")
@click.option("--debug", is_flag=True, help="Show errors with their traceback.")
def main(debug: bool) -> None:
    """Driftbook tells the owner of a model to hold, monitor, retrain or investigate.

    The commands below are in the order of the flow. Settings come from the nearest runbook.yaml,
    results go to the folder artifacts beside it.
    """
    if debug:
        os.environ["DRIFTBOOK_DEBUG"] = "1"


def on_project(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that choose a model, and the project they stand for."""

    @click.option(
        "--settings",
        "settings_file",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Settings file.  [default: the nearest runbook.yaml]",
    )
    @click.option(
        "--artifacts",
        type=click.Path(path_type=Path, file_okay=False),
        metavar="DIR",
        help="Folder of the results.  [default: artifacts beside the settings]",
    )
    @wraps(command)
    def located(settings_file: Path | None, artifacts: Path | None, **options: Any) -> None:
        from driftbook.runbook.project import locate_project

        command(locate_project(settings_file, artifacts), **options)

    return located


def reporting(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that choose how it reports, and where it does."""

    @click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
    @click.option("--quiet", "-q", is_flag=True, help="Print nothing but errors.")
    @wraps(command)
    def told(as_json: bool, quiet: bool, **options: Any) -> None:
        command(terminal=Terminal(quiet, as_json), **options)

    return told


timed = click.option(
    "--cell-timeout",
    type=click.IntRange(min=1),
    default=3600,
    show_default=True,
    metavar="SECONDS",
    help="Longest time for one cell.",
)


def executing(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of executing notebooks."""
    render = click.option(
        "--render/--no-render", default=True, help="Make the HTML pages.  [default: on]"
    )
    return render(timed(command))


def _split_actions(
    _context: click.Context, _option: click.Parameter, given: str | None
) -> tuple[str, ...]:
    """Return the actions of a list such as ``retrain,investigate``."""
    actions = tuple(filter(None, (part.strip() for part in (given or "").split(","))))
    unknown = [action for action in actions if action not in paths.ACTIONS]
    if unknown:
        known = ", ".join(paths.ACTIONS)
        raise UsageError(f"--fail-on names {unknown[0]!r}; the actions are {known}")
    return actions


@main.command("new")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--data", metavar="FILE", help="Your table: CSV or Parquet; a path, folder or URL.")
@click.option("--target", metavar="COLUMN", help="The column of it to predict.")
@click.option("--timestamp", metavar="COLUMN", help="The column with the time of a row.")
@reporting
def new_command(
    terminal: Terminal, folder: Path, data: str | None, target: str | None, timestamp: str | None
) -> None:
    r"""Lay out a folder for a model of your own: settings, notebooks, pages.

    Without --data it holds an example. A folder that is not empty is left alone.

    \b
    Examples
      driftbook new churn --data churn.csv --target churned --timestamp signed_up
      cd churn && driftbook run
    """
    from driftbook.runbook import new_project, summary

    made = new_project.lay_out_project(new_project.plan_project(folder, data, target, timestamp))
    found = {"folder": str(made), "settings": str(made / paths.SETTINGS_FILE)}
    step = f"cd {shlex.quote(str(folder))} && {new_project.name_program()} run"
    terminal.print_result({**found, "next": step}, summary.write_new_lines)


@main.command("run")
@click.option(
    "--from",
    "first",
    type=click.Choice(tuple(paths.STEPS)),
    default=paths.FIRST_STEP,
    show_default=True,
    help="First step; the results of earlier ones stay.",
)
@click.option("--window", help="Window to judge, e.g. 2013-06.  [default: the latest complete one]")
@click.option(
    "--quick", is_flag=True, help="Try it on a tenth of the rows; results go to a folder quick."
)
@click.option("--notes", default="", help="Text that stays with the run.")
@click.option("--tracking", is_flag=True, help="Log the run to MLflow as well.")
@click.option(
    "--fail-on",
    "alarming",
    callback=_split_actions,
    metavar="ACTIONS",
    help="Exit with code 3 on these actions, e.g. retrain,investigate.",
)
@executing
@reporting
@on_project
def run_command(
    project: Project,
    terminal: Terminal,
    first: str,
    window: str | None,
    notes: str,
    tracking: bool,
    alarming: tuple[str, ...],
    quick: bool,
    **how: Any,
) -> None:
    r"""Execute the notebooks, decide, publish, render the pages.

    \b
    Examples
      driftbook run
      driftbook run --from drift --window 2013-06 --notes "after the storm"
      driftbook run --quiet --fail-on retrain,investigate    for a scheduler
    """
    from driftbook.runbook import flow, summary

    project = project.make_quick() if quick else project
    done = _perform(project, flow.RunbookJob("run", first, window, notes, tracking), terminal, how)
    found = summary.summarise_run(project, done)
    terminal.print_result(found, summary.write_run_lines)
    if found["action"] in alarming:
        raise click.exceptions.Exit(ALARMING)


@main.command("backtest")
@executing
@reporting
@on_project
def backtest_command(project: Project, terminal: Terminal, **how: Any) -> None:
    """Replay every window of the data: would this policy have paid?"""
    from driftbook.runbook import flow, summary

    done = _perform(project, flow.RunbookJob("backtest"), terminal, how)
    terminal.print_result(summary.summarise_backtest(project, done), summary.write_backtest_lines)


@main.command("promote")
@click.option("--to", "version", metavar="VERSION", help="Promote this version.")
@click.option("--force", is_flag=True, help="Promote without the evidence; needs --why.")
@click.option("--why", metavar="TEXT", help="Your reason, kept in the ledger.")
@reporting
@on_project
def promote_command(
    project: Project, terminal: Terminal, version: str | None, force: bool, why: str | None
) -> None:
    """Make the challenger the champion, if the last run says retrain.

    Exit code 1 means that the gate says no; the message says why.
    """
    from driftbook.store import gate, registry

    with _hold(project, terminal):
        passed = (
            gate.force_promotion(project.artifacts, version, why)
            if force
            else gate.check_gate(project.artifacts, version)
        )
        line = registry.promote_version(
            project.artifacts / paths.MODELS,
            passed.version,
            why or passed.why,
            passed.evidence_sha256,
            forced=force,
        )
    _finish_move(project, line, terminal)


@main.command("rollback")
@click.option("--to", "version", metavar="VERSION", help="[default: the champion before]")
@click.option("--why", default="rolled back by hand", metavar="TEXT", help="Kept in the ledger.")
@reporting
@on_project
def rollback_command(project: Project, terminal: Terminal, version: str | None, why: str) -> None:
    """Make an earlier champion the champion again."""
    from driftbook.store import registry

    with _hold(project, terminal):
        line = registry.roll_back(project.artifacts / paths.MODELS, version, why)
    _finish_move(project, line, terminal)


@main.command("acknowledge")
@click.argument("column")
@click.option("--why", metavar="TEXT", help="Your reason, kept in the ledger.")
@click.option("--undo", is_flag=True, help="Take back what was accepted of that column.")
@reporting
@on_project
def acknowledge_command(
    project: Project, terminal: Terminal, column: str, why: str | None, undo: bool
) -> None:
    r"""Accept a lasting change of one column, as the last run shows it.

    From the next run on the column is no fault any more, its drift raises no alarm, and the next
    challenger does without it: until --undo, or until another champion takes over.

    \b
    Examples
      driftbook acknowledge temp --why "new sensor since March, in Celsius"
      driftbook acknowledge temp --undo
    """
    from driftbook.runbook import summary
    from driftbook.store import acknowledging

    act = acknowledging.withdraw_acknowledgement if undo else acknowledging.acknowledge_column
    with _hold(project, terminal):
        line = act(project.artifacts, column, why)
    found = {**line, "next": f"driftbook run --from drift{project.options}"}
    terminal.print_result(found, summary.write_acknowledgement_lines)


@main.command("serve")
@click.option("--host", help="Address to listen on.  [default: serving.host, 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), help="[default: serving.port, 8000]")
@click.option("--no-auth", is_flag=True, help="Serve other machines without a token.")
@on_project
def serve_command(project: Project, host: str | None, port: int | None, no_auth: bool) -> None:
    """Answer requests with the champion, by default on 127.0.0.1:8000.

    A host that other machines can reach needs a token in DRIFTBOOK_API_TOKEN, or --no-auth.
    """
    from driftbook.api import server
    from driftbook.store import layout

    if project.settings.is_external:
        raise UsageError(
            "model.estimator is 'external': the model is served elsewhere, and there is nothing "
            "here to serve"
        )
    layout.read_layout(project.artifacts)
    with suppress(KeyboardInterrupt):  # the server has shut down in order by then
        server.serve_champion(
            project.settings, project.artifacts, host, port, require_auth=not no_auth
        )


@main.command("report")
@reporting
@on_project
def report_command(project: Project, terminal: Terminal) -> None:
    """Render the HTML pages of the last run again."""
    skip_iri_grammar()
    from driftbook.site.render import render_site

    with _hold(project, terminal), terminal.step("pages"):
        page = render_site(project.artifacts, options=project.options)
    terminal.print_result({"page": str(page)}, lambda found: [found["page"]])


@main.command("open")
@click.argument("run_id")
@click.option("--print", "only_print", is_flag=True, help="Print the folder; start nothing.")
@on_project
def open_command(project: Project, run_id: str, only_print: bool) -> None:
    """Open a copy of a finished run's notebooks in JupyterLab."""
    from driftbook.runbook import reopen

    folder = reopen.copy_run(project.artifacts, run_id)
    click.echo(str(folder))
    if not only_print:
        reopen.become_lab(folder)


@main.command("lab")
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[-- JUPYTER OPTIONS]")
@click.option("--print", "only_print", is_flag=True, help="Print the folder; start nothing.")
@on_project
def lab_command(project: Project, words: tuple[str, ...], only_print: bool) -> None:
    """Open copies of the notebooks in JupyterLab; yours to change, and kept once changed."""
    from driftbook.runbook import lab, reopen

    folder, told = lab.copy_notebooks(project, project.notebooks)
    for line in told:
        click.echo(line, err=True)
    click.echo(str(folder))
    if not only_print:
        reopen.become_lab(folder, *words)


@main.command("track")
@click.argument("run_id")
@reporting
@on_project
def track_command(project: Project, run_id: str, terminal: Terminal) -> None:
    """Send a finished run to MLflow, for example one that a lost server did not take.

    Exit code 1 means that MLflow did not take it; the message says why.
    """
    from driftbook.store import mlflow

    mlflow.require_mlflow()
    with _hold(project, terminal), terminal.step("tracking"):
        sent = mlflow.track_run(project.artifacts, project.settings, run_id)
    if sent.problem is not None:
        raise DriftbookError(sent.tell(project.options))
    found = {"run_id": run_id, "uri": sent.uri}
    terminal.print_result(found, lambda _: [sent.tell(project.options)])


@main.command("verify")
@reporting
@on_project
def verify_command(project: Project, terminal: Terminal) -> None:
    """Hash every artifact again; check that all name one run and model.

    Exit code 1 and a list when anything is off. Changes nothing, and works beside a run.
    """
    from driftbook.store import verify as checks

    problems = checks.verify_artifacts(project.require_artifacts())
    found = {"ok": not problems, "problems": problems}
    terminal.print_result(
        found, lambda _: problems or ["every artifact is as the manifest says"], bool(problems)
    )
    if problems:
        raise DriftbookError(f"{len(problems)} problem(s) in {project.artifacts}; run it again")


@main.command("reproduce")
@click.argument("run_id")
@timed
@reporting
@on_project
def reproduce_command(project: Project, run_id: str, terminal: Terminal, cell_timeout: int) -> None:
    """Make a finished run again elsewhere; compare it file by file.

    With the settings, window, champion and data source that it had. Says what is equal, what
    differs by ids, times and folders only, and what differs: exit code 1 then. Exit code 2 where
    there is no such run, or where its data are gone or have changed. Changes nothing.
    """
    from driftbook.runbook import reproduce

    with stop_when_told():
        found = reproduce.reproduce_run(project, run_id, terminal, cell_timeout)
    terminal.print_result(found, reproduce.write_reproduction_lines, always=not found["reproduced"])
    if not found["reproduced"]:
        names = ", ".join(found["different"])
        raise DriftbookError(f"run {run_id} made again differs in {names}; see above")


@contextmanager
def _hold(project: Project, terminal: Terminal) -> Iterator[None]:
    """Hold the artifacts folder; once it is free, tell what a killed run could not."""
    with _telling_due(project, terminal), project.hold_artifacts(terminal.say):
        yield


@contextmanager
def _telling_due(project: Project, terminal: Terminal) -> Iterator[None]:
    """Tell what a killed run could not, whatever else a command comes to."""
    try:
        yield
    finally:
        # Who interrupts a command waits for no server.
        if isinstance(sys.exception(), DriftbookError | None) and project.list_due_alerts():
            from driftbook.runbook import alerts

            alerts.send_due_alerts(project, terminal)


def _perform(
    project: Project, job: flow.RunbookJob, terminal: Terminal, how: Mapping[str, Any]
) -> flow.FinishedJob:
    """Perform a job, and send it to MLflow where that was asked for."""
    from driftbook.runbook import flow

    with stop_when_told():
        if job.tracked:
            from driftbook.store import mlflow

            mlflow.require_mlflow()
        with _telling_due(project, terminal):
            done = flow.perform_job(project, job, terminal, **how)
        if job.tracked:
            with terminal.step("tracking"):
                sent = mlflow.track_run(project.artifacts, project.settings, done.run_id)
            terminal.say(sent.tell(project.options))
    return done


def _finish_move(project: Project, line: Mapping[str, Any], terminal: Terminal) -> None:
    """Let MLflow's aliases follow, and say which model is served now."""
    from driftbook.runbook import summary
    from driftbook.store import mlflow

    sent = mlflow.track_aliases(project.artifacts, project.settings)
    if sent is not None:
        terminal.say(sent.tell(project.options))
    terminal.print_result(line, summary.write_move_lines)
