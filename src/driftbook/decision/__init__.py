"""The decision: hold, monitor, retrain, or investigate the data first.

`policy.assess` is the only way to it, a pure function of a model, a window and the settings.
`trial.run_trial` grades recipes in time, `gap` says what is known of the champion's gap to newer
fits, `challenger.weigh_challenger` and `costs` what a retrain would earn, `reasons` say
it in words.
"""
