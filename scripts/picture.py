"""Photograph a page for the README: picture.py reports/html/index.html docs/decision.png."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
WIDTH, HEIGHT = 1100, 900


def main() -> int:
    """Return 0 once the picture is written, 1 where there is no browser."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--dark", action="store_true")
    chosen = parser.parse_args()
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        print(f"no browser found; looked for {', '.join(PROGRAMS)}", file=sys.stderr)
        return 1
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.goto(chosen.page.absolute().as_uri())
        if chosen.dark:
            page.click(".theme-button")
        page.screenshot(path=chosen.picture)
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
