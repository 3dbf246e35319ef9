"""``run.py doctor``: checks whether runs would succeed on this machine."""
