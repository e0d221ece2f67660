"""What is remembered on disk: model versions, runs, the ledger, and what ties them together.

`registry` and `ledger` hold versions and promotions, `gate` guards them, `transaction` publishes
the folder of a run whole, `manifest` and `verify` prove it.
"""
