"""The commands of run.py, and their options."""
