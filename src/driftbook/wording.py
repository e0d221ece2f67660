"""Numbers, intervals, lists and tables as a reader wants them, in Markdown."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from numbers import Integral, Real
from typing import Any

import pandas as pd

Columns = Mapping[str, str]

# An underscore inside a word is no markup, neither for Pandoc nor for CommonMark.
_MARKUP = re.compile(r"[\\`*<$|~^]|(?<!\w)_|_(?!\w)")


def number(value: Any, digits: int = 3) -> str:
    """Return a value as a reader wants it: 1,234 · 0.0123 · yes · – for what is not known.

    >>> number(12482), number(0.0123456), number(float("nan")), number(True)
    ('12,482', '0.0123', '–', 'yes')
    """
    if value is None or (isinstance(value, Real) and math.isnan(float(value))):
        return "–"
    if isinstance(value, bool) or type(value).__name__ == "bool":
        return "yes" if value else "no"
    if isinstance(value, Integral) or (isinstance(value, Real) and float(value).is_integer()):
        return f"{int(float(value)):,}".replace("-", "−")
    if isinstance(value, Real):
        return _real(float(value), digits)
    return prose(str(value))


def prose(text: str) -> str:
    r"""Return free text, such as a reason or a column's name, so that no character is markup.

    >>> prose("a*b | <$5> _x_ retrain_cost")
    'a\\*b \\| \\<\\$5> \\_x\\_ retrain_cost'
    """
    return _MARKUP.sub(r"\\\g<0>", " ".join(text.split()))


def _real(value: float, digits: int) -> str:
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if abs(value) >= 1000:
        return f"{value:,.0f}".replace("-", "−")
    if abs(value) < 1e-4:
        return f"{value:.1e}".replace("-", "−")
    magnitude = int(f"{value:.{digits - 1}e}".partition("e")[2])
    places = max(digits - 1 - magnitude, 0)
    return f"{value:.{places}f}".replace("-", "−")


def p_value(value: float | None) -> str:
    """Return a p-value, ``< 0.001`` where it is smaller.

    >>> p_value(1e-9), p_value(0.0421), p_value(None)
    ('< 0.001', '0.042', '–')
    """
    if value is None or math.isnan(value):
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def percent(value: float | None, places: int = 1) -> str:
    """Return a share in percent.

    >>> percent(0.2327), percent(None)
    ('23.3%', '–')
    """
    if value is None or math.isnan(value):
        return "–"
    return f"{100 * value:.{places}f}%"


def interval(value: float | None, low: float | None, high: float | None) -> str:
    """Return a value with its interval: ``0.632 [0.621, 0.643]``.

    >>> interval(0.63214, 0.6208, 0.64301).replace("\u00a0", " "), interval(4.0, None, None)
    ('0.632 [0.621, 0.643]', '4')
    """
    if any(x is None or math.isnan(x) for x in (value, low, high)):
        return number(value)
    # No-break spaces: a line may end before the interval but not inside it.
    return f"{number(value)} [{number(low)},\u00a0{number(high)}]"


def table(
    frame: pd.DataFrame,
    columns: Columns | None = None,
    empty: str = "Nothing.",
    markup: Collection[str] = (),
) -> str:
    """Return the frame as a Markdown table under readable headings; ``empty`` when it has no rows.

    ``columns`` picks columns and gives their headings; those the frame lacks are left out. Text
    columns are set flush left, all others flush right; those in ``markup`` hold Markdown already.
    """
    if frame.empty:
        return empty
    names = {old: new for old, new in (columns or _same(frame)).items() if old in frame.columns}
    rows = [
        [
            value if name in markup else _cell(name, value)
            for name, value in zip(names, row, strict=True)
        ]
        for row in frame[list(names)].itertuples(index=False, name=None)
    ]
    heads = [list(names.values()), *rows]
    widths = [max(len(row[place]) for row in heads) for place in range(len(names))]
    rules = [_rule(_is_text(frame[name]), width) for name, width in zip(names, widths, strict=True)]
    return "\n".join(_row(line) for line in [heads[0], rules, *rows])


def _rule(text: bool, width: int) -> str:
    """Return the rule below a heading; Pandoc shares a wide table's width out by its length."""
    # Pandoc reads the widths of columns off the rule of a wide table.
    dashes = "-" * max(width, 3)
    return f":{dashes}" if text else f"{dashes}:"


def _same(frame: pd.DataFrame) -> dict[str, str]:
    return {str(column): str(column).replace("_", " ") for column in frame.columns}


def _is_text(values: pd.Series) -> bool:
    return bool(pd.api.types.is_object_dtype(values) or pd.api.types.is_string_dtype(values))


def _cell(name: str, value: Any) -> str:
    if isinstance(value, str):
        return number(value)
    if name.startswith("p") and ("pvalue" in name or name == "p"):
        return p_value(value)
    if name.endswith("share"):
        return percent(value)
    return number(value)


def _row(cells: Any) -> str:
    return "| " + " | ".join(cells) + " |"


def with_interval(frame: pd.DataFrame, low: str = "ci_low", high: str = "ci_high") -> pd.DataFrame:
    """Return the frame with ``value`` and its interval joined into one readable column."""
    joined = [
        interval(v, a, b) for v, a, b in zip(frame["value"], frame[low], frame[high], strict=True)
    ]
    return frame.assign(value=joined).drop(columns=[low, high])


def code(text: object) -> str:
    """Return text in code type; a backtick in it, which would end the code, becomes a quote.

    >>> code("temp"), code(None)
    ('`temp`', '–')
    """
    return "–" if text is None else "`" + str(text).replace("`", "'").replace("|", "¦") + "`"


def listed(names: Sequence[str]) -> str:
    """Return names as a readable list in code type.

    >>> listed(["a", "b", "c"]), listed([])
    ('`a`, `b` and `c`', 'none')
    """
    quoted = [code(name) for name in names]
    if len(quoted) < 2:
        return quoted[0] if quoted else "none"
    return ", ".join(quoted[:-1]) + " and " + quoted[-1]
