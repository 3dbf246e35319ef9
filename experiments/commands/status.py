"""``run.py status`` and ``run.py --dry-run``: print runs, their states, and what remains."""

import argparse
from typing import Dict

from experiments.commands.plans import configs_of, folders_of, labels_of, read_plans
from experiments.commands.view import format_ap, format_left
from experiments.launchers.slurm.jobs import Records, query
from experiments.store.runs import DONE, FAILED, RUNNING, RunFolder, Status

_LOG_LINES = 5


def status(args: argparse.Namespace) -> int:
    """Print the state of each run of the tables, or of all tables if none is named."""
    args.tables = args.tables or ['all']
    _overview(read_plans(args), args)
    return 0


def dry_run(args: argparse.Namespace) -> int:
    """Print the state of each run, and the cost of the remaining ones.

    Raises:
        UserError: the requested launcher is not available.
    """
    from experiments.commands.estimate.memory import memory_needed
    from experiments.commands.estimate.report import print_estimate
    from experiments.launchers import open_launcher

    plans = read_plans(args)
    statuses = _overview(plans, args)
    folders = folders_of(plans, args)
    launcher = open_launcher(args, memory_needed(configs_of(plans), folders))
    print_estimate(plans, statuses, folders, labels_of(plans, args), launcher.capacity, args)
    if launcher.capacity.note:
        print(launcher.capacity.note)
    placed = launcher.preview(sum(status.state != DONE for status in statuses.values()))
    if placed:
        print(placed)
    return 0


def _overview(plans: list, args: argparse.Namespace) -> Dict[str, Status]:
    folders = folders_of(plans, args)
    placed = query(Records(args.runs / args.profile / 'slurm'), folders)
    statuses = {run_id: entry.status for run_id, entry in placed.items()}
    print_overview(statuses, folders, labels_of(plans, args))
    print_left(statuses, sum(len(plan.cells) for plan in plans))
    return statuses


def print_overview(statuses: Dict[str, Status], folders: Dict[str, RunFolder], labels: Dict[str, str]) -> None:
    """Print a line per run, with its message below."""
    for run_id, status in statuses.items():
        epoch = f'epoch {status.epoch}/{status.epochs}' if status.state == RUNNING and status.epochs else ''
        left = f'{format_left(status.left_s)} left' if status.state == RUNNING and status.left_s is not None else ''
        parts = [run_id, labels[run_id], f'{status.state:8}', epoch, format_ap(status), left]
        print('  '.join(part for part in parts if part).rstrip())
        if status.message:
            print(f'  {status.message}')
        if status.state == FAILED:
            for line in folders[run_id].last_log_lines(_LOG_LINES):
                print(f'  | {line}')


def print_left(statuses: Dict[str, Status], cells: int) -> None:
    """Print how many runs the cells need, and how many are done."""
    done = [run_id for run_id, status in statuses.items() if status.state == DONE]
    print(f'{cells} cells, {len(statuses)} distinct trainings, {len(done)} done, {len(statuses) - len(done)} to do')
