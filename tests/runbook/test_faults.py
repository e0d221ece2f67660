"""Faults of the machine: killed commands, no memory, a full disk; and who waits for whom."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from time import monotonic, sleep

import nbformat
import pytest
from click.testing import CliRunner, Result
from nbformat.v4 import new_code_cell, new_notebook

from driftbook import paths
from driftbook.errors import UsageError
from driftbook.model import training
from driftbook.runbook import memory, resume
from driftbook.runbook.cli import main
from driftbook.runbook.command import report_errors_in_one_line
from driftbook.runbook.run import open_run
from driftbook.settings import Settings
from driftbook.store import files, manifest, registry, registry_models, transaction, verify

# Holds the interpreter in native code for ages, as a long fit may.
NATIVE = "import re; re.match(r'(a+)+$', 'a' * 60 + 'b')"


def is_running(pid: int) -> bool:
    """Tell whether a process lives; one that has ended and waits to be asked about does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not (status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z")


def ends(pid: int, within_s: float = 20.0) -> bool:
    """Tell whether a process is gone before the time is up."""
    deadline = monotonic() + within_s
    while is_running(pid) and monotonic() < deadline:
        sleep(0.05)
    return not is_running(pid)


def test_a_kernel_and_what_it_started_end_with_the_command(tmp_path: Path) -> None:
    program = f"""
import sys
from pathlib import Path
from driftbook.runbook.kernel import WarmKernel
kernel = WarmKernel(Path.cwd())
kernel.run_code("import subprocess; child = subprocess.Popen(['sleep', '600'])")
kernel.run_code("open('child', 'w').write(str(child.pid))")
print(kernel.pid, flush=True)
kernel.run_code({NATIVE!r})
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    ) as command:
        assert command.stdout is not None
        kernel, child = int(command.stdout.readline()), int((tmp_path / "child").read_text())
        sleep(0.5)  # the kernel has begun the last cell, or has not: both have to end
        command.send_signal(signal.SIGKILL)
    assert ends(kernel) and ends(child)


SPINNING = "import os\nwhile True: os.urandom(1 << 16)"  # nearly all of it in the system


@pytest.mark.parametrize(
    ("program", "spare", "starved"),
    [
        (SPINNING, 1 << 20, True),  # asks the system again and again, and may have no more
        (SPINNING, 1 << 30, False),  # may have more
        ("while True: pass", 1 << 20, False),  # has enough to go on
    ],
)
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_who_asks_for_memory_in_vain_for_ever_is_ended(
    program: str, spare: int, starved: bool
) -> None:
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, start_new_session=True) as asking:
        sleep(1.0)
        fields = Path(f"/proc/{asking.pid}/stat").read_text().rpartition(")")[2].split()
        watch = memory.MemoryWatch(asking.pid, int(fields[20]) + spare, patience_s=1.0)
        if not starved:
            sleep(4.0)
            assert is_running(asking.pid)
            asking.kill()
        assert ends(asking.pid)
        watch.stop()
    assert watch.starved == starved


def test_a_run_without_memory_ends_with_a_sentence(tmp_path: Path) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (800 << 20, 800 << 20))

    (tmp_path / "runbook.yaml").write_text("data: {source: 'synthetic:none'}\n")
    done = subprocess.run(
        [sys.executable, "-m", "driftbook", "run", "--quiet"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        preexec_fn=limit,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "800 MB here: ulimit -v" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device; free"),
        (OSError(errno.ENOSPC, "No space left on device", "/a/b"), "/a/b: No space left"),
        (MemoryError(), "memory ran out"),
        (RuntimeError("can't start new thread"), "can't start new thread: memory ran out"),
        (ImportError("x.so: failed to map segment from shared object"), "memory ran out"),
    ],
)
def test_a_fault_of_the_machine_is_one_sentence(
    error: Exception, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended, report_errors_in_one_line():
        raise error
    assert ended.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("driftbook: ") and told in line


@pytest.mark.parametrize("error", [RuntimeError("a bug"), ImportError("no such"), OSError("odd")])
def test_a_fault_of_the_program_keeps_its_traceback(error: Exception) -> None:
    with pytest.raises(type(error), match=str(error)), report_errors_in_one_line():
        raise error


# Leaves the table that a backtest is summed up from.
POLICIES_CELL = """
import pandas as pd
row = {"policy": "driftbook", "retrains": 0, "mean_loss": 0.1, "total_cost": 1.0, "excess": 0.0}
run.write_csv("backtest/policies.csv", pd.DataFrame([row]))
"""


class TestBacktest:
    """A backtest computes for minutes: meanwhile the folder is free, and its own work is kept."""

    @pytest.fixture
    def place(self, finished_run: Path, tmp_path: Path) -> Path:
        """Return a project with a finished run and a notebook 05 to be written."""
        shutil.copytree(finished_run, tmp_path / "artifacts")
        text = (finished_run.parent / "runbook.yaml").read_text()
        (tmp_path / "runbook.yaml").write_text(text)
        shutil.copytree(Path(__file__).parents[2] / "notebooks", tmp_path / "notebooks")
        return tmp_path

    @staticmethod
    def backtest(place: Path, *cells: str) -> Result:
        """Make a backtest whose notebook does what ``cells`` say."""
        notebook = new_notebook()
        parameters = 'settings_file = ""\nartifacts_dir = ""\nrun_id = None'
        opening = (
            "from pathlib import Path\n"
            "from driftbook.runbook.run import open_run\n"
            "from driftbook.store import registry, registry_models, transaction\n"
            "run = open_run(settings_file, artifacts_dir, None, run_id)\n"
            "run.write_json('backtest/notes.json', {'notes': []}, run.champion)"
        )
        notebook.cells = [new_code_cell(parameters, metadata={"tags": ["parameters"]})]
        notebook.cells += [new_code_cell(cell) for cell in (opening, *cells)]
        nbformat.write(notebook, place / "notebooks" / paths.BACKTEST_NOTEBOOK)
        words = ["backtest", "--no-render", "--json", "--settings", str(place / "runbook.yaml")]
        return CliRunner().invoke(main, words, prog_name="driftbook")

    def test_other_commands_go_on_meanwhile_and_leave_it_alone(self, place: Path) -> None:
        other = (
            "with transaction.lock_artifacts(run.artifacts):\n"
            "    assert transaction.recover_artifacts(run.artifacts) == []\n"
            "assert run.folder.is_dir()"
        )
        done = self.backtest(place, other, POLICIES_CELL)
        assert done.exit_code == 0, done.stderr
        assert (place / "artifacts" / paths.POLICIES).is_file()
        assert verify.verify_artifacts(place / "artifacts") == []
        assert list((place / "artifacts" / paths.STAGING).iterdir()) == []

    def test_of_another_champion_than_todays_it_says_so(self, place: Path) -> None:
        models = place / "artifacts" / paths.MODELS
        old = registry.read_index(models).aliases["champion"]
        move = (
            "from driftbook.model import training\n"
            "other = training.train(run.champion.reference, run.settings, recipe='other')\n"
            "models = run.artifacts / 'models'\n"
            "registry_models.save_model(models, other)\n"
            "_ = registry.promote_version(models, other.version, 'test', None, forced=True)"
        )
        done = self.backtest(place, move, POLICIES_CELL)
        assert done.exit_code == 0, done.stderr
        new = registry.read_index(models).aliases["champion"]
        assert new != old
        assert f"model {new} became champion meanwhile; this backtest is about {old}" in done.stderr
        notes = files.read_json_object(place / "artifacts" / "backtest" / "notes.json")
        assert notes["model_version"] == old

    def test_it_replays_all_windows_though_the_champion_has_learnt_from_them(
        self, place: Path
    ) -> None:
        artifacts = place / "artifacts"
        run = open_run(place / "runbook.yaml", artifacts, None, None)
        source, rows = run.dataset.source, run.dataset.frame
        origin = {"source": source, "stop_row": str(len(rows))}
        newest = training.train(rows, run.settings, "everything", origin=origin)
        registry_models.save_model(artifacts / paths.MODELS, newest)
        registry.promote_version(artifacts / paths.MODELS, newest.version, "x", None, forced=True)
        done = self.backtest(place, POLICIES_CELL)
        assert done.exit_code == 0, done.stderr
        data = manifest.read_manifest(artifacts / paths.MANIFEST)["data"]
        assert data["window"] == run.window_names[-1]
        with pytest.raises(UsageError, match="no complete window after the champion's reference"):
            _ = open_run(place / "runbook.yaml", artifacts, None, None).split

    def test_one_that_was_killed_is_dropped(self, place: Path) -> None:
        artifacts = place / "artifacts"
        settings = Settings.load(place / "runbook.yaml")
        staged = transaction.stage_run(settings, artifacts, kind="backtest")
        with transaction.keep_staged(staged):
            assert transaction.recover_artifacts(artifacts) == []
        (told,) = transaction.recover_artifacts(artifacts)
        assert told == f"dropped run {staged.run_id}, which had stopped before it was whole"
        assert not staged.folder.exists()

    def test_later_steps_still_start_from_the_run_before_it(self, place: Path) -> None:
        artifacts = place / "artifacts"
        before = manifest.read_manifest(artifacts / paths.MANIFEST)
        changed = Settings.load(place / "runbook.yaml")
        changed = changed.model_copy(
            update={"policy": changed.policy.model_copy(update={"retrain_cost": 7.0})}
        )
        staged = transaction.stage_run(changed, artifacts, kind="backtest")
        note = {**before["data"], "window": "another"}
        (staged.folder / paths.RUN_DATA).write_text(json.dumps(note))
        (staged.folder / "backtest").mkdir()
        (staged.folder / paths.POLICIES).write_text("policy\n")
        transaction.commit_run(staged, artifacts)
        transaction.publish_run(artifacts, staged.run_id)
        assert verify.verify_artifacts(artifacts) == []
        resume.check_resume(artifacts, "serving", before["settings"], before["data"])
        for settings, data, what in (
            (changed.model_dump(mode="json"), before["data"], "policy settings"),
            (before["settings"], note, "window"),
        ):
            with pytest.raises(UsageError, match=rf"run {before['run_id']} .* {what} changed"):
                resume.check_resume(artifacts, "serving", settings, data)
        again = transaction.stage_run(changed, artifacts)
        resume.carry_published(artifacts, "serving", again.folder, again.run_id)
        carried = files.read_json_object(again.folder / paths.RECOMMENDATION)
        assert carried["run_id"] == again.run_id


def test_busy_is_exit_code_75_everywhere(finished_run: Path, tmp_path: Path) -> None:
    artifacts = Path(shutil.copytree(finished_run, tmp_path / "artifacts"))
    shutil.copy(finished_run.parent / "runbook.yaml", tmp_path / "runbook.yaml")
    commands = (
        ["run"], ["backtest"], ["promote"], ["rollback"], ["acknowledge", "f0", "--why", "x"],
        ["report"],
    )  # fmt: skip
    with transaction.lock_artifacts(artifacts):
        for words in commands:
            given = [*words, "--settings", str(tmp_path / "runbook.yaml")]
            done = CliRunner().invoke(main, given, prog_name="driftbook")
            assert done.exit_code == 75, (words, done.stderr)
            assert "is at work on" in done.stderr.splitlines()[-1]
