"""A whole run of a source that is larger than memory is allowed to hold."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from driftbook.settings import Settings

ROWS = 60_000


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with settings and four months of rows, partitioned by month."""
    folder = tmp_path_factory.mktemp("streamed")
    rng = np.random.default_rng(5)
    seconds = np.sort(rng.integers(0, 121 * 86_400, ROWS))
    frame = pd.DataFrame({"time": pd.Timestamp("2024-01-01") + pd.to_timedelta(seconds, unit="s")})
    for name in ("x0", "x1"):
        frame[name] = rng.normal(size=ROWS)
    frame["label"] = (rng.random(ROWS) < 1.0 / (1.0 + np.exp(-frame["x0"]))).astype(int)
    frame["route"] = rng.choice(["north", "south"], ROWS)
    frame.loc[frame["time"].dt.month == 4, "x1"] += 1.0
    for month, rows in frame.groupby(frame["time"].dt.month):
        (folder / "rows" / f"month={month}").mkdir(parents=True)
        rows.to_parquet(folder / "rows" / f"month={month}" / "a.parquet", index=False)
    data = {
        "source": "rows", "timestamp": "time", "target": "label", "window": "month",
        "exclude": ["month"], "sample_rows": 2000, "memory_rows": 10_000,
    }  # fmt: skip
    settings = Settings.parse({"data": data})
    (folder / "runbook.yaml").write_text(settings.to_yaml(), encoding="utf-8")
    return folder


@pytest.mark.slow
def test_a_run_counts_all_rows_and_says_what_it_sampled(project: Path) -> None:
    command = [sys.executable, "-m", "driftbook"]
    for words in (["run", "--quiet"], ["run", "--from", "drift", "--window", "2024-03"]):
        subprocess.run([*command, *words], cwd=project, check=True, timeout=300)
    artifacts = project / "artifacts"
    months = pd.read_parquet(project / "rows").groupby("month", observed=True).size()
    whole = f"all {ROWS:,} rows"
    found = json.loads((artifacts / "manifest.json").read_text(encoding="utf-8"))["data"]
    assert found["rows"] == ROWS
    assert found["window_rows"] == months.iloc[2]
    assert found["sampled"] == {"rows": 8000, "window_rows": 2000}
    assert any(whole in note and "2,000 rows a window" in note for note in found["notes"])
    said = json.loads((artifacts / "policy/retrain_recommendation.json").read_text("utf-8"))
    assert said["n_current"] == months.iloc[2]
    drift = pd.read_csv(artifacts / "drift/drift_report.csv").set_index("feature")
    assert (drift.loc[["x0", "x1", "route"], "n_current"] == months.iloc[2]).all()
    assert drift.loc["(prediction)", "n_current"] == 2000
    (page,) = (artifacts / "reports/html").glob("**/01-train-eval.html")
    assert whole in page.read_text(encoding="utf-8")
    subprocess.run([*command, "verify"], cwd=project, check=True, timeout=60)
