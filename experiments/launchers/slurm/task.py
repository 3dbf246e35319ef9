"""What each task of a job does: together they train one run, and the job is requeued when its time is up.

The tasks find each other through submitit's helper and Slurm's variables: rank, host, port and device.
"""

import hashlib
import os
import signal
import sys
import time
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Dict, Optional

from experiments.store.errors import UserError
from experiments.store.files import write_json
from experiments.store.runs import RunFolder
from experiments.training import worker
from experiments.training.distributed import Ranks

#: After a node failure the job may start anew while its former life still ends, and the lock of a process that died
#: with its node is freed by a network file system after a lease.
PATIENCE_S = 180
#: What a line of the job's log begins with that says why its run has failed.
SAYS = 'o2f: '
#: Starts that may reach the time limit, one after the other, without finishing an epoch.
MAX_STALLED_STARTS = 3


@dataclass
class Task:
    """The run that one job trains, as submitit pickles it.

    No checkpoint is named in it: after a node failure or a requeue by hand the pickle is replayed as it was written
    last, so every start looks for the newest checkpoint in the run's folder instead.

    Attributes:
        path (str): the run's folder, absolute.
        run_id, profile, places, threads: see :func:`experiments.training.worker.work`.
        timeout_min (int): the job's time limit.
        fruitless (int): starts before this one that reached the time limit without finishing an epoch.
    """

    path: str
    run_id: str
    profile: str
    paths: Dict[str, str]
    threads: int
    timeout_min: int
    stalled_starts: int = 0
    # When the training of this start began, and the epochs finished before; no field, so it is in no pickle.
    _start = None

    def __call__(self) -> None:
        """Train, and exit with a status that is not 0 unless the run is done; Slurm then shows the job as failed."""
        os.environ.setdefault('OMP_NUM_THREADS', '1')  # read when torch is imported; training sets its own number
        folder = RunFolder(Path(self.path))
        _keep_signal_from_children()
        _note_start()
        self._start = time.monotonic(), _epochs_done(folder)
        task = self.run_id, self.profile, self.paths, self.threads
        job_log = os.dup(2)  # from here on the output goes to the run's log
        status = worker.attempt(folder, *task, PATIENCE_S, find_ranks(restarts()))
        if status == worker.FAILED:
            # The folder may not take it, if the disk is full or read-only.
            os.write(job_log, f'{SAYS}{folder.status().message}\n'.encode())
        if status != worker.DONE:
            sys.exit(status)

    def checkpoint(self) -> Any:
        """Called by submitit when the time limit is near, or a pre-emption is announced: what to put into the queue.

        There is nothing to save: each finished epoch has been.

        Raises:
            UserError: the time limit is too short for an epoch; the attempt that is interrupted takes it as its end.
        """
        from submitit.helpers import DelayedSubmission

        if self._start is None:
            return DelayedSubmission(replace(self))
        began, epochs = self._start
        if _epochs_done(RunFolder(Path(self.path))) > epochs:
            return DelayedSubmission(replace(self, stalled_starts=0))
        # A pre-emption, which may come at any time, is no sign of a short limit.
        timed_out = time.monotonic() - began > 0.5 * 60 * self.timeout_min
        if timed_out and self.stalled_starts + 1 >= MAX_STALLED_STARTS:
            raise UserError(
                f'{self.path}: the time limit of {self.timeout_min} min ended {MAX_STALLED_STARTS} starts in a row '
                'before they had finished an epoch: give timeout_min in the cluster file more'
            )
        return DelayedSubmission(replace(self, stalled_starts=self.stalled_starts + timed_out))


def _epochs_done(folder: RunFolder) -> int:
    try:
        return len(folder.epochs())
    except UserError:  # damaged, as the attempt itself will say
        return 0


def _keep_signal_from_children() -> None:
    """Slurm signals every process of a job, and a forked data loader would requeue the job once more."""
    os.register_at_fork(after_in_child=lambda: signal.signal(signal.SIGUSR2, signal.SIG_IGN))


def started_file(logs: Path, job: str) -> Path:
    """Where the job ``job``, such as 12_3, notes that it has started."""
    return logs / f'{job}_started.json'


def restarts() -> int:
    """How often Slurm has put this job back into the queue."""
    return int(os.environ.get('SLURM_RESTART_COUNT', 0))  # not set at the first start


def _note_start() -> None:
    """For --status where Slurm cannot be asked."""
    import submitit

    environment = submitit.JobEnvironment()
    if environment.global_rank == 0:
        note = dict(
            restarts=restarts(), host=environment.hostname, at=datetime.now(timezone.utc).isoformat(timespec='seconds')
        )
        write_json(started_file(Path(os.environ['SUBMITIT_FOLDER']), environment.job_id), note)


#: Below the ports that the kernel gives out by itself.
_PORTS = range(10000, 30000)


def rendezvous_port(job: str, restarts: int) -> int:
    """A port that all tasks of one start of a job agree on, and no other start of it uses.

    The port of a start that was killed may not be free yet when the job comes back.
    """
    digest = hashlib.sha256(f'{job}:{restarts}'.encode()).digest()
    return _PORTS[(int.from_bytes(digest[:8], 'big') + restarts) % len(_PORTS)]


def find_ranks(restarts: int) -> Optional[Ranks]:
    """Where this task stands among those of its job; None where it is the only one.

    Args:
        restarts (int): how often the job has been put back into the queue.
    """
    from submitit import JobEnvironment
    from submitit.helpers import TorchDistributedEnvironment

    found = TorchDistributedEnvironment()
    if found.world_size == 1:
        return None
    # Which devices a task sees is Slurm's choice: all of the node, of which the local rank picks one, or its own alone.
    visible = len(os.environ.get('CUDA_VISIBLE_DEVICES', '').split(','))
    return Ranks(
        rank=found.rank,
        world_size=found.world_size,
        address=found.master_addr,
        port=rendezvous_port(JobEnvironment().job_id, restarts),
        local_rank=found.local_rank if visible >= found.local_world_size else 0,
    )
