"""What the scripts of this folder share: their common options, how they end and print, and how they write files."""

import argparse
import io
import os
import sys
from pathlib import Path
from typing import Any, Callable, List

from analysis import results
from experiments.store.errors import UserError
from experiments.store.files import RUNS, write_whole


def parser(prog: str, verb: str, **texts: Any) -> argparse.ArgumentParser:
    """A script's command line with the tables, ``--profile`` and ``--runs``.

    Args:
        prog (str): name of the script.
        verb (str): what it does to a table, for the help.
        texts: the rest goes to :class:`argparse.ArgumentParser`.
    """
    made = argparse.ArgumentParser(prog=prog, **texts)
    made.add_argument('names', nargs='*', metavar='table', help=f'tables to {verb} (default: all that have a plan)')
    add_stored(made)
    return made


def add_stored(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which stored runs are read."""
    parser.add_argument('--profile', default='desk', help='profile they were trained with (default: desk)')
    parser.add_argument('--runs', type=Path, default=RUNS, help='folder of the runs (default: %(default)s)')


def run(script: Callable[[argparse.Namespace], int], args: argparse.Namespace, prog: str) -> int:
    """Run a script on its arguments; returns its exit status, or 2 after one line for a user's error."""
    try:
        return script(args)
    except UserError as error:
        print(f'{prog}: {error}', file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader, such as head, has seen enough; keep the flush at exit quiet
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def names_of(args: argparse.Namespace) -> List[str]:
    """The tables that are asked for, each once, or all that have a plan.

    Raises:
        UserError: there is no plan.
    """
    names = list(dict.fromkeys(args.names)) or results.plan_names(args.runs, args.profile)
    if not names:
        raise results.no_plans(args.runs, args.profile)
    return names


def warner(prog: str) -> Callable[[str], None]:
    """A function that prints a warning in the script's name."""
    return lambda line: print(f'{prog}: warning: {line}', file=sys.stderr)


def print_in_any_locale() -> None:
    """Have standard output take a dash, ±, × and whatever a folder is called, also where the locale knows no such
    letters."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding='utf-8', errors='replace')


def write(path: Path, content: bytes, option: str = '--out') -> None:
    """Write a file whole or not at all, in a folder that is made.

    Raises:
        UserError: it cannot be written; the message names ``option``, which chooses the folder.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)
    except (OSError, UserError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__
        reason = cause.strerror if isinstance(cause, OSError) else cause
        raise UserError(f'cannot write {path} ({reason}): choose another folder with {option}') from error


def write_and_say(path: Path, content: bytes) -> None:
    """:func:`write`, then say so."""
    write(path, content)
    print(f'wrote {path}')
