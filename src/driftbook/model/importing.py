"""Estimators by import path: found beside the settings or installed, made with parameters."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from driftbook.errors import UsageError
from driftbook.model.tasks import Task
from driftbook.settings import ModelSettings


def make_estimator(settings: ModelSettings, task: Task) -> Any:
    """Return the unfitted estimator that the settings name, with their parameters and seed.

    Raises:
        UsageError: it cannot be imported or made, or is no estimator for the task.
    """
    path = settings.estimator
    with import_from(settings.folders):
        found = import_name(path, "model.estimator")
        made = _call(found, path, settings.params)
    if not all(hasattr(made, name) for name in ("fit", "predict", "get_params")):
        raise UsageError(
            f"model.estimator {path!r} makes a {type(made).__name__}, which is no scikit-learn "
            "estimator: it needs fit, predict and get_params"
        )
    made.set_params(**_choose_params(made, settings, is_class=isinstance(found, type)))
    _check_task(made, task, path)
    return made


def import_name(path: str, setting: str) -> Any:
    """Return what ``module:name`` stands for; ``setting`` is where it is named.

    Raises:
        UsageError: it cannot be imported.
    """
    module, _, name = path.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    # The owner's own file may fail in any way, or even end the program.
    except (Exception, SystemExit) as error:
        cause = error if isinstance(error, ImportError | AttributeError) else describe_error(error)
        raise UsageError(
            f"{setting} {path!r} cannot be imported ({cause}); install its package, or give "
            "module:name of something that can be imported from the settings' folder"
        ) from error
    return found


def _call(found: Any, path: str, params: dict[str, Any]) -> Any:
    try:
        return found(**params)
    except (Exception, SystemExit) as error:
        raise UsageError(
            f"model.estimator {path!r} cannot be made with model.params {params} "
            f"({describe_error(error)}); check the names and values of its parameters"
        ) from error


def describe_error(error: BaseException) -> str:
    """Return what another library raised in one short line.

    >>> describe_error(KeyError("town"))
    "KeyError: 'town'"
    """
    said = " ".join(str(error).split())[:200].rstrip(".")
    plain = isinstance(error, TypeError | ValueError) and said
    return said if plain else f"{type(error).__name__}: {said}".removesuffix(": ")


def _choose_params(made: Any, settings: ModelSettings, is_class: bool) -> dict[str, Any]:
    """Return what nobody chose: the seed, inside pipelines too, and threads and categories."""
    known = made.get_params()
    chosen: dict[str, Any] = {}
    for name, value in known.items():
        part, _, last = name.rpartition("__")
        if name in settings.params:
            continue
        # What a factory chose stays; a class has only defaults.
        if last == "random_state" and (value is None or (is_class and not part)):
            chosen[name] = settings.seed
        # Many small fits: threads of their own would wait for each other (6 s instead of 24).
        if last == "n_jobs" and value is None and not _is_sklearns(known.get(part, made)):
            chosen[name] = 1
        # XGBoost takes categories only where it is told to.
        if name == "enable_categorical":
            chosen[name] = True
    return chosen


def _is_sklearns(estimator: Any) -> bool:
    """Return whether scikit-learn itself fits it, which takes no threads unless it is told to."""
    bases = type(estimator).__mro__
    return any(re.match(r"sklearn\.(?!base|utils)", base.__module__) for base in bases)


def _check_task(made: Any, task: Task, path: str) -> None:
    scores = hasattr(made, "decision_function") and len(task.outputs) == 1
    if task.classes and not (hasattr(made, "predict_proba") or scores):
        raise UsageError(
            f"model.estimator {path!r} has no predict_proba, which a {task.name} task needs; "
            "choose a classifier that gives chances, or set its option for them in model.params"
        )
    if not task.classes and hasattr(made, "predict_proba"):
        raise UsageError(
            f"model.estimator {path!r} is a classifier, but the target asks for regression; choose "
            "a regressor, or set model.task"
        )


@contextmanager
def import_from(folders: tuple[Path, ...]) -> Iterator[None]:
    """Let modules beside the settings, and in the working directory, be imported meanwhile."""
    wanted = dict.fromkeys(str(folder) for folder in (*folders, Path.cwd()))
    added = [folder for folder in wanted if folder not in sys.path]
    sys.path[:0] = added
    importlib.invalidate_caches()  # a file may be newer than the last look at its folder
    try:
        yield
    finally:
        for folder in added:
            if folder in sys.path:
                sys.path.remove(folder)


def hash_own_file(settings: ModelSettings) -> str | None:
    """Return the SHA-256 of the owner's own file that makes the estimator, else None.

    What an installed package holds is not asked: only its import path counts.
    """
    if not settings.is_imported:
        return None
    with import_from(settings.folders):
        try:
            spec = importlib.util.find_spec(settings.estimator.partition(":")[0])
        except (ImportError, ValueError, AttributeError):
            return None  # whoever makes the estimator says what is wrong
    origin = Path(spec.origin) if spec is not None and spec.origin else None
    folders = {folder.resolve() for folder in (*settings.folders, Path.cwd())}
    if origin is None or not origin.is_file() or "site-packages" in origin.parts:
        return None
    own = folders & {*origin.resolve().parents}
    return hashlib.sha256(origin.read_bytes()).hexdigest() if own else None
