"""States of runs, from their folders and from what Slurm says of their jobs."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Dict, Iterable, Optional

from experiments.errors import UserError
from experiments.files import read_json
from experiments.launchers.slurm import queue
from experiments.launchers.slurm.queue import Job, NoAnswer
from experiments.launchers.slurm.records import Records
from experiments.launchers.slurm.task import SAYS, started_file
from experiments.runs import DONE, FAILED, QUEUED, REQUEUED, RUNNING, STOPPED, RunFolder, Status


@dataclass(frozen=True)
class Placed:
    """A run and its job.

    Attributes:
        status (Status): the run's state, by both.
        job (Job, optional): its last job, where Slurm knows it.
        judged (bool): that the run has failed is known from Slurm alone; its folder does not say so.
    """

    status: Status
    job: Optional[Job] = None
    judged: bool = False

    @property
    def live(self) -> bool:
        """Its job waits or runs."""
        return self.job is not None and not self.job.ended


def look(records: Records, folders: Dict[str, RunFolder], must_know: bool = False) -> Dict[str, Placed]:
    """The state of each run.

    Args:
        records (Records): what was submitted.
        folders (dict): folder of each run by its id.
        must_know (bool): that Slurm does not answer is an error; else the folders alone must do.

    Raises:
        UserError: Slurm does not answer.
    """
    newest = {run_id: entry for run_id, entry in records.newest().items() if run_id in folders}
    try:
        # Slurm is asked first: what a job that has ended had to write is then there to be read.
        jobs, silence = _jobs(newest.values()), ''
    except NoAnswer as error:
        if must_know:
            raise UserError(str(error)) from error
        jobs, silence = {}, str(error)
    found = {}
    for run_id, folder in folders.items():
        status = folder.status()
        if run_id not in newest or status.state == DONE:
            found[run_id] = Placed(status, jobs.get(newest[run_id][1]) if run_id in newest else None)
        else:
            job_id = newest[run_id][1]
            restarts = _restarts(records.logs, job_id, jobs.get(job_id))
            found[run_id] = (
                Placed(_guess(status, job_id, restarts, silence))
                if silence
                else _judge(status, job_id, jobs.get(job_id), restarts, records.logs)
            )
    return found


def _jobs(newest: Iterable) -> Dict[str, Job]:
    """All jobs of these submissions that Slurm knows; the accounting is asked only for those that left the queue."""
    newest = list(newest)
    names = {submission.name for submission, _ in newest}
    listed = queue.queued(names)
    gone = {submission.array for submission, job in newest if job not in listed}
    return {**queue.accounted(gone, names), **listed}


def _restarts(logs: Path, job_id: str, job: Optional[Job]) -> Optional[int]:
    """How often the job was put back into the queue; None while it has never started."""
    if job is not None and job.restarts:
        return job.restarts
    note = read_json(started_file(logs, job_id))
    return None if note is None else note['restarts']


def _judge(status: Status, job_id: str, job: Optional[Job], restarts: Optional[int], logs: Path) -> Placed:
    """The state of a run that is not done."""
    if status.state == RUNNING:
        return Placed(replace(status, message=_lives(job_id, restarts)), job)
    if job is None or job.ended:
        if status.state == FAILED:
            return Placed(status, job)
        return Placed(replace(status, state=FAILED, message=_end(job_id, job, logs)), job, judged=True)
    if job.waits:
        message = f'{_lives(job_id, restarts)}, waits ({job.reason or job.state})'
        return Placed(replace(status, state=REQUEUED if restarts else QUEUED, message=message), job)
    if status.state == FAILED:
        return Placed(status, job)
    # It does not hold the run's folder: it is about to begin or to end.
    return Placed(replace(status, state=RUNNING, message=f'{_lives(job_id, restarts)}, {job.state.lower()}'), job)


def _guess(status: Status, job_id: str, restarts: Optional[int], silence: str) -> Status:
    """The state of a run that is not done where Slurm does not answer."""
    if status.state in (RUNNING, FAILED):
        return status
    if restarts is None:
        return replace(status, state=QUEUED, message=f'submitted as {job_id}; {silence}')
    return replace(status, state=STOPPED, message=f'{_lives(job_id, restarts)}, not training now; {silence}')


def _lives(job: str, restarts: Optional[int]) -> str:
    return f'job {job}' + (f', requeued {restarts}×' if restarts else '')


def _end(job_id: str, job: Optional[Job], logs: Path) -> str:
    """Why a job ended without a verdict in the run's folder."""
    if job is None:
        said = 'is no longer in the queue, and left no result'
    else:
        said = f'ended as {job.state}' + (f' ({job.reason})' if job.reason else '')
    last = _last_line(logs / f'{job_id}_0_log.err')
    return f'job {job_id} {said}' + (f': {last}' if last else '')


def _last_line(path: Path) -> str:
    """What a job's log ends with; rather what the run itself said, or the last error, as srun sums up after it."""
    try:
        lines = [line.strip() for line in path.read_text(errors='replace').splitlines() if line.strip()]
    except OSError:
        return ''
    said = [line.removeprefix(SAYS) for line in lines if line.startswith(SAYS)]
    errors = [line for line in lines if 'error: ' in line]
    return (said or errors or lines or [''])[-1]
