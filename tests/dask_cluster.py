"""A real Dask cluster on loopback: a scheduler and its workers, each a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

_PATIENCE_S = 60.0


@dataclass
class Cluster:
    """The scheduler's address and the workers' processes."""

    address: str
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)


def _start(module: str, *words: str, log: Path, **variables: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", f"distributed.cli.{module}", *words, "--no-dashboard"]
    variables |= {"OMP_NUM_THREADS": "1", "DASK_DISTRIBUTED__ADMIN__LOG_FORMAT": "%(message)s"}
    with log.open("ab") as written:
        return subprocess.Popen(
            command, cwd=log.parent, stdout=written, stderr=written, env=os.environ | variables
        )


@contextmanager
def start_cluster(
    folder: Path, workers: int = 2, variables: Mapping[str, str] | None = None
) -> Iterator[Cluster]:
    """Yield a cluster whose workers have registered; all its processes end with it."""
    from distributed import Client

    known, log = folder / "scheduler.json", folder / "log"
    started = [
        _start("dask_scheduler", "--host", "127.0.0.1", "--port", "0",
               "--scheduler-file", str(known), log=log)
    ]  # fmt: skip
    try:
        end = time.monotonic() + _PATIENCE_S
        while not (known.is_file() and known.read_text()) and time.monotonic() < end:
            assert started[0].poll() is None, log.read_text()
            time.sleep(0.05)
        cluster = Cluster(json.loads(known.read_text())["address"])
        for _ in range(workers):
            words = [cluster.address, "--nthreads", "1", "--no-nanny", "--host", "127.0.0.1"]
            worker = _start("dask_worker", *words, log=log, **(variables or {}))
            cluster.workers.append(worker)
            started.append(worker)
        with Client(cluster.address, set_as_default=False) as client:
            client.wait_for_workers(workers, timeout=_PATIENCE_S)
        yield cluster
    finally:
        for process in reversed(started):
            process.kill()
            process.wait(timeout=30)


@pytest.fixture(scope="session")
def dask_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the address of a scheduler with two workers."""
    pytest.importorskip("distributed", reason="needs the extra `scale`")
    with start_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster.address
