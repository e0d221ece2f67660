"""Drift: what moved between a model's reference and a window, and faults of the data themselves.

`report.report_drift` compares all columns, the prediction and the dependence between columns;
`quality.check_quality` lists faults. Both see profiles (`profile.profile_values`), tables of counts
that add up; `reference.find_reference` keeps the model's own side of each comparison.
"""
