"""The job of each run, what Slurm reports about the job, and the resulting state of the run.

Slurm is asked for jobs by the name of their submission, with or without accounting. The records lie beside the runs, so
every node that sees the folder can read them:

=====================  ==============================================================
<array id>.json        one submission: its name in Slurm, and the job of each run
<name>.submitting      a submission that has begun; renamed when it is complete
lock                   held while runs are submitted
logs                   submitit's own files, and the output of jobs until they train
=====================  ==============================================================
"""

import subprocess
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Collection, Dict, Iterable, Iterator, List, Optional, Sequence, Tuple

from experiments.launchers.slurm.task import SAYS, started_file
from experiments.store.errors import UserError
from experiments.store.files import locked, make_folder, obstacle, read_json, write_json
from experiments.store.runs import DONE, FAILED, QUEUED, REQUEUED, RUNNING, STOPPED, RunFolder, Status

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


#: Slurm's own MaxArraySize.
_SLURMS_OWN = 1001


class NoAnswer(Exception):
    """Slurm cannot be asked from here, or not now; the message says why."""


@dataclass(frozen=True)
class Job:
    """A job as Slurm reports it.

    Attributes:
        id (str): the job's id, such as 12_3.
        state (str): Slurm's state, such as RUNNING.
        reason (str): why it waits, or why it ended so; may be empty.
        restarts (int): how often it was requeued, if that is known.
    """

    id: str
    state: str
    reason: str = ''
    restarts: Optional[int] = None

    @property
    def waits(self) -> bool:
        """Whether it waits in the queue."""
        return self.state in _WAITING

    @property
    def ended(self) -> bool:
        """Whether it has ended for good."""
        return self.state in _ENDED


def queued(names: Collection[str]) -> Dict[str, Job]:
    """Jobs of these names by id, from squeue. It lists all that wait or run, and ended ones for some minutes.

    Raises:
        NoAnswer: there is no squeue here, or the controller does not answer.
    """
    if not names:
        return {}
    # By id, squeue would fail once it has forgotten a job. -r prints a line for every element of an array.
    fields = ('JobArrayID', 'State', 'Reason', 'RestartCnt')
    layout = ','.join(f'{field}:100|' for field in fields)
    lines = _ask('squeue', '--noheader', '-r', '-t', 'all', '-n', ','.join(names), '-O', layout)
    jobs = {}
    for line in lines:
        job, state, reason, restarts = (text.strip() for text in line.split('|')[: len(fields)])
        jobs[job] = Job(job, state, '' if reason == 'None' else reason, int(restarts))
    return jobs


def accounted(arrays: Collection[str], names: Collection[str]) -> Dict[str, Job]:
    """Jobs of these arrays by id, from the accounting; empty if there is no accounting."""
    if not arrays:
        return {}
    try:
        lines = _ask('sacct', '-XnP', '-o', 'JobID,JobName,State,ExitCode', '-j', ','.join(arrays))
    except NoAnswer:
        return {}
    jobs = {}
    for line in lines:
        job, name, state, exit_code = line.split('|')
        if name in names:  # ids may be reused
            # The state of a cancelled job is followed by who cancelled it.
            jobs[job] = Job(job, state.split()[0], '' if exit_code == '0:0' else f'exit code {exit_code}')
    return jobs


def largest_array() -> int:
    """The most jobs that an array may have here.

    Raises:
        UserError: Slurm does not answer.
    """
    for line in _act('scontrol', 'show', 'config'):
        name, _, value = line.partition('=')
        if name.strip() == 'MaxArraySize' and value.strip().isdigit():
            return max(int(value), 1)  # the largest index is one less
    return _SLURMS_OWN


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


def _act(*command: str) -> List[str]:
    try:
        return _ask(*command)
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


SCHEMA = 1


