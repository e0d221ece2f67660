"""Alerts: a published decision is told by chat, mail or webhook, once, and never at a run's cost.

An address may hold a password. It goes to `apprise` and nowhere else; whatever is written
or printed shows what :func:`driftbook.settings.mask_address` leaves of it.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from driftbook import paths
from driftbook.runbook.project import Project
from driftbook.runbook.terminal import Terminal
from driftbook.settings import mask_address
from driftbook.store import evidence, files
from driftbook.words import render_words

# Apprise gives a server four seconds to connect and four for each part of its answer; one that
# answers byte by byte, or a slow look-up of its name, has no such limit.
LIMIT_S = 20.0
# Older decisions are not made again.
MOST_REMEMBERED = 200
_KINDS = {"retrain": "warning", "investigate": "failure"}
_SAME = ("window", "model_version", "action")


@dataclass(frozen=True)
class Alert:
    """What is sent: the decision it is about, its words, and the chart where there is one."""

    decision: Mapping[str, Any]
    title: str
    body: str
    chart: Path | None

    @property
    def kind(self) -> str:
        """Return how urgent it is, in apprise's words."""
        return _KINDS.get(str(self.decision["action"]), "info")


def note_due_alert(project: Project, folder: Path) -> None:
    """Note in the folder of a run that its decision is to be told once it is published."""
    if project.settings.alerts.urls:
        (folder / paths.ALERT_DUE).touch()


def send_due_alerts(project: Project, terminal: Terminal, page: Path | None = None) -> None:
    """Tell the decision in force where nobody has tried to yet, as after a killed command.

    ``page``: its first page, where it has just been rendered. Older decisions are told no more.
    """
    for note in project.list_due_alerts():
        if (note.parent / paths.PUBLISHED_MARK).exists():
            decided = files.read_json_object(project.artifacts / paths.MANIFEST)["run_id"]
            if note.parent.name == decided:
                send_alerts(project, decided, page, terminal)
            note.unlink(missing_ok=True)


def send_alerts(project: Project, run_id: str, page: Path | None, terminal: Terminal) -> None:
    """Tell the decision of a published run to every address that was not told of it yet.

    A window judged again with the same outcome is the same decision. Whatever fails costs one
    sentence, which is printed even where the terminal is quiet.
    """
    chosen = project.settings.alerts
    found = files.read_json_object(project.artifacts / paths.RUNS / run_id / paths.RECOMMENDATION)
    action = str(found["action"])
    if not chosen.urls or action not in chosen.on:
        return
    if project.quick:
        terminal.say(render_words("alert_told.j2", absent=False, quick=True))
        return
    if importlib.util.find_spec("apprise") is None:
        terminal.warn(render_words("alert_told.j2", absent=True, action=action))
        return
    alert = compose_alert(project, found, page)
    urls = [url.get_secret_value() for url in chosen.urls]
    try:
        with files.hold_lock(project.artifacts / paths.ALERTS.with_name(".alerts.lock")):
            _send_once(project.artifacts / paths.ALERTS, alert, urls, terminal)
    except (OSError, ValueError) as error:
        cause = f"{project.artifacts / paths.ALERTS} says whom, but: {error}"
        terminal.warn(_tell(alert, "nobody", problem=cause))


def compose_alert(project: Project, found: Mapping[str, Any], page: Path | None) -> Alert:
    """Return the alert about a recommendation; ``page``: its first page, where it was rendered."""
    name, site = project.settings.model_name, project.settings.alerts.site
    address = None if page is None else str(page)
    if page is not None and site is not None:
        address = f"{site.rstrip('/')}/{page.name}"
    body = render_words(
        "alert.txt.j2",
        action=found["action"],
        what=(found.get("plain") or {}).get("what"),
        sentences=evidence.read_two_sentences(found),
        page=address,
        model=name,
        window=found["window"],
        run_id=found["run_id"],
    )
    title = f"{str(found['action']).capitalize()}: {name}, {found['window']}"
    return Alert(found, title, body, find_chart(page))


def find_chart(page: Path | None) -> Path | None:
    """Return the chart of the first page as a PNG file; None where there is none."""
    chart = None if page is None else page.parent / paths.FIRST_CHART
    return chart if chart is not None and chart.is_file() else None


def _send_once(record: Path, alert: Alert, urls: Sequence[str], terminal: Terminal) -> None:
    """Send to those who are not in the record; put into it whom an alert has reached."""
    sent = files.read_json_object(record).get("sent", []) if record.is_file() else []
    same = [one for one in sent if all(one.get(key) == alert.decision[key] for key in _SAME)]
    known = {address: str(one.get("run_id")) for one in same for address in one.get("to", [])}
    # Numbered, because two addresses of one service look the same without their tokens.
    named = {f"{n} {mask_address(url)}": url for n, url in enumerate(urls, start=1)}
    waiting = {name: url for name, url in named.items() if name not in known}
    problems = deliver_alert(alert, waiting)
    reached = [name for name in waiting if problems[name] is None]
    if reached:
        told = {key: alert.decision[key] for key in ("run_id", *_SAME)}
        when = datetime.now(UTC).isoformat(timespec="seconds")
        line = {**told, "sent_utc": when, "to": reached}
        files.write_whole(record, files.format_json({"sent": [*sent, line][-MOST_REMEMBERED:]}))
    for name in named:
        address = name.partition(" ")[2]
        before, problem = known.get(name), problems.get(name)
        say = terminal.say if problem is None else terminal.warn
        say(_tell(alert, address, before=before, problem=problem, record=record))


def _tell(alert: Alert, address: str, **how: Any) -> str:
    known = {"before": None, "problem": None, "record": None, **how}
    action = alert.decision["action"]
    return render_words(
        "alert_told.j2", absent=False, quick=False, action=action, address=address, **known
    )


def deliver_alert(
    alert: Alert, addresses: Mapping[str, str], limit_s: float = LIMIT_S
) -> dict[str, str | None]:
    """Return for each address, by its name, why it could not be told; None where it was.

    All are told side by side, and none is waited for longer than ``limit_s`` seconds.
    """
    found: dict[str, str | None] = dict.fromkeys(addresses, f"no answer within {limit_s:g} s")
    if not addresses:
        return found
    said = {
        "title": alert.title,
        "body": alert.body,
        "kind": alert.kind,
        "chart": None if alert.chart is None else str(alert.chart),
    }
    command = [sys.executable, "-m", "driftbook.runbook.alert_sender"]
    task = json.dumps({"alert": said, "addresses": dict(addresses)}).encode()
    try:
        # What it says on stderr may hold an address.
        done = subprocess.run(
            command,
            input=task,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=limit_s,
            check=False,
        )
        printed = done.stdout
        found = dict.fromkeys(addresses, f"apprise ended with exit code {done.returncode}")
    except subprocess.TimeoutExpired as error:
        printed = error.stdout or b""
    for line in map(json.loads, printed.splitlines()):
        found[line["address"]] = line["problem"]
    return found
