"""Runs as trials of Ray Tune, on this machine or on a Ray cluster."""
