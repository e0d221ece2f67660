"""What is remembered on disk: model versions, runs, the ledger, and what ties them together.

`registry` and `ledger` hold versions and promotions, `gate` guards them, `run.open_run` is the
folder of one execution, `transaction` publishes it whole, `manifest` and `verify` prove it.
"""
