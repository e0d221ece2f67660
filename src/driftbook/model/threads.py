"""Linear algebra on one thread: its matrices are small here, and on a busy machine threads wait."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from threadpoolctl import ThreadpoolController, threadpool_limits

MOST_ROWS_A_THREAD = 20_000
# Looking for the libraries takes milliseconds; they are loaded once numpy and SciPy are.
_controller = cache(ThreadpoolController)


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Hold BLAS to one thread inside the block, or inside a function that this decorates.

    A product of matrices of a few thousand rows takes a millisecond; shared among threads that
    wait for each other on a loaded machine it was seen to take fifty.
    """
    with _controller().limit(limits=1, user_api="blas"):
        yield


@contextmanager
def one_tree_thread(rows: int = 0) -> Iterator[None]:
    """Hold boosted trees to one thread likewise: on two busy cores 0.4 s became 46.

    Many ``rows`` are worth more threads.
    """
    many = rows > MOST_ROWS_A_THREAD
    with threadpool_limits(limits=None if many else 1, user_api="openmp"):
        yield
