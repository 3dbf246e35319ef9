"""``run.py clean``: what of the runs' folders nothing needs any more."""
