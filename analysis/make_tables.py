"""Prints the tables that experiments/run.py trained: python analysis/make_tables.py [table3 ...] [--format latex]."""

import argparse
import sys
from pathlib import Path
from typing import List, Optional

if __package__ in (None, ''):
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # run as a script: the packages are in the parent folder

from analysis import cli, results  # noqa: E402
from analysis.tables import render  # noqa: E402
from experiments.machine import print_in_any_locale  # noqa: E402


def main(argv: Optional[List[str]] = None) -> int:
    """Run the command line. Returns the exit status: 0, 1 for missing cells with --strict, 2 for a user's error."""
    return cli.run(_make, _arguments(argv), 'make_tables.py')


def _arguments(argv: Optional[List[str]]) -> argparse.Namespace:
    parser = cli.parser('make_tables.py', 'show', description="Show measured tables beside the paper's.")
    parser.add_argument('--format', choices=render.SUFFIXES, default='markdown')
    parser.add_argument('--out', type=Path, help='write one file per table into this folder instead of printing')
    parser.add_argument('--strict', action='store_true', help='exit with status 1 if a cell is missing')
    return parser.parse_args(argv)


def _make(args: argparse.Namespace) -> int:
    names = cli.names_of(args)
    plans = [results.load_plan(args.runs, args.profile, name) for name in names]
    found = [results.load_results(args.runs, args.profile, plan) for plan in plans]
    for warning in dict.fromkeys(warning for each in found for warning in each.warnings):
        cli.warner('make_tables.py')(warning)
    texts = [render.render(plan, each, args.format) for plan, each in zip(plans, found)]
    if args.out is None:
        print('\n'.join(texts), end='', flush=True)
    for name, text in zip(names, texts) if args.out else ():
        content = text.encode('utf-8', errors='replace')
        cli.write_and_say(args.out / f'{results.plan_of(name)}{render.SUFFIXES[args.format]}', content)
    return _strict(found) if args.strict else 0


def _strict(found: List[results.Results]) -> int:
    lacking = [(each.plan, each.missing_cells) for each in found]
    where = ', '.join(f'{plan.name}: {count} of {len(plan.cells)}' for plan, count in lacking if count)
    if where:
        print(f'make_tables.py: {sum(count for _, count in lacking)} cells are missing ({where})', file=sys.stderr)
    return 1 if where else 0


if __name__ == '__main__':
    print_in_any_locale()
    sys.exit(main())
