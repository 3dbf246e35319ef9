"""Say which of the paper's claims hold: python analysis/check_claims.py [table3 ...] [--format json]."""

import argparse
import os
import sys
from pathlib import Path
from typing import List, Optional

try:
    import analysis  # noqa: F401  installed, or run with the repository root on the path
except ModuleNotFoundError:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from analysis import claim_pages, console, files, findings, results, verdicts  # noqa: E402
from analysis.bootstrap import SAMPLES  # noqa: E402


def main(argv: Optional[List[str]] = None) -> int:
    """Run the command line; returns the exit status: 0 whatever the verdicts are, 1 with --strict for claims that lack
    numbers, 2 for a user's error."""
    args = _arguments(argv)
    try:
        return _check(args)
    except results.UserError as error:
        print(f'check_claims.py: {error}', file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader, such as head, has seen enough; keep the flush at exit quiet
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _arguments(argv: Optional[List[str]]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='check_claims.py',
        description="Hold the paper's claims against the stored runs: each holds, fails or is undecided.",
        epilog='How that is judged: docs/claims.md.',
    )
    parser.add_argument('names', nargs='*', metavar='table', help='tables to check (default: all that have a plan)')
    parser.add_argument('--format', choices=claim_pages.SUFFIXES, default='markdown')
    parser.add_argument('--profile', default='desk', help='profile they were trained with (default: desk)')
    parser.add_argument('--runs', type=Path, default=results.RUNS, help='folder of the runs (default: %(default)s)')
    parser.add_argument('--out', type=Path, help='write claims.md or claims.json into this folder instead of printing')
    parser.add_argument('--samples', type=int, default=SAMPLES, help='samples of the images (default: %(default)s)')
    parser.add_argument(
        '--strict', action='store_true', help='exit with status 1 if a claim lacks a number or an interval'
    )
    args = parser.parse_args(argv)
    if args.samples < 2:
        parser.error('--samples must be at least 2')
    return args


def _check(args: argparse.Namespace) -> int:
    names = list(dict.fromkeys(args.names)) or results.plan_names(args.runs, args.profile)
    if not names:
        raise results.no_plans(args.runs, args.profile)
    judged = verdicts.judge(args.runs, args.profile, names, args.samples)
    for warning in judged.warnings:
        print(f'check_claims.py: warning: {warning}', file=sys.stderr)
    text = claim_pages.render(judged.verdicts, args.format)
    if args.out is None:
        print(text, end='', flush=True)
    else:
        path = args.out / f'claims{claim_pages.SUFFIXES[args.format]}'
        files.write_whole(path, text.encode('utf-8', errors='replace'))
    lacking = [verdict.id for verdict in judged.verdicts if not all(map(_whole, verdict.findings))]
    if args.strict and lacking:
        which = ', '.join(lacking)
        print(f'check_claims.py: {len(lacking)} claims lack numbers or an interval ({which})', file=sys.stderr)
        return 1
    return 0


def _whole(found: findings.Finding) -> bool:
    """Whether all of its numbers are there, of each seed that was planned, and an interval."""
    values = [*found.left.values.values(), *found.right.values.values()]
    return None not in values and found.interval is not None


if __name__ == '__main__':
    console.print_in_any_locale()
    sys.exit(main())
