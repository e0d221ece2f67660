"""Executes notebooks headless through papermill, all of them in one warm kernel."""

from __future__ import annotations

import ast
import json
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode, from_dict
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import Engine, NotebookExecutionManager, papermill_engines
from papermill.exceptions import PapermillExecutionError
from papermill.execute import execute_notebook

from driftbook.errors import DriftbookError, UsageError
from driftbook.runbook.kernel import KernelError, WarmKernel
from driftbook.runbook.memory import explain_cause
from driftbook.runbook.terminal import Terminal

HIDDEN = "remove-cell"  # the tag by which the pages leave a cell out of a page
_ENGINE = "driftbook-warm-kernel"
_LABEL = re.compile(r"^#\|\s*label:\s*[\"']?([\w.-]+)", re.MULTILINE)


class NotebookError(DriftbookError):
    """A cell failed; the message names notebook, cell, cause and the kept notebook."""


def execute_notebooks(
    notebooks: Sequence[Path],
    parameters: Mapping[str, Any],
    out_dir: Path,
    *,
    failed_dir: Path,
    kernel: WarmKernel,
    terminal: Terminal,
    cell_timeout_s: int,
    own: Sequence[Path] = (),
) -> list[Path]:
    """Return the notebooks as executed one after the other into ``out_dir``.

    Each starts with an empty namespace in the same ``kernel``, which stays the caller's to stop.

    Args:
        notebooks: paths, in the order of execution; the outputs keep their names.
        parameters: literals for every notebook's parameters cell.
        out_dir: folder for the executed notebooks; made when absent.
        failed_dir: where a failed notebook is kept, with papermill's mark at the cell.
        kernel: a kernel that has been started; it need not have answered yet.
        terminal: where progress is shown.
        cell_timeout_s: seconds that one cell may take.
        own: notebooks of the owner's, executed last; each gets the parameters that it declares.

    Raises:
        UsageError: see :func:`check_parameters`; nothing has been executed then.
        NotebookError: a cell raised or took too long, or the kernel died in it.
    """
    check_parameters(notebooks, parameters)
    given = {notebook: dict(parameters) for notebook in notebooks}
    given |= {notebook: pick_parameters(notebook, parameters) for notebook in own}
    papermill_engines.register(_ENGINE, _WarmEngine)
    out_dir.mkdir(parents=True, exist_ok=True)
    for notebook, values in given.items():
        output = out_dir / notebook.name
        with terminal.step(notebook.stem, ticking=False):
            try:
                execute_notebook(
                    _unformatted(notebook),
                    _unformatted(output),
                    parameters=values,
                    engine_name=_ENGINE,
                    kernel_name="python3",
                    language="python",
                    progress_bar=terminal.papermill_bar(notebook.stem),
                    # Saved once, at the end: papermill otherwise rewrites the file twice a cell.
                    request_save_on_cell_execute=False,
                    kernel=kernel,
                    folder=notebook.parent,
                    cell_timeout_s=cell_timeout_s,
                )
            except PapermillExecutionError as error:
                failed_dir.mkdir(parents=True, exist_ok=True)
                kept = shutil.move(output, failed_dir / output.name)
                raise NotebookError(
                    f"{_describe(notebook, error)}; the notebook is kept at {kept}"
                ) from error
            except KernelError as error:
                raise NotebookError(f"{notebook.name} could not start: {error}") from error
            except OSError as error:
                raise NotebookError(
                    f"{notebook.name} could not be kept in {out_dir} ({error.strerror or error}); "
                    "free the place and run again"
                ) from error
    return [out_dir / notebook.name for notebook in given]


def _describe(notebook: Path, error: PapermillExecutionError) -> str:
    label = _LABEL.search(error.source)
    cell = f"cell [{error.exec_count or '?'}]" + (f" {label[1]}" if label else "")
    cause = " ".join(f"{error.ename}: {error.evalue}".split())
    shown = cause if len(cause) <= 400 else f"{cause[:399]}…"
    return f"{notebook.name}, {cell}: {explain_cause(shown)}"


def _unformatted(path: Path) -> str:
    # Papermill calls str.format on its paths.
    return str(path).replace("{", "{{").replace("}", "}}")


def check_parameters(notebooks: Sequence[Path], parameters: Mapping[str, Any]) -> None:
    """Return nothing when every notebook takes exactly these parameters.

    Papermill itself only warns about a name that it does not know, and a missing one falls back
    to the notebook's default, which is JupyterLab's and not the run's.

    Raises:
        UsageError: a notebook is missing or unreadable, has no cell tagged ``parameters``, holds
            something other than literals there, or other names than those given.
    """
    for notebook in notebooks:
        declared = read_parameters(notebook)
        unknown = sorted(parameters.keys() - declared.keys())
        missing = sorted(declared.keys() - parameters.keys())
        if unknown:
            raise UsageError(
                f"{notebook.name} has no parameter {_listing(unknown)}; "
                f"its parameters cell declares {_listing(declared)}"
            )
        if missing:
            raise UsageError(
                f"{notebook.name} declares the parameter {_listing(missing)}, which this run does "
                f"not give (given: {_listing(parameters)}); remove it from the parameters cell"
            )


