"""The pages in a real browser: they load, read well at two widths, and are accessible.

Needs Chromium (or Chrome) on the machine and, for the accessibility rules, axe-core, which npm
fetches once into a cache folder; a test that misses one of them is skipped and says so.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from driftbook.site import render

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
AXE = "4.10.3"
WIDE, NARROW = {"width": 1280, "height": 800}, {"width": 375, "height": 740}
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}


@pytest.fixture(scope="module")
def site(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(render, "find_quarto", lambda: None)
        return render.render_site(finished_run, tmp_path_factory.mktemp("pages")).parent


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.skip(f"no browser on this machine; looked for {', '.join(PROGRAMS)}")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def axe() -> str | None:
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "driftbook"
    script = cache / f"axe-core-{AXE}.min.js"
    if not script.is_file():
        if shutil.which("npm") is None:
            return None
        cache.mkdir(parents=True, exist_ok=True)
        command = ["npm", "pack", "--silent", "--pack-destination", str(cache), f"axe-core@{AXE}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        if done.returncode != 0:
            return None
        package = cache / done.stdout.split()[-1]
        with tarfile.open(package) as archive:
            member = archive.extractfile("package/axe.min.js")
            assert member is not None
            script.write_bytes(member.read())
        package.unlink()
    return script.read_text(encoding="utf-8")


class Visit:
    """A page that was opened, and everything it complained about."""

    def __init__(self, browser: Any, path: Path, viewport: dict[str, int]) -> None:
        self.context = browser.new_context(viewport=viewport)
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("requestfailed", lambda request: self.complaints.append(request.url))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.as_uri())

    def _console(self, message: Any) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(message.text)

    def __enter__(self) -> Visit:
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()


@dataclass
class Survey:
    """What one page showed in every look."""

    complaints: list[str]
    requests: list[str]
    title: str
    broken_images: list[str]
    headings: list[int]
    widths: dict[str, int]
    smallest_font: dict[str, float]
    column: int
    problems: dict[str, list[tuple[str, str, str]]] = field(default_factory=dict)


# Both colour modes and both widths, without paying for the fourth combination.
RULED = ("dark", "narrow")
LOOKS = {"light": WIDE, "dark": WIDE, "narrow": NARROW}
FACTS = """() => ({
  title: document.title,
  broken: [...document.images].filter(i => !i.complete || !i.naturalWidth).map(i => i.src),
  headings: [...document.querySelectorAll('h1,h2,h3,h4,h5,h6')].map(h => +h.tagName[1]),
  width: document.documentElement.scrollWidth,
  font: Math.min(...[...document.querySelectorAll('main p, main li, main td, main a')]
    .map(e => parseFloat(getComputedStyle(e).fontSize))),
  column: document.querySelector('main p').clientWidth,
})"""


@pytest.fixture(scope="module")
def surveys(browser: Any, site: Path, axe: str | None, root: Path) -> dict[str, Survey]:
    """Every page opened once, looked at in light, dark and narrow, and photographed."""
    folder = root / "artifacts" / "site-check"
    folder.mkdir(parents=True, exist_ok=True)
    return {path.stem: survey(browser, path, axe, folder) for path in sorted(site.glob("*.html"))}


def survey(browser: Any, path: Path, axe: str | None, folder: Path) -> Survey:
    with Visit(browser, path, WIDE) as visit:
        facts = {"wide": visit.page.evaluate(FACTS)}
        problems = {}
        for look, viewport in LOOKS.items():
            visit.page.set_viewport_size(viewport)
            if (look == "dark") != visit.page.evaluate(
                "document.documentElement.className === 'dark'"
            ):
                visit.page.click(".theme-button")
            if not path.stem.startswith("run-"):
                visit.page.screenshot(path=folder / f"{path.stem}-{look}.png", full_page=True)
            if axe is not None and look in RULED and not path.stem.startswith("run-"):
                problems[look] = violations(visit.page, axe)
        facts["narrow"] = visit.page.evaluate(FACTS)
        return Survey(
            complaints=visit.complaints,
            requests=visit.requests,
            title=facts["wide"]["title"],
            broken_images=facts["wide"]["broken"],
            headings=facts["wide"]["headings"],
            widths={name: found["width"] for name, found in facts.items()},
            smallest_font={name: found["font"] for name, found in facts.items()},
            column=facts["wide"]["column"],
            problems=problems,
        )


def violations(page: Any, axe: str) -> list[tuple[str, str, str]]:
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    page.evaluate(f"window.axe || (() => {{ {axe} }})()")
    found = page.evaluate("options => axe.run(document, options)", RULES)
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = false; })")
    return [
        (one["id"], one["nodes"][0]["html"][:120], one["nodes"][0]["failureSummary"][:300])
        for one in found["violations"]
    ]


def test_every_page_loads_whole_offline_and_without_complaint(surveys: dict[str, Survey]) -> None:
    assert len(surveys) >= 11
    for name, found in surveys.items():
        assert found.complaints == [], name
        assert all(url.startswith(("file:", "data:")) for url in found.requests), name
        assert found.broken_images == [], name
        assert found.title.endswith("– Driftbook"), name


def test_headings_come_in_order(surveys: dict[str, Survey]) -> None:
    for name, found in surveys.items():
        assert found.headings[0] == 1, name
        assert found.headings.count(1) == 1, name
        steps = [after - before for before, after in pairwise(found.headings)]
        assert max(steps, default=0) <= 1, f"{name}: {found.headings}"


def test_pages_are_readable_without_scrolling_sideways(surveys: dict[str, Survey]) -> None:
    for name, found in surveys.items():
        assert found.widths["wide"] <= WIDE["width"], name
        assert found.widths["narrow"] <= NARROW["width"], name
        assert min(found.smallest_font.values()) >= 12, name
        assert found.column <= 820, name


@pytest.mark.parametrize("look", RULED)
def test_axe_finds_nothing(surveys: dict[str, Survey], axe: str | None, look: str) -> None:
    if axe is None:
        pytest.skip(f"axe-core {AXE} is not here and npm could not fetch it")
    for name, found in surveys.items():
        assert found.problems.get(look, []) == [], name
    assert sum(look in found.problems for found in surveys.values()) >= 11


def test_screenshots_are_there_for_the_eye(surveys: dict[str, Survey], root: Path) -> None:
    """In artifacts/site-check: light, dark and narrow; looked at before a release."""
    pictures = {path.name for path in (root / "artifacts" / "site-check").glob("*.png")}
    for name in (n for n in surveys if not n.startswith("run-")):
        assert {f"{name}-{look}.png" for look in LOOKS} <= pictures


@pytest.mark.parametrize("viewport", [WIDE, NARROW], ids=["1280", "375"])
def test_the_decision_is_on_the_first_screen(
    browser: Any, site: Path, viewport: dict[str, int]
) -> None:
    with Visit(browser, site / "index.html", viewport) as visit:
        bottom = visit.page.evaluate(
            "document.querySelector('.db-banner').getBoundingClientRect().bottom"
        )
        assert bottom < viewport["height"] / 2
        why = visit.page.locator("main .db-why p").bounding_box()
        assert why["y"] + why["height"] < viewport["height"]


def test_dark_mode_stays_from_page_to_page(browser: Any, site: Path) -> None:
    with Visit(browser, site / "index.html", WIDE) as visit:
        light = visit.page.evaluate("getComputedStyle(document.body).backgroundColor")
        visit.page.click(".theme-button")
        visit.page.click("nav#site-nav a[href='history.html']")
        dark = visit.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (light, dark) == ("rgb(255, 255, 255)", "rgb(18, 22, 28)")


def test_menu_opens_on_a_narrow_screen(browser: Any, site: Path) -> None:
    with Visit(browser, site / "index.html", NARROW) as visit:
        assert not visit.page.is_visible("nav#site-nav")
        visit.page.click(".menu-button")
        visit.page.click("nav#site-nav a[href='02-drift.html']")
        assert visit.page.url.endswith("02-drift.html")


def test_tables_sort_by_number_and_by_text(browser: Any, site: Path) -> None:
    with Visit(browser, site / "artifacts.html", WIDE) as visit:
        table = visit.page.locator("main table").first
        column = "rows => rows.map(row => row.cells[1].textContent.replace(/,/g, ''))"
        table.locator("th button").nth(1).click()
        up = [int(text) for text in table.locator("tbody tr").evaluate_all(column)]
        assert up == sorted(up)
        assert table.locator("th").nth(1).get_attribute("aria-sort") == "ascending"
        table.locator("th button").nth(1).click()
        down = [int(text) for text in table.locator("tbody tr").evaluate_all(column)]
        assert down == sorted(down, reverse=True)
        table = visit.page.locator("main table").last
        table.locator("th button").nth(0).click()
        texts = table.locator("tbody tr").evaluate_all(
            "rows => rows.map(r => r.cells[0].innerText)"
        )
        assert texts == sorted(texts, key=str.casefold)


# Every fold opened, because a table in a closed one has no width.
OVERFLOWS = """() => {
  document.querySelectorAll('main details').forEach(d => { d.open = true; });
  return [...document.querySelectorAll('main table')].map(table => {
    const frame = table.closest('.table-frame');
    return { head: table.tHead.innerText, over: frame.scrollWidth - frame.clientWidth };
  });
}"""


def test_tables_fit_at_1280_and_scroll_in_their_own_frame_at_375(browser: Any, site: Path) -> None:
    for path in sorted(site.glob("*.html")):
        with Visit(browser, path, WIDE) as visit:
            for table in visit.page.evaluate(OVERFLOWS):
                assert table["over"] <= 0, f"{path.name}: {table}"
            visit.page.set_viewport_size(NARROW)
            assert visit.page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]


def test_a_table_filters_as_one_types(browser: Any, site: Path) -> None:
    with Visit(browser, site / "02-drift.html", WIDE) as visit:
        frame = visit.page.locator("#tbl-drift")
        field = frame.get_by_label("Filter rows").first
        rows = frame.locator("tbody").first.locator("tr")
        every = rows.count()
        field.fill("f3")
        assert rows.locator("visible=true").count() == 1
        assert frame.locator(".db-filter [role=status]").first.text_content() == f"1 of {every}"
        field.press("Tab")  # the next stop is a heading, which sorts
        visit.page.keyboard.press("Enter")
        assert frame.locator("th[aria-sort=ascending]").count() == 1
        field.fill("")
        assert rows.locator("visible=true").count() == every


def test_every_feature_opens_to_its_shapes(browser: Any, site: Path) -> None:
    with Visit(browser, site / "02-drift.html", WIDE) as visit:
        links = visit.page.locator("#tbl-drift tbody").first.locator("a")
        folds = visit.page.locator("details.db-fold")
        assert links.count() == folds.count() == 9
        links.nth(4).click()
        target = visit.page.url.partition("#")[2]
        fold = visit.page.locator(f"#{target}[open]")
        fold.wait_for()
        assert fold.locator("svg").count() in (2, 3)  # a text column has no line of predictions
        assert fold.locator("svg").first.bounding_box()["width"] > 150
        assert "mean prediction" in fold.inner_text()
        closed = folds.nth(1)
        closed.locator("summary").focus()
        visit.page.keyboard.press("Enter")
        assert closed.get_attribute("open") is not None


def test_one_switch_shows_all_code(browser: Any, site: Path) -> None:
    with Visit(browser, site / "02-drift.html", WIDE) as visit:
        code = visit.page.locator("details.code")
        assert code.count() > 3
        visit.page.click(".code-button")
        assert visit.page.locator("details.code[open]").count() == code.count()
        assert visit.page.get_attribute(".code-button", "aria-pressed") == "true"
        visit.page.click(".code-button")
        assert visit.page.locator("details.code[open]").count() == 0
    with Visit(browser, site / "index.html", WIDE) as visit:
        assert visit.page.locator(".code-button").count() == 0


def test_colours_follow_the_system_until_the_reader_chooses(browser: Any, site: Path) -> None:
    with Visit(browser, site / "index.html", WIDE) as visit:
        dark = "document.documentElement.classList.contains('dark')"
        assert not visit.page.evaluate(dark)
        visit.page.emulate_media(color_scheme="dark")
        visit.page.wait_for_function(dark)
        visit.page.reload()
        assert visit.page.evaluate(dark)
        visit.page.click(".theme-button")
        visit.page.reload()
        assert not visit.page.evaluate(dark)


def test_search_works_from_the_keyboard_and_from_a_file(browser: Any, site: Path) -> None:
    with Visit(browser, site / "index.html", WIDE) as visit:
        field = visit.page.get_by_label("Search")
        field.focus()
        visit.page.wait_for_function("window.driftbookSections")
        field.press_sequentially("population stability")
        found = visit.page.locator("#search-found li")
        found.first.wait_for()
        assert visit.page.locator(".search-status").text_content().endswith(" found")
        visit.page.keyboard.press("ArrowDown")
        focused = "document.activeElement.getAttribute('href')"
        assert visit.page.evaluate(focused) == found.first.locator("a").get_attribute("href")
        visit.page.keyboard.press("Enter")
        visit.page.wait_for_url("**/statistics.html*")
        field = visit.page.get_by_label("Search")
        field.press_sequentially("zzzz")
        visit.page.wait_for_function("window.driftbookSections")
        field.press("Escape")
        assert not visit.page.locator("#search-found").is_visible()
        assert visit.complaints == []
        assert all(url.startswith(("file:", "data:")) for url in visit.requests)


def test_what_search_found_is_accessible(browser: Any, site: Path, axe: str | None) -> None:
    if axe is None:
        pytest.skip(f"axe-core {AXE} is not here and npm could not fetch it")
    for scheme in ("light", "dark"):
        with Visit(browser, site / "02-drift.html", WIDE) as visit:
            visit.page.emulate_media(color_scheme=scheme)
            visit.page.get_by_label("Search").focus()
            visit.page.wait_for_function("window.driftbookSections")
            visit.page.get_by_label("Search").press_sequentially("drift")
            visit.page.locator("#search-found li").first.wait_for()
            assert violations(visit.page, axe) == []


def test_next_step_can_be_copied(browser: Any, site: Path) -> None:
    with Visit(browser, site / "index.html", WIDE) as visit:
        visit.context.grant_permissions(["clipboard-read", "clipboard-write"])
        visit.page.click("main button.copy")
        visit.page.wait_for_function(
            "['Copied', 'Press Ctrl+C'].includes(document.querySelector('button.copy').textContent)"
        )
        shown = visit.page.locator("main .highlight pre").first.text_content()
        copied = visit.page.evaluate("navigator.clipboard.readText()")
        assert copied == shown.strip()
        assert copied.startswith(("make ", ".venv/bin/driftbook "))


QUARTO_HEADINGS = (
    "[...document.querySelectorAll('h1,h2,h3')].map(h => h.tagName + ' ' + h.innerText)"
)


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_quartos_frame_is_accessible(
    browser: Any, axe: str | None, tmp_path: Path, mode: str
) -> None:
    """Quarto is not everywhere; its frame is: names for landmarks, no heading before the first."""
    page = render.TEMPLATES / "page"
    frame = (Path(__file__).parent / "quarto_frame.html").read_text(encoding="utf-8")
    for mark, text in {
        "MODE": mode,
        "CSS": (page / "driftbook.css").read_text(encoding="utf-8"),
        "CONTENT": "<table><thead><tr><th>a</th></tr></thead><tbody></tbody></table>",
        "SCRIPT": (page / "after-body.html").read_text(encoding="utf-8"),
    }.items():
        frame = frame.replace(mark, text, 1)
    (tmp_path / "page.html").write_text(frame, encoding="utf-8")
    with Visit(browser, tmp_path / "page.html", WIDE) as visit:
        assert visit.complaints == []
        assert visit.page.evaluate(QUARTO_HEADINGS) == ["H1 Drift", "H2 First"]
        names = visit.page.locator("nav").evaluate_all("all => all.map(n => n.ariaLabel)")
        assert len(set(names)) == len(names) == 6
        assert visit.page.locator("a[role=navigation]").count() == 0
        assert visit.page.locator("[aria-labelelledby]").count() == 0
        assert visit.page.locator("#quarto-code-tools-menu").is_hidden()  # no code, no switch
        if axe is not None:
            assert violations(visit.page, axe) == []
