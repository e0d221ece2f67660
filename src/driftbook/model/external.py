"""A model that is served elsewhere: which columns hold its predictions, and what they may hold."""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd

from driftbook.data.cells import to_numbers
from driftbook.errors import UsageError
from driftbook.model.tasks import SUM_TOLERANCE, Task


def match_outputs(task: Task, prediction: tuple[str, ...]) -> tuple[str, ...]:
    """Return the prediction's columns in the order of the task's outputs.

    Of several classes each column is matched by its name, which ends with that of its class.

    Raises:
        UsageError: another number of columns, or no one match.
    """
    outputs = task.outputs
    if len(prediction) != len(outputs):
        wanted = f"one column a class ({', '.join(outputs)})" if len(outputs) > 1 else "one column"
        raise UsageError(
            f"data.prediction names {len(prediction)} column(s), but a {task.name} model needs "
            f"{wanted}; name them, or set model.task"
        )
    if len(outputs) == 1:
        return prediction
    found = [[name for name in prediction if name.endswith(output)] for output in outputs]
    # The longest class name that fits: "late" must not take the column of "very late".
    chosen = tuple(
        next((n for n in names if not _fits_longer(n, output, outputs)), "")
        for names, output in zip(found, outputs, strict=True)
    )
    if len({*chosen} - {""}) != len(outputs):
        raise UsageError(
            f"data.prediction names {', '.join(prediction)}; each must end with the name of its "
            f"class ({', '.join(outputs)}): rename the columns"
        )
    return chosen


def _fits_longer(name: str, output: str, outputs: tuple[str, ...]) -> bool:
    return any(len(o) > len(output) and name.endswith(o) for o in outputs)


def check_predictions(task: Task, frame: pd.DataFrame, names: tuple[str, ...]) -> None:
    """Return if the columns hold what the task predicts.

    Raises:
        UsageError: no number, or for classes no chance between 0 and 1, the chances of a row
            adding up to 1.
    """
    table = np.column_stack([to_numbers(frame[name]) for name in names])
    for k, name in enumerate(names):
        wrong = ~np.isfinite(table[:, k])
        if task.classes:
            wrong |= (table[:, k] < 0.0) | (table[:, k] > 1.0)
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            found = frame[name].iloc[row]
            shown = f"{found:g}" if isinstance(found, float) else repr(found)
            kind = "a chance between 0 and 1" if task.classes else "a number"
            raise UsageError(
                f"data.prediction {name!r} holds {shown} in row {row}, which is "
                f"no {kind.removeprefix('a ')}; a {task.name} model predicts {kind}: convert the "
                "column, or set model.task"
            )
    if len(names) > 1:
        wrong = np.abs(table.sum(axis=1) - 1.0) > SUM_TOLERANCE
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise UsageError(
                f"the chances of data.prediction add up to {table[row].sum():.3g} in row {row}; "
                "give one column for every class"
            )


def rename_version(version: str) -> str:
    """Return the version of the watched model, from that of its stand-in."""
    return "m" + hashlib.sha256(f"{version} external".encode()).hexdigest()[:11]
