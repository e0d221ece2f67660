"""A finished run's notebooks, as they were executed, in a copy to explore."""

from __future__ import annotations

import os
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

from driftbook import paths
from driftbook.errors import DriftbookError, UsageError


def copy_run(artifacts: Path, run_id: str) -> Path:
    """Return a fresh folder with the executed notebooks of a finished run.

    They name the run in their parameters, so that cells run again see its settings, its window
    and its champion; whatever they write stays in the scratch folder.

    Raises:
        UsageError: there is no such run; the message lists the latest ones.
    """
    executed = artifacts / paths.RUNS / run_id / paths.EXECUTED
    if Path(run_id).name != run_id or not executed.is_dir():
        known = sorted(path.parent.name for path in executed.parents[1].glob(f"*/{paths.EXECUTED}"))
        listed = ", ".join(reversed(known[-5:])) or "none yet; run 'driftbook run' first"
        raise UsageError(f"no finished run {run_id!r} under {artifacts}; latest: {listed}")
    folder = artifacts / paths.SCRATCH / run_id / paths.NOTEBOOKS
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(executed, folder)
    return folder


def become_lab(folder: Path, *words: str) -> NoReturn:
    """Replace this process by JupyterLab on ``folder``, with ``words`` as its options.

    Raises:
        DriftbookError: JupyterLab is not installed.
    """
    if find_spec("jupyterlab") is None:
        raise DriftbookError(
            f"JupyterLab is not installed; open {folder} with any notebook program, or run "
            "'make lab' once"
        )
    os.execv(sys.executable, [sys.executable, "-m", "jupyterlab", str(folder), *words])  # noqa: S606
