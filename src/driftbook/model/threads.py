"""Linear algebra and trees on one thread: their work is small here, and busy machines make wait."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

from threadpoolctl import ThreadpoolController

MOST_ROWS_A_THREAD = 20_000


@lru_cache(maxsize=1)
def _find_libraries(_: int) -> ThreadpoolController:
    """Return the libraries that so many modules have loaded; to look for them takes a while."""
    return ThreadpoolController()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Hold BLAS to one thread inside the block, or inside a function that this decorates.

    A product of matrices of a few thousand rows takes a millisecond; shared among threads that
    wait for each other on a loaded machine it was seen to take fifty.
    """
    with _find_libraries(len(sys.modules)).limit(limits=1, user_api="blas"):
        yield


@contextmanager
def one_tree_thread(rows: int = 0) -> Iterator[None]:
    """Hold boosted trees to one thread likewise: on two busy cores 0.4 s became 46.

    Sums over gradients then have one order too, so that a version is the same on every machine.
    Many ``rows`` are worth more threads to an estimator of the owner's own.
    """
    many = rows > MOST_ROWS_A_THREAD
    with _find_libraries(len(sys.modules)).limit(limits=None if many else 1, user_api="openmp"):
        yield
