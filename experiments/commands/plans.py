"""The plans that a command line selects, and the commands that need only plans: list tables and dump configs."""

import argparse
import sys
from typing import Dict, List

from experiments.spec.schema import PROFILES, Position
from experiments.store.errors import NoData, UserError
from experiments.store.runs import DONE, RunFolder


def read_plans(args: argparse.Namespace) -> list:
    """The plans of a command line's tables. ``all`` means every table of the paper that the profile has data for. The
    others are named on standard error.

    Raises:
        UserError: a table, a value of an axis, a profile or a setting does not exist, or the profile has no data for a
            table that was named.
    """
    from experiments.spec import table_file
    from experiments.spec.plan import make_plan

    names = table_file.table_names() if args.tables == ['all'] else list(dict.fromkeys(args.tables))
    tables = [table_file.load_table(name) for name in names]
    for table, name in zip(tables, names):
        if [other.name for other in tables].count(table.name) > 1:
            raise UserError(f'{name}: two tables are called {table.name}, and results go by this name: rename one')
    settings, plans = dict(args.set), []
    for table in tables:
        try:
            plans.append(make_plan(table, table_file.select(table, args.only), args.profile, args.seeds, settings))
        except NoData as error:
            if args.tables != ['all']:
                raise
            print(f'run.py: {table.name} is left out: {error}', file=sys.stderr)
    return plans


def plans_at(cells: Dict[str, List[Position]], args: argparse.Namespace) -> list:
    """The plans of some cells, given as positions by table.

    Raises:
        UserError: a table, a profile or a setting does not exist.
    """
    from experiments.spec import table_file
    from experiments.spec.plan import make_plan

    settings = dict(args.set)
    tables = {name: table_file.load_table(name) for name in cells}
    return [
        make_plan(table, [cell for cell in table.cells if cell.at in cells[name]], args.profile, args.seeds, settings)
        for name, table in tables.items()
    ]


def seeds_there(cells: Dict[str, List[Position]], args: argparse.Namespace, most: int) -> int:
    """With how many seeds, counted from 0 and without a gap, all of these cells are trained; at most ``most``."""
    for seed in range(most):
        plans = plans_at(cells, argparse.Namespace(**{**vars(args), 'seeds': [seed]}))
        if any(folder.status().state != DONE for folder in folders_of(plans, args).values()):
            return seed
    return most


def folders_of(plans: list, args: argparse.Namespace) -> Dict[str, RunFolder]:
    """The folder of each run by its id."""
    return {run_id: RunFolder(args.runs / args.profile / run_id) for plan in plans for run_id in plan.runs()}


def configs_of(plans: list) -> Dict[str, dict]:
    """The config of each run by its id."""
    return {run_id: run.config for plan in plans for run_id, run in plan.runs().items()}


def labels_of(plans: list, args: argparse.Namespace) -> Dict[str, str]:
    """The name of each run, which is the first cell that it fills."""
    labels: Dict[str, str] = {}
    for plan in plans:
        for planned in plan.cells:
            for seed, run in planned.runs.items():
                suffix = f' seed={seed}' if len(args.seeds) > 1 else ''
                labels.setdefault(run.id, f'{plan.table.name} {planned.cell.label}{suffix}')
    return labels


def list_tables(args: argparse.Namespace) -> int:
    """Print a line for each table of the paper and for each study, and the profiles."""
    from experiments.spec import table_file

    for name in table_file.table_names():
        table = table_file.load_table(name)
        print(f'{name}  {len(table.cells):3} cells  {table.title} ({table.source})')
    print('studies beyond the paper:')
    for name in table_file.study_names():
        study = table_file.load_table(name)
        print(f'{name}  {len(study.cells):3} cells  {study.title}')
    profiles: List[str] = sorted(path.stem for path in PROFILES.glob('*.py'))
    print('profiles:', ', '.join(profiles))
    return 0


def dump(args: argparse.Namespace) -> int:
    """Write the config of each run, and print the cells that it fills.

    Raises:
        UserError: see :func:`experiments.spec.dump.dump_configs`.
    """
    from experiments.spec.dump import dump_configs

    for path, cells in dump_configs(read_plans(args), args.dump_configs, args.data).items():
        print(f'{path}: {"; ".join(cells)}')
    return 0
