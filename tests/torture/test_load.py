"""A server under load: killed at any moment, and for ten minutes while its champion changes."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from trials import LONG, CountTrials

from driftbook.api.process import Server, running_server
from driftbook.data import prediction_log
from driftbook.settings import Settings
from driftbook.store import registry, registry_models
from serving_load import EIGHT, ask_under_load, read_logged
from serving_models import enthrone, numeric_model, settings_of

pytestmark = [pytest.mark.network, pytest.mark.slow]

SEED = 0
KILLS = 10 if LONG else 1
LOAD, MINUTES, EVERY_S, CLIENTS = 0.7, 10.0, 15.0, 8
# What a process may grow by once it is warm: allocators keep what a burst needed.
GROWTH_MB = 32.0


def check_log(settings: Settings, artifacts: Path, answers: list[dict[str, Any]]) -> None:
    """Check that the log holds every answer that somebody got, as it was given."""
    found = read_logged(settings, artifacts)
    for answer in answers:
        held = found.get(answer["prediction_id"])
        assert held == (answer["model_version"], answer["probability"]), answer


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_a_server_killed_at_any_moment_has_logged_what_it_answered(
    request: pytest.FixtureRequest, tmp_path: Path, count_trials: CountTrials, database: str
) -> None:
    url = request.getfixturevalue("postgres") if database == "postgresql" else None
    settings = settings_of(log={"url": url})
    chance = random.Random(SEED)
    enthrone(tmp_path, numeric_model())
    try:
        with count_trials(f"kills of the server under load: {database}") as trials:
            for number in range(KILLS):
                moment = chance.random() * 3.0
                with trials.trial(f"kill {number} after {moment:.3f} s under load"):
                    answers = kill_under_load(settings, tmp_path, moment)
                    check_log(settings, tmp_path, answers)
    finally:
        if url is not None:
            engine = prediction_log.connect_prediction_log(url)
            prediction_log.feedback_table.metadata.drop_all(engine)
            engine.dispose()


def kill_under_load(settings: Settings, artifacts: Path, moment: float) -> list[dict[str, Any]]:
    """Return the answers that clients got of a server until it was killed."""
    with running_server(settings, artifacts) as server:

        def kill(_answers: list[dict[str, Any]]) -> None:
            time.sleep(moment)
            os.kill(server.process.pid, signal.SIGKILL)

        answers = asyncio.run(ask_under_load(server.url, kill, at_end=False))
    assert len(answers) >= 200
    return answers


def read_memory_mb(server: Server) -> float:
    """Return what the process holds in memory."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


class Steady:
    """Clients that ask at a steady rate, whatever the server does, and note each answer."""

    def __init__(self, url: str) -> None:
        self.answers: list[dict[str, Any]] = []
        self.failures: list[str] = []
        self._client = httpx.AsyncClient(base_url=url, trust_env=False, timeout=60.0)

    async def ask(self) -> None:
        """Ask once."""
        try:
            response = await self._client.post("/predict", json={"features": EIGHT})
            assert response.status_code == 200, response.text
            self.answers.append(response.json())
        except (httpx.HTTPError, AssertionError) as error:
            self.failures.append(f"{type(error).__name__}: {error}")

    async def run(self, seconds: float, every_s: float) -> float:
        """Return the rate at which each of the clients asked once ``every_s``, 0: at once."""
        count, began = len(self.answers), time.monotonic()

        async def keep() -> None:
            due = began
            while time.monotonic() < began + seconds:
                await self.ask()
                due += every_s
                await asyncio.sleep(max(0.0, due - time.monotonic()))

        await asyncio.gather(*(keep() for _ in range(CLIENTS)))
        return (len(self.answers) - count) / (time.monotonic() - began)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


@pytest.mark.skipif(not LONG, reason="takes ten minutes: make torture")
def test_ten_minutes_under_load_with_a_promotion_every_15_seconds(
    tmp_path: Path, count_trials: CountTrials
) -> None:
    first, second = numeric_model(), numeric_model(seed=1)
    models = tmp_path / "models"
    enthrone(tmp_path, first)
    registry_models.save_model(models, second)
    memory: list[float] = []
    promoted: list[str] = [first.version]

    async def promote(end: float, server: Server) -> None:
        for number in range(int(MINUTES * 60 / EVERY_S)):
            await asyncio.sleep(EVERY_S)
            if time.monotonic() > end:
                return
            chosen = (second, first)[number % 2].version
            await asyncio.to_thread(
                registry.promote_version, models, chosen, "torture", None, forced=True
            )
            promoted.append(chosen)
            memory.append(read_memory_mb(server))

    async def go(server: Server) -> Steady:
        steady = Steady(server.url)
        rate = await steady.run(10.0, 0.0)
        end = time.monotonic() + MINUTES * 60
        promotions = asyncio.create_task(promote(end, server))
        await steady.run(MINUTES * 60, CLIENTS / (LOAD * rate))
        await promotions
        await steady.close()
        return steady

    with (
        count_trials("requests in ten minutes at 70 % load, promotions") as trials,
        running_server(settings_of(), tmp_path) as server,
    ):
        steady = asyncio.run(go(server))
        trials.tried = len(steady.answers) + len(steady.failures)
        trials.failures += steady.failures
        with trials.trial("memory is flat"):
            grown = max(memory[-8:]) - max(memory[4:12])
            assert grown <= GROWTH_MB, f"{grown:.1f} MB more: {[round(one) for one in memory]}"
        with trials.trial("the log is complete"):
            check_log(settings_of(), tmp_path, steady.answers)
        with trials.trial("every promotion was taken up"):
            versions = [answer["model_version"] for answer in steady.answers]
            moves = sum(one != other for one, other in pairwise(versions))
            assert moves >= len(promoted) - 1
            assert len(promoted) > MINUTES * 60 / EVERY_S / 2
