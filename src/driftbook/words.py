"""Numbers, intervals, lists and tables as people write them, and the sentences around them.

Names and values of the data, and what people write, may hold anything. Here is the one place that
makes them harmless: ``escape_markup`` and ``format_code`` for Markdown, ``escape_html`` for HTML,
``escape_cell`` for spreadsheets, ``quote_argument`` for a shell.

Sentences live in Jinja2 templates under ``site/templates``; Python hands them values.
"""

from __future__ import annotations

import csv
import math
import re
import shlex
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from jinja2 import Environment

TEMPLATES = Path(__file__).resolve().parent / "site" / "templates"
METRIC_NAMES = {
    "roc_auc": "ROC AUC",
    "log_loss": "log loss",
    "brier": "Brier loss",
    "mae": "mean absolute error",
    "rmse": "RMSE",
    "r2": "R²",
    "squared_error": "squared error",
    "cost": "cost",
    "n_train": "training rows",
    "n_test": "holdout rows",
}
# Rows of the drift report, and evidence, that are no column.
SOURCE_NAMES = {
    "(prediction)": "the predictions",
    "(joint)": "the way columns go together",
    "(loss)": "the model's mistakes",
    "(newer models)": "what newer models do better",
    "(rows)": "the table as a whole",
}
# What a retrain learns from, as the end of "a model trained …".
RECIPE_NAMES = {
    "first": "as the first one",
    "recent": "on the newest rows",
    "everything": "on all rows there are",
    "fading_slow": "on all rows with newer ones counting somewhat more",
    "fading": "on all rows with newer ones counting more",
    "fading_fast": "on all rows with the newest ones counting most",
    "weighted": "on the rows that resemble today's most",
    "recalibrated": "as before, with its chances set right by the newest rows",
    "season": "on the newest rows and the same season of earlier years",
}
# 1: a larger value is better, −1: a smaller one.
METRIC_DIRECTIONS = {
    "roc_auc": 1, "accuracy": 1, "log_loss": -1, "brier": -1,
    "r2": 1, "mae": -1, "rmse": -1, "squared_error": -1, "cost": -1,
}  # fmt: skip
UNKNOWN = "–"

# What ends a line or a page somewhere, and all other control characters.
_BREAKS = re.compile(r"[ \x00-\x1f\x7f\x85\u2028\u2029]+")
# What a terminal obeys rather than shows, and what turns the direction of text.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
# For Pandoc, CommonMark and what JupyterLab adds to it. An underscore inside a word is no markup,
# nor are the brackets of an interval; an address that is not one becomes no link either.
_MARKUP = re.compile(
    r"\[(?=[^\]]*[\d∞])[-−+\d.,%∞e\s]+\](?![\[({:])"
    r"|[\\`*<$|~^\[\]{}@]|(?<!\w)_|_(?!\w)|&(?=[#\w])|(?<=[A-Za-z]):(?=\S)|(?<=www)\."
    r"|^(?:[-+](?![\d.])|[=:#>%])"
)
_ENTITIES = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&#34;", "'": "&#39;", "`": "&#96;"}
)
_LIST_NUMBER = re.compile(r"^(\d+)([.)])(?=\s|$)")
# What a spreadsheet runs, behind as many apostrophes as were put there; a number is none.
# Source: OWASP, CSV Injection.
_FORMULA = re.compile(
    r"'*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20](?!(?<=[+-])(?:\d+\.?\d*|\.\d+|inf)(?:e[-+]?\d+)?\Z)",
    re.IGNORECASE,
)


def render_words(template: str, **values: Any) -> str:
    """Return a template of ``site/templates`` filled with values, without outer white space.

    Raises:
        jinja2.UndefinedError: the template names a value that it was not given.
    """
    return _environment().get_template(template).render(values).strip()


