"""What every test file may rely on: quiet numerics, a drawing backend, the shared data."""

from __future__ import annotations

import os
from pathlib import Path

# Set before NumPy and Matplotlib load: two test processes must not fight over the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent

settings.register_profile("repeatable", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def root() -> Path:
    """Return the folder of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of example streams; the test is skipped where it is absent."""
    folder = Path(os.environ.get("DRIFTBOOK_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no example streams at {folder}; set DRIFTBOOK_DATA")
    return folder
