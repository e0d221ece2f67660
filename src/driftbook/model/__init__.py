"""The model: how it is fitted, graded and scored, whatever estimator it is.

`training.train` returns a `training.Model` with its reference; `scores.summarise_metrics` and
`curves` measure it, `exploration` looks at the rows that it learns from,
`compilation.compile_model` and `scoring.build_scorer` make it fast to serve.
"""
