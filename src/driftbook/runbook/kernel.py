"""One Jupyter kernel for all notebooks of a run: started early, forgets between, always stopped."""

from __future__ import annotations

import ast
import asyncio
import json
import math
import os
import queue
import signal
import sys
import tempfile
from collections.abc import Awaitable
from contextlib import suppress
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any, Self, TypeVar

from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from jupyter_core.utils import ensure_event_loop

from driftbook.errors import DriftbookError, UsageError

T = TypeVar("T")

_EXTENSION = "__import__('driftbook.runbook.kernel_extension', fromlist=['call'])"


class KernelError(DriftbookError):
    """The kernel's process ended, or never answered, while it was needed."""


class _ThisPython(KernelSpecManager):
    """Offers one kernel, the running interpreter, whatever kernels the user has installed."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=argv, display_name=kernel_name, language="python")


class WarmKernel:
    """A warm kernel, and a context manager that stops it whatever happens.

    Creating one returns at once: the process starts and imports while the caller does its own
    work, and :meth:`connect` waits for it.
    """

    def __init__(self, folder: Path, start_timeout_s: float = 120.0) -> None:
        self.start_timeout_s = start_timeout_s
        self._scratch = tempfile.TemporaryDirectory(prefix="driftbook-kernel-")
        self._log = Path(self._scratch.name) / "log"
        self._client: AsyncKernelClient | None = None
        self._stopped = False
        self.language_info: dict[str, Any] = {}
        self.manager = AsyncKernelManager(
            kernel_spec_manager=_ThisPython(),
            connection_file=str(Path(self._scratch.name) / "connection.json"),
        )
        self._start(folder)

    def _start(self, folder: Path) -> None:
        # The inline backend even where the caller has set another, so that figures are kept.
        environment = {**os.environ, "MPLBACKEND": "module://matplotlib_inline.backend_inline"}
        with self._log.open("wb") as log:
            _wait(
                self.manager.start_kernel(
                    cwd=str(folder),
                    env=environment,
                    stdout=log,
                    stderr=log,
                    extra_arguments=[
                        "--InteractiveShellApp.extra_extensions=driftbook.runbook.kernel_extension",
                        "--HistoryManager.hist_file=:memory:",
                    ],
                )
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop(now=error is not None)

    @property
    def pid(self) -> int:
        """Return the process id of the kernel; its process group has the same number."""
        pid = getattr(self.manager.provisioner, "pid", None)
        if pid is None:
            raise KernelError("the kernel is not running; start a new one")
        return int(pid)

    def connect(self) -> AsyncKernelClient:
        """Return the client of the kernel, waiting until it answers.

        Raises:
            KernelError: the process ended or stayed silent for ``start_timeout_s`` seconds.
        """
        if self._client is None:
            client = self.manager.client()
            client.start_channels()
            client.allow_stdin = False
            try:
                _wait(self._answer(client))
            except KernelError as error:
                client.stop_channels()
                raise KernelError(f"the kernel did not start: {error}; try 'make sync'") from error
            self._client = client
        return self._client

    def forget(self) -> None:
        """Empty the kernel's namespace, so that the next notebook starts as if alone.

        Raises:
            KernelError: the process has ended, or could not import what notebooks need.
        """
        reply = self._run(f"{_EXTENSION}.forget(get_ipython())")
        if reply["status"] != "ok":
            raise KernelError(f"the kernel cannot import driftbook: {self.last_words()}")

    def call(self, target: str, **arguments: Any) -> Any:
        """Return what the function ``module:name`` returns in the kernel, for plain JSON values.

        Raises:
            DriftbookError: as raised there, with its exit code; any other error by its name.
            KernelError: the process has ended.
        """
        expression = f"{_EXTENSION}.call({target!r}, {json.dumps(arguments)!r})"
        reply = self._run("", user_expressions={"answer": expression})
        answer = reply.get("user_expressions", {}).get("answer", reply)
        if answer["status"] != "ok":
            raise DriftbookError(f"{target} failed: {answer.get('ename')}: {answer.get('evalue')}")
        outcome = json.loads(ast.literal_eval(answer["data"]["text/plain"]))
        if "error" in outcome:
            kind = UsageError if outcome["exit_code"] == UsageError.exit_code else DriftbookError
            raise kind(outcome["error"])
        return outcome["value"]

    def _run(self, code: str, **options: Any) -> dict[str, Any]:
        client = self.connect()
        request = client.execute(code, silent=True, store_history=False, **options)
        return _wait(self._reply(client, request))

    async def _answer(self, client: AsyncKernelClient) -> None:
        """Wait until the kernel replies and its output channel is heard as well."""
        deadline = monotonic() + self.start_timeout_s
        while True:
            info = await self._reply(client, client.kernel_info(), deadline)
            self.language_info = info["language_info"]
            with suppress(queue.Empty):
                await client.get_iopub_msg(timeout=0.2)
                return

    async def _reply(
        self, client: AsyncKernelClient, request: str, deadline: float = math.inf
    ) -> dict[str, Any]:
        while monotonic() < deadline:
            try:
                message = await client.get_shell_msg(timeout=0.5)
            except queue.Empty:
                if not await self.manager.is_alive():
                    raise KernelError(self.obituary()) from None
                continue
            if message["parent_header"].get("msg_id") == request:
                return dict(message["content"])
        raise KernelError(f"no answer after {self.start_timeout_s:.0f} s")

    def obituary(self) -> str:
        """Return why the process ended, as far as its exit status tells."""
        status = getattr(getattr(self.manager.provisioner, "process", None), "returncode", None)
        if status == -signal.SIGKILL:
            return "the kernel was killed (SIGKILL), often because memory ran out"
        if isinstance(status, int) and status < 0:
            return f"the kernel was killed ({signal.Signals(-status).name})"
        return f"the kernel ended with exit status {status}"

    def last_words(self) -> str:
        """Return the last line that the kernel's process wrote, or an empty string."""
        lines = self._log.read_text(errors="replace").split("\n") if self._log.exists() else []
        return next((line.strip() for line in reversed(lines) if line.strip()), "")

    def stop(self, now: bool = False) -> None:
        """End the kernel and every process that a notebook started in it.

        Args:
            now: kill at once; otherwise let the interpreter run its exit handlers first.
        """
        if self._stopped:
            return
        self._stopped = True
        group = getattr(self.manager.provisioner, "pgid", None)
        try:
            _wait(_cancel_pending())
            if self._client is not None:
                self._client.stop_channels()
            _wait(self.manager.shutdown_kernel(now=now))
        finally:
            if group is not None and group != os.getpgrp():
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(group, signal.SIGKILL)
            self._scratch.cleanup()


async def _cancel_pending() -> None:
    """Drop what an interrupt left waiting in the loop; it would complain at exit."""
    pending = asyncio.all_tasks() - {asyncio.current_task()}
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)


def _wait(awaitable: Awaitable[T]) -> T:
    # The same loop that nbclient waits on; a client's sockets belong to one loop.
    return ensure_event_loop().run_until_complete(awaitable)
