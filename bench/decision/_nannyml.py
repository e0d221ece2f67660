"""NannyML, asked by files of rows: its environment is that of ``_peers``."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

import pandas as pd

# Run by the peer's own interpreter. ``rows``: ``window`` (-1 for the champion's holdout), outcome
# ``y``, and what the champion predicts; ``{peer}`` makes NannyML's estimator of them.
PROGRAM = """
import sys, warnings
warnings.filterwarnings("ignore")
import pandas as pd, nannyml
from nannyml.chunk import SizeBasedChunker
rows, metrics = pd.read_parquet(sys.argv[1]), sys.argv[3].split(",")
known = int((rows["window"] < 0).sum())
{peer}
peer.fit(rows[rows["window"] < 0].reset_index(drop=True))
found = []
for window, part in rows[rows["window"] >= 0].groupby("window"):
    peer.chunker = SizeBasedChunker(chunk_size=len(part))
    part = part.drop(columns="y").reset_index(drop=True)
    table = peer.estimate(part).filter(period="analysis").to_df()
    for metric in metrics:
        found.append((window, metric, float(table[metric]["value"].iloc[0])))
pd.DataFrame(found, columns=["window", "metric", "nannyml"]).to_parquet(sys.argv[2])
"""


def ask(
    python: Path, peer: str, rows: pd.DataFrame, metrics: tuple[str, ...]
) -> pd.DataFrame | str:
    """Return window, metric and NannyML's estimate, or the last thing it said where it failed."""
    with tempfile.TemporaryDirectory() as folder:
        given, answer = Path(folder) / "rows.parquet", Path(folder) / "answer.parquet"
        rows.reset_index(drop=True).to_parquet(given)
        program = PROGRAM.format(peer=peer)
        command = [str(python), "-c", program, str(given), str(answer), ",".join(metrics)]
        said = _run(command, timeout_s=600.0)
        return pd.read_parquet(answer) if answer.is_file() else said


def _run(command: list[str], timeout_s: float) -> str:
    """Return "" when the command succeeds, else the last thing it said."""
    named = {**os.environ, "NML_DISABLE_USAGE_LOGGING": "1"}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=timeout_s, env=named, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error).splitlines()[0]
    said = (done.stderr or done.stdout).strip().splitlines()
    return "" if done.returncode == 0 else (said[-1] if said else f"exit code {done.returncode}")
