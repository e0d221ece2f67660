"""Columns whose lasting change somebody has accepted: no fault, no alarm, no feature of the next.

An acceptance is about one version's reference and holds from one window on, so that live runs and
a replay judge every window alike, in whatever order they come.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from driftbook.data.windows import Window

# By model version: each accepted column, and the name of the window from which on it is.
AcceptedSince = Mapping[str, Mapping[str, str]]


def find_accepted(
    since: Mapping[str, str], windows: Sequence[Window], name: str
) -> tuple[str, ...]:
    """Return the columns that are accepted in the window ``name``, sorted.

    ``since``: by column the window from which on it is. One that the data hold no more lies before
    all that they hold.

    >>> every = [Window("2024-01", 0, 5, True), Window("2024-02", 5, 9, True)]
    >>> find_accepted({"a": "2023-12", "b": "2024-02"}, every, "2024-01")
    ('a',)
    """
    places = {window.name: place for place, window in enumerate(windows)}
    at = places.get(name, len(windows))
    return tuple(sorted(column for column, first in since.items() if places.get(first, 0) <= at))
