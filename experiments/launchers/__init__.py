"""Launchers only place runs; every one of them calls :func:`experiments.worker.work`."""
