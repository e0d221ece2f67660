"""Spark as an engine: each part of a data set is one task of a job, by ``mapInArrow``.

That is a function over Arrow batches which Spark runs on its workers, through a master or through
Spark Connect. A batch holds one task, a call that is ready to make; its result comes back the same
way. Spark gives the task of a worker that dies to another one.
"""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import pyarrow as pa

from driftbook.errors import UsageError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SPARK_HERE = "spark://local"
# Jobs that wait for workers at a time; each holds a thread here.
_JOBS = 64
_Params = ParamSpec("_Params")
_ResultT = TypeVar("_ResultT")


class SparkExecutor(Executor):
    """Runs calls on Spark's workers, which must be able to import what is called.

    ``address``: ``spark://HOST:PORT`` of a master, ``spark://local`` for a Spark of this machine's
    cores, or ``sc://HOST:PORT`` of a Spark Connect server.

    Raises:
        UsageError: PySpark or Java is missing, or nobody answers.
    """

    def __init__(self, address: str) -> None:
        self._session = _open_session(address)
        self._jobs = ThreadPoolExecutor(_JOBS)

    def submit(
        self, fn: Callable[_Params, _ResultT], /, *args: _Params.args, **kwargs: _Params.kwargs
    ) -> Future[_ResultT]:
        """Return the future of ``fn(*args, **kwargs)`` on one of the workers."""
        return self._jobs.submit(self._run, partial(fn, *args, **kwargs))

    def _run(self, call: Callable[[], _ResultT]) -> _ResultT:
        task = bytearray(pickle.dumps(call))
        frame = self._session.createDataFrame([(task,)], "task binary").coalesce(1)
        (row,) = frame.mapInArrow(_answer_batches, "answer binary").collect()
        answer: tuple[_ResultT, BaseException | None] = pickle.loads(row.answer)  # noqa: S301  ours
        result, error = answer
        if error is not None:
            raise error
        return result

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Give out no more jobs; those that run are waited for where ``wait`` says so.

        The session stays: Spark has one a process, and starting it takes seconds.
        """
        self._jobs.shutdown(wait, cancel_futures=cancel_futures)


def _open_session(address: str) -> SparkSession:
    try:
        from pyspark.errors import PySparkException
        from pyspark.sql import SparkSession
    except ImportError:
        raise UsageError(
            f"data.engine {address!r} needs the package pyspark, which is not installed; "
            "pip install 'driftbook[spark]', or set data.engine: local"
        ) from None
    builder: Any = SparkSession.builder.appName("driftbook")
    if address.startswith("sc://"):
        builder = builder.remote(address)
    else:
        builder = builder.config("spark.ui.enabled", "false").config("spark.log.level", "ERROR")
        builder = builder.master("local[*]" if address == SPARK_HERE else address)
        if address == SPARK_HERE:  # its workers are to be this very Python
            os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    try:
        session: SparkSession = builder.getOrCreate()
    except PySparkException as error:
        raise UsageError(
            f"data.engine {address!r} does not answer ({str(error).splitlines()[0]}); see that "
            "Java and the master are there, or set data.engine: local"
        ) from None
    return session


def _answer_batches(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        answers = [_answer(task.as_py()) for task in batch.column(0)]
        yield pa.RecordBatch.from_arrays([pa.array(answers, pa.binary())], ["answer"])


def _answer(task: bytes) -> bytes:
    """Return what a call returns or raises, both as one pair."""
    try:
        return pickle.dumps((pickle.loads(task)(), None))  # noqa: S301  sent by this program
    except Exception as error:  # noqa: BLE001  whatever it is, the caller gets it
        return pickle.dumps((None, error))
