"""``run.py search``: uses a table's axes as a search space for ASHA on Ray Tune."""
