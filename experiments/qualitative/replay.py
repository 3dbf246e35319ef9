"""Repeats the first epochs of a run, because only its newest checkpoint is kept."""

import contextlib
import io
import re
import sys
from pathlib import Path
from typing import Callable, Optional

from mmengine.hooks import Hook
from mmengine.runner import Runner

from experiments.data.prepare import Progress, prepare
from experiments.spec.config import Run
from experiments.spec.paths import data_paths
from experiments.store.runs import RunFolder
from experiments.training.train import train


class StopAfter(Hook):
    """Ends a training after an epoch. Its schedules stay those of the whole training.

    Args:
        epoch (int): the last epoch to train, counted from 1.
    """

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def after_train_epoch(self, runner: Runner) -> None:
        """Let the loop end after this epoch. It evaluates and saves first."""
        epoch = runner.epoch + 1
        print(f'replayed epoch {epoch} of {self.epoch}', file=sys.stderr, flush=True)
        runner.train_loop.stop_training = epoch >= self.epoch


def replay(
    run: Run, epoch: int, original: RunFolder, folder: Path, data: Path, progress: Progress, warn: Callable[[str], None]
) -> Path:
    """The weights of a run after an epoch, obtained by training its first epochs again.

    On the CPU of one machine these are exactly the weights that the run had. If the metrics differ from those of the
    run, as on a GPU, ``warn`` is called.

    Args:
        run (Run): the run.
        epoch (int): number of epochs to train.
        original (RunFolder): the folder of the run itself, which is only read.
        folder (Path): an empty folder to train in.
        data (Path): the data folder.
        progress (callable): called with the progress of generating data.
        warn (callable): called with a line.

    Returns:
        Path: the checkpoint.

    Raises:
        UserError: see :func:`experiments.training.train`.
    """
    stop = dict(type=f'{__name__}.{StopAfter.__name__}', epoch=epoch)
    hooks = [*run.config.get('custom_hooks', []), stop]
    again = RunFolder(folder)
    again.create(Run(run.id, run.profile, run.seed, dict(run.config, custom_hooks=hooks)))
    prepare([run.config], data, progress, lambda function, *args: function(*args))
    with again.lock(), contextlib.redirect_stdout(io.StringIO()):
        train(again, run.id, run.profile, data_paths(run.config, data), _threads(original))
    measured, stored = ([entry['metrics'] for entry in each.epochs()[:epoch]] for each in (again, original))
    if measured != stored:
        apart = _apart(again, original)
        warn(f'the first {epoch} epochs of run {run.id} did not come out again to the last digit: {apart}')
    checkpoint = again.checkpoint()
    assert checkpoint is not None  # every epoch saves one
    return checkpoint


def _threads(original: RunFolder) -> int:
    """The number of threads of the run. Sums over another number of threads round differently."""
    result = original.result()
    device = result['provenance'].get('device', '') if result else ''
    found: Optional[re.Match] = re.search(r'(\d+) thread', device)
    return int(found[1]) if found else 1


def _apart(again: RunFolder, original: RunFolder) -> str:
    """The difference in words, such as 'AP 10.31 here, 10.33 there after epoch 3'."""
    here = again.epochs()[-1]
    there = next((entry for entry in original.epochs() if entry['epoch'] == here['epoch']), None)
    if there is None:
        return f'the run has no metrics of epoch {here["epoch"]}'
    values = [
        '–' if entry['metrics'].get('without_nms/AP') is None else f'{100 * entry["metrics"]["without_nms/AP"]:.2f}'
        for entry in (here, there)
    ]
    return f'AP {values[0]} here, {values[1]} there after epoch {here["epoch"]}'
