"""Launchers only place runs. Each has :func:`experiments.training.worker.attempt` called where a run trains."""
