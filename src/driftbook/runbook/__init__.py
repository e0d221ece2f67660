"""The runbook: the command line and what it runs, in order.

`cli.main` is the command, `flow.perform_job` a run from settings to publication,
`notebooks.execute_notebooks` the way through papermill in one warm kernel, and `run.open_run`
what every notebook opens first. Nothing but the notebooks imports this room.
"""
