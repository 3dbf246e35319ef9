"""The options of ``run.py search TABLE``."""

import argparse

#: What is searched for where nothing else is asked for.
METRIC = 'without_nms/AP'


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what belongs to ``search`` to the command line."""
    group = parser.add_argument_group('search (ASHA on Ray Tune)')
    group.add_argument('--trials', type=int, metavar='N', help="settings to draw (default: all of the table's cells)")
    group.add_argument(
        '--space',
        action='append',
        default=[],
        metavar='AXIS=LOW:HIGH',
        help="draw an axis from a range instead of the table's values; needs --trials",
    )
    group.add_argument('--metric', metavar='KEY', help=f'what to search for (default: {METRIC})')
    group.add_argument(
        '--grace', type=int, metavar='EPOCHS', help='epochs that each setting has (default: a quarter of the training)'
    )
    group.add_argument(
        '--reduction', type=float, metavar='N', help='from each rung to the next goes one of N settings (default: 3)'
    )


def read_options(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Note in ``args.search`` whether to search, and end with a usage message where options do not fit together."""
    args.search = args.tables[:1] == ['search']
    if not args.search:
        given = (args.trials, args.metric, args.grace, args.reduction)
        if args.space or any(value is not None for value in given):
            parser.error('--trials, --space, --metric, --grace and --reduction belong to: run.py search TABLE')
        return
    if any((args.dry_run, args.list, args.status, args.cancel, args.dump_configs, args.evaluate)):
        parser.error('search does nothing else at once')
    if args.launcher == 'slurm':
        parser.error('search is done by Ray alone')
    args.tables, args.launcher = args.tables[1:], 'ray'
    if len(args.tables) != 1 or args.tables == ['all'] or len(args.seeds) != 1:
        parser.error('search takes one table and one seed')
    if args.space and args.trials is None:
        parser.error('--space needs --trials N, as there is no end of settings in a range')
    if any(value is not None and value < 1 for value in (args.trials, args.grace)):
        parser.error('--trials and --grace must be 1 or more')
    if args.reduction is not None and args.reduction <= 1:
        parser.error('--reduction must be more than 1')