@dataclass(frozen=True)
class Submission:
    """One job array.

    Attributes:
        name (str): the array's unique name in Slurm.
        array (str): its id.
        at (str): when it was submitted, in ISO format, UTC; see :meth:`Records.now`.
        jobs (dict): run id -> job id, such as 12_3, or 12 if the submission has one run.
    """

    name: str
    array: str
    at: str
    jobs: Dict[str, str]


class Records:
    """Reads and writes the folder of submissions.

    Args:
        folder (Path): the folder; it need not exist.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.logs = folder / 'logs'
        self._latest = ''

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the lock for submitting runs of this folder. Waits while another process holds it.

        Raises:
            UserError: the folder cannot be written.
        """
        make_folder(self.folder)
        with locked(self.folder / 'lock'):
            self._latest = max((entry.at for entry in self._all()), default='')
            yield

    def now(self) -> str:
        """The time for a new submission, later than that of every earlier one. Only the holder of the lock may ask.

        The last submission of a run is the one that counts, also if the clock has been set back since the others.
        """
        now = datetime.now(timezone.utc)
        if self._latest:
            now = max(now, datetime.fromisoformat(self._latest) + timedelta(microseconds=1))
        self._latest = now.isoformat(timespec='microseconds')
        return self._latest

    def begin(self, name: str) -> None:
        """Record that a submission of this name is about to be sent to Slurm."""
        make_folder(self.logs)
        write_json(self.folder / f'{name}.submitting', dict(schema=SCHEMA, name=name))

    def finish(self, submission: Submission) -> None:
        """Record a submission that Slurm has accepted."""
        write_json(self.folder / f'{submission.array}.json', dict(schema=SCHEMA, **asdict(submission)))
        self.forget(submission.name)

    def forget(self, name: str) -> None:
        """Forget a submission that was begun but not finished."""
        (self.folder / f'{name}.submitting').unlink(missing_ok=True)

    def begun(self) -> List[str]:
        """Names of submissions whose launcher died before it knew their jobs. Only the holder of the lock may ask."""
        return sorted(path.stem for path in self.folder.glob('*.submitting'))

    def newest(self) -> Dict[str, Tuple[Submission, str]]:
        """The last submission of each run, and the run's job in it.

        Raises:
            UserError: a record is damaged.
        """
        submissions = sorted(self._all(), key=lambda entry: entry.at)
        return {run_id: (entry, job) for entry in submissions for run_id, job in entry.jobs.items()}

    def _all(self) -> Iterator[Submission]:
        return map(self._read, self.folder.glob('*.json'))

    def _read(self, path: Path) -> Submission:
        content = read_json(path)
        try:
            if content.pop('schema') == SCHEMA and datetime.fromisoformat(content['at']):
                return Submission(**content)
        except (AttributeError, KeyError, TypeError, ValueError):
            pass
        raise UserError(f'{path} is not the record of a submission: delete it, and cancel its jobs with scancel')


@dataclass(frozen=True)
class JobStatus:
    """The status of a run and its job.

    Attributes:
        status (Status): the run's status, from its folder and its job.
        job (Job, optional): its last job, if Slurm knows it.
        judged (bool): only Slurm knows that the run has failed; its folder has no record of it.
    """

    status: Status
    job: Optional[Job] = None
    judged: bool = False

    @property
    def live(self) -> bool:
        """Whether its job waits or runs."""
        return self.job is not None and not self.job.ended


