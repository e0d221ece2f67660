"""Prefect 3: judge the newest window on Mondays; the flow fails where somebody has to act."""

from __future__ import annotations

import subprocess
from typing import Any

from prefect import flow, task

PROJECT = "/srv/churn"
COMMAND = [
    f"{PROJECT}/.venv/bin/driftbook",
    "run",
    "--quiet",
    "--artifacts",
    f"{PROJECT}/artifacts",
    "--fail-on",
    "retrain,investigate",
]
ACT, BUSY = 3, 75


class BusyFolderError(RuntimeError):
    """Another command is at work on the folder."""


def is_busy(_task: Any, _run: Any, state: Any) -> bool:
    """Return whether another try may pass: no other failure goes away by itself."""
    try:
        state.result()
    except BusyFolderError:
        return True
    except Exception:  # noqa: BLE001 - whatever else it was, it is none to try again
        return False
    return False


@task(retries=6, retry_delay_seconds=600, retry_condition_fn=is_busy)
def judge() -> None:
    """Judge the newest window; the command knows all other steps."""
    done = subprocess.run(COMMAND, cwd=PROJECT, capture_output=True, text=True, check=False)
    told = done.stderr.strip()
    if done.returncode == BUSY:
        raise BusyFolderError(told)
    if done.returncode == ACT:
        raise RuntimeError(f"somebody has to act, see {PROJECT}/reports/html/index.html")
    if done.returncode:
        raise RuntimeError(told)


@flow
def driftbook() -> None:
    """One task, once a week."""
    judge()


if __name__ == "__main__":
    driftbook.serve(name="driftbook", cron="15 6 * * 1")
