"""The backtest: would this policy have served me?

`replay.replay_policies` plays every policy of `policies` on the windows of a data set, which
`timeline.Timeline` shows to each as it was known at the time, and prices what they paid.
`hindsight` holds what is cheapest afterwards. A policy of your own is one function of a
`policies.PolicyMoment`, given as `rules={"mine": rule}`.
"""
