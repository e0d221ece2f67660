"""What the first page's chart tells: every window that was judged, and what was done about it."""

from __future__ import annotations

from typing import Any

import pandas as pd

from driftbook.store.evidence import PublishedRun, tabulate_past_runs

MOST_TOLD_WINDOWS = 52  # more points than that run into each other
STORY_COLUMNS = ["window", "loss", "baseline", "newer", "action", "promoted", "acknowledged"]


def tabulate_story(run: PublishedRun) -> pd.DataFrame:
    """Return a row a window in order, of every champion that served in it.

    Up to the window that this run is about: a look back tells what was known then. Windows since
    the champion's reference come from its record as this run knows it, earlier ones
    from the last run that judged each. Loss: realised where outcomes are known, else estimated.
    """
    past = tabulate_past_runs(run.history, run.loss).drop_duplicates("window", keep="last")
    judged = {str(row["window"]): row for row in past.to_dict("records")}
    since = {str(row["window"]): row for row in run.trend.to_dict("records")}
    done = _find_events(run)
    names = [name for name in {*judged, *since} if _place(name) <= _place(run.window)]
    names = sorted(names, key=_place)[-MOST_TOLD_WINDOWS:]
    rows = [_tell_window(name, judged.get(name), since.get(name), done) for name in names]
    return pd.DataFrame(rows, columns=STORY_COLUMNS)


def _place(window: str) -> tuple[int, str]:
    """Return what orders windows: those of rows have numbers that may grow by a digit."""
    return len(window), window


def _tell_window(
    name: str,
    judged: dict[Any, Any] | None,
    since: dict[Any, Any] | None,
    done: dict[str, set[str]],
) -> dict[str, Any]:
    numbers = since or judged or {}
    realised, estimated = numbers.get("realised"), numbers.get("estimated")
    return {
        "window": name,
        "loss": estimated if pd.isna(realised) else realised,
        "baseline": numbers.get("baseline"),
        "newer": numbers.get("newer"),
        "action": None if judged is None else judged["action"],
        "promoted": name in done["promotion"],
        "acknowledged": name in done["acknowledge"],
    }


def _find_events(run: PublishedRun) -> dict[str, set[str]]:
    """Return the windows on whose evidence a version was promoted or a change acknowledged."""
    by_evidence = {one.sha256: str(one.document.get("window")) for one in run.history}
    by_run = {one.run_id: str(one.document.get("window")) for one in run.history}
    done: dict[str, set[str]] = {"promotion": set(), "acknowledge": set()}
    for line in run.ledger:
        window = by_evidence.get(str(line.get("evidence_sha256"))) or by_run.get(
            str(line.get("run_id"))
        )
        window = window or line.get("window")
        if line["event"] in done and window is not None:
            done[line["event"]].add(window)
    return done
