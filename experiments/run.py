"""Trains the missing runs of a table of the paper, then prints the table. ``run.py --help`` lists all commands."""

import argparse
import os
import signal
import sys
import time
import warnings
from pathlib import Path
from typing import Container, List, Optional

ROOT = Path(__file__).resolve().parent.parent
if __package__ in (None, ''):
    sys.path[0] = str(ROOT)  # run as a script: the packages are in the parent folder
warnings.filterwarnings('ignore', message='.*pkg_resources is deprecated')

from experiments.store.errors import UserError  # noqa: E402

#: With more seeds per cell than this, ``--seeds auto`` gives up.
MOST_SEEDS = 50


def main(argv: Optional[List[str]] = None) -> int:
    """Run the command line.

    Returns:
        int: 0 on success, 1 if a run failed, a value is missing or nobody reads the output, 2 for wrong arguments or
            files, 130 if stopped.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        from experiments.commands.parser import parse
        from experiments.machine import print_in_any_locale, settle_temporary_folder
        from experiments.store.files import settle_home

        print_in_any_locale()
        settle_temporary_folder()
        settle_home()
        return _command(parse(argv))
    except UserError as error:
        print(f'run.py: {error}', file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader, such as head, has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print('run.py: stopped; what is finished is kept, and the same command goes on from there', file=sys.stderr)
        return 130


def _interrupt(*_) -> None:
    raise KeyboardInterrupt


def _command(args: argparse.Namespace) -> int:
    """Run the command. Its module is imported only now, because some imports take seconds."""
    match args.command:
        case 'list':
            from experiments.commands.plans import list_tables as command
        case 'status':
            from experiments.commands.status import status as command
        case 'dry-run':
            from experiments.commands.status import dry_run as command
        case 'cancel':
            from experiments.commands.train import cancel as command
        case 'dump-configs':
            from experiments.commands.plans import dump as command
        case 'clean':
            from experiments.commands.clean import clean as command
        case 'doctor':
            from experiments.commands.doctor.command import doctor as command
        case 'search':
            from experiments.commands.search.command import search as command
        case 'geometry':
            from experiments.commands.geometry import geometry as command
        case 'new-profile':
            from experiments.commands.new_profile import new_profile as command
        case 'evaluate':
            from experiments.commands.evaluate import evaluate as command
        case 'capture':
            from experiments.commands.qualitative import capture as command
        case _:
            command = _train
    return command(args)


def _train(args: argparse.Namespace) -> int:
    from experiments.commands.plans import read_plans
    from experiments.commands.train import report_failures, train

    if args.claim is not None:
        return _train_until_decided(args)
    plans = read_plans(args)
    failed, ended = train(plans, args)
    complete = _print_tables(plans, args, failed) if ended else True
    return report_failures(failed) or (0 if complete else 1)


def _train_until_decided(args: argparse.Namespace) -> int:
    """Train the cells of a claim seed by seed, until it is decided or the budget is spent. A look after each seed has
    its share of the 5 %, so a decision is as sure as the one of a single look (docs/claims.md)."""
    from analysis.claims import watch
    from analysis.claims.explain import watched
    from experiments.commands.plans import plans_at, seeds_there
    from experiments.commands.train import report_failures, train
    from experiments.spec.table_file import load_table

    table = load_table(args.tables[0])
    claim = watch.claim_of(table, args.claim)
    cells = watch.cells_of(args.tables[0], claim)
    started, longest = time.monotonic(), 0.0
    # It begins where the last command ended: an earlier look, repeated with more seeds, would be a new chance.
    first = max(1, seeds_there(cells, args, MOST_SEEDS))
    for seeds in range(first, MOST_SEEDS + 1):
        spent = time.monotonic() - started
        if args.budget is not None and seeds > first and spent + longest > 3600 * args.budget:
            print(f'run.py: the budget of {args.budget:g} hours does not allow another seed', file=sys.stderr)
            return 0
        args.seeds = list(range(seeds))
        plans = plans_at(cells, args)
        failed, _ = train(plans, args)
        if failed:
            return report_failures(failed)
        longest = max(longest, time.monotonic() - started - spent)
        verdict = watch.look(args.runs, args.profile, plans[0].name, claim.id, seeds)
        print(watched(claim.id, seeds, verdict), flush=True)
        if verdict is not None and verdict.decided:
            return 0
    print(f'run.py: it is not decided with {MOST_SEEDS} seeds per cell', file=sys.stderr)
    return 0


def _print_tables(plans: list, args: argparse.Namespace, failed: Container[str]) -> bool:
    """Print the tables, and which values of the cells that were asked for are missing, but those of failed runs.

    Returns whether there are none."""
    from analysis import results
    from analysis.tables import render

    complete = True
    for plan in plans:
        stored = results.load_plan(args.runs, args.profile, plan.name)
        found = results.load_results(args.runs, args.profile, stored)
        for warning in found.warnings:
            print(f'run.py: warning: {warning}', file=sys.stderr)
        print(render.render(stored, found, 'markdown'))
        for planned in plan.cells:
            keys = dict.fromkeys(key for keys in planned.cell.keys.values() for key in keys)
            runs = [run.id for run in planned.runs.values() if run.id not in failed]
            lacking = [key for key in keys if any(found.lacks(run, key) for run in runs)]
            if lacking:
                complete = False
                where = f'{plan.name} {planned.cell.label}'
                print(f'run.py: {where} has no value of {", ".join(lacking)}', file=sys.stderr)
    return complete


if __name__ == '__main__':
    sys.exit(main())
