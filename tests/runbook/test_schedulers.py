"""The schedulers' files: each is what its program reads, and does what its exit codes ask for."""

from __future__ import annotations

import configparser
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import yaml

from driftbook.runbook.cli import main

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "schedulers"
FILES = (
    "driftbook.cron",
    "driftbook.service",
    "driftbook.timer",
    "github-actions.yml",
    "airflow_dag.py",
    "prefect_flow.py",
)
CALL = re.compile(r"driftbook (run|backtest|report)((?: [\w,./-]+)*)")
PROJECT = "/srv/churn"


def read(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


class FakeDecorator:
    """Stands for a scheduler's decorator: keeps how it was called, returns the function."""

    def __init__(self) -> None:
        self.options: dict[str, Any] = {}
        self.function: Callable[[], object] | None = None

    def __call__(self, function: Any = None, **options: Any) -> Any:
        if function is None:
            return lambda found: self(found, **options)
        self.options, self.function = options, function
        return function


class FakeAirflowError(Exception):
    pass


class FakeAirflowFailError(FakeAirflowError):
    pass


@pytest.fixture
def schedulers(monkeypatch: pytest.MonkeyPatch) -> dict[str, FakeDecorator]:
    """Let the two files import stand-ins; return the decorators of their tasks."""
    tasks = {"airflow_dag.py": FakeDecorator(), "prefect_flow.py": FakeDecorator()}
    modules: dict[str, dict[str, Any]] = {
        "airflow": {},
        "airflow.sdk": {"dag": FakeDecorator(), "task": tasks["airflow_dag.py"]},
        "airflow.exceptions": {
            "AirflowException": FakeAirflowError,
            "AirflowFailException": FakeAirflowFailError,
        },
        "prefect": {"flow": FakeDecorator(), "task": tasks["prefect_flow.py"]},
    }
    for name, values in modules.items():
        module = ModuleType(name)
        vars(module).update(values)
        monkeypatch.setitem(sys.modules, name, module)
    return tasks


def load(name: str, schedulers: dict[str, FakeDecorator]) -> dict[str, Any]:
    """Execute a Python file as its scheduler imports it, without starting its task."""
    code = read(name)
    if name == "airflow_dag.py":  # the stand-in of @dag would start the task at import
        code = code.replace("    judge()\n\n\ndriftbook()", "    return judge\n\n\ndriftbook()")
    names: dict[str, Any] = {"__name__": "scheduled"}
    exec(compile(code, name, "exec"), names)
    return names


def commands(name: str, schedulers: dict[str, FakeDecorator]) -> list[str]:
    """Return every call of Driftbook in a file, as one line each."""
    if name.endswith(".py"):
        return [shlex.join(load(name, schedulers)["COMMAND"])]
    return [found.group() for found in CALL.finditer(read(name)) if not _is_comment(name, found)]


def _is_comment(name: str, found: re.Match[str]) -> bool:
    line = found.string[: found.start()].rpartition("\n")[2]
    return line.lstrip().startswith("#")


def test_the_table_names_every_file() -> None:
    named = re.findall(r"`([\w.-]+\.(?:cron|service|timer|yml|py))`", read("README.md"))
    assert set(FILES) == {path.name for path in FOLDER.iterdir()} - {"README.md"}
    assert set(FILES) <= set(named)


@pytest.mark.parametrize("name", [name for name in FILES if name != "driftbook.timer"])
def test_each_calls_the_command_line_as_it_is(
    name: str, schedulers: dict[str, FakeDecorator]
) -> None:
    (call,) = commands(name, schedulers)
    words = shlex.split(call)
    command = main.commands[words[1]]
    context = command.make_context(words[1], words[2:])
    assert context.params["alarming"] == ("retrain", "investigate")
    assert Path(context.params["artifacts"]).name == "artifacts"
    assert "75" in read(name)


class TestExitCodes:
    """What each file does when Driftbook ends with a code: judged by a stand-in that does."""

    @pytest.fixture
    def shell(self, tmp_path: Path) -> Callable[[str, list[int]], tuple[int, int, str]]:
        """Return a function that runs a script against these codes: its code, calls and words."""
        programs = tmp_path / ".venv" / "bin"
        programs.mkdir(parents=True)
        fake = "#!/bin/sh\necho x >> calls\nn=$(wc -l < calls)\nexit $(sed -n ${n}p codes)\n"
        for name, text in (("driftbook", fake), ("sleep", "#!/bin/sh\n")):
            (programs / name).write_text(text)
            (programs / name).chmod(0o755)

        def run(script: str, codes: list[int], *words: str) -> tuple[int, int, str]:
            (tmp_path / "calls").unlink(missing_ok=True)
            (tmp_path / "codes").write_text("".join(f"{code}\n" for code in codes))
            done = subprocess.run(
                [*(words or ("/bin/sh", "-c")), script.replace(PROJECT, str(tmp_path))],
                cwd=tmp_path,
                env={"PATH": f"{programs}:/usr/bin:/bin"},
                capture_output=True,
                text=True,
                check=False,
                timeout=60,
            )
            calls = len((tmp_path / "calls").read_text().splitlines())
            return done.returncode, calls, done.stdout + done.stderr

        return run

    CASES = (
        ([0], 0, 1),
        ([3], 3, 1),
        ([2], 2, 1),
        ([75, 75, 0], 0, 3),
        ([75, 3], 3, 2),
    )

    @pytest.mark.parametrize(("codes", "code", "calls"), [*CASES, ([75] * 9, 75, 6)])
    def test_cron(self, shell: Any, codes: list[int], code: int, calls: int) -> None:
        found = shell(cron_line(), codes)
        assert found[:2] == (code, calls)
        assert ("somebody has to act" in found[2]) == (code == 3)
        assert bool(found[2]) == (code == 3)  # cron mails whatever is printed

    @pytest.mark.parametrize(("codes", "code", "calls"), [*CASES, ([75] * 9, 75, 3)])
    def test_github_actions(self, shell: Any, codes: list[int], code: int, calls: int) -> None:
        # As the runner calls a step: bash -e on a file.
        found = shell(step("Judge")["run"], codes, "bash", "-e", "-o", "pipefail", "-c")
        assert found[:2] == (code, calls)

    @pytest.mark.parametrize(
        ("code", "error", "again"),
        [
            (0, None, False),
            (3, "somebody has to act", False),
            (75, "busy", True),
            (2, "busy", False),
        ],
    )
    @pytest.mark.parametrize("name", ["airflow_dag.py", "prefect_flow.py"])
    def test_airflow_and_prefect(
        self,
        schedulers: dict[str, FakeDecorator],
        monkeypatch: pytest.MonkeyPatch,
        name: str,
        code: int,
        error: str | None,
        again: bool,
    ) -> None:
        names = load(name, schedulers)
        ended = SimpleNamespace(returncode=code, stderr="busy\n")
        monkeypatch.setattr(subprocess, "run", lambda *_, **__: ended)
        task = schedulers[name]
        assert task.function is not None and task.options["retries"] == 6
        if error is None:
            task.function()
            return
        with pytest.raises(Exception, match=error) as caught:
            task.function()
        if name == "airflow_dag.py":
            assert isinstance(caught.value, FakeAirflowFailError) is not again
        else:

            def result() -> None:
                raise caught.value

            condition = task.options["retry_condition_fn"]
            assert condition is names["is_busy"]
            assert condition(None, None, SimpleNamespace(result=result)) is again


def cron_line() -> str:
    """Return the command of the one line of the crontab, whose other lines are what cron reads."""
    commands = []
    for line in read("driftbook.cron").splitlines():
        if not line or line.startswith("#") or re.match(r"[A-Z]+=\S+$", line):
            continue
        found = re.match(r"(?:[\d*/,-]+ ){4}[\d*/,-]+\s+(.*)$", line)
        assert found, line
        commands.append(found[1])
    (command,) = commands
    assert "%" not in command  # a line's end to cron
    return str(command)


def step(name: str) -> dict[str, Any]:
    """Return the workflow's step of that name."""
    workflow = yaml.safe_load(read("github-actions.yml"))
    assert workflow[True]["schedule"][0]["cron"].count(" ") == 4  # YAML 1.1 reads "on" as true
    steps: list[dict[str, Any]] = workflow["jobs"]["judge"]["steps"]
    assert all(("uses" in one) != ("run" in one) for one in steps)
    (found,) = [one for one in steps if one.get("name") == name]
    return found


def unit(name: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, comment_prefixes=("#",))
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(read(name))
    return parser


def test_units_say_what_systemd_reads() -> None:
    service, timer = unit("driftbook.service"), unit("driftbook.timer")
    assert set(service.sections()) == {"Unit", "Service"}
    assert service["Service"]["RestartForceExitStatus"] == "75"
    assert service["Service"]["Type"] != "oneshot"
    assert set(timer.sections()) == {"Unit", "Timer", "Install"}
    assert timer["Install"]["WantedBy"] == "timers.target"


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd on this machine")
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    for name in ("driftbook.service", "driftbook.timer"):
        text = read(name).replace(f"{PROJECT}/.venv/bin/driftbook", "/bin/true")
        (tmp_path / name).write_text(text.replace("User=driftbook", "User=root"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / "driftbook.timer")],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.network
def test_the_line_of_cron_runs_for_real(tmp_path: Path) -> None:
    """On a project of its own, whose action is one that the line asks to fail on."""
    new = [sys.executable, "-m", "driftbook", "new", str(tmp_path / "churn"), "--quiet"]
    subprocess.run(new, check=True, timeout=60)
    (tmp_path / "churn" / ".venv").symlink_to(sys.prefix)
    line = cron_line().replace(PROJECT, str(tmp_path / "churn"))
    # As bare as cron leaves the environment.
    bare = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        ["/bin/sh", "-c", line.replace("run --quiet", "run --quick --quiet")],
        env={**bare, **{k: v for k, v in os.environ.items() if k == "LD_LIBRARY_PATH"}},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 3, done.stderr
    page = tmp_path / "churn" / "reports" / "html" / "index.html"
    assert done.stdout == f"driftbook: somebody has to act, see {page}\n"
    assert done.stderr == ""
