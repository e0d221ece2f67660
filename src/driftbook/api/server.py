"""The server process: its address, its token, its logs, and Uvicorn."""

from __future__ import annotations

import gc
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn

from driftbook.api.app import create_app
from driftbook.api.connections import make_protocol
from driftbook.api.hosts import is_loopback
from driftbook.api.output import announce_address, json_logs
from driftbook.errors import UsageError

if TYPE_CHECKING:
    from fastapi import FastAPI

    from driftbook.api.service import Service
    from driftbook.settings import Settings

TOKEN_VARIABLE = "DRIFTBOOK_API_TOKEN"  # noqa: S105  (a name, not a token)


def serve_champion(
    settings: Settings,
    artifacts_dir: str | Path,
    host: str | None = None,
    port: int | None = None,
    token: str | None = None,
    require_auth: bool = True,
) -> None:
    """Run the server until it is told to stop; host and port default to the settings'.

    ``token`` defaults to the environment's ``DRIFTBOOK_API_TOKEN``; a host that is not loopback
    needs one unless ``require_auth`` is false. Port 0 takes a free one. The first line on
    standard output is a JSON object with the ``url``.

    Raises:
        UsageError: no token where one is needed, or the address cannot be listened on.
    """
    host = host or settings.serving.host
    port = settings.serving.port if port is None else port
    token = token or os.environ.get(TOKEN_VARIABLE) or None
    if token is None and require_auth and not is_loopback(host):
        raise UsageError(
            f"host {host!r} is reachable from other machines and no token is set; "
            f"set {TOKEN_VARIABLE}, or give --no-auth to serve without one"
        )
    with listen_on(host, port) as listener, end_by_signal(), json_logs():
        run_server(create_app(settings, artifacts_dir, token, host), listener)


@contextmanager
def end_by_signal() -> Iterator[None]:
    """Have SIGTERM end the process after what is in this context has ended: its last lines count.

    Uvicorn raises the signal anew when it has stopped, and the process would be gone there and
    then. Whoever asks what became of it still learns that the signal ended it.
    """
    told: list[int] = []

    def stop(number: int, _frame: object) -> None:
        told.append(number)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except KeyboardInterrupt:
        if not told:
            raise
    finally:
        signal.signal(signal.SIGTERM, before)
    if told:
        signal.raise_signal(told[0])


def run_server(app: FastAPI, listener: socket.socket) -> None:
    """Serve ``app`` on a socket that listens already, until the process is told to stop."""
    service: Service = app.state.service
    config = uvicorn.Config(
        app,
        http=make_protocol(service.settings.serving, service.metrics.count_refusal),
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=10,
    )
    # What was made so far stays: left out of garbage collection, whose full rounds hold all answers
    # up for 100 ms (p99 of predictions at 16 connections: 95 ms without this line, 25 ms with it).
    gc.collect()
    gc.freeze()
    host, port = listener.getsockname()[:2]
    announce_address(host, port)
    uvicorn.Server(config).run(sockets=[listener])


def listen_on(host: str, port: int) -> socket.socket:
    """Return a socket that listens on the address.

    Raises:
        UsageError: it cannot be listened on.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise UsageError(
            f"cannot listen on {host} port {port} ({error.strerror}); "
            "choose another with --port, or stop the other server"
        ) from error
