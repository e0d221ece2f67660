"""A real PostgreSQL, Debian's, that tests of the prediction log and of databases as data share."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """Return the URL of a PostgreSQL server that this fixture starts on a Unix socket."""
    pytest.importorskip("psycopg", reason="needs the extra `postgres`")
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if not programs or shutil.which("setpriv") is None:
        pytest.skip("needs Debian's package postgresql")
    folder = Path(tempfile.mkdtemp(prefix="driftbook-", dir="/var/tmp"))
    # Killed with the tests, so that none is left behind however they end.
    as_user = ["setpriv", "--pdeathsig=QUIT"]
    if os.geteuid() == 0:  # which PostgreSQL refuses
        shutil.chown(folder, "postgres", "postgres")
        as_user += ["--reuid=postgres", "--regid=postgres", "--clear-groups"]
    binaries, data = programs[-1].parent, folder / "data"
    initdb = [str(binaries / "initdb"), "-D", str(data), "-A", "trust", "-U", "driftbook"]
    made = subprocess.run(
        [*as_user, *initdb, "--no-sync"], cwd=folder, capture_output=True, check=False, timeout=60
    )
    assert made.returncode == 0, made.stderr
    start = [str(binaries / "postgres"), "-D", str(data), "-k", str(folder), "-F"]
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen(
            [*as_user, *start, "-c", "listen_addresses="], cwd=folder, stdout=log, stderr=log
        )
    try:
        ready = [str(binaries / "pg_isready"), "-q", "-h", str(folder), "-U", "driftbook"]
        end = time.monotonic() + 60.0
        while subprocess.run(ready, check=False).returncode and time.monotonic() < end:
            assert server.poll() is None, (folder / "server.log").read_text()
            time.sleep(0.05)
        yield f"postgresql://driftbook@/postgres?host={folder}"
    finally:
        server.send_signal(signal.SIGQUIT)
        server.wait(timeout=60)
        shutil.rmtree(folder, ignore_errors=True)
