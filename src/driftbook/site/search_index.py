"""What the pages' own search looks through: a line a section, in a script beside the pages."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from html import unescape

SCRIPT = "search-index.js"
# Enough of a section to find it by; a long table is found by its first rows.
MOST_SIGNS = 2400

_HEADING = re.compile(r'<h([23])[^>]*\bid="([^"]+)"[^>]*>(.*?)</h\1>', re.DOTALL)
_HIDDEN = re.compile(r"<(script|style|svg)\b.*?</\1>", re.DOTALL)
_TAG = re.compile(r"<[^>]+>")


def list_sections(stem: str, title: str, html: str) -> list[dict[str, str]]:
    """Return a page's sections: where each is, its page and heading, and its text.

    >>> list_sections("p", "Page", 'One &amp; <b>two</b><h2 id="x">Three</h2><p>four</p>')
    [{'at': 'p.html', 'page': 'Page', 'head': '', 'text': 'One & two'},
     {'at': 'p.html#x', 'page': 'Page', 'head': 'Three', 'text': 'four'}]
    """
    clean = _HIDDEN.sub(" ", html)
    heads = list(_HEADING.finditer(clean))
    ends = [*(head.start() for head in heads), len(clean)]
    found = [_describe(stem, title, "", "", clean[: ends[0]])]
    for head, end in zip(heads, ends[1:], strict=True):
        text = clean[head.end() : end]
        found.append(_describe(stem, title, f"#{head[2]}", _read_text(head[3]), text))
    return found


def _describe(stem: str, title: str, place: str, head: str, html: str) -> dict[str, str]:
    text = _read_text(html)[:MOST_SIGNS]
    return {"at": f"{stem}.html{place}", "page": title, "head": head, "text": text}


def _read_text(html: str) -> str:
    return " ".join(unescape(_TAG.sub(" ", html)).split())


def write_script(sections: Sequence[dict[str, str]]) -> str:
    """Return the script that hands the index to the pages."""
    return f"window.driftbookSections = {json.dumps(list(sections), ensure_ascii=False)};\n"
