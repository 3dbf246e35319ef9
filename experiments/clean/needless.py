"""Finds what can go."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator, List, Tuple

from experiments.files import ASIDE
from experiments.runs import DONE, FAILED, STOPPED, RunFolder

#: What mmengine names its own logs and copies of configs after: when it was started.
_STARTED = re.compile(r'\d{8}_\d{6}(\.py)?')


@dataclass(frozen=True)
class Wish:
    """What to remove besides what always goes: final weights, unfinished runs, the records of trackers."""

    checkpoints: bool = False
    unfinished: bool = False
    trackers: bool = False


def needless(folder: RunFolder, state: str, wish: Wish) -> Iterator[Tuple[str, List[Path]]]:
    """What can go of one run that no process trains: what it is, and its files and folders.

    Args:
        folder (RunFolder): the run's folder.
        state (str): the run's state.
        wish (Wish): what may go besides.
    """
    inside = sorted(folder.path.iterdir())
    newest = folder.checkpoint()
    checkpoints = [path for path in inside if re.fullmatch(r'epoch_\d+\.pth', path.name)]
    yield 'half-written', [path for path in inside if path.name.startswith(ASIDE)]
    yield 'older checkpoints', [path for path in checkpoints if path != newest]
    if state == DONE:
        yield "mmengine's logs", [path for path in inside if _STARTED.fullmatch(path.name)]
    if state == DONE and wish.checkpoints and newest is not None:
        yield 'final weights', [newest]
    if state in (STOPPED, FAILED) and wish.unfinished:
        # Metrics first: a checkpoint without them would be gone on from.
        names = ('metrics.json', 'matches.npz', 'failure.json', 'progress.json')
        unfinished = [path for path in inside if path.name in names or _STARTED.fullmatch(path.name)]
        yield 'unfinished', unfinished + ([newest] if newest is not None else [])


def trackers(runs: Path) -> List[Path]:
    """Records beside the runs of a profile: those of ``--track`` and of Ray Tune."""
    return [path for path in (runs / 'tracking', runs / 'ray') if path.exists()]


def bytes_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder; links are not followed."""
    if path.is_dir() and not path.is_symlink():
        return sum(bytes_of(inside) for inside in path.iterdir())
    return path.lstat().st_size
