"""The command line of ``run.py``: which runs, how they are trained, and what else can be done with them."""

import argparse
from pathlib import Path
from typing import List, Optional

from analysis.home import DATA, RUNS
from experiments import subset
from experiments.clean import options as clean_options
from experiments.doctor import options as doctor_options
from experiments.estimate import options as estimate_options
from experiments.launchers.ray import options as ray_options
from experiments.search import options as search_options


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
    estimate_options.add_options(parser)
    ray_options.add_options(parser)
    search_options.add_options(parser)
    clean_options.add_options(parser)
    args = parser.parse_args(argv)
    subset.read_options(args)
    search_options.read_options(args, parser)
    doctor_options.read_options(args, parser)
    clean_options.read_options(args, parser)
    estimate_options.check_options(args, parser)
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
