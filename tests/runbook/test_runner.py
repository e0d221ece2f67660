"""The runner: notebooks in one kernel behave as if each had its own, and failures are told."""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from driftbook.errors import DriftbookError, IntegrityError, UsageError
from driftbook.runbook import notebooks as runner
from driftbook.runbook.kernel import KernelError, WarmKernel
from driftbook.runbook.notebooks import NotebookError
from driftbook.runbook.terminal import Terminal


def write(path: Path, *cells: str, parameters: str | None = "x = 1") -> Path:
    """Write a notebook of code cells; the first is tagged ``parameters`` unless it is None."""
    notebook = new_notebook()
    if parameters is not None:
        notebook.cells.append(new_code_cell(parameters, metadata={"tags": ["parameters"]}))
    notebook.cells += [new_code_cell(cell) for cell in cells]
    nbformat.write(notebook, path)
    return path


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """Collect what a test leaves open in that test, not in a later one that gets the blame."""
    yield
    gc.collect()


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WarmKernel]:
    with WarmKernel(tmp_path_factory.mktemp("kernel")) as warm:
        yield warm


def execute(
    kernel: WarmKernel, folder: Path, *notebooks: Path, cell_timeout_s: int = 600
) -> list[Path]:
    """Execute with ``x = 5``."""
    return runner.execute_notebooks(
        notebooks,
        {"x": 5},
        folder / "out",
        failed_dir=folder / "failed",
        kernel=kernel,
        terminal=Terminal(quiet=True),
        cell_timeout_s=cell_timeout_s,
    )


def texts(path: Path) -> list[str]:
    """Return the text that each code cell of an executed notebook left."""
    found = []
    for cell in nbformat.read(path, as_version=4).cells:
        outputs = cell.get("outputs", [])
        parts = [out.get("text") or out["data"].get("text/plain", "") for out in outputs]
        found.append("".join(parts).strip())
    return found


class TestExecution:
    def test_parameters_reach_the_cells_and_outputs_are_saved(
        self, kernel: WarmKernel, tmp_path: Path
    ) -> None:
        done = execute(kernel, tmp_path, write(tmp_path / "one.ipynb", "x + 1", "print(x)"))
        assert done == [tmp_path / "out" / "one.ipynb"]
        assert texts(done[0])[-2:] == ["6", "5"]

    def test_injected_cell_is_tagged_for_leaving_out(
        self, kernel: WarmKernel, tmp_path: Path
    ) -> None:
        done = execute(kernel, tmp_path, write(tmp_path / "one.ipynb", "x"))
        cells = nbformat.read(done[0], as_version=4).cells
        tagged = [c for c in cells if "remove-cell" in c.metadata.get("tags", [])]
        assert [c.source for c in tagged] == ["# Parameters\nx = 5\n"]
        assert tagged[0].metadata.tags == ["injected-parameters", "remove-cell"]

    def test_sources_are_written_as_lists_of_lines(
        self, kernel: WarmKernel, tmp_path: Path
    ) -> None:
        good = write(tmp_path / "one.ipynb", "y = x\nprint(y)\nprint('two')")
        bad = write(tmp_path / "two.ipynb", "y = x\n1 / 0")
        with pytest.raises(NotebookError):
            execute(kernel, tmp_path, good, bad)
        for path in (tmp_path / "out" / "one.ipynb", tmp_path / "failed" / "two.ipynb"):
            for cell in json.loads(path.read_text())["cells"]:
                assert isinstance(cell["source"], list)
                assert all(line.endswith("\n") for line in cell["source"][:-1])
        printed = json.loads((tmp_path / "out" / "one.ipynb").read_text())["cells"][-1]["outputs"]
        assert printed[0]["text"] == ["5\n", "two\n"]

    def test_every_cell_is_marked_completed_and_language_is_known(
        self, kernel: WarmKernel, tmp_path: Path
    ) -> None:
        done = execute(kernel, tmp_path, write(tmp_path / "one.ipynb", "x"))
        notebook = nbformat.read(done[0], as_version=4)
        assert {c.metadata.papermill.status for c in notebook.cells} == {"completed"}
        assert notebook.metadata.language_info.name == "python"

    def test_braces_in_paths_are_taken_literally(self, kernel: WarmKernel, tmp_path: Path) -> None:
        folder = tmp_path / "{x}"
        folder.mkdir()
        done = execute(kernel, folder, write(folder / "a{b}.ipynb", "x"))
        assert done[0].is_file()

    def test_figures_are_kept_whatever_backend_the_caller_has(
        self, kernel: WarmKernel, tmp_path: Path
    ) -> None:
        assert os.environ["MPLBACKEND"] == "Agg"
        code = "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()"
        done = execute(kernel, tmp_path, write(tmp_path / "figure.ipynb", code))
        cell = nbformat.read(done[0], as_version=4).cells[-1]
        assert "image/png" in cell.outputs[0]["data"]

    def test_large_output_arrives_whole(self, kernel: WarmKernel, tmp_path: Path) -> None:
        done = execute(kernel, tmp_path, write(tmp_path / "long.ipynb", "print('y' * 3_000_000)"))
        assert len(texts(done[0])[-1]) == 3_000_000


