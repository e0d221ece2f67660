"""Prints the contract of the built-in runbook's features: ``python -m driftbook.api``."""

import json
import sys
import tempfile

from driftbook.api.app import create_app
from driftbook.settings import Settings


def print_contract() -> None:
    """Print the tracked OpenAPI document."""
    with tempfile.TemporaryDirectory() as nothing_registered:
        document = create_app(Settings(), nothing_registered).openapi()
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    print_contract()
