"""Show the tables that experiments/run.py trained: python analysis/make_tables.py [table3 ...] [--format latex]."""

import argparse
import os
import sys
from pathlib import Path
from typing import List, Optional

try:
    import analysis  # noqa: F401  installed, or run with the repository root on the path
except ModuleNotFoundError:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from analysis import console, files, readings, results, tables  # noqa: E402


def main(argv: Optional[List[str]] = None) -> int:
    """Run the command line; returns the exit status: 0, 1 for missing cells with --strict, 2 for a user's error."""
    args = _arguments(argv)
    try:
        return _make(args)
    except results.UserError as error:
        print(f'make_tables.py: {error}', file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader, such as head, has seen enough; keep the flush at exit quiet
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _arguments(argv: Optional[List[str]]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog='make_tables.py', description="Show measured tables beside the paper's.")
    parser.add_argument('names', nargs='*', metavar='table', help='tables to show (default: all that have a plan)')
    parser.add_argument('--format', choices=tables.SUFFIXES, default='markdown')
    parser.add_argument('--profile', default='desk', help='profile they were trained with (default: desk)')
    parser.add_argument('--runs', type=Path, default=results.RUNS, help='folder of the runs (default: %(default)s)')
    parser.add_argument('--out', type=Path, help='write one file per table into this folder instead of printing')
    parser.add_argument('--strict', action='store_true', help='exit with status 1 if a cell is missing')
    return parser.parse_args(argv)


def _make(args: argparse.Namespace) -> int:
    names = list(dict.fromkeys(args.names)) or results.plan_names(args.runs, args.profile)
    if not names:
        raise results.no_plans(args.runs, args.profile)
    plans = [results.load_plan(args.runs, args.profile, name) for name in names]
    found = [results.load_results(args.runs, args.profile, plan) for plan in plans]
    for warning in dict.fromkeys(warning for each in found for warning in each.warnings):
        print(f'make_tables.py: warning: {warning}', file=sys.stderr)
    texts = [tables.render(plan, each, args.format) for plan, each in zip(plans, found)]
    if args.out is None:
        print('\n'.join(texts), end='', flush=True)
    for name, text in zip(names, texts) if args.out else ():
        content = text.encode('utf-8', errors='replace')
        files.write_whole(args.out / f'{name}{tables.SUFFIXES[args.format]}', content)
    return _strict(plans, found) if args.strict else 0


def _strict(plans: List[results.Plan], found: List[results.Results]) -> int:
    lacking = [(plan, readings.missing_cells(plan, each)) for plan, each in zip(plans, found)]
    where = ', '.join(f'{plan.name}: {count} of {len(plan.cells)}' for plan, count in lacking if count)
    if where:
        print(f'make_tables.py: {sum(count for _, count in lacking)} cells are missing ({where})', file=sys.stderr)
    return 1 if where else 0


if __name__ == '__main__':
    console.print_in_any_locale()
    sys.exit(main())
