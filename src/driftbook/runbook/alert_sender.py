"""Hands an alert to apprise, as a process of its own that can be ended at any moment.

``python -m driftbook.runbook.alert_sender`` takes the alert and the addresses as JSON on stdin, for
arguments are seen by every user of a machine, and prints a line of JSON for each address as soon
as its fate is known. Nothing inside a process bounds how long a library waits.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from threading import Thread
from typing import Any

from driftbook.addresses import ENVIRONMENT

_address: ContextVar[str] = ContextVar("address")
_statuses: dict[str, str] = {}


class _StatusKeeper(logging.Handler):
    """Keeps the HTTP status that apprise logs of each address, and drops the rest of its words."""

    def emit(self, record: logging.LogRecord) -> None:
        found = re.search(r"\berror=(\d{3})\b", record.getMessage())
        if found:
            # Apprise sends in threads of its own, to which it hands this one's context.
            _statuses[_address.get("")] = found[1]


def hand_to_apprise(alert: Mapping[str, Any], url: str) -> str | None:
    """Return why an address could not be told, without a word of what it is; None where it was."""
    import apprise

    if url.startswith(ENVIRONMENT):
        variable = url.removeprefix(ENVIRONMENT)
        url = os.environ.get(variable, "").strip()
        if not url:
            return f"the variable {variable} is not set"
    asset = apprise.AppriseAsset(
        app_id="Driftbook", app_desc="Driftbook", app_url="", async_mode=False
    )
    box = apprise.Apprise(asset=asset)
    # The mark of an address out of a stored copy of the settings, where its secret is left out.
    if url.endswith("…") or not box.add(url):
        return "apprise does not understand the address"
    told = box.notify(
        title=alert["title"],
        body=alert["body"],
        body_format=apprise.NotifyFormat.TEXT,
        notify_type=alert["kind"],
        attach=alert["chart"],
    )
    if told:
        return None
    status = _statuses.get(_address.get(""))
    return f"it answered with error {status}" if status else "it can't be reached, or refused"


def _tell(alert: Mapping[str, Any], name: str, url: str) -> None:
    _address.set(name)
    try:
        problem = hand_to_apprise(alert, url)
    except Exception as error:  # noqa: BLE001 - a plugin may raise anything; its words may hold a secret
        problem = f"apprise failed ({type(error).__name__})"
    line = json.dumps({"address": name, "problem": problem})
    os.write(sys.stdout.fileno(), f"{line}\n".encode())


def tell_all(task: Mapping[str, Any]) -> None:
    """Tell all addresses side by side; end the process, and with it whatever still waits."""
    logging.getLogger("apprise").addHandler(_StatusKeeper())
    threads = [
        Thread(target=_tell, args=(task["alert"], *one)) for one in task["addresses"].items()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    os._exit(0)


if __name__ == "__main__":
    tell_all(json.load(sys.stdin))
