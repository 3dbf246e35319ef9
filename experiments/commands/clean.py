"""``run.py clean``: lists what can be removed, and removes it with ``--yes``."""

import argparse
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Iterable, Iterator, List, Set, Tuple

from rich.filesize import decimal

from experiments.launchers.slurm.jobs import Records, query
from experiments.store.errors import UserError
from experiments.store.files import ASIDE
from experiments.store.runs import (
    BREAKDOWN,
    DONE,
    FAILED,
    IMAGE_GROUPS,
    RUNNING,
    STOPPED,
    Busy,
    RunFolder,
)

#: Names of mmengine's own logs and copies of configs: its start time.
_STARTED = re.compile(r'\d{8}_\d{6}(\.py)?')


@dataclass(frozen=True)
class CleanOptions:
    """What to remove in addition to what is always removed: final weights, unfinished runs, records of trackers."""

    checkpoints: bool = False
    unfinished: bool = False
    trackers: bool = False


def removable(folder: RunFolder, state: str, options: CleanOptions) -> Iterator[Tuple[str, List[Path]]]:
    """What can be removed of a run that no process trains: a description, and files and folders.

    Args:
        folder (RunFolder): the run's folder.
        state (str): the run's state.
        options (CleanOptions): what else may be removed.
    """
    inside = sorted(folder.path.iterdir())
    newest = folder.checkpoint()
    checkpoints = [path for path in inside if re.fullmatch(r'epoch_\d+\.pth', path.name)]
    yield 'half-written', [path for path in inside if path.name.startswith(ASIDE)]
    yield 'older checkpoints', [path for path in checkpoints if path != newest]
    if state == DONE:
        yield "mmengine's logs", [path for path in inside if _STARTED.fullmatch(path.name)]
    if state == DONE and options.checkpoints and newest is not None:
        yield 'final weights', [newest]
    if state in (STOPPED, FAILED) and options.unfinished:
        # Metrics first: training would resume from a checkpoint without metrics.
        names = ('metrics.json', IMAGE_GROUPS, BREAKDOWN, 'failure.json', 'progress.json')
        unfinished = [path for path in inside if path.name in names or _STARTED.fullmatch(path.name)]
        yield 'unfinished', unfinished + ([newest] if newest is not None else [])


def trackers(runs: Path) -> List[Path]:
    """Records beside the runs of a profile: those of ``--track`` and of Ray Tune."""
    return [path for path in (runs / 'tracking', runs / 'ray') if path.exists()]


def bytes_of(path: Path) -> int:
    """Size in bytes of a file, or of all files in a folder. Links are not followed."""
    if path.is_dir() and not path.is_symlink():
        return sum(bytes_of(inside) for inside in path.iterdir())
    return path.lstat().st_size


def clean(args: argparse.Namespace) -> int:
    """Print a line for each run with something to remove, and remove it with ``--yes``.

    Args:
        args (Namespace): the command line. If it names no table, it covers all runs of the profile.

    Returns:
        int: 0, or 1 if something cannot be removed.

    Raises:
        UserError: there are no such runs, or Slurm must be asked for some of them and does not answer.
    """
    runs = args.runs / args.profile
    if args.tables:
        from experiments.commands.plans import folders_of, read_plans

        folders = folders_of(read_plans(args), args)
    elif runs.is_dir():
        folders = run_folders(runs)
    else:
        raise UserError(f'there are no runs in {runs}')
    options = CleanOptions(args.checkpoints, args.unfinished, args.trackers)
    total, running, code = 0, 0, 0
    at_slurm = _at_slurm(runs, folders) if args.unfinished else set()
    for run_id, folder in folders.items():
        if not folder.config.exists():
            continue
        try:
            folder.check()  # a damaged run is left for its owner to inspect
            if folder.status().state == RUNNING:
                raise Busy(folder.path)
            if run_id in at_slurm:
                print(f'{run_id}  left alone: its job waits or runs')
                continue
            total += _clean_run(run_id, folder, options, args.yes)
        except Busy:
            running += 1
            print(f'{run_id}  left alone: it is being trained')
        except UserError as error:
            print(f'run.py: {run_id} left alone: {error}', file=sys.stderr)
            code = 1
    if options.trackers:  # they belong to all runs of the profile, whatever tables are named
        others = [each for name, each in run_folders(runs).items() if name not in folders]
        running += sum(each.status().state == RUNNING for each in others)
        total += _clean_trackers(runs, running, args.yes)
    print(f'{decimal(total)} removed' if args.yes else f'{decimal(total)} would be removed; nothing was: add --yes')
    return code


def run_folders(runs: Path) -> Dict[str, RunFolder]:
    """All runs in the folder of a profile."""
    return {path.parent.name: RunFolder(path.parent) for path in sorted(runs.glob('*/config.py'))}


def _at_slurm(runs: Path, folders: Dict[str, RunFolder]) -> Set[str]:
    """Runs whose jobs wait or run: even if none trains at this moment, they need what they have."""
    try:
        placed = query(Records(runs / 'slurm'), folders, must_know=True)
    except UserError as error:
        raise UserError(
            f'--unfinished: runs were submitted to Slurm, and it is not known which wait: {error}'
        ) from error
    return {run_id for run_id, status in placed.items() if status.live and status.status.state != DONE}


def _clean_run(run_id: str, folder: RunFolder, options: CleanOptions, remove: bool) -> int:
    if not remove:
        return _go_through(run_id, folder, options, remove)
    with folder.lock(patience_s=0.5):  # so that no process starts to train it meanwhile
        return _go_through(run_id, folder, options, remove)


def _go_through(run_id: str, folder: RunFolder, options: CleanOptions, remove: bool) -> int:
    found = {what: paths for what, paths in removable(folder, folder.status(held=remove).state, options) if paths}
    sizes = {what: sum(map(bytes_of, paths)) for what, paths in found.items()}
    if remove:
        _remove(path for paths in found.values() for path in paths)
    if found:
        parts = ', '.join(f'{what} {decimal(count)}' for what, count in sizes.items())
        print(f'{run_id}  {"removed" if remove else "would remove"}: {parts}')
    return sum(sizes.values())


def _clean_trackers(runs: Path, running: int, remove: bool) -> int:
    found: List[Path] = trackers(runs)
    if found and running:
        print(f'{", ".join(path.name for path in found)}  left alone: {running} run(s) are being trained')
        return 0
    total = 0
    for path in found:
        total += (count := bytes_of(path))
        print(f'{path.name}  {"removed" if remove else "would remove"}: records of trackers {decimal(count)}')
    if remove:
        _remove(found)
    return total


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        try:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise UserError(f'cannot remove {path}: {error.strerror or error}') from error
