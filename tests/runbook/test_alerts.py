"""Alerts: sent once a decision to real servers, and never at the cost of a run or of a secret."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from email.header import decode_header, make_header
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from threading import Event, Thread
from time import monotonic
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

import finished
from driftbook.errors import DriftbookError, UsageError
from driftbook.runbook import alerts
from driftbook.runbook.cli import main
from driftbook.runbook.project import Project
from driftbook.runbook.terminal import Terminal
from driftbook.settings import Settings
from driftbook.site import render
from driftbook.store.evidence import read_two_sentences

pytest.importorskip("apprise")
pytestmark = pytest.mark.network

SECRET = "s3cr3t-T0ken"
EVERY = ["hold", "monitor", "retrain", "investigate"]


class Hook(ThreadingHTTPServer):
    """A webhook on a free port that keeps what it is sent; ``status`` is its answer."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Taker)
        self.taken: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.status = 200
        self.freed = Event()
        self.freed.set()

    @property
    def url(self) -> str:
        return f"json://robot:{SECRET}@127.0.0.1:{self.server_port}/hook/{SECRET}"


class Taker(BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.paths.append(self.path)
        if not self.server.freed.is_set():  # an answer that never ends, a byte at a time
            self.wfile.write(b"HTTP/1.0 200 OK\r\n")
            while not self.server.freed.wait(0.2):
                self.wfile.write(b"x")
            return
        if self.server.status == 200:
            self.server.taken.append(json.loads(body))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(server: Any) -> Iterator[Any]:
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


@pytest.fixture
def hook() -> Iterator[Hook]:
    with serving(Hook()) as server:
        yield server
        server.freed.set()


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Return the artifacts folder of one published decision, and its run."""
    folder = tmp_path_factory.mktemp("published")
    chosen = finished.settings(folder)
    (folder / "runbook.yaml").write_text(chosen.to_yaml(), encoding="utf-8")
    return folder / "artifacts", finished.publish(folder / "artifacts", chosen)


@pytest.fixture
def settled(published: tuple[Path, str]) -> Iterator[tuple[Path, str]]:
    """Return the same; what a test sent is forgotten afterwards."""
    yield published
    (published[0] / "alerts.json").unlink(missing_ok=True)


def about(artifacts: Path, *urls: str, **more: Any) -> Project:
    """Return the project with these addresses in its settings."""
    file = artifacts.parent / "told.yaml"
    values = yaml.safe_load((artifacts.parent / "runbook.yaml").read_text(encoding="utf-8"))
    values["alerts"] = {"urls": list(urls), "on": EVERY, **more}
    file.write_text(yaml.safe_dump(values), encoding="utf-8")
    return Project(file, artifacts)


def send(project: Project, run_id: str, page: Path | None = None, quiet: bool = False) -> list[str]:
    """Send the alerts of a run and return what the terminal shows."""
    stream = io.StringIO()
    alerts.send_alerts(project, run_id, page, Terminal(quiet, stream=stream))
    return stream.getvalue().splitlines()


def decision(artifacts: Path, run_id: str) -> dict[str, Any]:
    document = artifacts / "runs" / run_id / "policy" / "retrain_recommendation.json"
    text = document.read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


class TestTold:
    def test_action_two_sentences_and_the_page(self, settled: tuple[Path, str], hook: Hook) -> None:
        artifacts, run_id = settled
        page = artifacts / "reports" / "html" / "index.html"
        lines = send(about(artifacts, hook.url), run_id, page)
        found = decision(artifacts, run_id)
        address = f"json://127.0.0.1:{hook.server_port}/…"
        assert lines == [f'driftbook: alerts: {address} was told of "{found["action"]}"']
        (taken,) = hook.taken
        assert taken["title"].lower() == f"{found['action']}: covariate, {found['window']}"
        told = taken["message"].splitlines()
        assert told[0] == f"{found['action'].capitalize()}: {found['plain']['what']}"
        assert told[1] == " ".join(read_two_sentences(found))
        assert f"Read on: {page}" in told
        assert run_id in told[-1]
        assert taken["attachments"] == []
        assert hook.paths == [f"/hook/{SECRET}"]

    def test_the_page_is_where_it_is_served(self, settled: tuple[Path, str], hook: Hook) -> None:
        artifacts, run_id = settled
        project = about(artifacts, hook.url, site="https://runbook.example.org/churn/")
        send(project, run_id, artifacts / "reports" / "html" / "index.html")
        assert "Read on: https://runbook.example.org/churn/index.html" in hook.taken[0]["message"]

    def test_without_pages_there_is_no_link(self, settled: tuple[Path, str], hook: Hook) -> None:
        artifacts, run_id = settled
        send(about(artifacts, hook.url, site="https://runbook.example.org"), run_id)
        assert "Read on" not in hook.taken[0]["message"]

    def test_the_chart_goes_with_it_where_there_is_one(
        self, settled: tuple[Path, str], hook: Hook, tmp_path: Path
    ) -> None:
        artifacts, run_id = settled
        chart = tmp_path / alerts.paths.FIRST_CHART
        chart.parent.mkdir()
        chart.write_bytes(b"\x89PNG\r\n\x1a\nrest")
        send(about(artifacts, hook.url), run_id, tmp_path / "index.html")
        (attached,) = hook.taken[0]["attachments"]
        assert base64.b64decode(attached["base64"]) == chart.read_bytes()
        assert attached["mimetype"] == "image/png"

    def test_plain_words_are_used_where_the_decision_has_them(self) -> None:
        plain = {"what": "Do it.", "why": ["One in six is wrong.", "A newer model wins it back."]}
        assert read_two_sentences({"reason": "x", "plain": plain}) == plain["why"]
        reason = "Brier rose by 0.05 [0.04, 0.06] on 1,200 rows. A retrain pays! Third."
        assert read_two_sentences({"reason": reason}) == [
            "Brier rose by 0.05 [0.04, 0.06] on 1,200 rows.",
            "A retrain pays!",
        ]

    @pytest.mark.parametrize("words", [["promote", "--to", "nobody"], ["report"]])
    def test_what_a_killed_run_did_not_tell_is_told_by_the_next_command(
        self, settled: tuple[Path, str], hook: Hook, words: list[str]
    ) -> None:
        artifacts, run_id = settled
        project = about(artifacts, hook.url)
        alerts.note_due_alert(project, artifacts / "runs" / run_id)
        assert project.list_due_alerts() != []
        place = ["--settings", str(project.settings_file), "--artifacts", str(artifacts)]
        for _ in range(2):
            CliRunner().invoke(main, [*words, *place], prog_name="driftbook")
            assert len(hook.taken) == 1 and run_id in hook.taken[0]["message"]
            assert project.list_due_alerts() == []

    def test_an_older_decision_is_told_no_more(self, settled: tuple[Path, str], hook: Hook) -> None:
        artifacts, run_id = settled
        project = about(artifacts, hook.url)
        older = Path(shutil.copytree(artifacts / "runs" / run_id, artifacts / "runs" / "2000"))
        alerts.note_due_alert(project, older)
        alerts.send_due_alerts(project, Terminal(quiet=True))
        assert hook.taken == [] and project.list_due_alerts() == []
        shutil.rmtree(older)

    def test_an_action_that_is_not_asked_for_is_not_told(
        self, settled: tuple[Path, str], hook: Hook
    ) -> None:
        artifacts, run_id = settled
        others = [action for action in EVERY if action != decision(artifacts, run_id)["action"]]
        assert send(about(artifacts, hook.url, on=others), run_id) == []
        assert hook.taken == []

    def test_a_quick_run_tells_nobody(self, settled: tuple[Path, str], hook: Hook) -> None:
        artifacts, run_id = settled
        project = Project(about(artifacts, hook.url).settings_file, artifacts, quick=True)
        (line,) = send(project, run_id)
        assert "a quick run tells nobody" in line
        assert hook.taken == []


class TestOnce:
    def test_the_same_decision_is_told_once(self, settled: tuple[Path, str], hook: Hook) -> None:
        artifacts, run_id = settled
        project = about(artifacts, hook.url)
        send(project, run_id)
        (line,) = send(project, run_id)
        assert f"was told of this decision by run {run_id}" in line
        again = finished.publish(artifacts, finished.settings(artifacts.parent))
        assert again != run_id
        assert f"was told of this decision by run {run_id}" in send(project, again)[0]
        assert len(hook.taken) == 1
        (kept,) = json.loads((artifacts / "alerts.json").read_text())["sent"]
        assert kept["run_id"] == run_id

    def test_another_window_is_another_decision(
        self, settled: tuple[Path, str], hook: Hook
    ) -> None:
        artifacts, run_id = settled
        project = about(artifacts, hook.url)
        send(project, run_id)
        other = finished.publish(artifacts, finished.settings(artifacts.parent), "rows-0004")
        send(project, other)
        assert len(hook.taken) == 2

    def test_only_who_was_not_reached_is_told_again(
        self, settled: tuple[Path, str], hook: Hook
    ) -> None:
        artifacts, run_id = settled
        with serving(Hook()) as broken:
            broken.status = 500
            project = about(artifacts, hook.url, broken.url)
            lines = send(project, run_id)
            assert [" was told of " in line for line in lines] == [True, False]
            assert "it answered with error 500; the next run tries it again" in lines[1]
            broken.status = 200
            lines = send(project, run_id)
            assert ["by run" in line for line in lines] == [True, False]
            assert len(hook.taken) == len(broken.taken) == 1


class TestFailure:
    def test_nobody_there(self, settled: tuple[Path, str]) -> None:
        artifacts, run_id = settled
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            port = closed.getsockname()[1]
            url = f"json://robot:{SECRET}@127.0.0.1:{port}"
            (line,) = send(about(artifacts, url), run_id, quiet=True)
        assert f'json://127.0.0.1:{port}/… was not told of "' in line
        assert "it can't be reached, or refused" in line
        assert SECRET not in line
        assert not (artifacts / "alerts.json").exists()

    def test_a_server_that_never_ends_is_not_waited_for(
        self, settled: tuple[Path, str], hook: Hook, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(alerts.deliver_alert, "__defaults__", (8.0,))
        hook.freed.clear()
        artifacts, run_id = settled
        with serving(Hook()) as good:
            started = monotonic()
            lines = send(about(artifacts, hook.url, good.url), run_id)
            assert monotonic() - started < 12
            assert "no answer within 8 s" in lines[0]
            assert "was told of" in lines[1] and len(good.taken) == 1

    @pytest.mark.parametrize(
        ("url", "cause"),
        [
            ("env:NO_SUCH_ALERT_URL", "the variable NO_SUCH_ALERT_URL is not set"),
            (f"nonsense://{SECRET}/{SECRET}", "apprise does not understand the address"),
            ("json://127.0.0.1/…", "apprise does not understand the address"),
        ],
    )
    def test_what_is_no_address_is_one_sentence(
        self, settled: tuple[Path, str], capfd: pytest.CaptureFixture[str], url: str, cause: str
    ) -> None:
        artifacts, run_id = settled
        (line,) = send(about(artifacts, url), run_id, quiet=True)
        assert cause in line and SECRET not in line
        captured = capfd.readouterr()
        assert captured.out + captured.err == ""

    def test_a_spoilt_record_is_one_sentence(self, settled: tuple[Path, str], hook: Hook) -> None:
        artifacts, run_id = settled
        (artifacts / "alerts.json").write_text("[", encoding="utf-8")
        (line,) = send(about(artifacts, hook.url), run_id)
        assert "alerts.json" in line and hook.taken == []

    def test_apprise_is_missing(
        self, settled: tuple[Path, str], hook: Hook, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        artifacts, run_id = settled
        monkeypatch.setattr(alerts.importlib.util, "find_spec", lambda _: None)
        (line,) = send(about(artifacts, hook.url), run_id, quiet=True)
        assert "apprise is not installed; run `make sync-alerts`" in line


class Mailbox(ThreadingTCPServer):
    """A mail server that takes one conversation after the other."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Postman)
        self.mails: list[bytes] = []


class Postman(StreamRequestHandler):
    server: Mailbox

    def handle(self) -> None:
        self.wfile.write(b"220 here\r\n")
        for line in self.rfile:
            word = line[:4].upper()
            if word == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                self.server.mails.append(b"".join(iter(self.rfile.readline, b".\r\n")))
            self.wfile.write(b"221 bye\r\n" if word == b"QUIT" else b"250 fine\r\n")


def test_mail(settled: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    artifacts, run_id = settled
    with serving(Mailbox()) as mailbox:
        port = mailbox.server_address[1]
        url = f"mailto://127.0.0.1:{port}?mode=insecure&from=a@example.org&to=b@example.org"
        monkeypatch.setenv("MY_ALERT_URL", url)
        (line,) = send(about(artifacts, "env:MY_ALERT_URL"), run_id)
        assert "env:MY_ALERT_URL was told of" in line
        mail = message_from_bytes(mailbox.mails[0])
    assert mail["to"] == "b@example.org"
    assert decision(artifacts, run_id)["window"] in str(make_header(decode_header(mail["subject"])))
    texts = [part.get_payload(decode=True) for part in mail.walk() if not part.is_multipart()]
    assert any(b"Model covariate, window" in bytes(text) for text in texts)


class TestSecrets:
    def test_no_form_of_the_settings_shows_one(self) -> None:
        url = f"json://me:{SECRET}@example.org/{SECRET}?token={SECRET}"
        chosen = Settings.parse({"alerts": {"urls": [url, f"tgram://{SECRET}/12"]}})
        shown = [repr(chosen), str(chosen), chosen.to_yaml(), chosen.model_dump_json()]
        assert not [text for text in shown if SECRET in text]
        assert chosen.model_dump()["alerts"]["urls"] == ["json://example.org/…", "tgram://…"]

    @pytest.mark.parametrize(
        "text",
        [
            f"alerts: {{urls: 'json://{SECRET}'}}",
            f"alerts: 'json://{SECRET}'",
            f"alerts: {{urls: [{SECRET}]}}",
            f"alerts: {{urls: [[json://{SECRET}]]}}",
            f"alerts: {{url: 'json://{SECRET}'}}",
            f"alerts: {{urls: [json://me:{SECRET}@example.org\n",
        ],
    )
    def test_no_message_about_wrong_settings_shows_one(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "s.yaml").write_text(text, encoding="utf-8")
        with pytest.raises(UsageError) as caught:
            Settings.load(tmp_path / "s.yaml")
        assert SECRET not in str(caught.value)

    @pytest.mark.parametrize(
        ("on", "hint"),
        [(["retrian"], "did you mean 'retrain'?"), (["x"], "known: hold"), ("holt", "'hold'")],
    )
    def test_an_unknown_action_names_the_nearest(self, on: object, hint: str) -> None:
        with pytest.raises(UsageError, match=r"alerts\.on: unknown action") as caught:
            Settings.parse({"alerts": {"on": on}})
        assert hint in str(caught.value)

    def test_the_settings_that_are_shown_are_taken(self, root: Path) -> None:
        for page in ("README.md", "reports/guide.qmd"):
            text = (root / page).read_text(encoding="utf-8")
            (block,) = re.findall(r"^```yaml\n(alerts:.*?)^```$", text, re.M | re.S)
            assert Settings.parse(yaml.safe_load(block)).alerts.on == ("retrain", "investigate")

    def test_on_needs_no_quotes_in_yaml(self) -> None:
        found = Settings.parse(yaml.safe_load("alerts: {urls: [], on: [hold]}"))
        assert found.alerts.on == ("hold",)


@pytest.mark.slow
def test_a_whole_run_tells_and_still_ends_with_the_exit_code(tmp_path: Path, hook: Hook) -> None:
    """A real run with ``--fail-on`` and three addresses, two of which can't be told."""
    hidden = f"json://127.0.0.1:{hook.server_port}/from-environment"
    lost = f"json://me:{SECRET}@127.0.0.1:9/{SECRET}"
    text = "data: {source: 'synthetic:concept'}\nalerts: {urls: ["
    text += f"'{hook.url}', 'env:HIDDEN_URL', '{lost}']}}\n"
    (tmp_path / "runbook.yaml").write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "driftbook", "run", "--fail-on", "retrain"]

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, *words],
            cwd=tmp_path,
            env={**os.environ, "HIDDEN_URL": hidden},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    done = run()
    assert done.returncode == 3, done.stderr
    assert done.stderr.count('was told of "retrain"') == 2
    assert "json://127.0.0.1:9/… was not told of" in done.stderr
    assert len(hook.taken) == 2
    page = tmp_path / "artifacts" / "reports" / "html" / "index.html"
    assert page.is_file() and f"Read on: {page}" in hook.taken[0]["message"]
    (chart,) = hook.taken[0]["attachments"]
    assert chart["filename"] == "story.png" and chart["mimetype"] == "image/png"
    # Later parts alone, against the settings that now name nobody: nothing refuses that.
    (tmp_path / "runbook.yaml").write_text(text.partition("\n")[0], encoding="utf-8")
    later = run("--from", "serving", "--quiet")
    assert (later.returncode, later.stderr) == (3, "")
    everything = done.stdout + done.stderr
    for path in (tmp_path / "artifacts").rglob("*"):
        if path.is_file():
            everything += path.read_bytes().decode("utf-8", "replace")
    assert SECRET not in everything and "from-environment" not in everything


@pytest.mark.slow
def test_a_decision_whose_pages_cannot_be_made_is_told_all_the_same(
    finished_run: Path, tmp_path: Path, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> Path:
        raise DriftbookError("quarto could not render the pages")

    monkeypatch.setattr(render, "render_site", refuse)
    artifacts = Path(shutil.copytree(finished_run, tmp_path / "artifacts"))
    settings = (finished_run.parent / "runbook.yaml").read_text(encoding="utf-8")
    (tmp_path / "runbook.yaml").write_text(settings, encoding="utf-8")
    file = about(artifacts, hook.url).settings_file
    words = ["run", "--from", "serving", "--settings", str(file), "--artifacts", str(artifacts)]
    done = CliRunner().invoke(main, words, prog_name="driftbook")
    assert done.exit_code == 1
    assert done.stderr.splitlines()[-1] == "driftbook: quarto could not render the pages"
    (taken,) = hook.taken
    run_id = json.loads((artifacts / "manifest.json").read_text(encoding="utf-8"))["run_id"]
    assert run_id in taken["message"] and "Read on" not in taken["message"]
