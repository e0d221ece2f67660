"""Set-up: the lock is whole, hashed and free of addresses; the first page of make tells all."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import socket
import subprocess
import tomllib
from importlib.metadata import requires
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


@pytest.fixture(scope="module")
def bootstrap(root: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("bootstrap", root / "scripts/bootstrap.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def lock(root: Path) -> dict[str, str]:
    """Return the lock's text by package; forks of one package by Python version are joined."""
    entries: dict[str, str] = {}
    text = (root / "requirements.lock").read_text(encoding="utf-8")
    for entry in re.findall(r"^\w.*(?:\n .*)*", text, re.M):
        name = canonicalize_name(re.split(r"==", entry)[0])
        entries[name] = entries.get(name, "") + entry + "\n"
    return entries


def test_every_locked_package_is_pinned_with_hashes(lock: dict[str, str]) -> None:
    assert len(lock) > 100
    for name, entry in lock.items():
        assert re.match(r"[\w.-]+==\d", entry), name
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), name


def test_lock_names_no_address_and_no_path(root: Path) -> None:
    text = (root / "requirements.lock").read_text(encoding="utf-8")
    assert not re.search(r"://|--(extra-)?index|--find-links|@ |(^|\s)/|(^|\s)\.{1,2}/", text)


def test_lock_covers_core_and_every_extra(root: Path, lock: dict[str, str]) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    extras = project["project"]["optional-dependencies"]
    declared = [*project["project"]["dependencies"], *(r for rs in extras.values() for r in rs)]
    declared += project["dependency-groups"]["bootstrap"]
    for text in declared:
        wanted = Requirement(text)
        name = canonicalize_name(wanted.name)
        if name == "driftbook":
            assert wanted.extras <= extras.keys()
            continue
        pins = re.findall(r"^[\w.-]+==([^\s;]+)", lock[name], re.M)
        assert pins, name
        assert all(wanted.specifier.contains(pin) for pin in pins), (text, pins)


@pytest.mark.parametrize("package", ["mlflow", "papermill", "schemathesis"])
def test_lock_covers_what_packages_need_in_turn(lock: dict[str, str], package: str) -> None:
    needed = [Requirement(text) for text in requires(package) or []]
    names = [r.name for r in needed if not r.marker or r.marker.evaluate({"extra": ""})]
    assert names
    assert [n for n in names if canonicalize_name(n) not in lock] == []


def test_locked_entry_ends_where_the_next_begins(bootstrap: ModuleType) -> None:
    entry = bootstrap.locked("uv")
    assert entry.startswith("uv==")
    assert re.findall(r"^\S.*$", entry, re.M) == [entry.splitlines()[0]]
    assert "--hash=sha256:" in entry
    with pytest.raises(bootstrap.SetupError, match="make lock"):
        bootstrap.locked("no-such-package")


def test_a_command_that_hangs_is_ended_with_its_children(bootstrap: ModuleType) -> None:
    with pytest.raises(bootstrap.SetupError, match="took more than 1 s"):
        bootstrap.run(["sh", "-c", "sleep 60 & sleep 60"], 1)


def test_a_command_that_fails_shows_its_last_words(bootstrap: ModuleType) -> None:
    with pytest.raises(bootstrap.SetupError, match=r"-c failed:\nfirst\nlast"):
        bootstrap.run(["sh", "-c", "echo first; echo last >&2; exit 3"], 30)


@pytest.mark.parametrize(
    ("text", "version"), [("uv 0.13.9 (x86)", (0, 13)), ("Python 3.11.7", (3, 11)), ("none", ())]
)
def test_version_of(bootstrap: ModuleType, text: str, version: tuple[int, ...]) -> None:
    assert bootstrap.version_of(text) == version


def test_quarto_on_path_is_used(
    bootstrap: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    quarto = tmp_path / "quarto"
    quarto.write_text("#!/bin/sh\necho 9.9.9\n", encoding="utf-8")
    quarto.chmod(0o755)
    monkeypatch.setattr(bootstrap, "VENV", tmp_path / "empty")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    bootstrap.settle_renderer("no-uv")
    assert capsys.readouterr().out == "set-up: pages are rendered by Quarto 9.9.9\n"


def test_quarto_out_of_reach_is_one_line_and_no_failure(
    bootstrap: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(bootstrap, "VENV", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setattr(bootstrap, "RELEASES", f"http://127.0.0.1:{closed.getsockname()[1]}/")
        bootstrap.settle_renderer("no-uv")
    (line,) = capsys.readouterr().out.splitlines()
    assert "release page that can't be reached; pages are rendered without it" in line


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
def test_make_alone_lists_every_target(root: Path) -> None:
    listed = subprocess.run(
        ["make", "-s"], cwd=root, capture_output=True, text=True, check=True
    ).stdout
    phony = re.search(r"\.PHONY: ((?:.|\\\n)*?)\n\n", (root / "Makefile").read_text())
    assert phony
    targets = set(phony[1].replace("\\", "").split()) - {"help"}
    assert targets == set(re.findall(r"^  make ([a-z-]+)", listed, re.M))


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["run"], "driftbook run"),
        (["run-drift", "WINDOW=2013-06"], "driftbook run --from drift --window 2013-06"),
        (
            ["verify", "SETTINGS=my own.yaml", "ARTIFACTS=b"],
            "driftbook verify --settings my own.yaml --artifacts b",
        ),
        (["rollback", "TO=abc"], "driftbook rollback --to abc"),
    ],
)
def test_targets_call_the_command_line(root: Path, arguments: list[str], command: str) -> None:
    planned = subprocess.run(
        ["make", "-s", "-n", *arguments], cwd=root, capture_output=True, text=True, check=True
    ).stdout
    assert " ".join(planned.splitlines()[-1].replace('"', "").split()) == f".venv/bin/{command}"


@pytest.mark.parametrize(("extra", "reinstalled"), [("core", True), ("dev", False)])
def test_an_extra_never_takes_the_package_away(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch, extra: str, reinstalled: bool
) -> None:
    commands: list[list[str]] = []
    monkeypatch.setattr(bootstrap, "run", commands.append)
    bootstrap.install("uv", extra)
    (command,) = commands
    assert ("--editable" in command) is reinstalled
    assert (extra in command) is not reinstalled
