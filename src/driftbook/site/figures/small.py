"""Small figures inside folds: paths for an SVG that takes its colours from the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from driftbook.words import format_number

Numbers = NDArray[np.float64]
WIDTH, HEIGHT, BAND = 300.0, 96.0, 20.0
# A fold shows at most so many windows, the newest, and so much of a level's name.
MOST_WINDOWS, MOST_SIGNS = 24, 16


@dataclass(frozen=True)
class SmallFigure:
    """Paths in a box of ``width`` by ``height``, and the words at its ends.

    ``paths``: by the class that gives them their colour; ``marks``: of a level ``y``, its name and
    the two shares as widths, and what is predicted there; ``ends``: below the left and right end;
    ``top``: what the upper edge stands for.
    """

    text: str
    paths: dict[str, str] = field(default_factory=dict)
    marks: list[dict[str, Any]] = field(default_factory=list)
    ends: tuple[str, str] = ("", "")
    top: str = ""
    zero: float | None = None
    height: float = HEIGHT
    width: float = WIDTH


def draw_small_distribution(rows: pd.DataFrame) -> SmallFigure:
    """Return reference and current shares of one feature: stairs for numbers, bars for levels.

    ``rows``: the feature's rows of ``drift/distributions.csv``.
    """
    name = str(rows["feature"].iloc[0])
    text = f"Distribution of {name}: reference and this window"
    reference, current = (
        rows[f"{side}_share"].to_numpy(dtype=float) for side in ("reference", "current")
    )
    top = max(float(np.nanmax([*reference, *current, 0.0])), 1e-9)
    if rows["kind"].iloc[0] != "numeric":
        return _draw_levels(text, rows, top)
    paths = {"ref": _stairs(reference / top, closed=True)}
    if np.isfinite(current).all():
        paths["cur"] = _stairs(current / top, closed=False)
    ends = format_number(rows["low"].iloc[0]), format_number(rows["high"].iloc[-1])
    return SmallFigure(text, paths, ends=ends, top=f"up to {100 * top:.0f}%")


def _stairs(shares: Numbers, closed: bool) -> str:
    step = WIDTH / len(shares)
    steps = "".join(f"V{HEIGHT * (1 - share):.1f}h{step:.2f}" for share in shares)
    return f"M0 {HEIGHT:g}{steps}V{HEIGHT:g}" + ("z" if closed else "")


def _draw_levels(text: str, rows: pd.DataFrame, top: float) -> SmallFigure:
    marks = [
        {
            "y": BAND * place,
            "name": _shorten(str(row["bin"])),
            "reference": 130 * row["reference_share"] / top,
            "current": 130 * row["current_share"] / top if row["current_share"] >= 0 else 0.0,
            "predicted": row["predicted"],
        }
        for place, row in enumerate(rows.to_dict("records"))
    ]
    return SmallFigure(text, marks=marks, height=BAND * len(marks))


def _shorten(text: str) -> str:
    return text if len(text) <= MOST_SIGNS else text[: MOST_SIGNS - 1] + "…"


def draw_small_prediction(rows: pd.DataFrame) -> SmallFigure | None:
    """Return the mean prediction along a number, None where it is no number or hardly known."""
    known = rows.dropna(subset=["predicted"])
    if rows["kind"].iloc[0] != "numeric" or len(known) < 2:
        return None
    middle = (known["low"] + known["high"]).to_numpy(dtype=float) / 2.0
    low, high = float(rows["low"].iloc[0]), float(rows["high"].iloc[-1])
    values = known["predicted"].to_numpy(dtype=float)
    bottom, top = float(values.min()), float(values.max())
    x = WIDTH * (middle - low) / (high - low)
    return SmallFigure(
        f"Mean prediction along {rows['feature'].iloc[0]} on the holdout",
        {"line": _line(x, _scale(values, bottom, top))},
        ends=(format_number(low), format_number(high)),
        top=f"{format_number(bottom)} to {format_number(top)}",
    )


def draw_small_trend(rows: pd.DataFrame) -> SmallFigure | None:
    """Return one aspect of a feature window by window with its band, None with a single window."""
    shown = rows.tail(MOST_WINDOWS)
    if len(shown) < 2:
        return None
    value, low, high = (
        shown[name].to_numpy(dtype=float) for name in ("value", "ci_low", "ci_high")
    )
    bottom, top = min(0.0, float(np.nanmin(low))), max(0.0, float(np.nanmax(high)))
    x = np.linspace(6.0, WIDTH - 6.0, len(shown))
    up, down = _scale(high, bottom, top), _scale(low, bottom, top)
    band = _line(x, up) + _line(x[::-1], down[::-1]).replace("M", "L", 1) + "z"
    dots = "".join(
        f"M{a:.1f} {b:.1f}h0" for a, b in zip(x, _scale(value, bottom, top), strict=True)
    )
    return SmallFigure(
        f"{shown['feature'].iloc[0]} window by window",
        {"band": band, "line": _line(x, _scale(value, bottom, top)), "dots": dots},
        ends=(str(shown["window"].iloc[0]), str(shown["window"].iloc[-1])),
        top=f"{format_number(bottom)} to {format_number(top)}",
        zero=float(_scale(np.zeros(1), bottom, top)[0]),
    )


def _scale(values: Numbers, bottom: float, top: float) -> Numbers:
    """Return values as heights from above, a small margin left at both ends."""
    span = top - bottom if top > bottom else 1.0
    return np.asarray(HEIGHT - 5.0 - (HEIGHT - 10.0) * (values - bottom) / span)


def _line(x: Sequence[float] | Numbers, y: Sequence[float] | Numbers) -> str:
    return "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in zip(x, y, strict=True))
