"""Where runs are placed: on this machine, on Slurm, or on Ray. A launcher calls experiments.training.worker.attempt."""
