"""The options of ``run.py --dry-run`` that say how long runs will take."""

import argparse

PROBE_S = 120.0


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add them to the command line."""
    group = parser.add_argument_group(
        'cost (with --dry-run)',
        'Hours and disk of what is to do, for each table and in all. Finished runs of the same cost are taken as they\n'
        'were; for others give one of these.',
    )
    how = group.add_mutually_exclusive_group()
    how.add_argument(
        '--probe',
        type=float,
        nargs='?',
        const=PROBE_S,
        metavar='SECONDS',
        help=f'train and evaluate on this machine for so long in all (default: {PROBE_S:.0f}), on images\n'
        'made up at the real size, shared out over all that costs differently',
    )
    how.add_argument(
        '--images-per-second', type=float, metavar='N', help='training images per second of one run, if you know them'
    )


def check_options(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """End with a usage message where they do not fit together."""
    if (args.probe is not None or args.images_per_second is not None) and not args.dry_run:
        parser.error('--probe and --images-per-second belong to --dry-run')
    if any(value is not None and not value > 0 for value in (args.probe, args.images_per_second)):
        parser.error('--probe and --images-per-second must be more than 0')
    if args.probe is not None and args.launcher == 'slurm':
        parser.error('--probe measures this machine: give --images-per-second for the nodes of a cluster')
