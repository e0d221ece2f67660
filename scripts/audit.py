"""What the locked packages are known to suffer from, and by which licences they come.

``python scripts/audit.py`` (``--all``: with the name of every package). Run by the interpreter of
``.venv``. Known vulnerabilities come from osv.dev through pip-audit, in an environment of its own;
where the network does not allow that, it says so and passes. Exit code 1: a known vulnerability,
or a package that may not be used and passed on freely.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"
PIP_AUDIT = "pip-audit==2.10.1"
LIMIT_S = 120
# The families that a licence's own words are counted in, and that may be passed on with anything.
FREE = {
    "MIT": r"\bMIT\b", "BSD": r"BSD", "Apache": r"Apache", "ISC": r"\bISC", "Zlib": r"zlib",
    "PSF": r"\bPSF|Python Software Foundation", "MPL": r"\bMPL|Mozilla", "ZPL": r"\bZPL",
    "CC0": r"\bCC0",
}  # fmt: skip
# Of extras alone: used as libraries that anybody may replace.
AS_LIBRARY = {"LGPL": r"\bLGPL|Lesser General Public"}
STRICT = r"\bA?GPL|(?<!Lesser )General Public"
# Packages whose metadata do not say what the licence file in them does.
READ_BY_HAND = {"skops": "MIT", "huey": "MIT"}


def audit_lock(environment: Mapping[str, str]) -> tuple[list[str], bool]:
    """Return what there is to say of known vulnerabilities, and whether there are any."""
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if uv is None:
        return ["vulnerabilities: skipped, uv is not installed"], False
    command = [
        uv, "tool", "run", "--from", PIP_AUDIT, "pip-audit", "--requirement", str(LOCK),
        "--disable-pip", "--vulnerability-service", "osv", "--format", "json",
        "--progress-spinner", "off", "--timeout", "10",
    ]  # fmt: skip
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=LIMIT_S, env=environment, check=False
        )
        found = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        return [f"vulnerabilities: skipped, osv.dev took more than {LIMIT_S} s"], False
    except ValueError:
        cause = (done.stderr.strip().splitlines() or ["no answer"])[-1]
        return [f"vulnerabilities: skipped, osv.dev cannot be asked ({cause[:200]})"], False
    return describe_findings(found)


def describe_findings(found: Mapping[str, Any]) -> tuple[list[str], bool]:
    """Return what pip-audit's JSON says, a line a package; one that was not looked up is told."""
    unknown = [one["name"] for one in found["dependencies"] if "skip_reason" in one]
    hurt = [one for one in found["dependencies"] if one.get("vulns")]
    asked = len(found["dependencies"]) - len(unknown)
    lines = [f"vulnerabilities: {len(hurt)} of {asked} packages have a known one"]
    for one in hurt:
        told = (f"{v['id']} (mended in {', '.join(v['fix_versions']) or 'no version yet'})"
                for v in one["vulns"])  # fmt: skip
        lines.append(f"  {one['name']} {one['version']}: {'; '.join(told)}")
    if unknown:
        lines.append(f"  not looked up: {', '.join(unknown)}")
    return lines, bool(hurt)


def read_licence(about: importlib.metadata.PackageMetadata) -> str:
    """Return what a package says of its licence, in its own words; empty where it says nothing."""
    classified = [
        line.rpartition(" :: ")[2]
        for line in about.get_all("Classifier") or []
        if line.startswith("License ::")
    ]
    expressed, told = (about.get_all(key) or [""] for key in ("License-Expression", "License"))
    said = READ_BY_HAND.get(about["Name"]) or expressed[0] or ", ".join(classified)
    return said or told[0].strip().partition("\n")[0][:80]


def sort_licence(text: str) -> str | None:
    """Return the family of a licence; None where it is not one that may be passed on freely."""
    for family, pattern in (FREE | AS_LIBRARY).items():
        strict = re.search(STRICT, text) and " OR " not in text
        if re.search(pattern, text, re.IGNORECASE) and not strict:
            return family
    return None


def list_licences(packages: Iterable[tuple[str, str]], every: bool) -> tuple[list[str], bool]:
    """Return the packages, given as name and licence, by family; and whether one is in none."""
    families: dict[str | None, list[str]] = {}
    for name, licence in sorted(set(packages), key=lambda package: package[0].lower()):
        families.setdefault(sort_licence(licence), []).append(name)
    strange = families.pop(None, [])
    counted = sorted(families.items(), key=lambda pair: -len(pair[1]))
    lines = ["licences: " + ", ".join(f"{len(names)} {family}" for family, names in counted)]
    if every:
        lines += [f"  {family}: {', '.join(names)}" for family, names in counted]
    if strange:
        lines.append(f"  none that may be passed on freely: {', '.join(strange)}")
    return lines, bool(strange)


def main() -> None:
    """Print both lists and end with 1 where there is something to be done."""
    installed = (one.metadata for one in importlib.metadata.distributions())
    packages = [(one["Name"], read_licence(one)) for one in installed if one["Name"] != "driftbook"]
    licences, strange = list_licences(packages, "--all" in sys.argv[1:])
    print("\n".join(licences), flush=True)
    findings, hurt = audit_lock(os.environ)
    print("\n".join(findings))
    sys.exit(strange or hurt)


if __name__ == "__main__":
    main()
