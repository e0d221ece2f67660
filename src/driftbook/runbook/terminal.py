"""Progress on stderr: bars with elapsed time on a terminal, one plain line a step elsewhere."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from shutil import get_terminal_size
from threading import Event, Thread
from time import perf_counter
from typing import Any, TextIO

import click

from driftbook.words import escape_controls

TICK_S = 0.5
_LABEL_WIDTH = 22
_WIDEST = 100
_BAR_FORMAT = "{desc} {percentage:3.0f}%|{bar:24}| {n_fmt}/{total_fmt} {unit} [{elapsed}]"


class Terminal:
    """Where a command says how far it is and what it found; ``quiet`` says nothing at all."""

    def __init__(
        self, quiet: bool = False, as_json: bool = False, stream: TextIO | None = None
    ) -> None:
        self.quiet = quiet
        self.as_json = as_json
        self.stream = stream or sys.stderr
        self.live = not quiet and self.stream.isatty()

    def say(self, line: str) -> None:
        """Write one line, unless quiet."""
        if not self.quiet:
            self.warn(line)

    def warn(self, line: str) -> None:
        """Write one line even where quiet: what somebody has to know who reads nothing else."""
        print(f"driftbook: {escape_controls(line)}", file=self.stream, flush=True)

    def print_result(
        self,
        found: Mapping[str, Any],
        write_lines: Callable[[Mapping[str, Any]], list[str]],
        always: bool = False,
    ) -> None:
        """Print what a command found on stdout, as JSON or in lines; ``always``: even if quiet."""
        if self.as_json:
            click.echo(json.dumps(found, indent=2))
        elif always or not self.quiet:
            click.echo(escape_controls("\n".join(write_lines(found))))

    @contextmanager
    def step(self, label: str, ticking: bool = True) -> Iterator[None]:
        """Time a step and show it: ticking on a terminal, as one line at its end elsewhere."""
        started = perf_counter()
        with self._ticking(label) if self.live and ticking else nullcontext():
            yield
        if not self.live:
            self.say(f"{label} done in {perf_counter() - started:.1f} s")

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
