"""The command line of ``run.py``: which runs, how they are trained, and what else can be done with them."""

import argparse
from pathlib import Path
from typing import List, Optional

from experiments.commands import ray as ray_options
from experiments.spec import subset
from experiments.store.files import DATA, RUNS


def parse(argv: Optional[List[str]], description: str) -> argparse.Namespace:
    """Read the command line; the command ends with a usage message and status 2 where options do not fit together.

    Raises:
        UserError: the share of ``--subset`` is none.
    """
    parser = argparse.ArgumentParser(
        prog='run.py', description=description, formatter_class=argparse.RawTextHelpFormatter
    )
    _add_which(parser)
    _add_how(parser)
    _add_actions(parser)
    add_estimate_options(parser)
    ray_options.add_options(parser)
    add_search_options(parser)
    add_clean_options(parser)
    args = parser.parse_args(argv)
    subset.read_options(args)
    read_search_options(args, parser)
    read_doctor_options(args, parser)
    read_clean_options(args, parser)
    check_estimate_options(args, parser)
    ray_options.check_options(args, parser)
    _check_actions(args, parser)
    _check_numbers(args, parser)
    return args


def _add_which(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        'tables',
        nargs='*',
        metavar='TABLE',
        help="tables of the paper, or 'all'; 'search' before one searches it, 'doctor' before none\n"
        "or some checks whether their runs would go through here, and 'clean' frees disk",
    )
    parser.add_argument('--profile', default='desk', help='desk (default), smoke or paper: which data and how large')
    subset.add_options(parser)
    parser.add_argument('--seeds', type=int, nargs='+', default=[0], help='one training per cell and seed (default: 0)')
    parser.add_argument(
        '--only',
        action='append',
        default=[],
        metavar='AXIS=VALUE',
        help='only cells at this value; several of one axis are alternatives',
    )
    parser.add_argument('--set', action='append', default=[], metavar='KEY=VALUE', help='override a key of the config')
    parser.add_argument('--runs', type=Path, default=RUNS, help='folder of the runs (default: runs)')
    parser.add_argument('--data', type=Path, default=DATA, help='folder of the data (default: data)')


def _add_how(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group('how runs are trained')
    group.add_argument('--jobs', type=int, help='runs at once (default: one per GPU, or one per core)')
    group.add_argument(
        '--processes-per-run', type=int, metavar='N', help='train each run in N processes, on a GPU each (default: 1)'
    )
    group.add_argument(
        '--accumulate',
        type=int,
        default=1,
        metavar='N',
        help='compute each batch in N parts, one after the other, for less memory; the run stays the same',
    )
    group.add_argument(
        '--launcher',
        choices=('local', 'slurm', 'ray'),
        default='local',
        help='train on this machine (default), or a cluster',
    )
    group.add_argument('--cluster', type=Path, metavar='FILE', help='what a job asks of Slurm; see the folder slurm')
    group.add_argument('--wait', action='store_true', help='follow the jobs, then print the tables')
    group.add_argument(
        '--track',
        action='append',
        default=[],
        choices=('tensorboard', 'mlflow', 'wandb'),
        help='also log to this (may be given again)',
    )


def _add_actions(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group('instead of training')
    action = group.add_mutually_exclusive_group()
    action.add_argument('--dry-run', action='store_true', help='show cells, runs, what is done and what is left')
    action.add_argument('--list', action='store_true', help='list the tables and profiles')
    action.add_argument(
        '--status', action='store_true', help='show the state of each run (of all tables, if none is named)'
    )
    action.add_argument('--cancel', action='store_true', help="cancel the tables' jobs that Slurm has from here")
    action.add_argument(
        '--dump-configs', type=Path, metavar='DIR', help="write a config per run for MMDetection's own tools"
    )
    action.add_argument('--evaluate', type=Path, metavar='CHECKPOINT', help='evaluate a file of weights as a cell is')
    group.add_argument('--table', help='the table of --evaluate')
    group.add_argument(
        '--cell', action='append', default=[], metavar='NAME', help="the cell of --evaluate: a row's or column's name"
    )
    group.add_argument('--matches', type=Path, metavar='FILE', help="--evaluate writes a run's matches.npz here")


def _check_actions(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    if not (args.tables or args.list or args.status or args.evaluate or args.clean):
        parser.error('name a table, or give --list or --status')
    if args.evaluate and len(args.tables) + bool(args.table) != 1:
        parser.error('--evaluate needs one table: --table NAME')
    if (args.table or args.cell or args.matches) and not args.evaluate:
        parser.error('--table, --cell and --matches belong to --evaluate')
    if (args.cluster or args.wait) and args.launcher != 'slurm':
        parser.error('--cluster and --wait belong to --launcher slurm')
    if args.processes_per_run is not None and args.launcher != 'local':
        parser.error('--processes-per-run belongs to --launcher local')


def _check_numbers(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    for option in ('jobs', 'processes_per_run', 'accumulate'):
        value = getattr(args, option)
        if value is not None and value < 1:
            parser.error(f'--{option.replace("_", "-")} must be 1 or more')
    if min(args.seeds) < 0:
        parser.error('--seeds must be 0 or more')


def add_clean_options(parser: argparse.ArgumentParser) -> None:
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


def read_clean_options(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Note in ``args.clean`` whether to clean, and end with a usage message where options do not fit together."""
    args.clean = args.tables[:1] == ['clean']
    if not args.clean:
        if any((args.yes, args.checkpoints, args.unfinished, args.trackers)):
            parser.error('--yes, --checkpoints, --unfinished and --trackers belong to: run.py clean')
        return
    if any((args.dry_run, args.list, args.status, args.cancel, args.dump_configs, args.evaluate)):
        parser.error('clean does nothing else at once; without --yes it only says what it would remove')
    args.tables = args.tables[1:]


def read_doctor_options(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Note in ``args.doctor`` whether to check this machine; without tables it is checked for all of them."""
    args.doctor = args.tables[:1] == ['doctor']
    if not args.doctor:
        return
    if any((args.dry_run, args.list, args.status, args.cancel, args.dump_configs, args.evaluate)):
        parser.error('doctor does nothing else at once')
    args.tables = args.tables[1:] or ['all']


PROBE_S = 120.0


def add_estimate_options(parser: argparse.ArgumentParser) -> None:
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


def check_estimate_options(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """End with a usage message where they do not fit together."""
    if (args.probe is not None or args.images_per_second is not None) and not args.dry_run:
        parser.error('--probe and --images-per-second belong to --dry-run')
    if any(value is not None and not value > 0 for value in (args.probe, args.images_per_second)):
        parser.error('--probe and --images-per-second must be more than 0')
    if args.probe is not None and args.launcher == 'slurm':
        parser.error('--probe measures this machine: give --images-per-second for the nodes of a cluster')


#: What is searched for where nothing else is asked for.
METRIC = 'without_nms/AP'


def add_search_options(parser: argparse.ArgumentParser) -> None:
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


def read_search_options(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
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
