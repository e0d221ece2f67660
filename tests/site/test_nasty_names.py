"""A run whose names, levels and reasons are markup, scripts and formulas: none comes alive.

In a real browser, where every link is clicked; in every CSV file; and in Markdown as Pandoc and
CommonMark read it. The browser is skipped where there is none, Pandoc likewise.
"""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from markdown_it import MarkdownIt

from driftbook.settings import Settings
from driftbook.words import escape_markup, format_code, restore_cells

pytestmark = pytest.mark.slow

OWN = "window.owned=1"
NASTY = [
    f"[x](javascript:{OWN})",
    f"<img src=x onerror={OWN}>",
    f"</script><script>{OWN}</script>",
    f"</code></td><b onclick={OWN}>b</b>",
    "=cmd|' /C calc'!A1",
    "+1+1",
    "-2+3",
    "@SUM(1)",
    "\t=1",
    "\r\n=1",
    "a`b`c",
    "a|b",
    f"![i](javascript:{OWN})",
    "{{< include /etc/passwd >}}",
    "{{ 7*7 }}",
    "$\\frac$ **b** _i_ ~~s~~",
    f"[y]{{onclick={OWN}}}",
    "<https://evil.example/>",
    "[z](https://evil.example/)",
    "https://evil.example/auto",
    "www.evil.example",
    "me@evil.example",
    "line\nbreak\n\n# heading",
    "carriage\rreturn",
    "\"q\" 's'",
    "&lt;b&gt; &#106;s",
    "<!-- c",
    f"[ref]: javascript:{OWN}",
    f"[1, 2]: javascript:{OWN}",
    "[ref]",
    "::: {.x}",
    f"x](#y) [a](javascript:{OWN}",
    "\\",
    "* a",
    "# h",
    "- [ ] item",
    "1. one",
    f"```\n<script>{OWN}</script>\n```{{=html}}\n<script>{OWN}</script>\n```",
    f"`<script>{OWN}</script>`{{=html}}",
    "\x1b[31mred",
    "\x9b2Jgone \u202eturned",
]
STUCK, KINDS, LEVELS = NASTY[0], "<i>k</i>", f"=l[x](javascript:{OWN})"
TARGET = f"<b onclick={OWN}>t[q](javascript:{OWN})"
CLASSES = [f"[c](javascript:{OWN})", f"<img src=x onerror={OWN}>", "=1+1|c"]
REASON = f"[r](javascript:{OWN}) <img src=x onerror={OWN}>\n\n```\n<script>{OWN}</script> | =1+1"
PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def nasty_rows(rows: int = 1600) -> pd.DataFrame:
    """Return rows of which two columns are stuck and half of the others moved at the end."""
    rng = np.random.default_rng(0)
    late = np.arange(rows) >= 1200
    columns: dict[str, Any] = {
        name: rng.normal(size=rows) + late * (place % 2) for place, name in enumerate(NASTY)
    }
    lean = np.where(late, -1, 1) * columns[NASTY[1]] + rng.normal(size=rows)
    for name in (STUCK, NASTY[-1]):
        columns[name] = np.where(late, 7.0, columns[name])
    columns[LEVELS] = rng.choice(NASTY[:12], rows)
    columns[KINDS] = rng.choice(NASTY, rows)
    columns[TARGET] = np.array(CLASSES)[np.digitize(lean, [-0.5, 0.7])]
    return pd.DataFrame(columns)


