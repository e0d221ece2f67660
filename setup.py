"""What pyproject.toml cannot say: a wheel carries the files that `driftbook new` lays out."""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
LAYOUT = ("notebooks/*.ipynb", "reports/*.qmd", "_quarto.yml", "runbook.yaml")


class BuildWithLayout(build_py):
    """Builds the package; beside its modules come the files that a new project starts from."""

    def run(self) -> None:
        """Copy modules, then those files; an editable package finds them in the checkout."""
        super().run()
        if self.editable_mode:
            return
        folder = Path(self.build_lib) / "driftbook" / "layout"
        shutil.rmtree(folder, ignore_errors=True)  # what an earlier build left
        for path in sorted(path for pattern in LAYOUT for path in ROOT.glob(pattern)):
            target = folder / path.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)


setup(cmdclass={"build_py": BuildWithLayout})
