"""``run.py doctor``: whether a run would go through on this machine, found out before it is begun."""
