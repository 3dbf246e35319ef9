"""What Slurm's commands say of jobs, with or without accounting; jobs are asked for by their submission's name."""

import subprocess
from dataclasses import dataclass
from typing import Collection, Dict, List, Optional, Sequence

from experiments.errors import UserError

_WAITING = {'PENDING', 'REQUEUED', 'REQUEUE_FED', 'REQUEUE_HOLD', 'RESV_DEL_HOLD', 'SPECIAL_EXIT'}
_ENDED = {
    'BOOT_FAIL',
    'CANCELLED',
    'COMPLETED',
    'DEADLINE',
    'FAILED',
    'NODE_FAIL',
    'OUT_OF_MEMORY',
    'PREEMPTED',
    'REVOKED',
    'TIMEOUT',
}


class NoAnswer(Exception):
    """Slurm cannot be asked from here, or not now; the message says why."""


@dataclass(frozen=True)
class Job:
    """What Slurm says of a job.

    Attributes:
        id (str): the job, such as 12_3.
        state (str): Slurm's word for it, such as RUNNING.
        reason (str): why it waits, or why it ended as it did; may be empty.
        restarts (int): how often it was put back into the queue, where that is known.
    """

    id: str
    state: str
    reason: str = ''
    restarts: Optional[int] = None

    @property
    def waits(self) -> bool:
        """It is in the queue."""
        return self.state in _WAITING

    @property
    def ended(self) -> bool:
        """It will not run any more."""
        return self.state in _ENDED


def queued(names: Collection[str]) -> Dict[str, Job]:
    """Jobs of these names by id, as squeue lists them: all that wait or run, and for some minutes those that ended.

    Raises:
        NoAnswer: there is no squeue here, or its controller does not answer.
    """
    if not names:
        return {}
    # Asked for by id, squeue fails as soon as it has forgotten the job. -r has a line for every element of an array.
    fields = ('JobArrayID', 'State', 'Reason', 'RestartCnt')
    layout = ','.join(f'{field}:100|' for field in fields)
    lines = _ask('squeue', '--noheader', '-r', '-t', 'all', '-n', ','.join(names), '-O', layout)
    jobs = {}
    for line in lines:
        job, state, reason, restarts = (text.strip() for text in line.split('|')[: len(fields)])
        jobs[job] = Job(job, state, '' if reason == 'None' else reason, int(restarts))
    return jobs


def accounted(arrays: Collection[str], names: Collection[str]) -> Dict[str, Job]:
    """Jobs of these arrays by id, as the accounting has them; nothing where there is none."""
    if not arrays:
        return {}
    try:
        lines = _ask('sacct', '-XnP', '-o', 'JobID,JobName,State,ExitCode', '-j', ','.join(arrays))
    except NoAnswer:
        return {}
    jobs = {}
    for line in lines:
        job, name, state, exit_code = line.split('|')
        if name in names:  # ids begin anew some day
            # A cancelled job's state is followed by who did it.
            jobs[job] = Job(job, state.split()[0], '' if exit_code == '0:0' else f'exit code {exit_code}')
    return jobs


def cancel(jobs: Sequence[str]) -> None:
    """Cancel jobs by id.

    Raises:
        UserError: Slurm refuses.
    """
    _act('scancel', *jobs)


def cancel_named(name: str) -> None:
    """Cancel all jobs of a submission by its name.

    Raises:
        UserError: Slurm refuses.
    """
    _act('scancel', f'--name={name}')


def _act(*command: str) -> None:
    try:
        _ask(*command)
    except NoAnswer as error:
        raise UserError(str(error)) from error


def _ask(*command: str) -> List[str]:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except FileNotFoundError:
        raise NoAnswer(f"{command[0]} is not installed here: Slurm's commands are needed") from None
    except subprocess.TimeoutExpired:
        raise NoAnswer(f'{command[0]} did not answer within a minute') from None
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or [f'exit status {done.returncode}']
        raise NoAnswer(f'{command[0]}: {said[-1]}')
    return done.stdout.splitlines()