def pick_parameters(notebook: Path, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of the parameters that a notebook of the owner's declares.

    Others that it declares keep the defaults in its cell.

    Raises:
        UsageError: see :func:`read_parameters`.
    """
    declared = read_parameters(notebook)
    return {name: value for name, value in parameters.items() if name in declared}


def read_parameters(notebook: Path) -> dict[str, Any]:
    """Return the names and default values in the notebook's cell tagged ``parameters``.

    Raises:
        UsageError: no such notebook, no such cell, or anything but literal assignments in it.
    """
    cells = [cell for cell in _cells(notebook) if "parameters" in _tags(cell)]
    if len(cells) != 1:
        found = f"{len(cells)} cells" if cells else "no cell"
        raise UsageError(f"{notebook.name} has {found} tagged 'parameters'; it needs exactly one")
    try:
        body = ast.parse("".join(cells[0]["source"])).body
    except SyntaxError as error:
        raise UsageError(f"{notebook.name}: the parameters cell is not Python: {error}") from error
    return dict(_literal(statement, notebook) for statement in body)


def _cells(notebook: Path) -> list[dict[str, Any]]:
    try:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    except OSError as error:
        raise UsageError(f"notebook {notebook} cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{notebook} is not a Jupyter notebook of format 4 ({error})") from error
    return list(cells)


def _literal(statement: ast.stmt, notebook: Path) -> tuple[str, Any]:
    match statement:
        case (
            ast.Assign(targets=[ast.Name(id=name)], value=ast.expr() as value)
            | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
        ):
            try:
                return name, ast.literal_eval(value)
            except ValueError:
                pass  # not a literal: refused below like any other statement
    raise UsageError(
        f"{notebook.name}: the parameters cell holds {ast.unparse(statement)!r}; "
        "write only names set to plain literals there"
    )


class _WarmEngine(Engine):
    """A papermill engine that executes in a kernel that is already there."""

    @classmethod
    def execute_managed_notebook(
        cls,
        nb_man: NotebookExecutionManager,
        kernel_name: str,
        *,
        kernel: WarmKernel,
        folder: Path,
        cell_timeout_s: int,
        **_: Any,
    ) -> None:
        for cell in nb_man.nb.cells:
            if "injected-parameters" in _tags(cell):
                cell.metadata.tags.append(HIDDEN)
                cell.id = "injected-parameters"  # papermill's is a random one
        kernel.forget()
        # Where JupyterLab would execute it; the kernel returns from there when it forgets.
        kernel.run_code(f"__import__('os').chdir({str(folder.absolute())!r})")
        client = _WarmClient(nb_man, km=kernel.manager, kernel_name=kernel_name)
        client.kernel = kernel
        client.timeout = cell_timeout_s
        client.execute()


class _WarmClient(PapermillNotebookClient):
    """Executes cells in the kernel it is given, and neither starts nor stops one."""

    kernel: WarmKernel

    def __init__(self, nb_man: NotebookExecutionManager, **options: Any) -> None:
        # The time to hear a cell's last output is for a machine that is busy with other things.
        super().__init__(nb_man, iopub_timeout=60, record_timing=False, **options)

    def execute(self, **_: Any) -> None:
        # As papermill's own, but the language is asked for first: a kernel that died or still
        # works on a cell that took too long does not answer at the end.
        self.reset_execution_trackers()
        self.kc = self.kernel.connect()
        reply = self.wait_for_reply(self.kc.kernel_info())
        self.nb.metadata["language_info"] = reply["content"]["language_info"]
        self.papermill_execute_cells()
        self.set_widgets_metadata()

    def execute_cell(self, cell: NotebookNode, cell_index: int) -> None:
        try:
            super().execute_cell(cell, cell_index)
            return
        except CellExecutionError as error:
            if error.ename != "SystemExit":
                raise
            # Papermill takes a cell that calls exit() for the notebook's end.
            name, cause = error.ename, "the cell left the notebook before its end"
            reason: Exception = error
        except DeadKernelError as error:
            name, cause = "KernelDied", self.kernel.obituary()
            reason = error
        except CellTimeoutError as error:
            name, cause = "CellTimeout", f"the cell took longer than {self.timeout} s"
            reason = error
        # As an error output, so that papermill marks the cell as for any other failure.
        error_output = {"output_type": "error", "ename": name, "evalue": cause}
        cell.outputs.append(from_dict({**error_output, "traceback": [cause]}))
        raise CellExecutionError(cause, name, cause) from reason

    async def _async_check_alive(self) -> None:
        # Called every second: lets the elapsed time tick in a long cell.
        if self.nb_man.pbar:
            self.nb_man.pbar.refresh()
        await super()._async_check_alive()


def _tags(cell: Mapping[str, Any]) -> list[str]:
    return list(cell.get("metadata", {}).get("tags", []))


def _listing(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names) or "none"
