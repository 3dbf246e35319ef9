"""Estimates the hours and disk space of tables, for ``run.py --dry-run`` and ``run.py doctor``."""
