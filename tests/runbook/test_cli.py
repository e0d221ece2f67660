"""The command line: every command's good and bad paths, in process and as a process."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Self, cast

import click
import nbformat
import pytest
from click.testing import CliRunner, Result
from nbformat.v4 import new_code_cell, new_notebook
from tqdm import tqdm

from driftbook.data import synthetic
from driftbook.errors import UsageError
from driftbook.paths import STEPS
from driftbook.runbook import flow, resume, summary
from driftbook.runbook.cli import main
from driftbook.runbook.flow import FinishedJob
from driftbook.runbook.project import Project
from driftbook.runbook.terminal import Terminal
from driftbook.store import registry, transaction

PARAMETERS = 'settings_file = ""\nartifacts_dir = ""\nwindow = None\nrun_id = None'
SMALL = """
data: {source: "synthetic:concept", window: 1200, reference: 2}
model: {name: small}
"""


def driftbook(*arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the command as a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "driftbook", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        **options,
    )


def invoke(*arguments: str | Path) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(main, [str(a) for a in arguments], prog_name="driftbook")


def project(folder: Path, settings: str = SMALL, **cells: str) -> Path:
    """Write a project whose four notebooks hold one cell each, ``pass`` unless given by step."""
    (folder / "notebooks").mkdir(parents=True)
    (folder / "runbook.yaml").write_text(settings)
    for step, name in STEPS.items():
        notebook = new_notebook()
        notebook.cells = [
            new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]}),
            new_code_cell(cells.get(step.replace("-", "_"), "pass")),
        ]
        nbformat.write(notebook, folder / "notebooks" / name)
    return folder


def leftovers(artifacts: Path) -> list[str]:
    """Return the files that are neither caches nor kept failures, relative to ``artifacts``."""
    found = [path.relative_to(artifacts) for path in artifacts.rglob("*") if path.is_file()]
    return sorted(str(path) for path in found if path.parts[0] not in ("data", "failed", ".lock"))


class TestHelp:
    def test_lists_the_commands_in_the_order_of_the_flow(self) -> None:
        text = invoke("--help").output
        names = ["new", "run", "backtest", "promote", "rollback", "acknowledge", "serve"]
        names += ["report", "lab", "open", "track", "verify", "reproduce"]
        found = re.findall(r"^  (\w+)  ", text, flags=re.MULTILINE)
        assert [name for name in found if name in main.commands] == names
        assert sorted(names) == sorted(main.commands)
        assert "Exit codes" in text
        assert "Examples" in text

    @pytest.mark.parametrize("command", sorted(main.commands))
    def test_each_command_explains_itself(self, command: str) -> None:
        result = invoke(command, "--help")
        assert result.exit_code == 0
        # Where there is no project yet, none can be named.
        assert ("--settings FILE" in result.output) == (command != "new")
        assert ("--artifacts DIR" in result.output) == (command != "new")
        options = [p for p in main.commands[command].params if isinstance(p, click.Option)]
        assert all(option.help for option in options)

    def test_imports_nothing_heavy(self) -> None:
        code = (
            "import sys\nfrom driftbook.runbook.cli import main\n"
            "try: main(['--help'])\nexcept SystemExit: pass\n"
            "heavy = {'pandas', 'numpy', 'sklearn', 'pydantic', 'yaml', 'papermill', 'tqdm'}\n"
            "sys.exit(str(sorted(heavy & set(sys.modules)) or ''))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False
        )
        assert done.stderr.strip() == ""

    def test_module_and_version(self) -> None:
        done = driftbook("--version")
        assert done.returncode == 0
        assert re.fullmatch(r"driftbook, version \d+\.\d+\.\d+\n", done.stdout)


class TestWrongUse:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["wibble"], "No such command 'wibble' (see 'driftbook --help')"),
            (["--wibble"], "No such option '--wibble' (see 'driftbook --help')"),
            (["run", "--wibble"], "No such option '--wibble' (see 'driftbook run --help')"),
            (
                ["run", "--from", "foo"],
                "'foo' is not one of 'train-eval', 'drift', 'decision', 'serving'",
            ),
            (["run", "--cell-timeout", "0"], "0 is not in the range x>=1"),
            (["serve", "--port", "70000"], "70000 is not in the range 0<=x<=65535"),
            (["open"], "Missing argument 'RUN_ID'"),
            (["acknowledge", "f0", "f0"], "Got unexpected extra argument (f0)"),
            (["run", "--settings", "gone.yaml"], "gone.yaml cannot be read (No such file"),
            (
                ["verify", "--artifacts", "gone"],
                "gone does not exist yet; run 'driftbook run' first",
            ),
        ],
    )
    def test_one_line_and_exit_code(
        self, arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        project(tmp_path / "p")
        monkeypatch.chdir(tmp_path / "p")
        result = invoke(*arguments)
        assert result.exit_code == (1 if arguments[0] == "verify" else 2)
        assert result.stdout == ""
        assert result.stderr.startswith("driftbook: ")
        assert result.stderr.count("\n") == 1
        assert message in result.stderr
        assert not (tmp_path / "p" / "artifacts").exists()

    def test_no_runbook_anywhere(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        result = invoke("verify")
        assert result.exit_code == 2
        assert "no runbook.yaml in" in result.stderr
        assert "--settings" in result.stderr

    def test_runbook_is_found_upward(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(project(tmp_path / "p") / "notebooks")
        assert f"{tmp_path / 'p' / 'artifacts'} does not exist yet" in invoke("verify").stderr

    def test_folder_that_cannot_be_written(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(project(tmp_path / "p"))
        (tmp_path / "p" / "artifacts").mkdir()
        (tmp_path / "p" / "artifacts" / ".lock").mkdir()
        result = invoke("report")
        assert result.exit_code == 1
        assert "artifacts/.lock: Is a directory" in result.stderr
        assert result.stderr.count("\n") == 1

    def test_debug_shows_the_traceback(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("DRIFTBOOK_DEBUG", "1")
        done = driftbook("verify")
        assert done.returncode != 0
        assert "Traceback" in done.stderr
        assert "UsageError: no runbook.yaml" in done.stderr


class TestRefusedRun:
    """Found before anything is written: exit code 2, one line, no artifacts folder."""

    @pytest.mark.parametrize(
        ("settings", "arguments", "message"),
        [
            (SMALL, ["--window", "1999-01"], "unknown window '1999-01'"),
            ("data: {source: nowhere.csv}", [], "nowhere.csv"),
            ("data: {sauce: flights}", [], "unknown key 'sauce'; did you mean 'source'?"),
        ],
    )
    def test_settings_and_data(
        self, settings: str, arguments: list[str], message: str, tmp_path: Path
    ) -> None:
        folder = project(tmp_path / "p", settings)
        done = driftbook("run", *arguments, cwd=folder)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("driftbook: ")
        assert done.stderr.count("\n") == 1
        assert message in done.stderr
        assert not (folder / "artifacts").exists()

    def test_notebook_with_another_parameter(self, tmp_path: Path) -> None:
        folder = project(tmp_path / "p")
        path = folder / "notebooks" / STEPS["drift"]
        path.write_text(path.read_text().replace("run_id = None", "run_id = None\\nextra = 1"))
        done = driftbook("run", cwd=folder)
        assert done.returncode == 2
        assert "02-drift.ipynb declares the parameter 'extra'" in done.stderr
        assert not (folder / "artifacts").exists()

    def test_notebook_missing(self, tmp_path: Path) -> None:
        folder = project(tmp_path / "p")
        (folder / "notebooks" / STEPS["serving"]).unlink()
        done = driftbook("run", cwd=folder)
        assert done.returncode == 2
        assert "04-serving.ipynb cannot be read" in done.stderr


class TestOneWay:
    """One window of data takes one way through all notebooks of a run."""

    def test_data_are_loaded_and_judged_once_and_the_same_for_all(self, tmp_path: Path) -> None:
        opened = "from driftbook.runbook.run import open_run\n"
        opened += "run = open_run(settings_file, artifacts_dir, window, run_id)\n"
        folder = project(
            tmp_path / "p",
            "data: {source: rows.csv, target: target, window: 300, reference: 3}",
            # Pre-flight has read the table: nothing reads it again.
            train_eval="import os; os.remove('../rows.csv')\n" + opened + "assert run.model",
            drift=opened + "run.assessment.quality.attrs['seen'] = 'in 02'",
            decision=opened + "raise ValueError(run.assessment.quality.attrs['seen'], window)",
        )
        synthetic.make_scenario("none", rows=2400, seed=3).to_csv(folder / "rows.csv", index=False)
        done = driftbook("run", "--quiet", cwd=folder)
        assert done.returncode == 1
        assert "03-retrain-decision.ipynb, cell [3]: ValueError: ('in 02', 'rows-0008')" in (
            done.stderr
        )

    def test_a_reference_that_cannot_train_is_found_before_the_first_notebook(
        self, tmp_path: Path
    ) -> None:
        folder = project(
            tmp_path / "p", "data: {source: rows.csv, target: target, window: 300, reference: 3}"
        )
        table = synthetic.make_scenario("none", rows=2400, seed=3)
        table.assign(target=1).to_csv(folder / "rows.csv", index=False)
        done = driftbook("run", cwd=folder)
        assert (done.returncode, done.stdout) == (2, "")
        assert "the training part of the reference has 0 rows with target = 0" in done.stderr
        assert not (folder / "artifacts").exists()


class TestFailedRun:
    def test_failing_cell_leaves_only_the_kept_notebook(self, tmp_path: Path) -> None:
        folder = project(tmp_path / "p", drift="#| label: fig-x\n1 / 0")
        done = driftbook("run", "--from", "serving", cwd=folder)
        assert (done.returncode, done.stdout) == (1, "")
        lines = done.stderr.splitlines()
        assert lines[0].endswith("nothing is published yet, so this run starts with train-eval")
        assert re.match(r"driftbook: 01-train-eval done in \d+\.\d s", lines[-2])
        told = re.fullmatch(
            r"driftbook: 02-drift\.ipynb, cell \[3\] fig-x: ZeroDivisionError: division by zero; "
            r"the notebook is kept at (.*)",
            lines[-1],
        )
        assert told
        assert Path(told[1]).is_file()
        assert leftovers(folder / "artifacts") == []

    def test_killed_kernel_is_a_failure_in_one_line(self, tmp_path: Path) -> None:
        folder = project(tmp_path / "p", train_eval="import os; os.kill(os.getpid(), 9)")
        done = driftbook("run", "--quiet", cwd=folder)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.count("\n") == 1
        assert "the kernel was killed (SIGKILL), often because memory ran out" in done.stderr
        assert leftovers(folder / "artifacts") == []


class Running:
    """``driftbook run`` as a process whose first notebook says its kernel's number, then waits.

    Started like a command that a script leaves in the background: SIGINT is ignored at first.
    """

    def __init__(self, folder: Path) -> None:
        cell = f"""
