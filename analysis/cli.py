"""Common code of the scripts of this folder: options, exit status, printing, and writing files."""

import argparse
import os
import sys
from pathlib import Path
from typing import Any, Callable, List

from analysis import results
from experiments.store.errors import UserError
from experiments.store.files import RUNS, settle_home, write_whole

settle_home()  # here, because what the scripts import next may import matplotlib


def parser(prog: str, verb: str, **texts: Any) -> argparse.ArgumentParser:
    """A script's command line with the tables, ``--profile`` and ``--runs``.

    Args:
        prog (str): name of the script.
        verb (str): what it does to a table, for the help.
        texts: passed on to :class:`argparse.ArgumentParser`.
    """
    made = argparse.ArgumentParser(prog=prog, **texts)
    made.add_argument('names', nargs='*', metavar='table', help=f'tables to {verb} (default: all that have a plan)')
    add_stored(made)
    return made


def add_stored(parser: argparse.ArgumentParser, runs: Path = RUNS) -> None:
    """Add the options that select the stored runs. ``runs`` is the default folder."""
    parser.add_argument(
        '--profile', type=_profile, default='desk', help='profile they were trained with (default: desk)'
    )
    parser.add_argument('--runs', type=Path, default=runs, help='folder of the runs (default: %(default)s)')


def _profile(text: str) -> str:
    """The name of a profile that is given by its name or, as to run.py, by its file."""
    return Path(text).stem if text.endswith('.py') else text


def run(script: Callable[[argparse.Namespace], int], args: argparse.Namespace, prog: str) -> int:
    """Run a script. Returns its exit status, or 2 for a user's error or a file that cannot be read or written, either
    of which is printed in one line."""
    try:
        status = script(args)
        sys.stdout.flush()  # so that a full disk is found here, not at exit
        return status
    except UserError as error:
        print(f'{prog}: {error}', file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader, such as head, has closed the pipe
        _end_output()
        return 0
    except OSError as error:  # a file that cannot be read, or standard output on a full disk
        _end_output()
        print(f'{prog}: {error.filename or "standard output"}: {error.strerror or error}', file=sys.stderr)
        return 2


def _end_output() -> None:
    """Print what is still to be printed, or drop it if that fails, so that Python does not try again at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def names_of(args: argparse.Namespace) -> List[str]:
    """The selected tables, each once, or all tables that have a plan.

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


def write(path: Path, content: bytes, option: str = '--out') -> None:
    """Write a file whole or not at all. Its folder is created.

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
    """:func:`write`, then print the path."""
    write(path, content)
    print(f'wrote {path}')
