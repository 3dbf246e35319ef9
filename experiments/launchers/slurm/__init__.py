"""Runs as one job array of Slurm, through submitit."""
