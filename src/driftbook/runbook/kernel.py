"""One Jupyter kernel for all notebooks of a run: started early, forgets between, always stopped."""

from __future__ import annotations

import asyncio
import os
import queue
import signal
import subprocess
from collections.abc import Awaitable
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from jupyter_core.utils import ensure_event_loop

from driftbook.errors import DriftbookError
from driftbook.runbook import memory
from driftbook.store import temporary

T = TypeVar("T")

EXTENSION = "driftbook.runbook.kernel_extension"
# Figures are kept even where the caller has set another backend; and no notebook or estimator of
# the owner's that walks through a set of texts finds another order in each run.
_SAME_EVERYWHERE = {
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    "PYTHONHASHSEED": "0",
}
# Waits for the end of the command, however it ends: its end of the pipe is closed then.
_GUARD = 'read -r _; kill -s KILL -- "-$1"'


class KernelError(DriftbookError):
    """The kernel's process ended, or never answered, while it was needed."""


class WarmKernel:
    """A warm kernel, and a context manager that stops it whatever happens.

    Creating one returns at once: the process starts and imports while the caller does its own
    work, and :meth:`connect` waits for it.
    """

    def __init__(self, folder: Path, start_timeout_s: float = 120.0) -> None:
        self.start_timeout_s = start_timeout_s
        self._held = ExitStack()
        scratch = self._held.enter_context(temporary.hold_temporary_folder("driftbook-kernel-"))
        self._client: AsyncKernelClient | None = None
        self._stopped = False
        self.manager = AsyncKernelManager(
            # No folders: the running interpreter, whatever kernels the user has installed.
            kernel_spec_manager=KernelSpecManager(kernel_dirs=[]),
            connection_file=str(scratch / "connection.json"),
        )
        start = self.manager.start_kernel(
            cwd=str(folder),
            env={**os.environ, **_SAME_EVERYWHERE},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            extra_arguments=[
                f"--InteractiveShellApp.extra_extensions={EXTENSION}",
                "--HistoryManager.hist_file=:memory:",
            ],
        )
        _wait(start)
        group: int = getattr(self.manager.provisioner, "pgid")  # noqa: B009 - of local kernels alone
        # A notebook may be deep in native code, where no thread of the kernel's own notices that
        # the command is gone; and its servers and pools have to end as well.
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", _GUARD, "sh", str(group)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._memory = memory.MemoryWatch(group, memory.read_memory_limit())

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
    def pid(self) -> int | None:
        """Return the process id of the kernel; its process group has the same number."""
        pid: int | None = getattr(self.manager.provisioner, "pid", None)
        return pid

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
                _wait(client.wait_for_ready(timeout=self.start_timeout_s))
            except RuntimeError as error:
                client.stop_channels()
                cause = self.obituary() or f"no answer after {self.start_timeout_s:.0f} s"
                raise KernelError(memory.explain_start(cause)) from error
            self._client = client
        return self._client

    def run_code(self, code: str) -> None:
        """Run code in the kernel as a cell that leaves no trace.

        Raises:
            DriftbookError: as raised there, with its exit code; any other error by its name.
            KernelError: the process has ended.
        """
        client = self.connect()
        request = client.execute(code, silent=True, store_history=False)
        reply = _wait(self._reply(client, request))
        if reply["status"] != "ok":
            name, message = str(reply.get("ename")), str(reply.get("evalue"))
            known = {kind.__name__: kind for kind in DriftbookError.__subclasses__()}
            if name in known:
                raise known[name](message)
            raise DriftbookError(memory.explain_cause(f"{name}: {message}"))

    def forget(self) -> None:
        """Empty the kernel's namespace, so that the next notebook starts as if alone.

        Raises:
            DriftbookError: the process has ended, or could not import what notebooks need.
        """
        self.run_code(f"%reload_ext {EXTENSION}")

    async def _reply(self, client: AsyncKernelClient, request: str) -> dict[str, Any]:
        while True:
            try:
                message = await client.get_shell_msg(timeout=0.5)
            except queue.Empty:
                if not await self.manager.is_alive():
                    raise KernelError(self.obituary()) from None
                continue
            if message["parent_header"].get("msg_id") == request:
                return dict(message["content"])

    def obituary(self) -> str:
        """Return why the process ended, as far as its exit status tells; empty while it runs."""
        status = getattr(getattr(self.manager.provisioner, "process", None), "returncode", None)
        if status is None:
            return "" if self.pid else "the kernel has ended"
        if self._memory.starved:
            return memory.explain_cause("the kernel asked in vain (MemoryError)")
        if status == -signal.SIGKILL:
            return "the kernel was killed (SIGKILL), often because memory ran out"
        if status < 0:
            return f"the kernel was killed ({signal.Signals(-status).name})"
        return f"the kernel ended with exit status {status}"

    def stop(self, now: bool = False) -> None:
        """End the kernel and every process that a notebook started in it.

        Args:
            now: kill at once; otherwise let the interpreter run its exit handlers first.
        """
        if self._stopped:
            return
        self._stopped = True
        self._memory.stop()
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
            self._guard.kill()
            self._guard.communicate()
            self._held.close()


async def _cancel_pending() -> None:
    """Drop what an interrupt left waiting in the loop; it would complain at exit."""
    pending = asyncio.all_tasks() - {asyncio.current_task()}
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)


def _wait(awaitable: Awaitable[T]) -> T:
    # The same loop that nbclient waits on; a client's sockets belong to one loop.
    return ensure_event_loop().run_until_complete(awaitable)
