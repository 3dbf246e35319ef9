"""Where runs are placed: on this machine, on Slurm, or on Ray. A launcher calls experiments.training.worker.attempt."""
    runs = args.runs / args.profile
    if args.launcher == 'slurm':
        from experiments.launchers.slurm.launcher import open_slurm

        return open_slurm(args.cluster, runs, args.wait)
    if args.launcher == 'ray':
        from experiments.launchers.ray.launcher import open_ray

        return open_ray(args, runs)
    from experiments.launchers.local import LocalLauncher

    return LocalLauncher(args.jobs, args.processes_per_run or 1)
