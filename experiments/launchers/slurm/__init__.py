"""Runs as one job array of Slurm, through submitit.

===========  ======================================================================
settings.py  a cluster's settings, from a YAML file in the folder ``slurm``
task.py      what a job does, and what it does when Slurm stops it
ranks.py     how the tasks of one job find each other
records.py   which run was submitted as which job, kept beside the runs
queue.py     what squeue, sacct and scancel say
launcher.py  submits, follows and cancels
===========  ======================================================================
"""
