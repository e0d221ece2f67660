"""The built wheel, and an environment in which nothing but it is Driftbook."""

from __future__ import annotations

import os
import shutil
import site
import subprocess
import sys
from pathlib import Path

import pytest

# What a wheel is built from; a copy, so that no build is left in the checkout.
SOURCES = (
    "pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "_quarto.yml", "runbook.yaml",
    "src/driftbook", "notebooks",
)  # fmt: skip


@pytest.fixture(scope="session")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the package's wheel, built as pip builds it."""
    folder = tmp_path_factory.mktemp("wheel")
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", ".ipynb_checkpoints")
    for name in SOURCES:
        target = folder / name
        if (root / name).is_dir():
            shutil.copytree(root / name, target, ignore=ignored)
        else:
            shutil.copyfile(root / name, target)
    (folder / "reports" / "html").mkdir(parents=True)
    (folder / "reports" / "html" / "generated.qmd").write_text("not for a wheel")
    for page in (root / "reports").glob("*.qmd"):
        shutil.copyfile(page, folder / "reports" / page.name)
    build = "import setuptools.build_meta as b; b.build_wheel('dist')"
    subprocess.run(
        [sys.executable, "-c", build], cwd=folder, check=True, capture_output=True, timeout=120
    )
    (built,) = (folder / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the environment variables of a shell in which the wheel was installed by pip.

    All other packages are those of the tests, read from where they are.
    """
    folder = tmp_path_factory.mktemp("installed") / ".venv"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, timeout=120)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "tests.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-deps"]
    subprocess.run([*pip, "--no-index", "--ignore-installed", str(wheel)], check=True, timeout=120)
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return {**kept, "PATH": f"{folder / 'bin'}{os.pathsep}{kept['PATH']}"}
