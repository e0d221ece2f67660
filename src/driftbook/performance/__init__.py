"""Performance: how well the champion does on a window, why that moved, and how sure that is.

`realised.judge_performance` is the table of all metrics with labels and without (`estimated`);
`causes.explain_change` splits a change, `trend.trace_performance` follows it over windows. Standard
errors of rows that depend on their neighbours have their one home here.
"""
