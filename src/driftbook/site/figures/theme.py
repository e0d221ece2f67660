"""One look for every figure, and the picture that a notebook or a page shows."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any, Protocol

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

# Okabe and Ito's palette (2008): told apart with every common form of colour blindness.
REFERENCE = "#56748C"
CURRENT = "#D55E00"
ACCENT = "#0072B2"
GOOD = "#009E73"
PURPLE = "#8C5FA8"
INK = "#24292F"
FAINT = "#8C959F"
GRID = "#E6E9ED"

ACTION_COLOURS = {"hold": GOOD, "monitor": ACCENT, "retrain": CURRENT, "investigate": PURPLE}
ACTION_MARKERS = {"hold": "o", "monitor": "s", "retrain": "^", "investigate": "X"}

# Pages stretch a figure to the width of their text, 700 CSS pixels or a phone's 345: narrow
# sheets keep words readable on both, and twice as many dots keep lines sharp.
WIDTH_IN = 5.6
SCREEN_DPI = 100
PRINT_DPI = 200

STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 10.0,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 10.0,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 9.0,
    "ytick.labelsize": 9.5,
    "text.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 9.0,
    "lines.linewidth": 1.8,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "svg.hashsalt": "driftbook",
    # A dollar in a name is no formula.
    "text.parse_math": False,
    "path.simplify": True,
}


class ShownColumn(Protocol):
    """A feature as figures and sentences know it."""

    @property
    def name(self) -> str:
        """Return the column's name."""

    @property
    def kind(self) -> str:
        """Return ``numeric``, ``categorical`` or ``boolean``."""


@dataclass(frozen=True)
class Picture:
    """A finished PNG: equal input gives equal bytes; ``width`` and ``height`` are CSS pixels."""

    png: bytes
    width: int
    height: int
    text: str

    def _repr_mimebundle_(self, **_: object) -> tuple[dict[str, str], dict[str, dict[str, int]]]:
        data = base64.b64encode(self.png).decode("ascii")
        size = {"width": self.width, "height": self.height}
        return {"image/png": data, "text/plain": self.text}, {"image/png": size}

    def save(self, path: Path) -> Path:
        """Return ``path`` after the PNG was written there."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.png)
        return path


Pictures = dict[str, Picture]


@dataclass
class Sheet:
    """A figure under work: its ``axes`` while drawing, its ``picture`` once the block is left."""

    figure: Figure
    axes: list[Axes]
    picture: Picture = field(init=False)


@contextmanager
def open_sheet(
    text: str, height: float = 3.6, rows: int = 1, columns: int = 1, **grid: Any
) -> Iterator[Sheet]:
    """Return a sheet in the theme; leaving the block turns it into a picture.

    ``text`` says what is shown, for terminals and plain-text views; ``height`` is in inches;
    ``grid`` goes to matplotlib's ``subplots``.
    """
    with mpl.rc_context(_style()):
        # Not pyplot: no global state, and nothing for a notebook to show twice.
        figure = Figure(figsize=(WIDTH_IN, height), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False, **grid)
        page = Sheet(figure, list(axes.ravel()))
        yield page
        _lay_out(figure)
        buffer = BytesIO()
        # A program version in the file would change its bytes with every upgrade.
        figure.savefig(buffer, format="png", dpi=PRINT_DPI, metadata={"Software": None})
        size = round(WIDTH_IN * SCREEN_DPI), round(height * SCREEN_DPI)
        page.picture = Picture(buffer.getvalue(), *size, text)


def _lay_out(figure: Figure) -> None:
    """Place the figure's parts for print, once: ``savefig`` would draw all of it for that."""
    engine = figure.get_layout_engine()
    if engine is not None:
        figure.set_dpi(PRINT_DPI)
        engine.execute(figure)
        figure.set_layout_engine("none")


@cache
def _style() -> Any:
    """Return the theme over matplotlib's own defaults: a user's settings change no figure."""
    defaults = mpl.rcParamsDefault
    return {key: defaults[key] for key in defaults if not key.startswith("backend")} | STYLE


def draw_intervals(
    axes: Axes,
    names: Sequence[str],
    numbers: NDArray[np.float64],
    colours: Sequence[str],
    markers: Sequence[str],
) -> None:
    """Draw a mark with its interval a row, from the bottom up; ``numbers``: value, low and high.

    A marker in brackets, such as ``(o)``, is drawn hollow.
    """
    for place, (value, low, high) in enumerate(numbers):
        colour, marker = colours[place], markers[place].strip("()")
        face = colour if marker == markers[place] else "white"
        axes.plot([low, high], [place, place], color=colour, linewidth=2.2)
        axes.plot(value, place, marker, color=colour, markersize=8, mfc=face, markeredgewidth=1.6)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.grid(axis="y", visible=False)


def draw_nothing(sentence: str) -> Picture:
    """Return a small picture that says why there is no figure."""
    with open_sheet(sentence, 0.9) as page:
        page.axes[0].set_axis_off()
        page.axes[0].text(0, 0.5, sentence, color=INK, va="center", fontsize=11)
    return page.picture