@cache
def _environment() -> Environment:
    # Imported here: who only writes numbers needs no templates.
    from jinja2 import (
        Environment,
        FileSystemLoader,
        StrictUndefined,
        pass_eval_context,
        select_autoescape,
    )
    from markupsafe import Markup

    def mark_html(value: Any) -> Markup:
        """Return a value as HTML, unless it is that already."""
        return value if isinstance(value, Markup) else Markup(escape_html(str(value)))  # noqa: S704

    @pass_eval_context
    def finalize(context: Any, value: Any) -> Any:
        """Return text in a template of HTML by our own rules, which Jinja2's are too few for."""
        return mark_html(value) if context.autoescape and isinstance(value, str) else value

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        autoescape=select_autoescape(["html.j2"]),
        finalize=finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "code": format_code,
        "confidence": format_confidence,
        "e": mark_html,
        "interval": format_interval,
        "join_interval": join_interval,
        "metric": name_metric,
        "names": list_names,
        "number": format_number,
        "one_line": join_lines,
        "percent": format_percent,
        "recipe": name_recipe,
        "prose": escape_markup,
        "source": name_source,
        "sentence": start_sentence,
        "table": format_table,
    }
    return environment


def format_number(value: Any, digits: int = 3) -> str:
    """Return a value as a reader wants it: 1,234 · 0.0123 · yes · – for what is not known.

    >>> format_number(12482), format_number(0.0123456), format_number(float("nan"))
    ('12,482', '0.0123', '–')
    """
    if _is_missing(value):
        return UNKNOWN
    if isinstance(value, bool) or type(value).__name__ == "bool":
        return "yes" if value else "no"
    if isinstance(value, Integral) or (isinstance(value, Real) and float(value).is_integer()):
        return f"{int(float(value)):,}".replace("-", "−")
    if isinstance(value, Real):
        return _format_real(float(value), digits).replace("-", "−")
    return escape_markup(str(value))


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, Real) and math.isnan(float(value)))


def _format_real(value: float, digits: int) -> str:
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) < 1e-4:
        return f"{value:.1e}"
    magnitude = int(f"{value:.{digits - 1}e}".partition("e")[2])
    return f"{value:.{max(digits - 1 - magnitude, 0)}f}"


def format_p_value(value: float | None) -> str:
    """Return a p-value, ``< 0.001`` where it is smaller.

    >>> format_p_value(1e-9), format_p_value(0.0421), format_p_value(None)
    ('< 0.001', '0.042', '–')
    """
    if value is None or math.isnan(value):
        return UNKNOWN
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def format_percent(value: float | None, places: int = 1) -> str:
    """Return a share in percent.

    >>> format_percent(0.2327), format_percent(None)
    ('23.3%', '–')
    """
    if value is None or math.isnan(value):
        return UNKNOWN
    return f"{100 * value:.{places}f}%"


def format_confidence(value: float) -> str:
    """Return how sure something is: no evidence makes it 100%.

    >>> format_confidence(0.7123), format_confidence(0.9999), format_confidence(0.0001)
    ('71%', 'over 99%', 'under 1%')
    """
    return "over 99%" if value > 0.995 else "under 1%" if value < 0.005 else f"{100 * value:.0f}%"


def format_interval(value: float | None, low: float | None, high: float | None) -> str:
    """Return a value with its interval: ``0.632 [0.621, 0.643]``.

    >>> format_interval(0.63214, 0.6208, 0.64301).replace("\u00a0", " ")
    '0.632 [0.621, 0.643]'
    """
    if any(_is_missing(x) for x in (value, low, high)):
        return format_number(value)
    # No-break spaces: a line may end before the interval but not inside it.
    return f"{format_number(value)} [{format_number(low)},\u00a0{format_number(high)}]"


def join_interval(
    frame: pd.DataFrame, value: str = "value", low: str = "ci_low", high: str = "ci_high"
) -> pd.DataFrame:
    """Return the frame with a value and its interval joined into one column for readers."""
    if frame.empty:
        return frame
    columns = (frame[name] for name in (value, low, high))
    joined = [format_interval(*row) for row in zip(*columns, strict=True)]
    return frame.assign(**{value: joined}).drop(columns=[low, high])