# What a notebook may leave behind, and an expression that shows whether the next one sees it.
LEFTOVERS = {
    "names": ("secret = 1", "'secret' in globals()", "False"),
    "results of cells": ("'kept'", "'kept' in repr(Out)", "False"),
    "figures": (
        "import matplotlib.pyplot as plt\nplt.figure(); plt.ioff();",
        "import matplotlib.pyplot as plt\nplt.get_fignums()",
        "[]",
    ),
    "figure style": (
        "import matplotlib as mpl\nmpl.rcParams['font.size'] = 33",
        "import matplotlib as mpl\nmpl.rcParams['font.size']",
        "10.0",
    ),
    "warning filters": (
        "import warnings\nwarnings.simplefilter('error')",
        "import warnings\nwarnings.filters[0][0] == 'error'",
        "False",
    ),
    "environment": (
        "import os\nos.environ['LEFT'] = '1'; del os.environ['HOME']",
        "import os\n('LEFT' in os.environ, 'HOME' in os.environ)",
        "(False, True)",
    ),
    "working folder": (
        "import os\nhere = os.getcwd(); os.chdir('/')",
        "import os\nos.getcwd() == '/'",
        "False",
    ),
    "import path": (
        "import sys\nsys.path.insert(0, '/left')",
        "import sys\n'/left' in sys.path",
        "False",
    ),
    "pandas options": (
        "import pandas as pd\npd.set_option('display.max_rows', 7)",
        "import pandas as pd\npd.get_option('display.max_rows')",
        "60",
    ),
    "logging": (
        "import logging\nlogging.basicConfig(level=5)",
        "import logging\n(logging.getLogger().level, logging.getLogger().handlers)",
        "(30, [])",
    ),
    "random seed": (
        "import random\nrandom.seed(3)",
        "import random\nround(random.random(), 6) == 0.237965",
        "False",
    ),
    "numpy's seed": (
        "import numpy\nnumpy.random.seed(3)",
        "import numpy\nround(numpy.random.rand(), 6) == 0.550798",
        "False",
    ),
}


