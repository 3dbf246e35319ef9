"""The options of ``run.py`` that say where and with what Ray trains."""

import argparse
from pathlib import Path
from typing import Any


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add them to the command line."""
    group = parser.add_argument_group('on Ray')
    group.add_argument(
        '--ray-address', metavar='ADDRESS', help='a cluster: HOST:PORT or auto (default: one started on this machine)'
    )
    group.add_argument('--cpus-per-run', type=int, metavar='N', help='CPUs of one run, and its threads (default: 1)')
    group.add_argument(
        '--gpus-per-run',
        type=float,
        metavar='N',
        help='GPUs of one run; 0.5 lets two share one (default: 1 where there are GPUs, else 0)',
    )


def check_options(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """End with a usage message where they do not fit together."""
    given = (args.ray_address, args.cpus_per_run, args.gpus_per_run)
    if any(value is not None for value in given) and args.launcher != 'ray':
        parser.error('--ray-address, --cpus-per-run and --gpus-per-run belong to --launcher ray')
    if args.cpus_per_run is not None and args.cpus_per_run < 1:
        parser.error('--cpus-per-run must be 1 or more')
    if args.gpus_per_run is not None and not 0 <= args.gpus_per_run <= 1:
        parser.error('--gpus-per-run must be from 0 to 1, as a run trains in one process')


def open_launcher(args: argparse.Namespace, runs: Path) -> Any:
    """The :class:`~experiments.launchers.ray.launcher.RayLauncher` that they ask for, for a profile's runs."""
    from experiments.launchers.ray.cluster import Resources
    from experiments.launchers.ray.launcher import RayLauncher

    return RayLauncher(runs, Resources(args.cpus_per_run or 1, args.gpus_per_run, args.jobs), args.ray_address)
