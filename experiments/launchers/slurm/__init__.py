"""Runs as one Slurm job array, submitted through submitit."""
