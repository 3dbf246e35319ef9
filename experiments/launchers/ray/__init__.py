"""Runs as trials of Ray Tune, on this machine or on a cluster of Ray."""
