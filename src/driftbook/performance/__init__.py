"""Performance: how well the champion does on a window, why that moved, and how sure that is.

`realised.judge_performance` is the table of all metrics with labels and, by
`estimated.estimate_performance`, without; `baseline.find_baseline` is the champion's own side.
`causes.explain_change` splits a change, `segments.judge_segments` says where it happened,
`trend.trace_performance` follows it over windows.
"""
