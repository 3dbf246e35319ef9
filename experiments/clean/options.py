"""``run.py clean`` on the command line."""

import argparse


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what belongs to ``clean``."""
    group = parser.add_argument_group(
        'clean',
        'run.py clean [TABLE ...] says what it would remove of the runs of a profile (of all, if no table is named),\n'
        'and with --yes removes it: half-written files of processes that died, checkpoints older than the newest, and\n'
        "of finished runs mmengine's own logs. No result, metrics or config, and nothing of a run in training, ever.",
    )
    group.add_argument('--yes', action='store_true', help='remove it')
    group.add_argument(
        '--checkpoints',
        action='store_true',
        help='also the final weights of finished runs; they could not be evaluated, timed or drawn again',
    )
    group.add_argument(
        '--unfinished',
        action='store_true',
        help='also checkpoint and metrics of runs that stopped or failed, which then begin anew',
    )
    group.add_argument(
        '--trackers', action='store_true', help="also what --track and Ray Tune keep beside the runs' own files"
    )


def read_options(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Note in ``args.clean`` whether to clean, and end with a usage message where options do not fit together."""
    args.clean = args.tables[:1] == ['clean']
    if not args.clean:
        if any((args.yes, args.checkpoints, args.unfinished, args.trackers)):
            parser.error('--yes, --checkpoints, --unfinished and --trackers belong to: run.py clean')
        return
    if any((args.dry_run, args.list, args.status, args.cancel, args.dump_configs, args.evaluate)):
        parser.error('clean does nothing else at once; without --yes it only says what it would remove')
    args.tables = args.tables[1:]
