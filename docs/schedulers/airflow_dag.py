"""Airflow 3: judge the newest window on Mondays; the task fails where somebody has to act."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta

from airflow.exceptions import AirflowException, AirflowFailException
from airflow.sdk import dag, task

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


@dag(
    schedule="15 6 * * 1",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
)
def driftbook() -> None:
    """One task: the command knows all other steps."""

    @task(retries=6, retry_delay=timedelta(minutes=10))
    def judge() -> None:
        done = subprocess.run(COMMAND, cwd=PROJECT, capture_output=True, text=True, check=False)
        told = done.stderr.strip()
        if done.returncode == BUSY:
            raise AirflowException(told)  # tried again
        if done.returncode == ACT:
            page = f"{PROJECT}/reports/html/index.html"
            raise AirflowFailException(f"somebody has to act, see {page}")
        if done.returncode:
            raise AirflowFailException(told)  # no other try would help

    judge()


driftbook()
