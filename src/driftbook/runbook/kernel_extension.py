"""Runs inside the shared kernel: imports the heavy packages once, forgets each notebook after it.

The kernel is started with this module as an IPython extension, and :func:`forget` is called
before each notebook, so that a notebook finds what it would find in a kernel of its own. What
stays is what a notebook cannot see: imported packages and their caches.
"""

from __future__ import annotations

import gc
import importlib
import json
import logging
import os
import random
import sys
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, chdir, contextmanager
from typing import TYPE_CHECKING

from driftbook.errors import DriftbookError

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

# What the notebooks import; imported while the parent still checks settings and data.
PRELOADED = ("matplotlib.pyplot", "driftbook.store.run", "driftbook.plots")

_notebook = ExitStack()


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Import the packages that notebooks need and remember the state to return to."""
    # Imported packages live as long as the kernel: keep the collector from walking them.
    gc.disable()
    for name in PRELOADED:
        importlib.import_module(name)
    gc.freeze()
    gc.enable()
    _enter_notebook(shell)


def forget(shell: InteractiveShell) -> None:
    """Return names, figures, warnings and options to what they were when the kernel started."""
    _notebook.close()
    _enter_notebook(shell)


def call(target: str, arguments: str) -> str:
    """Return as JSON what the function ``module:name`` returns, or the error it ended with.

    A package that is imported here already need not be imported by the command as well.
    """
    module, _, name = target.partition(":")
    try:
        value = getattr(importlib.import_module(module), name)(**json.loads(arguments))
    except DriftbookError as error:
        return json.dumps({"error": str(error), "exit_code": error.exit_code})
    return json.dumps({"value": value})


def _enter_notebook(shell: InteractiveShell) -> None:
    import matplotlib as mpl
    import numpy as np

    _notebook.callback(shell.reset, new_session=True)
    _notebook.enter_context(warnings.catch_warnings())
    _notebook.enter_context(chdir("."))
    _notebook.enter_context(_process_state())
    _notebook.enter_context(mpl.rc_context())
    _notebook.callback(np.seterr, **np.geterr())
    _notebook.callback(_reset_libraries)


@contextmanager
def _process_state() -> Iterator[None]:
    environment, path = dict(os.environ), list(sys.path)
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    yield
    for name in os.environ.keys() - environment.keys():
        del os.environ[name]
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
