"""run.py doctor: checks before a run whether it would succeed on this machine."""
