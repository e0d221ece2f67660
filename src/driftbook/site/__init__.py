"""The pages that people read, made from a run's artifacts alone; nothing is computed here.

``render.render_site`` writes the HTML runbook. ``notebook_words.describe_*`` and ``figures`` say
and draw what the notebooks show; ``decision_page``, ``pages`` and ``model_card`` compose the rest.
Every sentence stands in ``templates``, where an owner can read and change it.
"""
