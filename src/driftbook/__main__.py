"""``python -m driftbook`` is the command ``driftbook``."""

from driftbook.runbook.cli import main

main(prog_name="driftbook")
