"""What every test file may rely on: quiet numerics, a drawing backend, the shared data."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

# Set before NumPy and Matplotlib load: two test processes must not fight over the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import pytest
from hypothesis import settings

from dask_cluster import dask_cluster  # noqa: F401
from postgres_server import postgres  # noqa: F401

ROOT = Path(__file__).resolve().parent.parent

# What `make test ARGS=-q` hands on is about this suite, not about the make that a test starts.
for name in ("MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS", "MAKELEVEL", "ARGS", "SETTINGS", "ARTIFACTS"):
    os.environ.pop(name, None)

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


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the artifacts folder of two real runs on a small table, made by the command line."""
    import finished

    folder = tmp_path_factory.mktemp("finished")
    (folder / "runbook.yaml").write_text(finished.settings(folder).to_yaml(), encoding="utf-8")
    command = [sys.executable, "-m", "driftbook", "run", "--quiet", "--no-render"]
    for words in (["--window", "rows-0004"], ["--from", "drift", "--window", "rows-0008"]):
        subprocess.run([*command, *words], cwd=folder, check=True, timeout=300)
    return folder / "artifacts"


@pytest.fixture(scope="session")
def not_aloud() -> re.Pattern[str]:
    """What an owner cannot repeat: it may stand behind a fold only.

    Words of statistics, names of this package's own parts, versions, brackets, long decimals.
    """
    words = (
        "brier", "log loss", "auc", "psi", "ks", "p-values?", "holdout", "baseline", "break-even",
        "intervals?", "quantiles?", "covariate", "concept", "prior", "calibrat\\w*", "recipes?",
        "stale", "champions?", "challengers?", "significan\\w*", "variance", "squared error",
        "joint", "e-process", "likelihood", "estimator", "realised", "null", "true", "false",
        "recent", "fading", "recalibrated", "weighted", "sd", "rmse", "mae",
    )  # fmt: skip
    odd = r"\w+_\w+|\([a-z ]+\)|[\[\]{}]|\bm[0-9a-f]{12}\b|\d\.\d{4,}"
    return re.compile(rf"\b(?:{'|'.join(words)})\b|{odd}", re.IGNORECASE)
