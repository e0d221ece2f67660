"""Errors that end a command with one sentence instead of a traceback."""

from __future__ import annotations


class DriftbookError(Exception):
    """A sentence with the cause, the value found and the next step; exit code 1."""

    exit_code = 1


class UsageError(DriftbookError):
    """Wrong settings, arguments or data: nothing was written; exit code 2."""

    exit_code = 2


class BusyError(DriftbookError):
    """Another command holds the folder: nothing was written, a later try may pass; exit code 75."""

    exit_code = 75  # EX_TEMPFAIL of sysexits.h, which schedulers try again


class IntegrityError(DriftbookError):
    """A stored model or ledger is not the one that was registered; it is not used."""
