"""What a logged prediction costs over HTTP: single rows, 16 connections, one worker.

The prediction endpoint is timed against two endpoints of the same application in the same process,
plain FastAPI both: one that validates the same body and returns a constant, and one that asks
scikit-learn and logs nothing to the prediction log.
They take turns, so that a busy machine is as busy for each. Beside them, MLServer and
``mlflow models serve`` where those are installed, with the same model.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import uvloop
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from _measuring import Goal, find_process_cpu_s, report_bench
from driftbook.api.app import create_app
from driftbook.api.output import json_logs
from driftbook.api.server import listen_on, run_server
from driftbook.data import synthetic
from driftbook.model import training
from driftbook.settings import Settings
from driftbook.store import registry, registry_models

BOUND = 0.75
SETTINGS = Settings.parse({"data": {"source": "synthetic:none"}, "model": {"name": "bench"}})
ROW = [0.2, 0.1, 0.4, 0.0, 0.7, 0.3, 0.1, 0.9]
PREDICT = json.dumps({"features": ROW})


@dataclass
class Timing:
    """The requests per second of each turn, the seconds of every request, CPU of the server."""

    rates: list[float]
    seconds: list[float]
    cpu_s: float | None = None

    def percentile_ms(self, share: float) -> float:
        """Return the milliseconds within which that share of the requests was answered."""
        ordered = sorted(self.seconds)
        return 1000 * ordered[int(len(ordered) * share)]

    def row(self, name: str) -> dict[str, Any]:
        """Return one row of the report."""
        return {
            "answers": name,
            "per_second": statistics.median(self.rates),
            "p50_ms": self.percentile_ms(0.5),
            "p99_ms": self.percentile_ms(0.99),
            "server_cpu_ms": self.cpu_s and 1000 * self.cpu_s / len(self.seconds),
        }


class Connection(asyncio.Protocol):
    """Sends one request after the other on one connection and times each."""

    def __init__(self, request: bytes, until: float, seconds: list[float]) -> None:
        self._request, self._until, self._seconds = request, until, seconds
        self._received = b""
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        self._transport: Any = transport
        self._send()

    def _send(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Take a part of the answer; send the next request when it is whole."""
        self._received += data
        head, _, body = self._received.partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        if not length or len(body) < int(length):
            return
        if not head.startswith(b"HTTP/1.1 200"):
            self.done.set_exception(RuntimeError(f"refused: {self._received[:500]!r}"))
            return
        self._received = b""
        now = time.perf_counter()
        self._seconds.append(now - self._sent)
        if now < self._until:
            self._send()
        else:
            self.done.set_result(None)
            self._transport.close()


def load(url: str, body: str, seconds: float, connections: int) -> Timing:
    """Return the timing of one turn of single requests on each of the connections."""
    target = httpx.URL(url)
    head = f"POST {target.path} HTTP/1.1\r\nhost: {target.host}\r\ncontent-type: application/json"
    request = f"{head}\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode()
    taken: list[float] = []

    async def go() -> float:
        started = time.perf_counter()
        loop = asyncio.get_running_loop()
        opened = [
            await loop.create_connection(
                lambda: Connection(request, started + seconds, taken),
                target.host,
                target.port or 80,
            )
            for _ in range(connections)
        ]
        await asyncio.gather(*(protocol.done for _, protocol in opened))
        return len(taken) / (time.perf_counter() - started)

    return Timing([uvloop.run(go())], taken)


