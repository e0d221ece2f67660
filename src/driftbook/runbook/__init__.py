"""The runbook: the command line and what it runs, in order.

`cli.main` is the command, `flow.perform_job` a run from settings to publication,
`notebooks.execute_notebooks` the way through papermill in one warm kernel, `run.open_run` what
every notebook opens first, `alerts.send_alerts` who is told, and `new_project.lay_out_project`
what a new project begins with. Nothing but the notebooks imports this room.
"""
