"""The decision: hold, monitor, retrain, or investigate the data first.

`policy.assess` is the only way to it, a pure function of a model, a window and the settings:
`findings.examine_window` gathers the evidence, `trial.run_trial` grades recipes in time,
`gap.expect_gap` says what lasts of the champion's gap to newer fits, `costs.find_break_even` and
`challenger.weigh_challenger` what a retrain would earn, `reasons.phrase_reason` says it in words.
"""
