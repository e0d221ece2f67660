"""Columns: which role each one has, and of what kind each feature is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from driftbook.data.arrays import Floats
from driftbook.data.cells import Kind, find_bad_cells, find_kind, to_kind, to_numbers
from driftbook.errors import UsageError
from driftbook.settings import DataSettings, Settings

# A feature with more different values than this share of its rows is rather an id.
ID_SHARE, ID_ROWS = 0.98, 50
YEARS = (1900, 2100)


@dataclass(frozen=True)
class Feature:
    """A column the model may use, and how it is read."""

    name: str
    kind: Kind


def find_features(frame: pd.DataFrame, settings: Settings) -> tuple[Feature, ...]:
    """Return the features of ``frame`` in column order with their kinds.

    Numbers are numeric, text is categorical, true and false are boolean; whole numbers that
    ``data.categorical`` names are categorical. A column without any value counts as numeric.

    Raises:
        UsageError: a feature that is a date, a list or another object.
    """
    named = set(settings.data.categorical)
    return tuple(
        Feature(name, "categorical" if name in named else find_kind(frame[name]))
        for name in choose_features(frame, settings.data)
    )


def choose_features(frame: pd.DataFrame, wanted: DataSettings) -> tuple[str, ...]:
    """Return the names of the features: those of the settings, else all without another role.

    Where nothing but a served model's prediction is left, that is the one feature.
    """
    if wanted.features is not None:
        return tuple(wanted.features)
    taken = {*list_roles(wanted).values()} | {*wanted.exclude, *wanted.segments}
    taken |= set(wanted.prediction_columns)
    found = tuple(str(name) for name in frame.columns if name not in taken)
    return found or wanted.prediction_columns


def list_roles(wanted: DataSettings) -> dict[str, str]:
    """Return by setting the single column that has a role of its own."""
    named = {
        "data.target": wanted.target,
        "data.timestamp": wanted.timestamp,
        "data.record_id": wanted.record_id,
        "data.weight": wanted.weight,
        "data.model_version": wanted.model_version,
    }
    return {setting: name for setting, name in named.items() if name is not None}


def select_columns(frame: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """Return the columns that a run needs: those with a role, then the features, the target last.

    Raises:
        UsageError: a column that the settings name is absent, or has two roles.
    """
    wanted = settings.data
    roles = list_roles(wanted)
    features = choose_features(frame, wanted)
    lists = {
        "data.features": features,
        "data.segments": wanted.segments,
        "data.prediction": wanted.prediction_columns,
        "data.categorical": wanted.categorical,
        "data.exclude": wanted.exclude,
    }
    known = ", ".join(map(repr, frame.columns[:20]))
    more = f" and {len(frame.columns) - 20} more" * (len(frame.columns) > 20)
    absent = f"is no column of {wanted.source!r}; its columns are {known}{more}"
    for setting, name in roles.items():
        if name not in frame.columns:
            raise UsageError(f"{setting} {name!r} {absent}")
    for setting, name in ((s, name) for s, names in lists.items() for name in names):
        if name not in frame.columns:
            raise UsageError(f"{setting} names {name!r}, which {absent}")
    for setting, name in roles.items():
        if name in features:
            raise UsageError(
                f"data.features names {name!r}, which is the column of {setting}; leave it out"
            )
    if not features:
        raise UsageError(
            f"{wanted.source!r} has no feature column besides {', '.join(roles.values())}; add at "
            "least one"
        )
    kept = [*roles.values(), *wanted.prediction_columns, *features, *wanted.segments]
    order = dict.fromkeys(name for name in kept if name != wanted.target)
    return frame[[*order, wanted.target]]


def describe_oddities(frame: pd.DataFrame, features: tuple[Feature, ...]) -> Iterator[str]:
    """Yield a sentence for each column that is hardly meant as it stands: bad cells, ids, years."""
    for feature in features:
        values = frame[feature.name]
        numbers = to_numbers(values) if feature.kind == "numeric" else None
        if numbers is not None:
            bad = find_bad_cells(values)
            if len(bad):
                yield (
                    f"column {feature.name!r} holds text instead of a number in {len(bad)} row(s), "
                    f"first in row {bad.index[0]}: {bad.iloc[0]!r}; it counts as missing there"
                )
            infinite = int(np.isinf(numbers).sum())
            if infinite:
                yield (
                    f"column {feature.name!r} is infinite, or larger than any measured number, in "
                    f"{infinite} row(s); it counts as missing there"
                )
        whole = None if numbers is None else _find_whole_numbers(numbers)
        if _is_id(values, feature.kind, whole):
            yield (
                f"column {feature.name!r} has a value of its own in nearly every row; if it is an "
                f"id, leave it out with data.exclude: [{feature.name}]"
            )
        elif whole is not None and _is_year(whole):
            yield (
                f"column {feature.name!r} looks like a year; later years were never seen in "
                f"training: leave it out with data.exclude: [{feature.name}] unless it is meant"
            )


def _find_whole_numbers(numbers: Floats) -> Floats | None:
    """Return the finite numbers if there are any and all are whole; the first rows mostly tell."""
    for part in (numbers[:ID_ROWS], numbers):
        known = part[np.isfinite(part)]
        if (known != np.round(known)).any():
            return None
    return known if len(known) else None


def _is_id(values: pd.Series, kind: Kind, whole: Floats | None) -> bool:
    present = int(values.notna().sum())
    if present < ID_ROWS or kind == "boolean":
        return False
    if kind == "categorical":
        return bool(values.dropna().astype(str).nunique() > ID_SHARE * present)
    if whole is None:
        return False
    # Whole numbers without repeats that fill their range: a row number or a running id.
    distinct = len(np.unique(whole))
    return bool(distinct > ID_SHARE * present and np.ptp(whole) < 100 * distinct)


def _is_year(whole: Floats) -> bool:
    between = whole.min() >= YEARS[0] and whole.max() <= YEARS[1]
    return bool(between and len(np.unique(whole)) < ID_ROWS + 1)


def clear_missing_words(frame: pd.DataFrame, features: tuple[Feature, ...]) -> pd.DataFrame:
    """Return ``frame`` whose columns of numbers hold numbers: words such as NA are missing there.

    A bad cell keeps its text among the numbers, so that a window can say what it held.
    """
    return frame.assign(
        **{f.name: _clear_words(frame[f.name]) for f in features if f.kind == "numeric"}
    )


def _clear_words(values: pd.Series) -> pd.Series:
    numbers = pd.Series(to_numbers(values), index=values.index, name=values.name, copy=False)
    bad = find_bad_cells(values)
    if bad.empty:
        return numbers
    mixed = numbers.astype(object)
    mixed[bad.index] = bad
    return mixed


def normalise_features(frame: pd.DataFrame, features: tuple[Feature, ...]) -> pd.DataFrame:
    """Return ``frame`` with each feature in the one form of its kind: see ``cells.to_kind``."""
    return frame.assign(**{f.name: to_kind(frame[f.name], f.kind) for f in features})