def query(records: Records, folders: Dict[str, RunFolder], must_know: bool = False) -> Dict[str, JobStatus]:
    """The status of each run.

    Args:
        records (Records): the submissions.
        folders (dict): folder of each run by its id.
        must_know (bool): raise an error if Slurm does not answer. Otherwise the folders alone decide then.

    Raises:
        UserError: Slurm does not answer.
    """
    newest = {run_id: entry for run_id, entry in records.newest().items() if run_id in folders}
    try:
        # Slurm is asked first. So the folder of a job that has ended is read after its last write.
        jobs, silence = _jobs(newest.values()), ''
    except NoAnswer as error:
        if must_know:
            raise UserError(str(error)) from error
        jobs, silence = {}, str(error)
    found = {}
    for run_id, folder in folders.items():
        status = folder.status()
        if run_id not in newest or status.state == DONE:
            found[run_id] = JobStatus(status, jobs.get(newest[run_id][1]) if run_id in newest else None)
        else:
            job_id = newest[run_id][1]
            restarts = _restarts(records.logs, job_id, jobs.get(job_id))
            found[run_id] = (
                JobStatus(_guess(status, job_id, restarts, silence))
                if silence
                else _judge(status, job_id, jobs.get(job_id), restarts, records.logs)
            )
    return found


def _jobs(newest: Iterable) -> Dict[str, Job]:
    """All jobs of these submissions that Slurm knows. The accounting is asked only for those that left the queue."""
    newest = list(newest)
    names = {submission.name for submission, _ in newest}
    listed = queued(names)
    gone = {submission.array for submission, job in newest if job not in listed}
    return {**accounted(gone, names), **listed}


def _restarts(logs: Path, job_id: str, job: Optional[Job]) -> Optional[int]:
    """How often the job was requeued; None if it has never started."""
    if job is not None and job.restarts:
        return job.restarts
    note = read_json(started_file(logs, job_id))
    return None if note is None else note['restarts']


def _judge(status: Status, job_id: str, job: Optional[Job], restarts: Optional[int], logs: Path) -> JobStatus:
    """The status of a run that is not done."""
    if status.state == RUNNING:
        return JobStatus(replace(status, message=_lives(job_id, restarts)), job)
    if job is None or job.ended:
        if status.state == FAILED:
            return JobStatus(status, job)
        return JobStatus(replace(status, state=FAILED, message=_end(job_id, job, logs)), job, judged=True)
    if job.waits:
        message = f'{_lives(job_id, restarts)}, waits ({job.reason or job.state})'
        return JobStatus(replace(status, state=REQUEUED if restarts else QUEUED, message=message), job)
    if status.state == FAILED:
        return JobStatus(status, job)
    # The job does not hold the run's lock: it is about to begin or to end.
    return JobStatus(replace(status, state=RUNNING, message=f'{_lives(job_id, restarts)}, {job.state.lower()}'), job)


def _guess(status: Status, job_id: str, restarts: Optional[int], silence: str) -> Status:
    """The status of a run that is not done, if Slurm does not answer."""
    if status.state in (RUNNING, FAILED):
        return status
    if restarts is None:
        return replace(status, state=QUEUED, message=f'submitted as {job_id}; {silence}')
    return replace(status, state=STOPPED, message=f'{_lives(job_id, restarts)}, not training now; {silence}')


def _lives(job: str, restarts: Optional[int]) -> str:
    return f'job {job}' + (f', requeued {restarts}×' if restarts else '')


def _end(job_id: str, job: Optional[Job], logs: Path) -> str:
    """Why a job ended without a result or a failure in the run's folder."""
    if job is None:
        said = 'is no longer in the queue, and left no result'
    else:
        said = f'ended as {job.state}' + (f' ({job.reason})' if job.reason else '')
        if job.state == 'TIMEOUT':
            said += '; it had no time to return to the queue: give signal_delay_s in the cluster file more'
    # On a full disk the log is empty.
    last = _last_line(logs / f'{job_id}_0_log.err') or obstacle(logs)
    return f'job {job_id} {said}' + (f': {last}' if last else '')


def _last_line(path: Path) -> str:
    """The last message of the run in a job's log, else the last error, else the last line, which may be srun's."""
    try:
        lines = [line.strip() for line in path.read_text(errors='replace').splitlines() if line.strip()]
    except OSError:
        return ''
    said = [line.removeprefix(SAYS) for line in lines if line.startswith(SAYS)]
    errors = [line for line in lines if 'error: ' in line]
    return (said or errors or lines or [''])[-1]
