"""Write one page of all that is stored, to open in a browser: python analysis/make_report.py [table3 ...]."""

import argparse
import sys
from pathlib import Path
from typing import List, Optional

try:
    import analysis  # noqa: F401  installed, or run with the repository root on the path
except ModuleNotFoundError:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from analysis import console, files, results  # noqa: E402
from analysis.bootstrap import SAMPLES  # noqa: E402
from analysis.report.contents import gather  # noqa: E402
from analysis.report.page import render  # noqa: E402

#: What a page should stay below, in bytes: mail and browsers take it easily.
LIMIT = 5_000_000


def main(argv: Optional[List[str]] = None) -> int:
    """Run the command line; returns the exit status: 0, or 2 for a user's error."""
    args = _arguments(argv)
    try:
        content = render(gather(args.runs, args.profile, args.names, _warn, args.samples)).encode('utf-8', 'replace')
        if len(content) > LIMIT:
            _warn(f'the page has {len(content) / 1e6:.1f} MB: name some of the tables for a smaller one')
        files.write_whole((args.out or args.runs / args.profile) / 'report.html', content)
    except results.UserError as error:
        print(f'make_report.py: {error}', file=sys.stderr)
        return 2
    return 0


def _arguments(argv: Optional[List[str]]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='make_report.py', description='Write report.html: tables, claims, figures and runs in one page.'
    )
    parser.add_argument('names', nargs='*', metavar='table', help='tables to show (default: all that have a plan)')
    parser.add_argument('--profile', default='desk', help='profile they were trained with (default: desk)')
    parser.add_argument('--runs', type=Path, default=results.RUNS, help='folder of the runs (default: %(default)s)')
    parser.add_argument('--out', type=Path, help='folder of report.html (default: the folder of the profile)')
    parser.add_argument('--samples', type=int, default=SAMPLES, help='samples of the images (default: %(default)s)')
    args = parser.parse_args(argv)
    args.names = list(dict.fromkeys(args.names)) or None
    if args.samples < 2:
        parser.error('--samples must be at least 2')
    return args


def _warn(line: str) -> None:
    print(f'make_report.py: warning: {line}', file=sys.stderr)


if __name__ == '__main__':
    console.print_in_any_locale()
    sys.exit(main())
