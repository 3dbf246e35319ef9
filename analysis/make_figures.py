"""Draws figures from stored files: python analysis/make_figures.py [fig5 ...] [--out DIR] [--format pdf png]."""

import argparse
import sys
from pathlib import Path
from typing import List, Optional

if __package__ in (None, ''):
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # run as a script: the packages are in the parent folder

from analysis import cli, figures  # noqa: E402
from experiments.machine import print_in_any_locale  # noqa: E402
from experiments.store.errors import UserError  # noqa: E402


def main(argv: Optional[List[str]] = None) -> int:
    """Run the command line. Returns the exit status: 0, 1 if a named figure lacks its data, 2 for a user's error."""
    return cli.run(_run, _arguments(argv), 'make_figures.py')


def _arguments(argv: Optional[List[str]]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog='make_figures.py', description='Draw figures from stored results.')
    parser.add_argument('names', nargs='*', metavar='figure', help='figures to draw (default: all that can be)')
    cli.add_stored(parser)
    parser.add_argument('--out', type=Path, help='folder of the files (default: figures in the folder of the profile)')
    parser.add_argument('--format', nargs='+', choices=figures.FORMATS, default=['pdf', 'png'])
    parser.add_argument('--list', action='store_true', help='list the figures')
    return parser.parse_args(argv)


def _run(args: argparse.Namespace) -> int:
    known = figures.entries(args.runs, args.profile)
    if args.list:
        width = max(map(len, known))
        print('\n'.join(f'{name:{width}}  {entry.title}' for name, entry in known.items()))
        return 0
    unknown = [name for name in args.names if name not in known]
    if unknown:
        raise UserError(f'no figure {unknown[0]!r}: there are {", ".join(known)}')
    lacking = _make(list(dict.fromkeys(args.names)) or list(known), args)
    return 1 if lacking and args.names else 0


def _make(names: List[str], args: argparse.Namespace) -> int:
    """Write the figures. Returns how many lack their data, after a message about each."""
    lacking = 0
    for name in names:
        try:
            figure = figures.draw(name, args.runs, args.profile, cli.warner('make_figures.py'))
        except UserError as error:
            print(f'make_figures.py: {name}: {error}', file=sys.stderr)
            lacking += 1
            continue
        folder = args.out or args.runs / args.profile / 'figures'
        for format in dict.fromkeys(args.format):
            cli.write_and_say(folder / f'{name}.{format}', figures.save(figure, format))
        numbers = figures.entries(args.runs, args.profile)[name].files
        for end, content in numbers(args.runs, args.profile).items() if numbers else ():
            cli.write_and_say(folder / f'{name}.{end}', content)
    return lacking


if __name__ == '__main__':
    print_in_any_locale()
    sys.exit(main())