@pytest.fixture(scope="module")
def after_the_first(kernel: WarmKernel, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Run one notebook that leaves everything behind, then one that looks for each."""
    folder = tmp_path_factory.mktemp("leftovers")
    first = write(folder / "first.ipynb", *(leave for leave, _, _ in LEFTOVERS.values()))
    second = write(folder / "second.ipynb", *(look for _, look, _ in LEFTOVERS.values()))
    outputs = execute(kernel, folder, first, second)
    return dict(zip(LEFTOVERS, texts(outputs[1])[2:], strict=True))


class TestIsolation:
    @pytest.mark.parametrize("what", LEFTOVERS)
    def test_the_next_notebook_does_not_see(
        self, what: str, after_the_first: dict[str, str]
    ) -> None:
        assert after_the_first[what] == LEFTOVERS[what][2]

    def test_cells_are_numbered_from_one(self, kernel: WarmKernel, tmp_path: Path) -> None:
        both = [write(tmp_path / f"{name}.ipynb", "x", "x") for name in "ab"]
        for done in execute(kernel, tmp_path, *both):
            cells = nbformat.read(done, as_version=4).cells
            assert [c.execution_count for c in cells] == [1, 2, 3, 4]

    def test_a_warning_shown_once_is_shown_to_the_next_notebook_too(
        self, kernel: WarmKernel, tmp_path: Path
    ) -> None:
        code = "import statistics, warnings\nwarnings.warn_explicit('old', UserWarning, 'f.py', 1, "
        code += "registry=vars(statistics).setdefault('__warningregistry__', {}))"
        both = [write(tmp_path / f"{name}.ipynb", code) for name in "ab"]
        for done in execute(kernel, tmp_path, *both):
            assert "UserWarning: old" in texts(done)[-1]


class TestRefusals:
    @pytest.mark.parametrize(
        ("parameters", "message"),
        [
            (None, "no cell tagged 'parameters'"),
            ("x = 1\ny = 2", "declares the parameter 'y', which this run does not give"),
            ("z = 1", "has no parameter 'x'; its parameters cell declares 'z'"),
            ("", "has no parameter 'x'; its parameters cell declares none"),
            ("x = len('a')", r"holds \"x = len\('a'\)\"; write only names set to plain literals"),
            ("import os\nx = 1", "holds 'import os'"),
            ("x: int", "holds 'x: int'"),
            ("x = y = 1", "holds 'x = y = 1'"),
            ("x = ", "the parameters cell is not Python"),
        ],
    )
    def test_parameters(
        self, kernel: WarmKernel, tmp_path: Path, parameters: str | None, message: str
    ) -> None:
        good = write(tmp_path / "good.ipynb", f"open({str(tmp_path / 'ran')!r}, 'w')")
        bad = write(tmp_path / "bad.ipynb", "x", parameters=parameters)
        with pytest.raises(UsageError, match=rf"bad\.ipynb.*{message}"):
            execute(kernel, tmp_path, good, bad)
        assert not (tmp_path / "ran").exists()
        assert not (tmp_path / "out").exists()

    def test_literals_of_every_kind_are_read(self, tmp_path: Path) -> None:
        source = "# a comment\na = 'p=q'\nb: float = -1.5\nc = None\nd = {'k': [1, (2,)]}"
        found = runner.read_parameters(write(tmp_path / "n.ipynb", parameters=source))
        assert found == {"a": "p=q", "b": -1.5, "c": None, "d": {"k": [1, (2,)]}}

    def test_no_such_notebook(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match=r"notebook .*gone\.ipynb cannot be read \(No such"):
            runner.check_parameters([tmp_path / "gone.ipynb"], {})

    @pytest.mark.parametrize("content", ["not json", "[]", "{}"])
    def test_no_notebook_at_all(self, tmp_path: Path, content: str) -> None:
        path = tmp_path / "odd.ipynb"
        path.write_text(content)
        with pytest.raises(UsageError, match=r"odd\.ipynb is not a Jupyter notebook"):
            runner.check_parameters([path], {})


class TestFailures:
    def test_message_names_notebook_cell_label_cause_and_kept_file(
        self, kernel: WarmKernel, tmp_path: Path
    ) -> None:
        cell = "#| label: fig-effects\nraise ValueError('two\\nlines')"
        failing = write(tmp_path / "02-drift.ipynb", "x", cell, "1 / 0")
        kept = tmp_path / "failed" / "02-drift.ipynb"
        with pytest.raises(NotebookError) as caught:
            execute(kernel, tmp_path, failing)
        assert str(caught.value) == (
            "02-drift.ipynb, cell [4] fig-effects: ValueError: two lines; "
            f"the notebook is kept at {kept}"
        )
        assert caught.value.exit_code == 1
        assert not (tmp_path / "out" / "02-drift.ipynb").exists()
        tags = [c.metadata.get("tags", []) for c in nbformat.read(kept, as_version=4).cells]
        assert tags.count(["papermill-error-cell-tag"]) == 2

    def test_later_notebooks_do_not_run_and_the_kernel_stays_usable(
        self, kernel: WarmKernel, tmp_path: Path
    ) -> None:
        failing = write(tmp_path / "a.ipynb", "assert x == 4")
        later = write(tmp_path / "b.ipynb", "x")
        with pytest.raises(NotebookError, match=r"a\.ipynb, cell \[3\]: AssertionError"):
            execute(kernel, tmp_path, failing, later)
        assert not (tmp_path / "out" / "b.ipynb").exists()
        assert texts(execute(kernel, tmp_path, later)[0])[-1] == "5"

    def test_leaving_early_is_a_failure(self, kernel: WarmKernel, tmp_path: Path) -> None:
        leaving = write(tmp_path / "a.ipynb", "import sys\nsys.exit(0)", "x")
        with pytest.raises(NotebookError, match=r"cell \[3\]: SystemExit: .* before its end"):
            execute(kernel, tmp_path, leaving)

    def test_slow_cell(self, tmp_path: Path) -> None:
        slow = write(tmp_path / "slow.ipynb", "import time\ntime.sleep(60)")
        with (
            pytest.raises(NotebookError, match=r"cell \[3\]: CellTimeout: .* longer than 1 s"),
            WarmKernel(tmp_path) as own,
        ):
            execute(own, tmp_path, slow, cell_timeout_s=1)

    def test_killed_kernel(self, tmp_path: Path) -> None:
        deadly = write(
            tmp_path / "deadly.ipynb",
            "import subprocess\nchild = subprocess.Popen(['sleep', '600'])\nchild.pid",
            "#| label: out-of-memory\nimport os\nos.kill(os.getpid(), 9)",
            "x",
        )
        with WarmKernel(tmp_path) as own:
            with pytest.raises(
                NotebookError, match=r"cell \[[4?]\] out-of-memory: KernelDied: .*SIGKILL.*memory"
            ):
                execute(own, tmp_path, deadly)
            with pytest.raises(NotebookError, match=r"deadly\.ipynb could not start: the kernel"):
                execute(own, tmp_path, deadly)
        kept = tmp_path / "failed" / "deadly.ipynb"
        child = next(int(text) for text in texts_of_results(kept) if text.isdigit())
        assert ends(child)


def texts_of_results(path: Path) -> list[str]:
    """Return the results of the cells of a failed notebook."""
    return [
        out["data"]["text/plain"]
        for cell in nbformat.read(path, as_version=4).cells
        for out in cell.get("outputs", [])
        if "data" in out
    ]


def is_running(pid: int) -> bool:
    """Tell whether a process exists and is more than a corpse."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def ends(pid: int, within_s: float = 10.0) -> bool:
    """Tell whether a process that was killed is gone before the time is up."""
    deadline = monotonic() + within_s
    while is_running(pid) and monotonic() < deadline:
        sleep(0.05)
    return not is_running(pid)


class TestKernel:
    def test_pytest_is_not_loaded_and_can_be(self, kernel: WarmKernel) -> None:
        kernel.run_code("import sys; assert '_pytest' not in sys.modules, 'it was loaded'")
        kernel.run_code("import pytest; pytest.approx(1.0)")

    def test_errors_of_code_keep_their_kind(self, kernel: WarmKernel) -> None:
        code = "from driftbook.settings import Settings; Settings.load('nowhere')"
        with pytest.raises(UsageError, match="settings file nowhere cannot be read"):
            kernel.run_code(code)
        code = "from driftbook.errors import IntegrityError; raise IntegrityError('altered')"
        with pytest.raises(IntegrityError, match=r"^altered$"):
            kernel.run_code(code)
        with pytest.raises(DriftbookError, match=r"^NameError: name 'nothing' is not defined$"):
            kernel.run_code("nothing")

    def test_code_leaves_no_trace_in_the_next_notebook(
        self, kernel: WarmKernel, tmp_path: Path
    ) -> None:
        kernel.run_code("secret = 1\nprint('loud')")
        done = execute(kernel, tmp_path, write(tmp_path / "a.ipynb", "'secret' in globals()"))
        assert texts(done[0]) == ["", "", "False"]
        assert nbformat.read(done[0], as_version=4).cells[0].execution_count == 1

    def test_stopping_ends_the_process_and_is_repeatable(self, tmp_path: Path) -> None:
        with WarmKernel(tmp_path) as own:
            pid = own.pid
            assert is_running(pid)
        assert ends(pid)
        own.stop()

    def test_a_kernel_that_cannot_start_says_why(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("sys.executable", "/bin/false")
        with (
            WarmKernel(tmp_path) as own,
            pytest.raises(KernelError, match=r"did not start: .*exit status 1"),
        ):
            own.connect()


def test_markdown_cells_are_no_trouble(kernel: WarmKernel, tmp_path: Path) -> None:
    path = write(tmp_path / "text.ipynb", "x")
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.insert(0, new_markdown_cell("# Title"))
    nbformat.write(notebook, path)
    assert texts(execute(kernel, tmp_path, path)[0]) == ["", "", "", "5"]
