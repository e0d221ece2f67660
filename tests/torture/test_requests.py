"""Hostile requests against a real server: each is answered or dropped, and the server lives on."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from hostile_requests import EIGHT, Hostile, make_hostile
from trials import LONG, CountTrials

from driftbook.api.process import Server, running_server
from serving_models import enthrone, numeric_model, settings_of

pytestmark = pytest.mark.network

REQUESTS = 10_000 if LONG else 200
SEED = 0
# The reasons of a 503 that the contract names.
DOCUMENTED = {"too-busy", "not-ready", "log-unavailable", "timeout"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    artifacts: Path = tmp_path_factory.mktemp("hostile")
    enthrone(artifacts, numeric_model())
    with running_server(settings_of(), artifacts) as server:
        yield server


def exchange(server: Server, hostile: Hostile) -> bytes:
    """Return the answer; of a request that is not whole, what came of it within a moment."""
    host, _, port = server.url.removeprefix("http://").partition(":")
    received = b""
    with socket.create_connection((host, int(port)), timeout=60.0) as connection:
        with suppress(OSError):  # refused before all of it was sent
            connection.sendall(hostile.sent)
        if not hostile.whole:
            connection.settimeout(0.2)
        with suppress(TimeoutError, ConnectionResetError):
            while part := connection.recv(65536):
                received += part
    return received


def check_answer(answer: bytes, hostile: Hostile) -> None:
    """Check that a whole request has one answer, and that none is the server's own fault."""
    statuses = [int(found) for found in re.findall(rb"HTTP/1\.[01] (\d{3}) ", answer)]
    assert statuses or not hostile.whole, "no answer"
    for status in statuses:
        assert status < 500 or status == 503, answer[:300]
    if 503 in statuses:
        problem = json.loads(answer.rpartition(b"\r\n\r\n")[2])["type"]
        assert problem.rpartition(":")[2] in DOCUMENTED, problem


def test_no_request_harms_the_server(server: Server, count_trials: CountTrials) -> None:
    with (
        httpx.Client(base_url=server.url, trust_env=False, timeout=60.0) as client,
        count_trials("hostile requests") as trials,
    ):
        before = client.post("/predict", json={"features": EIGHT}).json()["probability"]
        for number in range(REQUESTS):
            hostile = make_hostile(number, SEED)
            with trials.trial(f"make_hostile({number}, seed={SEED})"):
                check_answer(exchange(server, hostile), hostile)
        with trials.trial("the server afterwards"):
            assert client.get("/health").status_code == 200
            assert client.get("/ready").status_code == 200
            after = client.post("/predict", json={"features": EIGHT}).json()
            assert after["probability"] == before
            assert server.process.poll() is None
            counted = re.findall(r'status="(5\d\d)"[^\n]*\s(\S+)\n', client.get("/metrics").text)
            assert {status for status, _ in counted} <= {"503"}, counted
            log = server.log.read_text(encoding="utf-8")
            assert "Traceback" not in log, log[log.index("Traceback") :][:800]
