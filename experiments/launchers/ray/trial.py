"""A trial of Ray Tune: it trains one run in a process of its own."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict

from experiments.store.errors import UserError
from experiments.store.runs import RunFolder
from experiments.training import worker

#: States that a trial reports, after each epoch and at its end. A trial that the scheduler stops stays ``TRAINING``.
TRAINING, DONE, FAILED, BUSY = 'training', 'done', 'failed', 'busy'
#: Seconds to wait for an earlier process of the run that is still ending. The launcher finds runs trained elsewhere.
PATIENCE_S = 5.0


@dataclass(frozen=True)
class RayTask:
    """The run of one trial.

    Attributes:
        path (str): the run's folder, absolute.
        run_id, profile, paths, threads: see :func:`experiments.training.worker.work`.
        gpus (float): GPUs that Ray gives it.
        epochs (int): epochs of the whole training.
    """

    path: str
    run_id: str
    profile: str
    paths: Dict[str, str]
    threads: int
    gpus: float
    epochs: int


def train_run(tasks: Dict[str, RayTask], config: Dict[str, Any]) -> None:
    """The trainable: train the run ``config['run']['id']``, and report each epoch to Tune.

    Tune's own checkpoints are not used. Each start resumes from the run's folder and first reports the epochs that are
    stored there, so a finished run costs nothing. A failure of the run is reported as an end, not raised, because Tune
    would restart a trial that raises.
    """
    task = tasks[config['run']['id']]
    folder = ReportingFolder(task)
    try:
        for entry in folder.epochs():
            folder.tell(entry)
        state = _train(folder, task)
        message = folder.status().message if state == FAILED else ''
    except Exception as error:
        state, message = FAILED, str(error) if isinstance(error, UserError) else f'{type(error).__name__}: {error}'
        folder.fail(message)
    folder.tell_end(state, message)


def _train(folder: RunFolder, task: RayTask) -> str:
    if folder.result() is not None:
        return DONE
    if not task.gpus:
        os.environ['CUDA_VISIBLE_DEVICES'] = ''  # before torch looks for GPUs
    status = worker.attempt(folder, task.run_id, task.profile, task.paths, task.threads, PATIENCE_S)
    return {worker.DONE: DONE, worker.BUSY: BUSY}.get(status, FAILED)


class ReportingFolder(RunFolder):
    """The folder of a run. It reports each epoch to Tune once its checkpoint is stored.

    A scheduler may stop the trial at that moment. The last epoch is reported with the end of the trial instead, once
    the result is stored.
    """

    def __init__(self, task: RayTask) -> None:
        super().__init__(Path(task.path))
        self._last = task.epochs

    def add_checkpoint(self, aside: Path, epoch: int) -> None:
        super().add_checkpoint(aside, epoch)
        self.tell(self.epochs()[-1])

    def tell(self, entry: dict) -> None:
        """Report an epoch, unless it is the last."""
        if entry['epoch'] < self._last:
            self._report(entry, state=TRAINING)

    def tell_end(self, state: str, message: str) -> None:
        """Report the last epoch and how the trial ends."""
        entries = [] if state == FAILED else self.epochs()
        self._report(entries[-1] if entries else dict(epoch=0, metrics={}), state=state, message=message)

    def _report(self, entry: dict, **values: str) -> None:
        from ray import tune

        metrics = {name: value for name, value in entry['metrics'].items() if value is not None}
        tune.report(dict(metrics, epoch=entry['epoch'], **values))
