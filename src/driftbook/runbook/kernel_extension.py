"""An IPython extension of the warm kernel: imports once, and forgets a notebook when reloaded.

Loading it imports what notebooks need, while the command still checks its arguments, and notes the
state to return to; unloading returns to that state, so that the next notebook finds what it would
find in a kernel of its own. What stays is what a notebook cannot see: imported packages, and the
data and findings of the run in progress (:func:`driftbook.runbook.run.open_run`).
"""

from __future__ import annotations

import logging
import os
import random
import sys
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, chdir, contextmanager
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

_notebook = ExitStack()


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Import the packages that notebooks need and remember the state to return to."""
    import matplotlib.pyplot as plt
    import numpy as np

    with _hidden("pytest"):
        import driftbook.runbook.run  # noqa: F401

    _notebook.callback(shell.reset, new_session=True)
    _notebook.enter_context(warnings.catch_warnings())
    _notebook.enter_context(chdir("."))
    _notebook.enter_context(_kept_process_state())
    _notebook.enter_context(plt.rc_context())
    _notebook.callback(np.seterr, **np.geterr())
    _notebook.callback(_reset_libraries)


def unload_ipython_extension(shell: InteractiveShell) -> None:  # noqa: ARG001
    """Return names, figures, warnings and options to what they were when this was loaded."""
    _notebook.close()


@contextmanager
def _hidden(package: str) -> Iterator[None]:
    """Keep what is imported here from importing an optional package.

    Pytest, where it is installed, comes with scikit-learn's test tools, which skops loads: 0.3 CPU
    seconds of a run, for nothing.
    """
    modules = cast("dict[str, Any]", sys.modules)
    absent = package not in modules
    if absent:
        modules[package] = None
    yield
    if absent:
        del modules[package]


@contextmanager
def _kept_process_state() -> Iterator[None]:
    environment, path = dict(os.environ), list(sys.path)
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    yield
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:] = path
    root.setLevel(level)
    root.handlers[:] = handlers
    random.seed()


def _reset_libraries() -> None:
    import matplotlib.pyplot as plt
    import numpy as np
    import pandas as pd

    plt.close("all")
    np.random.seed(None)  # noqa: NPY002 - notebooks may use the global generator
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # resetting a deprecated option warns
        pd.reset_option("^(compute|display|future|mode|styler)")
