"""The engine: a pool of workers that maps a function over the parts of a data set.

It is a ``concurrent.futures.Executor`` and nothing more: threads on one machine, or the workers of
a Dask scheduler or of Spark. Results add up exactly, so that neither their order nor a worker that
dies, whose parts another one takes over, changes a number.
"""

from __future__ import annotations

import itertools
import os
import platform
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import cache, partial
from importlib.metadata import version
from typing import Protocol, TypeVar

from driftbook.errors import DriftbookError, UsageError

LOCAL = "local"
_CONNECT_TIMEOUT_S = 10
# Parts that are given out at a time: enough to keep a cluster busy, few enough to keep their
# results small in memory.
_AHEAD = 256
# Packages by which the numbers of two workers could differ.
_SAME = ("driftbook", "numpy", "pandas", "pyarrow")


class Part(Protocol):
    """One part of a data set, which messages name by its label."""

    @property
    def label(self) -> str:
        """Return the file and the place in it."""


_PartT = TypeVar("_PartT", bound=Part)
_ResultT = TypeVar("_ResultT")


@contextmanager
def open_executor(engine: str) -> Iterator[Executor]:
    """Yield the pool that ``data.engine`` names; it is left as it was found.

    Raises:
        UsageError: the package of a cluster is missing, or nobody answers there.
    """
    if engine == LOCAL:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            yield pool
        return
    if engine.startswith(("spark://", "sc://")):
        from driftbook.data.spark import SparkExecutor

        with SparkExecutor(engine) as spark:
            yield spark
        return
    try:
        from distributed import Client
    except ImportError:
        raise UsageError(
            f"data.engine {engine!r} needs the package distributed, which is not installed; "
            "pip install 'driftbook[scale]', or set data.engine: local"
        ) from None
    try:
        client = Client(  # type: ignore[no-untyped-call]
            engine, timeout=_CONNECT_TIMEOUT_S, set_as_default=False
        )
    except (OSError, ValueError) as error:
        raise UsageError(
            f"data.engine {engine!r} does not answer ({error}); start 'dask scheduler' and "
            "'dask worker' there, or set data.engine: local"
        ) from None
    with client:
        if not client.scheduler_info()["workers"]:
            raise UsageError(
                f"data.engine {engine!r} has no worker; start one with 'dask worker {engine}'"
            )
        yield client.get_executor(pure=False)  # type: ignore[no-untyped-call]


def map_parts(
    engine: str, function: Callable[[_PartT], _ResultT], parts: Iterable[_PartT]
) -> Iterator[tuple[_PartT, _ResultT]]:
    """Yield each part with what ``function`` returns for it, in no order, as it comes.

    Raises:
        UsageError: a part that cannot be read, by its label and with the cause; a worker with
            other packages than this process.
    """
    checked = partial(_apply_checked, describe_packages(), function)
    given = list(parts)
    if not given:
        return
    left = iter(given)
    with open_executor(engine) as pool:
        waiting: dict[Future[_ResultT], _PartT] = {}
        try:
            while True:
                for part in itertools.islice(left, _AHEAD - len(waiting)):
                    waiting[pool.submit(checked, part)] = part
                if not waiting:
                    return
                for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                    part = waiting.pop(future)
                    yield part, _take_result(part, future)
        finally:
            for future in waiting:
                future.cancel()


def _take_result(part: Part, future: Future[_ResultT]) -> _ResultT:
    try:
        return future.result()
    except DriftbookError:
        raise
    except Exception as error:
        words = " ".join(str(error).split())[:300] or type(error).__name__
        raise UsageError(
            f"{part.label} cannot be read: {words}; mend or remove the file, and see that every "
            "worker of data.engine reaches it"
        ) from error


def _apply_checked(
    expected: dict[str, str], function: Callable[[_PartT], _ResultT], part: _PartT
) -> _ResultT:
    found = describe_packages()
    if found != expected:
        names = [name for name in expected if found[name] != expected[name]]
        theirs = ", ".join(f"{name} {found[name]}" for name in names)
        ours = ", ".join(f"{name} {expected[name]}" for name in names)
        raise UsageError(
            f"a worker of data.engine on {platform.node()} has {theirs}, but this run has {ours}; "
            "install the same versions on both, so that they count alike"
        )
    return function(part)


@cache
def describe_packages() -> dict[str, str]:
    """Return the versions that must be the same in every process that counts."""
    return {"python": platform.python_version(), **{name: version(name) for name in _SAME}}