def escape_markup(text: str) -> str:
    r"""Return free text, such as a reason or a column's name, so that no character is markup.

    >>> escape_markup("a*b | <$5> _x_ retrain_cost [0.1, 0.2]")
    'a\\*b \\| \\<\\$5> \\_x\\_ retrain_cost [0.1, 0.2]'
    >>> escape_markup("# [x](javascript:y)\n{{< include z >}}")
    '\\# \\[x\\](javascript\\:y) \\{\\{\\< include z >\\}\\}'
    """
    # No-break spaces stay: they hold an interval together.
    escaped = _MARKUP.sub(
        lambda one: one[0] if len(one[0]) > 1 else f"\\{one[0]}", join_lines(text)
    )
    return _LIST_NUMBER.sub(r"\1\\\2", escaped)


def format_code(text: object) -> str:
    """Return text in code type; a backtick in it, which would end the code, becomes a quote.

    >>> format_code("temp"), format_code(None), format_code("")
    ('`temp`', '–', '`""`')
    """
    if text is None:
        return UNKNOWN
    # Quarto reads its own brackets inside of code too.
    shown = join_lines(str(text)).replace("`", "'").replace("|", "¦").replace("{{<", "{{ <")
    return f"`{shown}`" if shown else '`""`'


def escape_html(text: str) -> str:
    r"""Return text as HTML without line ends: nothing ends a block of raw HTML in Markdown.

    >>> escape_html("<b> &\n```")
    '&lt;b&gt; &amp; &#96;&#96;&#96;'
    """
    return _BREAKS.sub(" ", text).translate(_ENTITIES)


def escape_controls(text: str) -> str:
    r"""Return text for a terminal: what would move its cursor or turn its text round is spelled.

    Line ends and tabs stay.

    >>> escape_controls("one\x1b[31m\u202e\ntwo")
    'one\\x1b[31m\\u202e\ntwo'
    """
    return _CONTROLS.sub(lambda found: ascii(found[0])[1:-1], text)


def escape_cell(text: str) -> str:
    """Return text as a spreadsheet does not run it: behind an apostrophe where it would.

    Numbers stay, and so does what begins with any other character.

    >>> escape_cell("=1+1"), escape_cell("'=1"), escape_cell("temp"), escape_cell("-1.5")
    ("'=1+1", "''=1", 'temp', '-1.5')
    """
    return f"'{text}" if _FORMULA.match(text) else text


def restore_cell(text: str) -> str:
    """Return text as it was before :func:`escape_cell`.

    >>> [restore_cell(escape_cell(text)) for text in ("=1+1", "'=1", "'temp'", "-1.5")]
    ['=1+1', "'=1", "'temp'", '-1.5']
    """
    return text[1:] if text[:1] == "'" and _FORMULA.match(text) else text


def format_csv(frame: pd.DataFrame) -> str:
    """Return a frame as CSV without its index; headings and texts as :func:`escape_cell` says."""
    table = _map_texts(frame, escape_cell)
    text = table.to_csv(index=False)
    # Python leaves a carriage return unquoted, and readers end the row there.
    return table.to_csv(index=False, quoting=csv.QUOTE_NONNUMERIC) if "\r" in text else text


