"""The tasks of a job: together they train one run, and the job is requeued when its time is up.

Submitit's helper and Slurm's variables give each task its rank, host, port and device.
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

#: Seconds to wait for the run's lock. After a node failure the job may restart while its earlier process still ends. A
#: network file system frees the lock of a process that died with its node only after a lease.
PATIENCE_S = 180
#: Prefix of the line in a job's log that says why its run has failed.
SAYS = 'o2f: '
#: How many starts in a row may reach the time limit without finishing an epoch.
MAX_STALLED_STARTS = 3
#: How much earlier than asked for Slurm may send the signal before the time limit, in seconds.
EARLY_S = 60


@dataclass
class Task:
    """The run that one job trains, as submitit pickles it.

    It names no checkpoint. After a node failure or a manual requeue, the last pickle is replayed. So every start looks
    for the newest checkpoint in the run's folder.

    Attributes:
        path (str): the run's folder, absolute.
        run_id, profile, paths, threads: see :func:`experiments.training.worker.work`.
        timeout_min (int): the job's time limit in minutes.
        signal_delay_s (int): how long before the limit the job is asked to return to the queue, in seconds.
        stalled_starts (int): earlier starts in a row that reached the time limit without finishing an epoch.
    """

    path: str
    run_id: str
    profile: str
    paths: Dict[str, str]
    threads: int
    timeout_min: int
    signal_delay_s: int
    stalled_starts: int = 0
    # When this start began to train, and the epochs finished before. Not a dataclass field, so it is not pickled.
    _start = None

    def __call__(self) -> None:
        """Train. Exit with a non-zero status unless the run is done, so that Slurm shows the job as failed."""
        os.environ.setdefault('OMP_NUM_THREADS', '1')  # read when torch is imported; training sets its own number
        folder = RunFolder(Path(self.path))
        _keep_signal_from_children()
        _note_start()
        self._start = time.monotonic(), _epochs_done(folder)
        task = self.run_id, self.profile, self.paths, self.threads
        job_log = os.dup(2)  # attempt() redirects the output to the run's log
        status = worker.attempt(folder, *task, PATIENCE_S, find_ranks(restarts()))
        if status == worker.FAILED:
            # The folder may lack the message, if the disk is full or read-only.
            os.write(job_log, f'{SAYS}{folder.status().message}\n'.encode())
        if status != worker.DONE:
            sys.exit(status)

    def checkpoint(self) -> Any:
        """The submission to requeue. Submitit calls this near the time limit or before a pre-emption.

        Nothing needs to be saved, because each finished epoch is stored already.

        Raises:
            UserError: the time limit is too short for an epoch. The interrupted attempt ends with this error.
        """
        from submitit.helpers import DelayedSubmission

        if self._start is None:
            return DelayedSubmission(replace(self))
        began, epochs = self._start
        if _epochs_done(RunFolder(Path(self.path))) > epochs:
            return DelayedSubmission(replace(self, stalled_starts=0))
        # A pre-emption may come at any time, so it does not mean that the limit is too short.
        usable = 60 * self.timeout_min - self.signal_delay_s
        timed_out = time.monotonic() - began > min(usable / 2, usable - EARLY_S)
        if timed_out and self.stalled_starts + 1 >= MAX_STALLED_STARTS:
            raise UserError(
                f'{self.path}: the time limit of {self.timeout_min} min ended {MAX_STALLED_STARTS} starts in a row '
                'before they had finished an epoch: give timeout_min in the cluster file more'
            )
        return DelayedSubmission(replace(self, stalled_starts=self.stalled_starts + timed_out))


def _epochs_done(folder: RunFolder) -> int:
    try:
        return len(folder.epochs())
    except UserError:  # damaged: the attempt itself reports it
        return 0


def _keep_signal_from_children() -> None:
    """Ignore the signal in child processes. Slurm signals them too, and a forked worker would requeue the job again."""
    os.register_at_fork(after_in_child=lambda: signal.signal(signal.SIGUSR2, signal.SIG_IGN))


def started_file(logs: Path, job: str) -> Path:
    """The file in which the job ``job``, such as 12_3, records that it has started."""
    return logs / f'{job}_started.json'


def restarts() -> int:
    """How often Slurm has requeued this job."""
    return int(os.environ.get('SLURM_RESTART_COUNT', 0))  # not set at the first start


def _note_start() -> None:
    """Record that the job has started, for ``run.py status`` where Slurm cannot be asked."""
    import submitit

    environment = submitit.JobEnvironment()
    if environment.global_rank == 0:
        note = dict(
            restarts=restarts(), host=environment.hostname, at=datetime.now(timezone.utc).isoformat(timespec='seconds')
        )
        write_json(started_file(Path(os.environ['SUBMITIT_FOLDER']), environment.job_id), note)


#: Ports below those that the kernel assigns by itself.
_PORTS = range(10000, 30000)


def rendezvous_port(job: str, restarts: int) -> int:
    """A port that all tasks of one start of a job agree on, and that no other start of it uses.

    The port of a killed start may still be in use when the job restarts.
    """
    digest = hashlib.sha256(f'{job}:{restarts}'.encode()).digest()
    return _PORTS[(int.from_bytes(digest[:8], 'big') + restarts) % len(_PORTS)]


def find_ranks(restarts: int) -> Optional[Ranks]:
    """The rank of this task in its job; None if it is the only task.

    Args:
        restarts (int): how often the job has been requeued.
    """
    from submitit import JobEnvironment
    from submitit.helpers import TorchDistributedEnvironment

    found = TorchDistributedEnvironment()
    if found.world_size == 1:
        return None
    # Slurm decides which devices a task sees: all of the node, of which the local rank picks one, or only its own.
    visible = len(os.environ.get('CUDA_VISIBLE_DEVICES', '').split(','))
    return Ranks(
        rank=found.rank,
        world_size=found.world_size,
        address=found.master_addr,
        port=rendezvous_port(JobEnvironment().job_id, restarts),
        local_rank=found.local_rank if visible >= found.local_world_size else 0,
    )
