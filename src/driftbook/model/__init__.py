"""The model: how it is fitted, graded and scored, whatever estimator it is.

`training.train` returns a `training.Model` with its reference; `tasks` says what it predicts and
what a loss is, `curves` and `task_curves` look behind its metrics, `exploration` looks at the rows
that it learns from,
`compilation.compile_model` and `scoring.build_scorer` make it fast to serve.
"""
