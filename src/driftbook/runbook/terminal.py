"""Progress on stderr: bars with elapsed time on a terminal, one plain line a step elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from shutil import get_terminal_size
from threading import Event, Thread
from time import perf_counter
from typing import Any, TextIO

TICK_S = 0.5
_LABEL_WIDTH = 22
_WIDEST = 100
_BAR_FORMAT = "{desc} {percentage:3.0f}%|{bar:24}| {n_fmt}/{total_fmt} {unit} [{elapsed}]"


@dataclass
class StepClock:
    """Seconds of a step; they stop when it ends."""

    started: float = field(default_factory=perf_counter)
    stopped: float | None = None

    @property
    def seconds(self) -> float:
        """Return the seconds that the step took, or has taken so far."""
        return (self.stopped or perf_counter()) - self.started


class Terminal:
    """Where a command says how far it is; ``quiet`` says nothing at all."""

    def __init__(self, quiet: bool = False, stream: TextIO | None = None) -> None:
        self.quiet = quiet
        self.stream = stream or sys.stderr
        self.live = not quiet and self.stream.isatty()

    def say(self, line: str) -> None:
        """Write one line, unless quiet."""
        if not self.quiet:
            print(f"driftbook: {line}", file=self.stream, flush=True)

    @contextmanager
    def step(self, label: str, ticking: bool = True) -> Iterator[StepClock]:
        """Time a step and show it: ticking on a terminal, as one line at its end elsewhere."""
        clock = StepClock()
        if self.live and ticking:
            with self._ticking(label):
                yield clock
        else:
            yield clock
        clock.stopped = perf_counter()
        if not self.live:
            self.say(f"{label} done in {clock.seconds:.1f} s")

    def papermill_bar(self, label: str) -> dict[str, Any] | bool:
        """Return papermill's ``progress_bar`` argument: its bar in this terminal, or none."""
        return {**self._style(label), "unit": "cells"} if self.live else False

    def _style(self, label: str) -> dict[str, Any]:
        desc = f"{label:{_LABEL_WIDTH}}"
        # Given outright, because tqdm draws nothing on a terminal that does not tell its size.
        size = get_terminal_size()
        return {
            "desc": desc,
            "file": self.stream,
            "bar_format": _BAR_FORMAT,
            "ncols": min(size.columns, _WIDEST),
            "nrows": size.lines,
        }

    @contextmanager
    def _ticking(self, label: str) -> Iterator[None]:
        from tqdm import tqdm

        style = {**self._style(label), "bar_format": "{desc} [{elapsed}]"}
        done = Event()
        with tqdm(total=1, **style) as bar:

            def tick() -> None:
                while not done.wait(TICK_S):
                    bar.refresh()

            ticker = Thread(target=tick, daemon=True)
            ticker.start()
            try:
                yield
            finally:
                done.set()
                ticker.join()
                bar.update()
