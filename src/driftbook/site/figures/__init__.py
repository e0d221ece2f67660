"""The figures of the runbook: ``draw_*`` turns rows or one table of evidence into a picture.

``model`` draws rows and the fitted model, ``decision`` the evidence of a window, ``backtest`` the
replay of policies; ``theme`` holds their one look.
"""