import os, time
open({str(folder / "pid")!r}, "w").write(str(os.getpid()))
time.sleep(600)
"""
        self.folder = project(folder, train_eval=cell)
        self.process = subprocess.Popen(
            ["sh", "-c", f"trap '' INT; exec {sys.executable} -m driftbook run"],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            self.kernel = int(self._wait_for(folder / "pid"))
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Leave neither a process nor an open pipe, whatever the test found."""
        self.process.kill()
        self.process.communicate()

    def _wait_for(self, path: Path) -> str:
        deadline = monotonic() + 120
        while monotonic() < deadline and self.process.poll() is None:
            if path.exists() and path.read_text():
                return path.read_text()
            sleep(0.05)
        raise AssertionError(f"no kernel number after 120 s or exit {self.process.returncode}")

    def kernel_ends(self, within_s: float = 15.0) -> bool:
        deadline = monotonic() + within_s
        while monotonic() < deadline:
            try:
                if "\nState:\tZ" in Path(f"/proc/{self.kernel}/status").read_text():
                    return True
            except OSError:
                return True
            sleep(0.05)
        return False


class TestStoppedRun:
    @pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
    def test_told_to_end(self, signum: signal.Signals, tmp_path: Path) -> None:
        with Running(tmp_path / "p") as running:
            running.process.send_signal(signum)
            out, err = running.process.communicate(timeout=60)
        assert (running.process.returncode, out) == (130, "")
        assert err.splitlines()[-1] == (
            "driftbook: stopped; the next command finishes or drops what was half done"
        )
        assert "Traceback" not in err
        assert "pending" not in err
        assert running.kernel_ends()
        assert leftovers(tmp_path / "p" / "artifacts") == []

    def test_killed_outright(self, tmp_path: Path) -> None:
        with Running(tmp_path / "p") as running:
            second = driftbook("report", cwd=running.folder)
        assert second.returncode == 75
        assert f"process {running.process.pid}) is at work" in second.stderr
        assert running.kernel_ends()
        assert leftovers(running.folder / "artifacts") != []
        third = driftbook("report", cwd=running.folder)
        assert third.returncode == 1
        assert re.search(r"driftbook: dropped run \S+, which had stopped before", third.stderr)
        assert "holds no finished run" in third.stderr
        assert leftovers(running.folder / "artifacts") == []