class Body(BaseModel):
    """The body of a prediction request, as FastAPI validates it."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    features: list[float | None] = Field(min_length=8, max_length=8)


class Answer(BaseModel):
    """The answer to a prediction request."""

    prediction: int
    probability: float
    model_version: str
    prediction_id: str


def serve(artifacts: str) -> None:
    """Run the application with the two endpoints that it is compared with."""
    model = registry_models.load_model(Path(artifacts) / "models")
    answer = Answer(
        prediction=1,
        probability=0.5312345678901234,
        model_version=model.version,
        prediction_id="01890a5d-ac96-774b-bcce-b302099a8057",
    )
    with listen_on("127.0.0.1", 0) as listener, json_logs():
        app = create_app(SETTINGS, artifacts)

        router = APIRouter()

        @router.post("/constant")
        async def constant(body: Body) -> Answer:  # noqa: ARG001  (validated is what counts)
            return answer

        @router.post("/scikit-learn")
        async def scikit_learn(body: Body) -> Answer:
            import pandas as pd

            frame = pd.DataFrame([body.features], columns=model.feature_names)
            probability = float(model.predict_proba(frame)[0])
            update = {"probability": probability, "prediction": int(probability >= 0.5)}
            return answer.model_copy(update=update)

        # Flat and first, as the endpoint that they are compared with: an included router in front
        # of it would cost it a search of its own.
        app.router.routes[:0] = router.routes
        run_server(app, listener)


@contextlib.contextmanager
def process(command: list[str], cwd: str | None = None) -> Iterator[subprocess.Popen[str]]:
    """Yield a running process whose first lines can be read; stop it afterwards."""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=cwd
    ) as running:
        try:
            yield running
        finally:
            running.terminate()


def free_port() -> int:
    """Return a port that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def wait_for(url: str, seconds: float = 90.0) -> None:
    """Return once the URL answers 200.

    Raises:
        TimeoutError: it does not in time.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(url, trust_env=False).status_code == 200:
                return
        time.sleep(0.1)
    raise TimeoutError(f"{url} did not answer within {seconds:g} s")


@contextlib.contextmanager
def mlserver(model: training.Model, folder: Path) -> Iterator[tuple[str, str]]:
    """Yield the URL and the body of a prediction by MLServer."""
    import joblib
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    # It takes arrays, where this project's pipelines take named columns.
    rows = model.training_rows
    plain = make_pipeline(StandardScaler(), LogisticRegression())
    plain.fit(rows[model.feature_names].to_numpy(), rows[model.target])
    joblib.dump(plain, folder / "model.joblib")
    settings = {
        "name": "bench",
        "implementation": "mlserver_sklearn.SKLearnModel",
        "parameters": {"uri": "./model.joblib"},
    }
    port = free_port()
    ports = {"http_port": port, "grpc_port": free_port(), "metrics_port": free_port()}
    common = {**ports, "host": "127.0.0.1", "parallel_workers": 0, "debug": False}
    (folder / "model-settings.json").write_text(json.dumps(settings))
    (folder / "settings.json").write_text(json.dumps(common))
    tensor = {"name": "rows", "shape": [1, 8], "datatype": "FP64", "data": ROW}
    outputs = [{"name": "predict_proba"}]
    with process([shutil.which("mlserver") or "mlserver", "start", "."], str(folder)):
        base = f"http://127.0.0.1:{port}/v2/models/bench"
        wait_for(f"{base}/ready")
        yield f"{base}/infer", json.dumps({"inputs": [tensor], "outputs": outputs})


@contextlib.contextmanager
def mlflow(model: training.Model, folder: Path) -> Iterator[tuple[str, str]]:
    """Yield the URL and the body of a prediction by ``mlflow models serve``."""
    program = """
import sys, mlflow
from driftbook.store import registry_models
from pathlib import Path
model = registry_models.load_model(Path(sys.argv[1]) / "models")
trusted = list(registry_models.TRUSTED_TYPES)
mlflow.sklearn.save_model(
    model.estimator, sys.argv[2], serialization_format="skops", skops_trusted_types=trusted
)
"""
    target = folder / "mlflow"
    command = [sys.executable, "-c", program, str(folder), str(target)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", str(target)]
    command += ["--env-manager", "local", "--host", "127.0.0.1", "--port", str(port)]
    record = dict(zip(model.feature_names, ROW, strict=True))
    with process([*command, "--workers", "1"]):
        wait_for(f"http://127.0.0.1:{port}/ping")
        yield f"http://127.0.0.1:{port}/invocations", json.dumps({"dataframe_records": [record]})


def in_turns(url: str, pid: int, options: argparse.Namespace) -> dict[str, Timing]:
    """Return the timings of the application's three endpoints, which take turns."""
    names = ("constant", "predict", "scikit-learn")
    timings = {name: Timing([], []) for name in names}
    for turn in range(options.rounds + 1):
        for name in names:
            before = find_process_cpu_s(pid)
            timing = load(f"{url}/{name}", PREDICT, options.seconds, options.connections)
            after = find_process_cpu_s(pid)
            if turn:  # the first turn warms up
                timings[name].rates += timing.rates
                timings[name].seconds += timing.seconds
                if before is not None and after is not None:
                    timings[name].cpu_s = (timings[name].cpu_s or 0.0) + after - before
    return timings


