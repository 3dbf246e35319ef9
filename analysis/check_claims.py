"""Reports which of the paper's claims hold: python analysis/check_claims.py [table3 ...] [--format json]."""

import argparse
import sys
from pathlib import Path
from typing import List, Optional

if __package__ in (None, ''):
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # run as a script: the packages are in the parent folder

from analysis import cli  # noqa: E402
from analysis.claims import explain, judge  # noqa: E402
from analysis.claims.finding import Finding  # noqa: E402
from experiments.machine import print_in_any_locale  # noqa: E402


def main(argv: Optional[List[str]] = None) -> int:
    """Run the command line. Returns the exit status: 0 whatever the verdicts, 1 with --strict if claims lack numbers, 2
    for a user's error."""
    return cli.run(_check, _arguments(argv), 'check_claims.py')


def _arguments(argv: Optional[List[str]]) -> argparse.Namespace:
    parser = cli.parser(
        'check_claims.py',
        'check',
        description="Hold the paper's claims against the stored runs: each holds, fails or is undecided.",
        epilog='How that is judged: docs/claims.md.',
    )
    parser.add_argument('--format', choices=explain.SUFFIXES, default='markdown')
    parser.add_argument('--out', type=Path, help='write claims.md or claims.json into this folder instead of printing')
    parser.add_argument(
        '--strict', action='store_true', help='exit with status 1 if a claim lacks a number or an interval'
    )
    return parser.parse_args(argv)


def _check(args: argparse.Namespace) -> int:
    verdicts, warnings = judge.judge(args.runs, args.profile, cli.names_of(args))
    for warning in warnings:
        cli.warner('check_claims.py')(warning)
    text = explain.render(verdicts, args.format)
    if args.out is None:
        print(text, end='', flush=True)
    else:
        path = args.out / f'claims{explain.SUFFIXES[args.format]}'
        cli.write_and_say(path, text.encode('utf-8', errors='replace'))
    lacking = [verdict.claim.id for verdict in verdicts if not all(map(_is_whole, verdict.findings))]
    if args.strict and lacking:
        which = ', '.join(lacking)
        print(f'check_claims.py: {len(lacking)} claims lack numbers or an interval ({which})', file=sys.stderr)
        return 1
    return 0


def _is_whole(found: Finding) -> bool:
    """Whether it has the numbers of every planned seed and an interval."""
    return bool(found.left.notna().all() and found.right.notna().all()) and found.interval is not None


if __name__ == '__main__':
    print_in_any_locale()
    sys.exit(main())
