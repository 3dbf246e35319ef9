"""Where runs are placed: on this machine, on Slurm, or on Ray. A launcher calls experiments.training.worker.attempt."""

import argparse

from experiments.launchers.protocol import Launcher


def open_launcher(args: argparse.Namespace, need: int = 0) -> Launcher:
    """The launcher that the command line asks for.

    Args:
        args (Namespace): the command line.
        need (int): bytes of memory that a process of a run needs; 0 if that is not known.

    Raises:
        UserError: the cluster file is missing or wrong, or this machine has fewer GPUs than a run needs.
    """
    runs = args.runs / args.profile
    if args.launcher == 'slurm':
        from experiments.launchers.slurm.launcher import open_slurm

        return open_slurm(args.cluster, runs, args.wait)
    if args.launcher == 'ray':
        from experiments.launchers.ray.launcher import open_ray

        return open_ray(args, runs, need)
    from experiments.launchers.local import LocalLauncher

    return LocalLauncher(args.jobs, args.processes_per_run or 1, need)
