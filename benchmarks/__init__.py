"""Benchmarks: one module per subject, each a list of rows; ``run.py`` runs them."""
