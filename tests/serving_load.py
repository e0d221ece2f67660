"""Clients that keep a server busy, and what its log holds afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import sqlalchemy as sa

from driftbook.data import prediction_log
from driftbook.settings import Settings

EIGHT = [0.2, 0.1, 0.4, 0.0, 0.7, 0.3, 0.1, 0.9]


def read_logged(settings: Settings, artifacts: Path) -> dict[str, tuple[str, float]]:
    """Return model version and probability by prediction id, as the log holds them."""
    engine = prediction_log.connect_prediction_log(
        prediction_log.prediction_log_url(settings, artifacts)
    )
    table = prediction_log.predictions_table.c
    with engine.connect() as connection:
        rows = connection.execute(sa.select(table.id, table.model_version, table.probability))
        found = {row.id: (row.model_version, row.probability) for row in rows}
    engine.dispose()
    return found


async def keep_asking(
    client: httpx.AsyncClient, answers: list[dict[str, Any]], stop: Callable[[], bool]
) -> None:
    """Send one request after the other; collect the answers that came whole."""
    while not stop():
        try:
            response = await client.post("/predict", json={"features": EIGHT})
        except httpx.TransportError:
            return
        answers.append({"status": response.status_code, **response.json()})


async def ask_under_load(
    url: str, act: Callable[[list[dict[str, Any]]], None], *, at_end: bool
) -> list[dict[str, Any]]:
    """Return the answers that eight clients got while ``act`` ran in between."""
    answers: list[dict[str, Any]] = []
    done = False
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=20.0) as client:
        asking = [asyncio.create_task(keep_asking(client, answers, lambda: done)) for _ in range(8)]
        while len(answers) < 200:
            await asyncio.sleep(0.01)
        await asyncio.to_thread(act, answers)
        done = at_end
        await asyncio.gather(*asking)
    return answers
