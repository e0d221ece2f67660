"""The Dockerfile: built where Docker is found; elsewhere its steps are taken in a clean folder."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import site
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Programs of the image that a test must not run or that need a network. What they are given is
# checked, and packages are those of the tests; the project itself is built and installed for real.
STANDINS = {
    "useradd": """#!/bin/sh
case "$*" in *--create-home*) exit 0;; esac; exit 9
""",
    "python": """#!{python}
import os, re, sys
if sys.argv[1:4] == ["-m", "pip", "install"]:
    assert {{"--require-hashes", "--no-deps"}} <= set(sys.argv), sys.argv
    text = open(sys.argv[sys.argv.index("--requirement") + 1]).read()
    assert text.startswith("uv==") and "--hash=sha256:" in text, text
else:
    os.execv("{python}", ["{python}", *sys.argv[1:]])
""",
    "uv": """#!{python}
import pathlib, subprocess, sys, zipfile
words = sys.argv[1:]
given = dict(zip(words, words[1:]))
assert words[:2] == ["pip", "install"] and "--no-cache" in words, words
python = pathlib.Path(given["--python"])
packages = next(python.parents[1].glob("lib/python*/site-packages"))
assert pathlib.Path(given["--build-constraint"]).is_file()
if "--requirements" in words:
    assert "--verify-hashes" in words and pathlib.Path(given["--constraint"]).is_file(), words
    assert pathlib.Path(given["--requirements"]).is_file()
    (packages / "tests.pth").write_text({packages!r})
else:
    assert "--no-deps" in words and words[-1] == ".", words
    build = "import setuptools.build_meta as b; print(b.build_wheel('dist'))"
    subprocess.run(["{python}", "-c", build], check=True)
    (wheel,) = pathlib.Path("dist").glob("*.whl")
    zipfile.ZipFile(wheel).extractall(packages)
    program = python.with_name("driftbook")
    program.write_text(f"#!{{python}}\\nfrom driftbook.runbook.cli import main\\nmain()\\n")
    program.chmod(0o755)
""",
}


def read_steps() -> list[tuple[str, str]]:
    """Return instruction and argument of every line of the Dockerfile."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(encoding="utf-8"), flags=re.M)
    joined = re.sub(r"\\\n\s*", " ", text)
    lines = [line.split(maxsplit=1) for line in joined.splitlines() if line.strip()]
    return [(line[0], line[1].strip()) for line in lines]


STEPS = read_steps()


def find(instruction: str) -> list[str]:
    return [argument for name, argument in STEPS if name == instruction]


def run_docker(*words: str, timeout: int = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["docker", *words], cwd=ROOT, capture_output=True, text=True, check=False, timeout=timeout
    )


def has_docker() -> bool:
    """Return whether a Docker daemon answers; the client alone builds nothing."""
    try:
        return shutil.which("docker") is not None and run_docker("info").returncode == 0
    except subprocess.TimeoutExpired:
        return False


class TestSaid:
    def test_it_ends_as_a_user_who_is_not_root(self) -> None:
        (user,) = find("USER")
        assert any(f"useradd --create-home --uid 10001 {user}" in run for run in find("RUN"))
        after = [name for name, _ in STEPS[STEPS.index(("USER", user)) :]]
        assert {"ENTRYPOINT", "CMD", "VOLUME"} <= set(after) and "COPY" not in after

    def test_artifacts_are_a_volume_and_health_is_asked_for(self) -> None:
        (place,) = find("WORKDIR")[1:]
        assert find("VOLUME") == [f"{place}/artifacts"]
        (check,) = find("HEALTHCHECK")
        assert "http://127.0.0.1:8000/health" in check and find("EXPOSE") == ["8000"]

    def test_every_package_comes_from_the_lock_with_its_hash(self) -> None:
        installs = [run for run in find("RUN") if " install " in run]
        assert len(installs) == 3
        assert "--require-hashes" in installs[0]
        assert "--verify-hashes" in installs[1] and "--constraint requirements.lock" in installs[1]
        assert "--no-deps" in installs[2] and "--build-constraint requirements.lock" in installs[2]
        assert all(re.match(r"python:3\.11-slim( AS build)?$", base) for base in find("FROM"))


def send_context(target: Path) -> None:
    """Copy what Docker is sent: the checkout, as far as .dockerignore leaves it."""
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    kept = [rule[1:] for rule in rules if rule.startswith("!")]
    for pattern in kept:
        found = list(ROOT.glob(pattern))
        assert found, f".dockerignore keeps {pattern}, which is not there"
        for path in found:
            place = target / path.relative_to(ROOT)
            place.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir():
                dropped = shutil.ignore_patterns("__pycache__", "*.egg-info")
                shutil.copytree(path, place, ignore=dropped)
            else:
                shutil.copyfile(path, place)


