"""What all commands share: help in the order of the flow, and one line for an error."""

from __future__ import annotations

import errno
import os
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, cast

import click

from driftbook.errors import DriftbookError
from driftbook.runbook.memory import explain_cause
from driftbook.words import escape_controls

SECTIONS = {
    "Begin": ("new",),
    "Judge": ("run", "backtest"),
    "Decide": ("promote", "rollback", "acknowledge"),
    "Serve": ("serve",),
    "Read and check": ("report", "lab", "open", "track", "verify", "reproduce"),
}
INTERRUPTED = 130
# A write that fails does not say of which file.
_FAULTS_OF_THE_MACHINE = {
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.ENOMEM, errno.EMFILE,
    errno.ENFILE, errno.EAGAIN,
}  # fmt: skip
# jsonschema, which nbformat imports, compiles a grammar of IRIs where this optional package is
# installed (with JupyterLab): 2.7 CPU seconds of some 30 of a whole run, and no notebook has one.
IRI_GRAMMAR = "rfc3987_syntax"


class CommandGroup(click.Group):
    """A group whose help lists commands by section and whose errors are one line each."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the names of the commands in the order of the flow."""
        return [name for names in SECTIONS.values() for name in names]

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002
        formatter: click.HelpFormatter,
    ) -> None:
        """Write the commands of each section with what they do."""
        for section, names in SECTIONS.items():
            with formatter.section(section):
                found = [(name, self.commands[name]) for name in names]
                formatter.write_dl([(name, c.get_short_help_str(90)) for name, c in found])

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Return the arguments that are left for the command."""
        with report_errors_in_one_line():
            return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was asked for."""
        with report_errors_in_one_line():
            return super().invoke(ctx)


@contextmanager
def report_errors_in_one_line() -> Iterator[None]:
    """Turn errors meant for users into one line; with debugging on they keep their traceback."""
    try:
        yield
    except DriftbookError as error:
        if is_debugging():
            raise
        _end(str(error), error.exit_code)
    except click.exceptions.NoArgsIsHelpError:
        raise
    except click.UsageError as error:
        hint = f" (see '{error.ctx.command_path} --help')" if error.ctx else ""
        _end(f"{error.format_message().rstrip('.')}{hint}", error.exit_code)
    except (OSError, MemoryError, RuntimeError, ImportError) as error:
        told = _describe_fault(error)
        if is_debugging() or told is None:
            raise
        _end(told, 1)
    except KeyboardInterrupt:
        # What was being waited for is dropped on purpose; Python would say so below the message.
        warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
        _end("stopped; the next command finishes or drops what was half done", INTERRUPTED)


def _describe_fault(error: Exception) -> str | None:
    """Return what to tell where the machine is at fault; None where it is not."""
    if not isinstance(error, OSError):
        # Threads and libraries that find no room have errors of their own.
        cause = f"{type(error).__name__}: {error}"
        told = explain_cause(cause)
        return None if told == cause else told
    if isinstance(error, BrokenPipeError):
        return None
    if error.filename is None and error.errno not in _FAULTS_OF_THE_MACHINE:
        return None
    place = f"{error.filename}: " if error.filename else ""
    return f"{place}{error.strerror}; free the place or choose another"


@contextmanager
def stop_when_told() -> Iterator[None]:
    """Stop on SIGTERM and SIGINT alike: kernel and all, and nothing half done is kept.

    SIGINT counts as well where it was ignored at the start, as in what a script leaves in the
    background: whoever sends it to a run means it.
    """

    def stop(_signal: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def skip_iri_grammar() -> None:
    """Hide the package that compiles a grammar of IRIs from this process; see ``IRI_GRAMMAR``."""
    cast("dict[str, Any]", sys.modules).setdefault(IRI_GRAMMAR, None)


def is_debugging() -> bool:
    """Tell whether errors are to be shown with their traceback."""
    return os.environ.get("DRIFTBOOK_DEBUG", "") not in ("", "0")


def _end(message: str, exit_code: int) -> NoReturn:
    click.echo(f"driftbook: {escape_controls(' '.join(message.split()))}", err=True)
    sys.exit(exit_code)
