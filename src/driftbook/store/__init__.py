"""What is remembered on disk: model versions, runs, the ledger, and what ties them together.

`registry` (`promote_version`, `roll_back`), `registry_models` (`save_model`, `load_model`) and
`ledger` hold versions and promotions, `gate.check_gate` guards them, `transaction.publish_run`
publishes a run whole, `verify.verify_artifacts` proves it, `mlflow.track_run` sends it.
"""