def restore_cells(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame of a CSV file as it was before :func:`format_csv`."""
    return _map_texts(frame, restore_cell)


def _map_texts(frame: pd.DataFrame, change: Callable[[str], str]) -> pd.DataFrame:
    def changed(value: Any) -> Any:
        return change(value) if isinstance(value, str) else value

    mapped = frame.copy()
    for place, dtype in enumerate(frame.dtypes):
        if dtype.kind not in "biufcmM":
            mapped.isetitem(place, frame.iloc[:, place].map(changed).array)
    return mapped.rename(columns=changed)


def quote_argument(text: str) -> str:
    r"""Return text as one argument of a shell's command line, on one line.

    >>> print(quote_argument("city"), quote_argument("a; b"), quote_argument("a\nb"))
    city 'a; b' $'a\nb'
    """
    if text.isprintable():
        return shlex.quote(text)
    quoted = text.encode("unicode_escape").decode("ascii").replace("'", r"\'")
    return f"$'{quoted}'"


def list_names(names: Sequence[str]) -> str:
    """Return names as a readable list, columns in code type and what is no column in words.

    >>> list_names(["a", "b", "(joint)"]), list_names([])
    ('`a`, `b` and the way columns go together', 'none')
    """
    quoted = [SOURCE_NAMES.get(name) or format_code(name) for name in names]
    if len(quoted) < 2:
        return quoted[0] if quoted else "none"
    return ", ".join(quoted[:-1]) + " and " + quoted[-1]


def name_metric(metric: str) -> str:
    """Return a metric's name as people write it.

    >>> name_metric("roc_auc"), name_metric("calibration")
    ('ROC AUC', 'calibration')
    """
    return METRIC_NAMES.get(metric, metric.replace("_", " "))


def name_recipe(recipe: str) -> str:
    """Return what a recipe learns from, in words.

    >>> name_recipe("fading"), name_recipe("my_own")
    ('on all rows with newer ones counting more', 'by my own')
    """
    return RECIPE_NAMES.get(recipe, f"by {recipe.replace('_', ' ')}")


def name_source(source: str) -> str:
    """Return a source of evidence in words: a column by its name, tests over all of them.

    >>> name_source("temp"), name_source("(joint)")
    ('temp', 'the way columns go together')
    """
    return SOURCE_NAMES.get(source, source)


def start_sentence(text: str) -> str:
    """Return text with a capital letter first; the others stay as they are.

    >>> start_sentence("ROC AUC"), start_sentence("squared error")
    ('ROC AUC', 'Squared error')
    """
    return text[:1].upper() + text[1:]


def join_lines(text: str) -> str:
    """Return the lines of a paragraph as one; no-break spaces stay."""
    return _BREAKS.sub(" ", text).strip(" ")


def format_table(
    frame: pd.DataFrame,
    columns: Mapping[str, str] | None = None,
    empty: str = "Nothing.",
    markup: Collection[str] = (),
    labels: Mapping[str, str] | None = None,
) -> str:
    """Return the frame as a Markdown table under readable headings; ``empty`` when it has no rows.

    ``columns`` picks columns and gives their headings; those the frame lacks are left out. Text
    columns are set flush left, all others flush right. Those in ``markup`` hold Markdown already,
    or a key of ``labels``, whose text is shown.
    """
    if frame.empty:
        return empty
    heads = columns or {
        str(name): escape_markup(str(name).replace("_", " ")) for name in frame.columns
    }
    names = [name for name in heads if name in frame.columns]
    labels = labels or {}
    rows = [
        [
            labels.get(value, str(value)) if name in markup else _format_cell(name, value)
            for name, value in row.items()
        ]
        for row in frame[names].to_dict("records")
    ]
    lines = [[heads[name] for name in names], *rows]
    # Pandoc shares a wide table's width out by the lengths of the rules below the headings.
    dashes = ["-" * max(3, *map(len, cells)) for cells in zip(*lines, strict=True)]
    is_text = [frame[name].dtype.kind == "O" for name in names]
    rules = [f":{d}" if text else f"{d}:" for d, text in zip(dashes, is_text, strict=True)]
    return "\n".join("| " + " | ".join(line) + " |" for line in [lines[0], rules, *rows])


def _format_cell(name: Any, value: Any) -> str:
    if isinstance(value, str):
        return format_number(value)
    if name == "p" or (str(name).startswith("p") and "pvalue" in str(name)):
        return format_p_value(value)
    return format_percent(value) if str(name).endswith("share") else format_number(value)
