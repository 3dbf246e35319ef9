"""Launchers only place runs; every one of them has :func:`experiments.worker.attempt` called where a run trains."""
