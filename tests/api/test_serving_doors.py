"""A real server and those who have no token: what a connection may cost, and who may ask at all."""

from __future__ import annotations

import contextlib
import json
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from driftbook.api.app import create_app
from driftbook.api.hosts import list_known_hosts
from driftbook.api.process import Server, running_server
from serving_models import TestClient, enthrone, numeric_model, settings_of

pytestmark = pytest.mark.network

EIGHT = [0.2, 0.1, 0.4, 0.0, 0.7, 0.3, 0.1, 0.9]
JSON = {"content-type": "application/json"}
LIMITS = {
    "max_header_bytes": 8192,
    "max_headers": 40,
    "max_connections": 30,
    "header_timeout_s": 1.0,
    "allowed_hosts": ["api.example.org", "*.inside.example.org"],
}
HEAD = b"GET /health HTTP/1.1\r\nhost: localhost\r\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    artifacts = tmp_path_factory.mktemp("doors")
    enthrone(artifacts, numeric_model())
    with running_server(settings_of(serving=LIMITS), artifacts) as server:
        yield server


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, trust_env=False, timeout=20.0) as client:
        yield client


def connect(server: Server) -> socket.socket:
    host, _, port = server.url.removeprefix("http://").partition(":")
    return socket.create_connection((host, int(port)), timeout=20.0)


def exchange(server: Server, parts: Sequence[bytes]) -> tuple[int, bytes]:
    """Return how many bytes the server took, and all that it said until it closed."""
    sent, received = 0, b""
    with connect(server) as connection:
        try:
            for part in parts:
                connection.sendall(part)
                sent += len(part)
        except OSError:
            pass
        with contextlib.suppress(ConnectionResetError):
            while part := connection.recv(65536):
                received += part
    return sent, received


def problem_in(answer: bytes) -> dict[str, Any]:
    """Return the problem document of one whole raw answer, after checking its form."""
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    assert b"content-type: application/problem+json" in lines
    assert b"connection: close" in lines
    assert f"content-length: {len(body)}".encode() in lines
    problem: dict[str, Any] = json.loads(body)
    assert lines[0].startswith(f"http/1.1 {problem['status']} ".encode())
    return problem


