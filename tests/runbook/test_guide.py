"""The guide, by running its very commands."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BLOCK = re.compile(r"^```bash\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl on this machine")
def test_a_stranger_can_follow_the_guide(root: Path, tmp_path: Path) -> None:
    guide = (root / "reports" / "guide.qmd").read_text(encoding="utf-8")
    commands = BLOCK.findall(guide)
    assert len(commands) == 10
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
    assert '"stored": 1' in done.stdout or '"stored":1' in done.stdout
