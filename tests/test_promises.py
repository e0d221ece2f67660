"""The page of promises: each names tests that are there and are run."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "promises.md"
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
OFF = {"skip", "xfail"}


@cache
def list_tests(path: str) -> dict[str, set[str]]:
    """Return the tests of a file by name, with the last words of their decorators."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return {
        node.name: {
            word for one in node.decorator_list for word in re.findall(r"\w+", ast.unparse(one))
        }
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name[:5] == "test_"
    }


def read_promises() -> list[str]:
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line[:2] == "| "]
    return [row for row in rows if not row.startswith(("| promise |", "| --- |"))]


def test_every_promise_names_tests_that_exist_and_are_run() -> None:
    promises = read_promises()
    assert len(promises) > 25
    for row in promises:
        promise, _, held_by = row.strip("| ").rpartition(" | ")
        named = NAMED.findall(held_by)
        assert named, f"no test holds: {promise}"
        assert NAMED.sub("", held_by).strip(" ,") == "", f"not a test: {held_by}"
        for path, name in named:
            assert (ROOT / path).is_file(), f"{promise}: there is no {path}"
            assert name in list_tests(path), f"{promise}: there is no {name} in {path}"
            assert not list_tests(path)[name] & OFF, f"{promise}: {name} is not run"


def test_no_promise_is_made_twice_and_the_page_is_found() -> None:
    promises = read_promises()
    assert len(promises) == len({row.partition(" | ")[0] for row in promises})
    assert "docs/promises.md" in (ROOT / "README.md").read_text(encoding="utf-8")