def swap_seconds(url: str, models: Path, other: training.Model) -> float:
    """Return how long after a promotion the server answers with the new version."""
    registry_models.save_model(models, other)
    with httpx.Client(base_url=url, trust_env=False) as client:
        registry.promote_version(models, other.version, "benchmark", None, forced=True)
        promoted = time.perf_counter()
        while (
            client.post("/predict", json={"features": ROW}).json()["model_version"] != other.version
        ):
            time.sleep(0.005)
    return time.perf_counter() - promoted


def main() -> int:
    """Return 0 when predictions reach the bound, 1 otherwise."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="timed turns of each endpoint")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of one turn")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--serve", metavar="ARTIFACTS", help=argparse.SUPPRESS)
    options, _ = parser.parse_known_args()  # `make bench` gives all benchmarks the same words
    if options.serve:
        serve(options.serve)
        return 0
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory(prefix="driftbook-bench-") as scratch:
        folder = Path(scratch)
        rows = synthetic.make_scenario("none", rows=4000)
        first, other = (training.train(rows.iloc[i : i + 3000], SETTINGS) for i in (0, 1000))
        registry_models.save_model(folder / "models", first)
        registry.set_first_champion(folder / "models", first.version)
        with process([sys.executable, __file__, "--serve", scratch]) as server:
            url = str(json.loads(server.stdout.readline())["url"]) if server.stdout else ""
            wait_for(f"{url}/ready")
            timings = in_turns(url, server.pid, options)
            swap = swap_seconds(url, folder / "models", other)
        others, notes = beside(first, folder, options)
        start = start_up(folder)
    titles = {
        "predict": "prediction, logged",
        "constant": "constant",
        "scikit-learn": "scikit-learn, not logged",
    }
    requests = [timings[name].row(title) for name, title in titles.items()] + others
    p99, bound = (timings[name].percentile_ms(0.99) for name in ("predict", "constant"))
    notes += [
        f"p99 of predictions {p99:.2f} ms, of constants {bound:.2f} ms",
        f"a promotion is taken up after {swap:.2f} s, 2 s wanted",
        start,
    ]
    goal = Goal("predictions over constants, requests per second", ratio_of(timings), BOUND)
    return report_bench("serving", __doc__, {"requests": requests}, [goal], notes)


def ratio_of(timings: dict[str, Timing]) -> float:
    """Return the median over the turns of predictions over constants."""
    pairs = zip(timings["predict"].rates, timings["constant"].rates, strict=True)
    return statistics.median(predicted / constant for predicted, constant in pairs)


def beside(
    model: training.Model, folder: Path, options: argparse.Namespace
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return a row for each other server that is installed, and why the rest have none."""
    installed = {
        "MLServer": (shutil.which("mlserver"), mlserver),
        "mlflow models serve": (shutil.which("mlflow"), mlflow),
    }
    rows, notes = list[dict[str, Any]](), list[str]()
    for name, (program, start) in installed.items():
        if program is None:
            notes.append(f"{name} is not installed")
            continue
        try:
            with start(model, folder) as (url, body):
                load(url, body, options.seconds, options.connections)
                turns = [
                    load(url, body, options.seconds, options.connections)
                    for _ in range(options.rounds)
                ]
        except (TimeoutError, subprocess.CalledProcessError) as error:
            notes.append(f"{name} did not start: {error}")
            continue
        rates = [rate for turn in turns for rate in turn.rates]
        rows.append(Timing(rates, [s for turn in turns for s in turn.seconds]).row(name))
    return rows, notes


def start_up(folder: Path) -> str:
    """Return how long the server takes from the start of Python until it is ready."""
    settings = folder / "settings.yaml"
    settings.write_text(SETTINGS.to_yaml())
    command = [sys.executable, "-m", "driftbook", "serve", "--port", "0"]
    started = time.perf_counter()
    with process([*command, "--settings", str(settings), "--artifacts", str(folder)]) as server:
        url = str(json.loads(server.stdout.readline())["url"]) if server.stdout else ""
        wait_for(f"{url}/ready")
        seconds = time.perf_counter() - started
        memory = Path(f"/proc/{server.pid}/status")
        resident = memory.read_text().partition("VmRSS:")[2].split()[:1] if memory.exists() else []
    shown = f", {int(resident[0]) / 1024:.0f} MB" if resident else ""
    return f"a server is ready {seconds:.2f} s after its start{shown}"


if __name__ == "__main__":
    sys.exit(main())