@pytest.fixture(scope="module")
def finished(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the real notebooks in which one run was made."""
    folder = tmp_path_factory.mktemp("finished")
    shutil.copytree(root / "notebooks", folder / "notebooks")
    (folder / "runbook.yaml").write_text(SMALL)
    done = driftbook("run", "--no-render", "--json", "--notes", "first", cwd=folder)
    assert done.returncode == 0, done.stderr
    (folder / "first.json").write_text(done.stdout)
    return folder


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished project that a test may change."""
    return Path(shutil.copytree(finished, tmp_path / "copied"))


def first(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "first.json").read_text())
    return found


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Return when each file was written and what it holds."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in found}


def here(folder: Path) -> list[str]:
    return ["--settings", str(folder / "runbook.yaml")]


class TestFinishedRun:
    def test_json_summary(self, finished: Path) -> None:
        found = first(finished)
        published = json.loads(
            (finished / "artifacts" / "policy" / "retrain_recommendation.json").read_text()
        )
        same = ("action", "reason", "window", "model_version", "run_id", "drifted_features")
        assert {key: found[key] for key in same} == {key: published[key] for key in same}
        assert found["action"] == "retrain"
        assert found["window"] == "rows-0012"
        assert found["next"] == "driftbook promote"
        assert found["quality"]["basis"] == "realised"
        assert found["quality"]["worse"] is True
        assert found["page"] is None

    @pytest.mark.parametrize(
        ("named", "code"), [("retrain,investigate", 3), (" monitor , hold", 0), ("", 0)]
    )
    def test_a_scheduler_may_ask_for_an_exit_code_of_an_action(
        self, finished: Path, monkeypatch: pytest.MonkeyPatch, named: str, code: int
    ) -> None:
        done = FinishedJob(first(finished)["run_id"], None, 1.0)
        monkeypatch.setattr(flow, "perform_job", lambda *_, **__: done)
        result = invoke("run", "--fail-on", named, *here(finished))
        assert result.exit_code == code, result.output
        assert result.stdout.startswith("action     retrain")

    def test_a_quick_run_is_on_a_tenth_and_replaces_nothing(self, copied: Path) -> None:
        before = snapshot(copied / "artifacts")
        result = invoke("run", "--quick", "--no-render", "--json", *here(copied))
        assert result.exit_code == 0, result.output
        found = json.loads(result.stdout)
        assert found["rows"] == 120 and "/artifacts/quick" in found["next"]
        data = json.loads((copied / "artifacts/quick/manifest.json").read_text())["data"]
        assert data["dropped"] == {"not in data.share": 12_960}
        after = snapshot(copied / "artifacts")
        own = {name: kept for name, kept in after.items() if "/artifacts/quick/" not in name}
        assert own == before

    def test_an_unknown_action_is_wrong_use(self, finished: Path) -> None:
        result = invoke("run", "--fail-on", "retrain,panic", *here(finished))
        assert result.exit_code == 2
        assert "--fail-on names 'panic'; the actions are hold, monitor" in result.stderr

    def test_executed_notebooks_are_kept_with_the_run(self, finished: Path) -> None:
        executed = finished / "artifacts" / "runs" / first(finished)["run_id"] / "executed"
        assert sorted(path.name for path in executed.iterdir()) == sorted(STEPS.values())

    def test_verify_accepts_and_names_what_is_off(self, copied: Path) -> None:
        good = invoke("verify", *here(copied))
        assert (good.exit_code, good.stderr) == (0, "")
        assert invoke("verify", "--quiet", *here(copied)).output == ""
        path = copied / "artifacts" / "drift" / "drift_report.csv"
        content = bytearray(path.read_bytes())
        content[-2] ^= 1
        path.write_bytes(content)
        bad = invoke("verify", *here(copied))
        assert bad.exit_code == 1
        assert "drift/drift_report.csv was altered" in bad.stdout
        asked = invoke("verify", "--json", *here(copied))
        assert asked.exit_code == 1
        assert json.loads(asked.stdout)["ok"] is False

    def test_verify_reads_only_and_works_beside_a_run(self, copied: Path) -> None:
        artifacts = copied / "artifacts"
        run_id = first(copied)["run_id"]
        # A run at work, one that stopped while it was published, and a folder without a lock.
        (artifacts / ".staging" / "at-work").mkdir(parents=True)
        (artifacts / "runs" / run_id / ".published").unlink()
        (artifacts / "drift" / "drift_report.csv").unlink()
        (artifacts / ".lock").unlink()
        before = snapshot(artifacts)
        found = invoke("verify", *here(copied))
        assert found.exit_code == 1
        assert found.stdout.splitlines() == [
            "drift/drift_report.csv is missing",
            (
                f"lineage cannot be checked: [Errno 2] No such file or directory: "
                f"'{artifacts / 'drift' / 'drift_report.csv'}'"
            ),
            (
                f"run {run_id} is being published or stopped half-way; "
                "the next run or report finishes it"
            ),
        ]
        assert snapshot(artifacts) == before
        with transaction.lock_artifacts(artifacts):
            assert invoke("verify", *here(copied)).stdout == found.stdout

    def test_run_from_drift_uses_the_champion_and_sums_up_in_ten_lines(self, copied: Path) -> None:
        done = driftbook(
            "run", "--from", "drift", "--window", "rows-0004", "--no-render", cwd=copied
        )
        assert done.returncode == 0, done.stderr
        lines = done.stdout.splitlines()
        assert len(lines) <= 10
        told = dict(line.split(maxsplit=1) for line in lines)
        assert told["model"] == first(copied)["model_version"]
        assert told["window"] == "rows-0004, 1,200 rows"
        assert told["action"] in ("hold", "monitor")
        assert [line.split()[1] for line in done.stderr.splitlines()] == [
            "settings",
            "02-drift",
            "03-retrain-decision",
            "04-serving",
        ]
        assert invoke("verify", *here(copied)).exit_code == 0

    def test_run_from_decision_carries_the_drift_report_over(self, copied: Path) -> None:
        (copied / "runbook.yaml").write_text(SMALL + "policy: {retrain_cost: 1000000.0}\n")
        done = driftbook("run", "--from", "decision", "--no-render", "--json", cwd=copied)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["action"] == "monitor"
        drift = (copied / "artifacts" / "drift" / "drift_report.csv").read_text()
        assert json.loads(done.stdout)["run_id"] in drift
        assert first(copied)["run_id"] not in drift
        assert invoke("verify", *here(copied)).exit_code == 0

    def test_a_window_with_too_few_rows_to_judge_goes_all_the_way(self, copied: Path) -> None:
        (copied / "runbook.yaml").write_text(SMALL + "policy: {min_rows: 5000}\n")
        done = driftbook("run", "--from", "drift", "--no-render", "--json", cwd=copied)
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        assert found["action"] == "monitor"
        assert found["reason"].startswith("insufficient_data")
        assert found["quality"] is None
        assert invoke("verify", *here(copied)).exit_code == 0

    @pytest.mark.parametrize(
        ("first_step", "settings", "data", "changed"),
        [
            ("decision", {}, {"window": "rows-0005"}, "window"),
            ("decision", {"drift": {"alpha": 0.01}}, {"sha256": "0"}, "data and drift settings"),
            ("serving", {"policy": {"retrain_cost": 9.0}}, {}, "policy settings"),
        ],
    )
    def test_later_steps_need_the_same_evidence(
        self,
        finished: Path,
        first_step: str,
        settings: dict[str, Any],
        data: dict[str, str],
        changed: str,
    ) -> None:
        artifacts = finished / "artifacts"
        manifest = json.loads((artifacts / "manifest.json").read_text())
        resume.check_resume(artifacts, first_step, manifest["settings"], manifest["data"])
        with pytest.raises(UsageError, match=f"since then {changed} changed; use --from drift"):
            resume.check_resume(
                artifacts, first_step, manifest["settings"] | settings, manifest["data"] | data
            )

    def test_failing_cell_leaves_the_published_run_whole(self, copied: Path) -> None:
        path = copied / "notebooks" / STEPS["drift"]
        path.write_text(path.read_text().replace("assessment.quality", "assessment.no_such"))
        before = (copied / "artifacts" / "manifest.json").read_bytes()
        done = driftbook("run", "--from", "drift", "--quiet", cwd=copied)
        assert done.returncode == 1
        assert re.search(r"02-drift\.ipynb, cell \[6\] \S+: AttributeError", done.stderr)
        assert (copied / "artifacts" / "manifest.json").read_bytes() == before
        assert invoke("verify", *here(copied)).exit_code == 0

    def test_folder_of_another_model_is_refused(self, copied: Path) -> None:
        (copied / "runbook.yaml").write_text(SMALL.replace("small", "other"))
        done = driftbook("run", "--quiet", cwd=copied)
        assert done.returncode == 2
        assert "holds the model 'small', the settings are about 'other'" in done.stderr

    def test_promote_then_rollback(self, copied: Path) -> None:
        models = copied / "artifacts" / "models"
        before, after = first(copied)["model_version"], first(copied)["challenger_version"]
        promoted = invoke("promote", *here(copied))
        assert promoted.exit_code == 0, promoted.stderr
        assert promoted.stdout.splitlines()[0].split() == (
            ["promotion", after, "is", "champion,", before, "was"]
        )
        assert registry.read_index(models).aliases["champion"] == after
        assert invoke("verify", *here(copied)).exit_code == 0
        again = invoke("promote", *here(copied))
        assert again.exit_code == 1
        assert f"judged model {before}, but the champion is {after}" in again.stderr
        back = invoke("rollback", "--why", "complaints", "--json", *here(copied))
        assert back.exit_code == 0, back.stderr
        line = json.loads(back.stdout)
        assert (line["event"], line["to"], line["why"]) == ("rollback", before, "complaints")
        assert registry.read_index(models).aliases["champion"] == before

    def test_open_copies_the_executed_notebooks(self, copied: Path) -> None:
        run_id = first(copied)["run_id"]
        result = invoke("open", run_id, "--print", *here(copied))
        assert result.exit_code == 0
        folder = Path(result.stdout.strip())
        kept = copied / "artifacts" / "runs" / run_id / "executed"
        for name in STEPS.values():
            assert (folder / name).read_bytes() == (kept / name).read_bytes()
        assert invoke("verify", *here(copied)).exit_code == 0
        unknown = invoke("open", "nope", *here(copied))
        assert unknown.exit_code == 2
        assert f"no finished run 'nope' under {copied / 'artifacts'}; latest: {run_id}" in (
            unknown.stderr
        )

    def test_open_becomes_jupyterlab(self, copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        became: list[list[str]] = []
        monkeypatch.setattr(os, "execv", lambda _program, words: became.append(words))
        monkeypatch.setattr("driftbook.runbook.reopen.find_spec", lambda _name: object())
        result = invoke("open", first(copied)["run_id"], *here(copied))
        assert result.exit_code == 0
        assert became == [[sys.executable, "-m", "jupyterlab", result.stdout.strip()]]
        monkeypatch.setattr("driftbook.runbook.reopen.find_spec", lambda _name: None)
        without = invoke("open", first(copied)["run_id"], *here(copied))
        assert without.exit_code == 1
        assert "JupyterLab is not installed; open" in without.stderr

    @pytest.mark.parametrize("run_id", ["..", "../..", "", "."])
    def test_open_stays_inside_the_runs(self, finished: Path, run_id: str) -> None:
        assert invoke("open", run_id, "--print", *here(finished)).exit_code == 2


class TestGate:
    """What must not pass."""

    def test_recommendation_that_says_something_else(self, copied: Path) -> None:
        self.edit(copied, action="hold")
        self.refused(copied, "recommends 'hold', not 'retrain'")

    def test_recommendation_about_another_champion(self, copied: Path) -> None:
        self.edit(copied, model_version="m000000000000")
        self.refused(copied, "judged model m000000000000, but the champion is")

    def test_recommendation_that_was_edited(self, copied: Path) -> None:
        path = copied / "artifacts" / "policy" / "retrain_recommendation.json"
        path.write_text(path.read_text() + " ")
        self.refused(copied, "is not the one in the manifest; see 'driftbook verify'")

    def test_another_version_than_the_graded_one(self, copied: Path) -> None:
        version = first(copied)["model_version"]
        self.refused(copied, f"has graded challenger .*, not {version}", "--to", version)

    def test_no_recommendation(self, copied: Path) -> None:
        (copied / "artifacts" / "policy" / "retrain_recommendation.json").unlink()
        self.refused(copied, "there is no retrain_recommendation.json under")

    def test_force_needs_a_reason_and_writes_it_down(self, copied: Path) -> None:
        self.edit(copied, action="hold")
        silent = invoke("promote", "--force", *here(copied))
        assert silent.exit_code == 2
        assert "--why TEXT" in silent.stderr
        told = invoke("promote", "--force", "--why", "the owner insists", "--json", *here(copied))
        assert told.exit_code == 0, told.stderr
        line = json.loads(told.stdout)
        assert (line["forced"], line["why"]) == (True, "the owner insists")
        assert line["to"] == first(copied)["challenger_version"]

    def edit(self, folder: Path, **changes: str) -> None:
        """Change the recommendation and its hash in the manifest, as an honest run would."""
        import hashlib

        path = folder / "artifacts" / "policy" / "retrain_recommendation.json"
        text = json.dumps(json.loads(path.read_text()) | changes)
        path.write_text(text)
        manifest = folder / "artifacts" / "manifest.json"
        document = json.loads(manifest.read_text())
        listed = document["files"]["policy/retrain_recommendation.json"]
        listed["sha256"] = hashlib.sha256(text.encode()).hexdigest()
        manifest.write_text(json.dumps(document))

    def refused(self, folder: Path, message: str, *arguments: str) -> None:
        models = folder / "artifacts" / "models"
        before = registry.read_index(models).aliases["champion"]
        result = invoke("promote", *arguments, *here(folder))
        assert result.exit_code == 1
        assert re.search(message, result.stderr), result.stderr
        assert registry.read_index(models).aliases["champion"] == before


class TestTerminal:
    def test_plain_lines_where_there_is_no_terminal(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with Terminal().step("data"):
            pass
        assert re.fullmatch(r"driftbook: data done in 0\.\d s\n", capsys.readouterr().err)

    def test_a_step_that_fails_says_nothing_of_itself(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(ValueError, match="no"), Terminal().step("data"):
            raise ValueError("no")
        assert capsys.readouterr().err == ""

    def test_quiet(self, capsys: pytest.CaptureFixture[str]) -> None:
        terminal = Terminal(quiet=True)
        terminal.say("a")
        with terminal.step("b"):
            pass
        assert terminal.papermill_bar("d") is False
        assert capsys.readouterr().err == ""

    def test_bars_on_a_terminal(self) -> None:
        controller, terminal_end = os.openpty()
        with os.fdopen(terminal_end, "w") as stream:
            terminal = Terminal(stream=stream)
            with terminal.step("settings"):
                sleep(0.6)
            with tqdm(total=2, **cast("dict[str, Any]", terminal.papermill_bar("02-drift"))) as bar:
                bar.update(2)
        shown = b""
        with os.fdopen(controller, "rb", buffering=0) as screen, suppress(OSError):
            while part := screen.read(65536):  # ends with an error once all was read
                shown += part
        text = shown.decode()
        assert re.search(r"settings +\[00:00\]", text)
        assert re.search(r"02-drift +100%\|.*\| 2/2 cells \[00:00\]", text)


class TestSummary:
    def test_backtest_shows_the_cheapest_policies_and_always_ours(self, tmp_path: Path) -> None:
        place = Project(tmp_path / "runbook.yaml", tmp_path)
        (tmp_path / "backtest").mkdir()
        names = ["hindsight", *(f"every {k}" for k in range(2, 10)), "driftbook"]
        rows = [f"{name},{k},0.1{k},{k}.5,{k / 100}" for k, name in enumerate(names)]
        header = "policy,retrains,mean_loss,total_cost,excess"
        (tmp_path / "backtest" / "policies.csv").write_text("\n".join([header, *reversed(rows)]))
        found = summary.summarise_backtest(place, FinishedJob("r1", None, 12.34))
        assert [row["policy"] for row in found["policies"]] == names
        assert found["policies"][1] == {
            "policy": "every 2",
            "retrains": 1,
            "mean_loss": 0.11,
            "total_cost": 1.5,
            "excess": 0.01,
        }
        lines = summary.write_backtest_lines(found)
        assert len(lines) <= 10
        assert lines[1].split() == ["hindsight", "0", "0.5000", "0.0%"]
        assert lines[-3].split() == ["driftbook", "9", "9.5000", "9.0%"]

    def test_a_window_that_cannot_be_judged(self, tmp_path: Path) -> None:
        (tmp_path / "policy").mkdir()
        document = {
            "action": "monitor",
            "reason": "insufficient_data: 3 rows",
            "plain": {"why": ["Only 3 rows came in.", "The model stays."], "sure": "Not sure."},
            "window": "rows-0004",
            "model_version": "m1",
            "drifted_features": [],
            "n_current": 3,
            "evidence": {"performance": None},
        }
        path = tmp_path / "policy" / "retrain_recommendation.json"
        path.write_text(json.dumps(document))
        (tmp_path / "mine.yaml").write_text("model: {task: binary}")
        place = Project(tmp_path / "mine.yaml", tmp_path, " --settings mine.yaml")
        found = summary.summarise_run(place, FinishedJob("r1", tmp_path / "index.html", 1.0))
        told = dict(line.split(maxsplit=1) for line in summary.write_run_lines(found))
        assert told["task"] == "binary"
        assert told["why"] == "Only 3 rows came in. The model stays. Not sure."
        assert told["quality"] == "cannot be judged yet"
        assert told["drifted"] == "no feature"
        assert told["page"] == str(tmp_path / "index.html")
        assert told["next"].startswith("driftbook run --from drift --settings mine.yaml")