# What a terminal obeys: nothing that a command says may hold any of it.
OBEYED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]")


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the artifacts of a run, of an acknowledgement and of a run after it."""
    folder = tmp_path_factory.mktemp("nasty")
    nasty_rows().to_parquet(folder / "rows.parquet")
    data = {"source": "rows.parquet", "target": TARGET, "window": 200, "reference": 3}
    settings = Settings.parse(
        {
            "data": {**data, "segments": [LEVELS]},
            "card": {"intended_use": REASON, "ethical_considerations": REASON},
        }
    )
    (folder / "runbook.yaml").write_text(settings.to_yaml(), encoding="utf-8")
    for words in (
        ["run", "--no-render"],
        ["acknowledge", "--why", REASON, "--", STUCK],
        ["run", "--from", "drift"],
    ):
        command = [sys.executable, "-m", "driftbook", *words]
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stderr
        assert OBEYED.findall(done.stdout + done.stderr) == []
    return folder / "artifacts"


@pytest.fixture(scope="module")
def site(artifacts: Path) -> Path:
    return artifacts / "reports" / "html"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.skip(f"no browser on this machine; looked for {', '.join(PROGRAMS)}")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=program,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        yield chromium
        chromium.close()


# What none of our own pages has: handlers in markup, and anything that came out of a name.
FOREIGN = """() => [...document.querySelectorAll('*')].filter(e =>
    [...e.attributes].some(a => a.name.startsWith('on')
      || (['href', 'src'].includes(a.name)
        && /^\\s*javascript:|^[^#].*evil|^x$|^#y$/i.test(a.value)))
    || (e.tagName === 'SCRIPT' && /owned/.test(e.textContent) && !e.src)
    || (/^H[1-6]$/.test(e.tagName) && /^(heading|h)$/.test(e.textContent.trim()))
    || (e.matches('main input[type=checkbox]') && !e.closest('.db-ticks'))
  ).map(e => e.outerHTML.slice(0, 200))"""
OPEN_ALL = """() => {
  document.querySelectorAll('details').forEach(d => { d.open = true; });
  document.querySelectorAll('main b, main code, main td, main summary').forEach(e => e.click());
}"""
LINKS = "() => [...document.querySelectorAll('a')].map(a => a.getAttribute('href'))"


def test_nothing_comes_alive_in_a_browser_whatever_is_clicked(browser: Any, site: Path) -> None:
    context = browser.new_context()
    asked: list[str] = []
    context.on("request", lambda request: asked.append(request.url))
    page = context.new_page()
    page.on("dialog", lambda dialog: asked.append(f"dialog {dialog.message}"))
    clicked: set[str] = set()
    shown = ""
    for path in sorted(site.glob("*.html")):
        page.goto(path.as_uri())
        assert page.evaluate(FOREIGN) == [], path.name
        page.evaluate(OPEN_ALL)
        shown += page.inner_text("main")
        for place, link in enumerate(page.evaluate(LINKS)):
            at = link if not link.startswith("#") else f"{path.name}{link}"
            if at in clicked:
                continue
            clicked.add(at)
            click = f"() => document.querySelectorAll('a')[{place}].click()"
            if link.startswith("#"):
                page.evaluate(click)
            else:
                with page.expect_navigation():
                    page.evaluate(click)
            assert page.evaluate("() => window.owned") is None, link
            assert page.url.startswith(site.as_uri()), link
            if page.url.partition("#")[0] != path.as_uri():
                page.goto(path.as_uri())
        assert page.evaluate("() => window.owned") is None, path.name
    context.close()
    assert len(clicked) > 60
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    # They were there to be seen, as the text that they are.
    for name in (*NASTY[:5], NASTY[18], NASTY[27], CLASSES[0]):
        assert " ".join(name.replace("|", "¦").split()) in shown.replace("|", "¦")
    assert "[r](javascript:window.owned=1)" in shown


def test_searching_shows_names_as_text(browser: Any, site: Path) -> None:
    page = browser.new_context().new_page()
    page.goto((site / "index.html").as_uri())
    page.fill("#search-field", "onerror")
    page.wait_for_selector("#search-found li")
    assert page.evaluate(FOREIGN) == []
    assert page.evaluate("() => window.owned") is None


NUMBER = re.compile(r"[-+](\d|\.\d|inf)[\d.e+-]*", re.IGNORECASE)


def test_no_cell_of_a_table_is_a_formula(artifacts: Path) -> None:
    tables = sorted(artifacts.rglob("*.csv"))
    assert len(tables) > 15
    held = 0
    for path in tables:
        with path.open(newline="", encoding="utf-8") as lines:
            for row in csv.reader(lines):
                for cell in row:
                    assert cell[:1] not in "=+-@\t\r\n" or not cell or NUMBER.fullmatch(cell), path
                    held += cell.startswith("'")
    assert held > 20


def test_tables_read_back_hold_the_names_as_they_are(artifacts: Path) -> None:
    report = restore_cells(pd.read_csv(artifacts / "drift" / "drift_report.csv"))
    own = report[~report["kind"].isin(["prediction", "joint"])]
    assert set(own["feature"]) == {*NASTY, KINDS}
    segments = restore_cells(pd.read_csv(artifacts / "policy" / "segments.csv"))
    assert set(segments["segment"]) == {LEVELS}
    assert set(segments["value"]) == {*NASTY[:12]}


class Tags(HTMLParser):
    """Collects the tags of HTML."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.found.append(f"{tag} {attrs}")


def tags_of(html: str) -> list[str]:
    tags = Tags()
    tags.feed(html)
    return tags.found


def to_html(reader: str, text: str) -> str:
    if reader == "commonmark":
        return str(MarkdownIt("commonmark").enable("table").render(text))
    if shutil.which("pandoc") is None:
        pytest.skip("Pandoc is not installed")
    command = ["pandoc", "--from", "markdown+autolink_bare_uris+emoji-smart", "--to", "html"]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("reader", ["commonmark", "pandoc"])
def test_names_are_text_for_every_reader_of_markdown(reader: str) -> None:
    names = [*NASTY, TARGET, LEVELS, *CLASSES, REASON]
    cells = "\n".join(f"| {escape_markup(name)} | {format_code(name)} |" for name in names)
    for text, expected in {
        f"| a | b |\n| --- | --- |\n{cells}\n": {
            "table",
            "thead",
            "tbody",
            "tr",
            "th",
            "td",
            "code",
        },
        **{f"{escape_markup(name)}\n": {"p"} for name in names},
        **{f"- {escape_markup(name)}\n": {"ul", "li"} for name in names},
        **{f"A {format_code(name)} b\n": {"p", "code"} for name in names},
        **{f"[{escape_markup(name)}](#here)\n": {"p", "a"} for name in names},
    }.items():
        found = [tag.split(" ", 1)[0] for tag in tags_of(to_html(reader, text))]
        assert set(found) - {"colgroup", "col"} == expected, text
        assert found.count("a") == ("a" in expected), text
