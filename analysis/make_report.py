"""Writes one HTML page with all stored results: python analysis/make_report.py [table3 ...]."""

import argparse
import sys
from pathlib import Path
from typing import List, Optional

if __package__ in (None, ''):
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # run as a script: the packages are in the parent folder

from analysis import cli  # noqa: E402
from analysis.report.page import gather, render  # noqa: E402
from experiments.machine import print_in_any_locale  # noqa: E402

#: The desired maximum size of a page in bytes. Mail and browsers handle it easily.
LIMIT = 5_000_000


def main(argv: Optional[List[str]] = None) -> int:
    """Run the command line. Returns the exit status: 0, or 2 for a user's error."""
    return cli.run(_write, _arguments(argv), 'make_report.py')


def _arguments(argv: Optional[List[str]]) -> argparse.Namespace:
    parser = cli.parser(
        'make_report.py', 'show', description='Write report.html: tables, claims, figures and runs in one page.'
    )
    parser.add_argument(
        '--out', type=Path, help='its folder, or a file that ends in .html (default: the folder of the profile)'
    )
    args = parser.parse_args(argv)
    args.names = list(dict.fromkeys(args.names)) or None
    return args


def _write(args: argparse.Namespace) -> int:
    warn = cli.warner('make_report.py')
    content = render(gather(args.runs, args.profile, args.names, warn)).encode('utf-8', 'replace')
    if len(content) > LIMIT:
        warn(f'the page has {len(content) / 1e6:.1f} MB: name some of the tables for a smaller one')
    out = args.out or args.runs / args.profile
    cli.write_and_say(out if out.suffix == '.html' else out / 'report.html', content)
    return 0


if __name__ == '__main__':
    print_in_any_locale()
    sys.exit(main())
