"""The audit of packages: what it finds, what it passes over, and that it never says too much."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def audit(root: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("audit", root / "scripts" / "audit.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_without_a_network_it_says_so_and_passes(root: Path) -> None:
    unreachable = dict.fromkeys(("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"), "http://127.0.0.1:9")
    cut_off = os.environ | unreachable | {"UV_OFFLINE": "1"}
    command = [sys.executable, "scripts/audit.py", "--all"]
    done = subprocess.run(
        command, cwd=root, env=cut_off, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "vulnerabilities: skipped, osv.dev cannot be asked" in done.stdout
    assert "  MIT: " in done.stdout and "fastapi" in done.stdout
    assert "freely" not in done.stdout


def test_a_known_vulnerability_is_named_and_what_was_not_asked_is_not_called_sound(
    audit: ModuleType,
) -> None:
    found = {
        "dependencies": [
            {"name": "sound", "version": "1.0", "vulns": []},
            {
                "name": "jinja2",
                "version": "3.1.2",
                "vulns": [
                    {"id": "PYSEC-2024-1", "fix_versions": ["3.1.3"], "description": ""},
                    {"id": "GHSA-x", "fix_versions": [], "description": ""},
                ],
            },
            {"name": "unlisted", "skip_reason": "not found"},
        ]
    }
    lines, hurt = audit.describe_findings(found)
    assert hurt
    assert lines == [
        "vulnerabilities: 1 of 2 packages have a known one",
        "  jinja2 3.1.2: PYSEC-2024-1 (mended in 3.1.3); GHSA-x (mended in no version yet)",
        "  not looked up: unlisted",
    ]
    assert audit.describe_findings({"dependencies": []})[1] is False


@pytest.mark.parametrize(
    ("licence", "family"),
    [
        ("MIT License", "MIT"),
        ("Apache-2.0 OR BSD-3-Clause", "BSD"),
        ("Mozilla Public License 2.0 (MPL 2.0)", "MPL"),
        ("LGPL-3.0-only", "LGPL"),
        ("GPL-3.0-or-later", None),
        ("MIT AND GPL-2.0-only", None),
        ("MIT OR GPL-2.0-only", "MIT"),
        ("GNU Affero General Public License v3", None),
        ("GNU Lesser General Public License v3 (LGPLv3)", "LGPL"),
        ("Proprietary", None),
        ("", None),
    ],
)
def test_licences_are_sorted_by_what_they_allow(
    audit: ModuleType, licence: str, family: str | None
) -> None:
    assert audit.sort_licence(licence) == family
    lines, strange = audit.list_licences([("one", licence)], every=True)
    assert strange == (family is None) and "one" in lines[-1]
