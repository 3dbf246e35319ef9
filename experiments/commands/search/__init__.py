"""A table's axes as a search space, searched with ASHA on Ray Tune.

==========  ====================================================================
space.py    the settings to try: cells of the table, and ranges of their axes
options.py  the options of ``run.py search``
command.py  what ``run.py search`` does
report.py   what it prints
==========  ====================================================================
"""
