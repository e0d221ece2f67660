"""The house: arrows between rooms point one way, nothing imports in a circle, names are unique."""

from __future__ import annotations

import ast
from collections import defaultdict
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import driftbook

PACKAGE = Path(driftbook.__file__).parent
ROOT = frozenset({"addresses", "settings", "errors", "paths", "words"})
# From the lowest room up: each may import those before it.
CHAIN = ("data", "model", "drift", "performance", "decision", "backtest")
ARROWS = {room: set(CHAIN[:place]) for place, room in enumerate(CHAIN)} | {
    "store": {"data", "model"},
    "api": {"data", "model", "store"},
    "site": {"store"},
    "runbook": {*CHAIN, "store", "api", "site"},
}
MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts): ast.parse(path.read_text("utf-8"))
    for path in sorted(PACKAGE.rglob("*.py"))
}


def imports_of(tree: ast.AST) -> set[str]:
    """Return the modules of the package that a module imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names if a.name.startswith("driftbook.")}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("driftbook"):
            inner = node.module.removeprefix("driftbook").removeprefix(".") if node.module else ""
            both = {f"{inner}.{alias.name}".strip(".") for alias in node.names}
            found |= {name if name in MODULES else inner for name in both}
    return {name.removeprefix("driftbook.") for name in found} - {""}


def test_the_package_has_the_rooms_of_its_map_and_few_modules_outside() -> None:
    rooms = {name.partition(".")[0] for name in MODULES if "." in name}
    outside = {name for name in MODULES if "." not in name}
    assert rooms == set(ARROWS)
    assert outside == {"__init__", "__main__", *ROOT}


@pytest.mark.parametrize("module", [name for name in MODULES if "." in name])
def test_a_room_imports_only_the_rooms_below_it(module: str) -> None:
    room = module.partition(".")[0]
    for imported in imports_of(MODULES[module]):
        other = imported.partition(".")[0]
        assert other in {room, *ARROWS[room], *ROOT}, f"{module} imports {imported}"


@pytest.mark.parametrize("module", sorted(ROOT))
def test_the_root_imports_no_room(module: str) -> None:
    assert imports_of(MODULES[module]) <= ROOT


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {name: imports_of(tree) - {name} for name, tree in MODULES.items()}
    del graph["__init__"]
    order = tuple(TopologicalSorter(graph).static_order())
    assert set(order) >= set(graph)


def test_no_two_public_things_share_a_name() -> None:
    homes: defaultdict[str, list[str]] = defaultdict(list)
    for module, tree in MODULES.items():
        for node in tree.body:
            for name in defined_names(node):
                if not name.startswith("_"):
                    homes[name].append(module)
    assert {name: where for name, where in homes.items() if len(where) > 1} == {}


def defined_names(node: ast.stmt) -> list[str]:
    """Return the names that a statement at a module's top level defines."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return [node.target.id]
    if isinstance(node, ast.Assign):
        return [target.id for target in node.targets if isinstance(target, ast.Name)]
    return []


@pytest.mark.parametrize("room", sorted(ARROWS))
def test_a_room_says_what_it_is_for_and_names_its_public_functions(room: str) -> None:
    about = ast.get_docstring(MODULES[f"{room}.__init__"]) or ""
    assert 3 <= len(about.splitlines()) <= 8
    assert len(MODULES[f"{room}.__init__"].body) == 1, "a room's __init__ only speaks"
    for named in [word for word in about.split("`")[1::2] if "." in word]:
        module, _, name = named.strip("()").rpartition(".")
        tree = MODULES[f"{room}.{module}"]
        assert name in {n for node in tree.body for n in defined_names(node)}, named
