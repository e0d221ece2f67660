"""The guide, by running its very commands."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from driftbook import Settings, assess, paths, train
from driftbook.data import windows
from driftbook.data.synthetic import make_scenario
from driftbook.store import registry_models

BLOCK = re.compile(r"^```bash\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl on this machine")
def test_a_stranger_can_follow_the_guide(root: Path, tmp_path: Path) -> None:
    guide = (root / "reports" / "guide.qmd").read_text(encoding="utf-8")
    commands = BLOCK.findall(guide)
    assert len(commands) == 12
    (tmp_path / ".venv").symlink_to(Path(sys.prefix))
    script = "set -euo pipefail\ntrap 'kill ${SERVER:-} 2>/dev/null || true' EXIT\n"
    done = subprocess.run(
        ["bash", "-c", script + "\n".join(commands)],
        cwd=tmp_path,
        env={**os.environ, "no_proxy": "127.0.0.1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    artifacts = tmp_path / "my-model" / "artifacts"
    document = json.loads((artifacts / "policy" / "retrain_recommendation.json").read_text())
    assert document["window"] == "rows-0007"
    assert (artifacts / "backtest" / "policies.csv").is_file()
    assert (artifacts / "reports" / "html" / "index.html").is_file()
    (own,) = re.findall(r"^cat > my-model/cells.py <<'END'\n(.*?)^END$", guide, re.M | re.S)
    assert len([line for line in own.splitlines() if not line.startswith("#")]) == 10
    assert 0 < json.loads((artifacts / "own" / "groups.json").read_text())["gap"] < 0.9
    page = (artifacts / "reports" / "html" / "groups.html").read_text(encoding="utf-8")
    assert "<h1>Are the groups alike?</h1>" in page
    assert '"stored": 1' in done.stdout or '"stored":1' in done.stdout


PYTHON = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@pytest.mark.slow
def test_the_rule_of_one_s_own_runs_as_it_stands(root: Path) -> None:
    (code,) = PYTHON.findall((root / "reports" / "guide.qmd").read_text(encoding="utf-8"))
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert "bad month" in done.stdout and "hindsight" in done.stdout


SETTINGS = re.compile(r"^```yaml\n# (\S+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SHOWN = {
    "flights-minutes.yaml": "regression",
    "flights-classes.yaml": "multiclass",
    "steel.yaml": "multiclass",
    "shop.yaml": "binary",
    "lightgbm.yaml": "regression",
    "elsewhere.yaml": "binary",
}
STREAMS = Path(
    os.environ.get("DRIFTBOOK_DATA", Path(__file__).parents[3] / "shared" / "data")
).resolve()


@pytest.mark.slow
@pytest.mark.parametrize(("name", "task"), SHOWN.items())
def test_the_settings_shown_lead_to_a_decision(
    root: Path, tmp_path: Path, name: str, task: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = dict(SETTINGS.findall((root / "reports" / "guide.qmd").read_text(encoding="utf-8")))
    assert set(blocks) == set(SHOWN)
    assert len(blocks[name].splitlines()) <= 10
    if name == "steel.yaml":
        if not (STREAMS / "steel_load.parquet").is_file():
            pytest.skip("needs the stream steel_load")
        (tmp_path / "steel_load.parquet").symlink_to(STREAMS / "steel_load.parquet")
    if name == "lightgbm.yaml":
        pytest.importorskip("lightgbm")
    if name == "shop.yaml":
        duckdb = pytest.importorskip("duckdb", reason="needs the extra `duckdb`")
        orders = make_scenario("concept", rows=4800, target="returned")
        orders["ordered_at"] = pd.date_range("2024-01-01", periods=4800, freq="h")
        with duckdb.connect(str(tmp_path / "shop.duckdb")) as connection:
            connection.register("given", orders)
            connection.execute("CREATE TABLE orders AS SELECT * FROM given")
        monkeypatch.setenv("SHOP_DATABASE", "duckdb:shop.duckdb")
    if name == "elsewhere.yaml":
        frame = make_scenario("concept", rows=4800)
        rule = 1 / (1 + np.exp(-(1.2 * frame["f0"] - 0.9 * frame["f1"])))
        frame.assign(score=rule, version="v1").to_parquet(tmp_path / "log.parquet")
    (tmp_path / name).write_text(blocks[name], encoding="utf-8")
    settings = Settings.load(tmp_path / name)
    dataset = windows.load_dataset(settings)
    reference = windows.find_reference_windows(dataset, settings)
    model = train(dataset.frame.iloc[: reference[-1].stop], settings)
    registry_models.save_model(tmp_path / "models", model, settings.model.trusted)
    split = windows.split_at_window(dataset, settings, None, reference[-1].stop)
    found = assess(model, split.current, settings, split.history)
    assert model.task.name == task
    assert found.action in paths.ACTIONS and found.reason
    assert len(found.segments) > 0 or not settings.data.segments