def memory_mb(server: Server) -> float:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def eventually(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    """Return whether the condition came true in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return condition()


HEADERS = [b"a: b\r\n" * 10_000] * 400  # four million
TRAILERS = b"POST /predict HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
TRAILERS += b"transfer-encoding: chunked\r\n\r\n1\r\n{\r\n0\r\n"


@pytest.mark.parametrize(
    "parts",
    [
        [HEAD, *HEADERS],
        [HEAD + b"x: ", *[b"a" * 65536] * 500, b"\r\n\r\n"],
        [b"GET /", *[b"a" * 65536] * 500],
        [HEAD, *[b"x" * 30 + b": y\r\n"] * 41, b"\r\n"],
        [HEAD + b"x: " + b"a" * 8200 + b"\r\n\r\n"],
        [TRAILERS, *HEADERS],
        [TRAILERS + b"x: ", *[b"a" * 65536] * 500],
        [b"\r\n" * 30_000] * 100,
    ],
    ids=["many", "one", "path", "41", "whole", "trailers", "trailer", "empty-lines"],
)
def test_heads_without_end_are_refused_before_they_cost_anything(
    server: Server, client: httpx.Client, parts: Sequence[bytes]
) -> None:
    before = memory_mb(server)
    _, answer = exchange(server, parts)
    if parts[0].startswith(b"POST"):  # the answer to the request itself may be under way
        assert b"200 OK" not in answer
    else:
        assert problem_in(answer)["type"] == "urn:driftbook:problem:headers-too-large"
        assert problem_in(answer)["status"] == 431
    assert memory_mb(server) - before < 20.0
    assert client.get("/health").status_code == 200


def test_heads_within_the_limits_are_read_however_they_come(server: Server) -> None:
    long = b"x: " + b"a" * 7000 + b"\r\n"
    whole = HEAD + long + b"connection: close\r\n\r\n"
    for parts in ([whole], [whole[i : i + 500] for i in range(0, len(whole), 500)]):
        assert exchange(server, parts)[1].startswith(b"HTTP/1.1 200")


def test_requests_in_one_go_are_answered_in_turn(server: Server) -> None:
    body = json.dumps({"features": EIGHT, "id": "x" * 100}).encode()
    head = f"POST /predict HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(body)}\r\n".encode()
    one = head + b"content-type: application/json\r\n\r\n" + body
    last = HEAD + b"connection: close\r\n\r\n"
    # More than a head may have, of which none is too large.
    _, answer = exchange(server, [one * 50 + last])
    assert answer.count(b"HTTP/1.1 200") == 51


def test_requests_without_end_do_not_pile_up(server: Server, client: httpx.Client) -> None:
    before = memory_mb(server)
    sent, _ = exchange(server, [(HEAD + b"\r\n") * 8000] * 50)
    assert sent < 8_000_000
    assert memory_mb(server) - before < 30.0
    assert client.get("/health").status_code == 200


def test_an_unfinished_head_runs_out_of_time(server: Server) -> None:
    _, answer = exchange(server, [HEAD + b"x-half: "])
    assert problem_in(answer)["type"] == "urn:driftbook:problem:head-timeout"
    assert problem_in(answer)["status"] == 408


def test_a_head_that_comes_byte_by_byte_runs_out_of_time(server: Server) -> None:
    with connect(server) as connection:
        connection.sendall(HEAD + b"\r\n")
        answer = b""
        while not answer.endswith(b"}"):
            answer += connection.recv(65536)
        with contextlib.suppress(OSError):  # closed, once it had time to read the answer
            for byte in HEAD * 20:
                connection.sendall(bytes([byte]))
                time.sleep(0.05)
        assert problem_in(connection.recv(65536))["status"] == 408


def test_a_connection_that_asks_nothing_is_closed(server: Server) -> None:
    assert exchange(server, []) == (0, b"")


def test_too_many_connections_are_told_so_and_logged(server: Server, client: httpx.Client) -> None:
    assert client.get("/health").status_code == 200  # a connection that is served already
    idle = [connect(server) for _ in range(150)]
    try:
        refused = httpx.get(f"{server.url}/health", trust_env=False, timeout=20.0)
        assert refused.status_code == 503
        assert refused.json()["type"] == "urn:driftbook:problem:too-busy"
        assert refused.headers["retry-after"] == "1"
        assert client.get("/health").status_code == 200
        open_files = len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))
        assert open_files < 30 + 64 + 64
    finally:
        for one in idle:
            one.close()
    assert eventually(lambda: "the server has 30 connections" in server.log.read_text())
    # The idle ones ran out of time or were closed: others come in again.
    assert eventually(lambda: httpx.get(f"{server.url}/health", trust_env=False).status_code == 200)
    metrics = client.get("/metrics").text
    assert 'driftbook_connections_refused_total{problem="too-busy"}' in metrics


def test_no_more_connections_are_taken_than_there_are_descriptors(tmp_path: Path) -> None:
    enthrone(tmp_path, numeric_model())
    file = tmp_path / "settings.yaml"
    file.write_text(settings_of().to_yaml())
    command = [sys.executable, "-m", "driftbook", "serve", "--port", "0"]
    command += ["--settings", str(file), "--artifacts", str(tmp_path)]
    with (
        (tmp_path / "lines").open("w+") as lines,
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=lines,
            text=True,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (200, 240)),  # noqa: PLW1509
        ) as process,
    ):
        try:
            assert process.stdout is not None
            url = json.loads(process.stdout.readline())["url"]
            port = int(url.rpartition(":")[2])
            idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(300)]
            refused = httpx.get(f"{url}/health", trust_env=False, timeout=20.0)
            for one in idle:
                one.close()
        finally:
            process.terminate()
            process.wait(timeout=20)
        lines.seek(0)
        text = lines.read()
    assert refused.status_code == 503
    assert "the server has 48 connections" in text
    assert "the system allows 240 open files: at most 48 connections are taken" in text
    assert "Traceback" not in text


# Who may ask


POSTS = ["/predict", "/feedback", "/v2/models/small/infer"]


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize("media_type", [None, "", "text/plain", "text/plain;application/json"])
def test_whatever_a_page_of_another_site_may_post_is_refused(
    client: httpx.Client, path: str, media_type: str | None
) -> None:
    headers = {"origin": "https://evil.example"}
    if media_type is not None:
        headers["content-type"] = media_type
    body = json.dumps({"features": EIGHT}).encode()
    refused = client.post(path, content=body, headers=headers)
    assert refused.status_code == 415
    assert refused.json()["type"] == "urn:driftbook:problem:unsupported-media-type"
    assert "access-control-allow-origin" not in refused.headers


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:1", 200),
        ("127.0.0.1:8000", 200),
        ("[::1]:8000", 200),
        ("api.example.org", 200),
        ("a.b.inside.example.org:443", 200),
        ("evil.example", 400),
        ("evil.example:8000", 400),
        ("127.0.0.1.evil.example", 400),
        ("localhost.evil.example", 400),
        ("api.example.org.evil.example", 400),
        ("inside.example.org", 400),
        ("evil@localhost", 400),
        ("localhost:80@evil.example", 400),
        ("192.168.0.1", 400),
        ("", 400),
    ],
)
def test_a_loopback_server_is_asked_by_its_own_names_only(
    client: httpx.Client, host: str, status: int
) -> None:
    for path in ("/predict", "/health", "/docs"):
        headers = {"host": host, **JSON}
        content = json.dumps({"features": EIGHT})
        method = "POST" if path == "/predict" else "GET"
        found = client.request(method, path, content=content, headers=headers)
        assert found.status_code == status
        if status == 400:
            assert found.json()["type"] == "urn:driftbook:problem:unknown-host"
            assert not host or host not in found.text


def test_a_request_names_one_host(server: Server) -> None:
    tail = b"connection: close\r\n\r\n"
    for head in (b"GET /health HTTP/1.1\r\n", HEAD + b"host: localhost\r\n"):
        assert exchange(server, [head + tail])[1].startswith(b"HTTP/1.1 400")
    assert exchange(server, [b"GET /health HTTP/1.0\r\n\r\n"])[1].startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    ("host", "allowed", "known"),
    [
        ("0.0.0.0", [], None),
        ("127.0.0.1", ["*"], None),
        ("127.0.0.2", [], {"127.0.0.1", "127.0.0.2", "[::1]", "localhost"}),
        ("0.0.0.0", ["A.example."], {"0.0.0.0", "127.0.0.1", "[::1]", "localhost", "a.example"}),
    ],
)
def test_the_names_of_a_server_follow_from_its_address_and_the_settings(
    host: str, allowed: list[str], known: set[str] | None
) -> None:
    assert list_known_hosts(host, allowed) == known


def test_names_that_are_set_hold_wherever_the_application_runs(tmp_path: Path) -> None:
    app = create_app(settings_of(serving={"allowed_hosts": ["api.example.org"]}), tmp_path)
    with TestClient(app) as client:
        for host, status in {"api.example.org": 200, "localhost": 200, "evil.example": 400}.items():
            assert client.get("/health", headers={"host": host}).status_code == status


def test_no_redirect_leads_to_the_host_that_a_request_names(tmp_path: Path) -> None:
    app = create_app(settings_of(), tmp_path)
    paths = [*app.openapi()["paths"], "/docs", "/openapi.json", "/static-offline-docs", "/"]
    with TestClient(app, base_url="http://evil.example", follow_redirects=False) as client:
        for path in paths:
            for asked in {f"{path.rstrip('/')}/", path}:
                for method in ("GET", "POST"):
                    answer = client.request(method, asked)
                    assert "evil" not in answer.headers.get("location", ""), asked
                    assert not answer.is_redirect or asked == "/"


LABEL = '"label": 1'


@pytest.mark.parametrize(
    ("path", "body", "key"),
    [
        ("/predict", '{"features": [0,0,0,0,0,0,0,0], "features": [1,1,1,1,1,1,1,1]}', "features"),
        ("/predict", '{"records": [{"f0": 1, "f1": 2, "f0": 3}]}', "f0"),
        ("/predict", '{"records": [{"f0": 1, "\\u0066\\u0030": 3}]}', "f0"),
        ("/predict", '{"id": 1' + "0" * 5000 + ', "id": 2, "features": []}', "id"),
        ("/predict", '{"\\ud800": 1, "\\ud800": 2}', "?"),
        ("/feedback", f'{{"id": "a", {LABEL}, "label": 0}}', "label"),
        ("/feedback", f'{{"feedback": [{{"id": "a", {LABEL}, "id": "b"}}]}}', "id"),
        (
            "/v2/models/small/infer",
            '{"parameters": {"a": 1, "a": 2}, "inputs": []}',
            "a",
        ),
    ],
)
def test_a_key_that_is_there_twice_is_refused_by_name(
    client: httpx.Client, path: str, body: str, key: str
) -> None:
    refused = client.post(path, content=body, headers=JSON)
    assert refused.status_code == 422
    assert [error["field"] for error in refused.json()["errors"]] == [key]
    assert "once" in refused.json()["detail"]


# Who does not wait


def test_a_client_that_hangs_up_is_no_failure_of_the_server(tmp_path: Path) -> None:
    enthrone(tmp_path, numeric_model())
    head = b"POST /predict HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    body = json.dumps({"features": EIGHT}).encode()
    with running_server(settings_of(), tmp_path) as server:
        for rest in (
            b"content-length: 100\r\n\r\n{",
            b"transfer-encoding: chunked\r\n\r\n1\r\n{\r\n",
            b"content-length: %d\r\n\r\n%b" % (len(body), body),
        ):
            with connect(server) as connection:
                connection.sendall(head + rest)
        assert eventually(lambda: server.log.read_text().count("POST /predict") == 3)
        metrics = httpx.get(f"{server.url}/metrics", trust_env=False).text
        text = server.log.read_text()
    assert "Traceback" not in text
    assert 'method="POST",path="/predict",status="499"} 2.0' in metrics
    assert 'status="5' not in metrics
