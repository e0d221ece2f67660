"""``python -m driftbook`` is the command ``driftbook``."""

from driftbook.cli import main

main(prog_name="driftbook")