@dataclass
class Image:
    """A folder that stands for the image's file system, and the state of its build."""

    root: Path
    context: Path
    here: str = "/"
    environment: dict[str, str] = field(default_factory=dict)

    def within(self, text: str) -> str:
        """Return a text in which the image's own paths lie below the folder."""
        return re.sub(r"(?<![\w./])/(?=(?:build|opt|home)\b)", f"{self.root}/", text)

    def take(self, name: str, argument: str) -> None:
        """Take one step of the Dockerfile."""
        if name == "WORKDIR":
            self.here = argument
            Path(self.within(argument)).mkdir(parents=True, exist_ok=True)
        elif name == "ENV":
            pairs = dict(part.split("=", 1) for part in shlex.split(argument))
            pairs["PATH"] = pairs["PATH"].replace("$PATH", self.environment["PATH"])
            self.environment |= {key: self.within(value) for key, value in pairs.items()}
        elif name == "COPY" and not argument.startswith("--from"):
            self._copy(*argument.split())
        elif name == "RUN":
            self.run(["sh", "-ec", self.within(argument)])

    def _copy(self, *words: str) -> None:
        *sources, target = words
        place = Path(self.within(self.here)) / target
        for source in sources:
            path = self.context / source
            assert path.exists(), f"COPY {source}: .dockerignore leaves no such file"
            into = place / path.name if target.endswith("/") else place
            into.parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if path.is_dir() else shutil.copyfile)(path, into)

    def run(self, command: list[str]) -> None:
        """Run a program as the image does, in its folder and with its environment alone."""
        done = subprocess.run(
            command,
            cwd=self.within(self.here),
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=200,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """Return what the Dockerfile's steps leave in a clean folder."""
    folder = tmp_path_factory.mktemp("image")
    programs = folder / "programs"
    programs.mkdir()
    packages = "\n".join(site.getsitepackages())
    for name, text in STANDINS.items():
        filled = (
            text if name == "useradd" else text.format(python=sys.executable, packages=packages)
        )
        (programs / name).write_text(filled, encoding="utf-8")
        (programs / name).chmod(0o755)
    send_context(folder / "context")
    (folder / "root" / "home" / "driftbook").mkdir(parents=True)
    path = f"{programs}{os.pathsep}/usr/bin{os.pathsep}/bin"
    made = Image(folder / "root", folder / "context", environment={"PATH": path})
    for name, argument in STEPS:
        made.take(name, argument)
    return made


@pytest.mark.slow
class TestTakenWithoutDocker:
    def test_the_project_is_laid_out_for_the_volume(self, image: Image) -> None:
        project = Path(image.within(image.here))
        assert (project / "runbook.yaml").is_file() and (project / "artifacts").is_dir()
        assert (image.root / "opt/driftbook/bin/driftbook").is_file()
        built = {path.name for path in (image.root / "build").iterdir()}
        assert not built & {"tests", ".git", ".venv", "artifacts", "bench"}

    @pytest.mark.network
    def test_it_serves_and_its_health_check_passes(self, image: Image) -> None:
        (entry,), (words,), (check,) = map(find, ("ENTRYPOINT", "CMD", "HEALTHCHECK"))
        start = [*json.loads(entry), *json.loads(words)]
        assert start[-4:] == ["--host", "0.0.0.0", "--port", "8000"]
        start[-1] = "0"
        environment = {**image.environment, "DRIFTBOOK_API_TOKEN": "a-token"}
        program = image.root / "opt/driftbook/bin" / start[0]
        process = subprocess.Popen(
            [str(program), *start[1:]],
            cwd=image.within(image.here), env=environment, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        try:
            assert process.stdout is not None
            port = json.loads(process.stdout.readline())["url"].rpartition(":")[2].strip("/")
            probe = json.loads(check.partition(" CMD ")[2])
            probe = [str(image.root / "opt/driftbook/bin" / probe[0]), *probe[1:]]
            image.run([word.replace("8000", port) for word in probe])
        finally:
            process.terminate()
            process.communicate(timeout=30)


@pytest.fixture(scope="module")
def built() -> Iterator[str]:
    """Return the tag of the image that Docker built; skipped where it can't get its base."""
    if not has_docker():
        pytest.skip("no Docker daemon answers; the steps are taken without it")
    tag = f"driftbook-test-{os.getpid()}"
    done = run_docker("build", "--tag", tag, ".", timeout=1500)
    if re.search(r"failed to resolve|dial tcp|TLS handshake|Temporary failure", done.stderr):
        pytest.skip("Docker can't reach the registry of python:3.11-slim")
    assert done.returncode == 0, done.stderr[-3000:]
    yield tag
    run_docker("rmi", "--force", tag)


@pytest.mark.slow
@pytest.mark.network
class TestBuiltByDocker:
    def test_a_run_ends_with_its_action(self, built: str) -> None:
        done = run_docker("run", "--rm", built, "run", "--quick", "--json", timeout=600)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["action"] in ("hold", "monitor", "retrain", "investigate")

    def test_it_becomes_healthy(self, built: str) -> None:
        started = run_docker("run", "--detach", "--env", "DRIFTBOOK_API_TOKEN=t", built)
        container = started.stdout.strip()
        try:
            ends = monotonic() + 120
            while monotonic() < ends:
                state = run_docker("inspect", "--format", "{{.State.Health.Status}}", container)
                if state.stdout.strip() == "healthy":
                    break
                sleep(2)
            assert state.stdout.strip() == "healthy"
            assert run_docker("exec", container, "id", "-u").stdout.strip() == "10001"
        finally:
            run_docker("rm", "--force", container)
