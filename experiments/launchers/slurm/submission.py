"""Sends runs to Slurm: as one array, or as several where an array or a user may have no more jobs.

Slurm's own variables, which a shell inside an allocation has, are kept from what is submitted. They would ask for the
outer job's memory, tasks and bindings, or contradict those of the cluster file.
"""

import contextlib
import os
import re
import secrets
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Iterator, List, Optional

from experiments.launchers.slurm import jobs
from experiments.launchers.slurm.jobs import Records, Submission
from experiments.launchers.slurm.settings import Settings
from experiments.launchers.slurm.task import Task

ROOT = Path(__file__).resolve().parents[3]
#: submitit gives up after this many time-outs. A long training may have any number of them.
_TIMEOUTS = 10**9
#: Slurm's variables that name the cluster, not a job.
_OF_CLUSTER = ('SLURM_CLUSTERS', 'SLURM_CONF', 'SLURM_CONF_SERVER', 'SLURM_JWT')
#: submitit's pickles whose jobs have no id yet.
_UNSENT = re.compile(r'[0-9a-f]{32}\.pkl')
#: Refusals that fewer jobs may escape: a limit on the jobs of a user, an account or an array.
_TOO_MANY = re.compile(r'submit limit|SubmitJob|array spec|temporarily un', re.IGNORECASE)


@dataclass
class Sent:
    """What became of some runs.

    Attributes:
        submissions (list[Submission]): what Slurm accepted.
        refused (list[Task]): the runs that it did not accept.
        reason (str): what it said about them.
    """

    submissions: List[Submission] = field(default_factory=list)
    refused: List[Task] = field(default_factory=list)
    reason: str = ''


def send(tasks: List[Task], settings: Settings, records: Records, profile: str) -> Sent:
    """Submit runs, and record each array as soon as Slurm has accepted it.

    An array has as many runs as Slurm allows. At most ``settings.array_parallelism`` runs of all arrays are in training
    at once: the arrays share that number, and those for which nothing is left of it wait for earlier ones. If Slurm
    refuses because there are too many jobs, half as many are tried, and so on. So as many as possible are accepted.

    Args:
        tasks (list[Task]): the runs.
        settings (Settings): what each requests.
        records (Records): the submissions. The caller holds their lock.
        profile (str): the runs' profile, for the name of the submissions.
    """
    largest = jobs.largest_array()
    parts = [tasks[start : start + largest] for start in range(0, len(tasks), largest)]
    lanes = min(len(parts), settings.array_parallelism)
    last: List[Optional[str]] = [None] * lanes  # the last array of each lane
    sent = Sent()
    for number, part in enumerate(parts):
        if sent.reason:
            sent.refused += part
            continue
        lane = number % lanes
        share = settings.array_parallelism // lanes + (lane < settings.array_parallelism % lanes)
        _send_most(part, limited(settings, share, last[lane]), records, profile, sent)
        last[lane] = sent.submissions[-1].array if sent.submissions else None
    return sent


def limited(settings: Settings, share: int, after: Optional[str]) -> Settings:
    """The settings with this many runs at once, and for jobs that begin after those of an earlier array."""
    asked = dict(settings.sbatch)
    if after:
        own = f'{asked["dependency"]},' if 'dependency' in asked else ''
        asked['dependency'] = f'{own}afterany:{after}'
    return settings.model_copy(update=dict(array_parallelism=share, sbatch=asked))


def _send_most(tasks: List[Task], settings: Settings, records: Records, profile: str, sent: Sent) -> None:
    """Submit as many of ``tasks`` as Slurm accepts. Adds to ``sent``."""
    count, left = len(tasks), list(tasks)
    while left and count:
        try:
            sent.submissions.append(_send(left[:count], settings, records, profile))
            left = left[count:]
            count = min(count, len(left))
        except Refused as error:
            sent.reason = str(error)
            count = count // 2 if _TOO_MANY.search(sent.reason) else 0
    sent.refused += left
    if not left:
        sent.reason = ''


class Refused(Exception):
    """Slurm does not accept jobs; the message is its last line."""


def _send(tasks: List[Task], settings: Settings, records: Records, profile: str) -> Submission:
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    name = f'o2f-{profile}-{secrets.token_hex(4)}'
    records.begin(name)
    try:
        submitter = executor(settings, records.logs, name)
        with outside_of_any_job(), submitter.batch():
            sent = [submitter.submit(task) for task in tasks]
    except (FailedJobError, FailedSubmissionError) as error:
        records.forget(name)
        for path in records.logs.glob('*.pkl'):
            if _UNSENT.fullmatch(path.name):
                path.unlink()
        raise Refused(_last(str(error))) from error
    ids = [job.job_id for job in sent]
    submission = Submission(
        name=name,
        array=ids[0].split('_')[0],
        at=records.now(),
        jobs={task.run_id: job for task, job in zip(tasks, ids)},
    )
    records.finish(submission)
    return submission


def executor(settings: Settings, logs: Path, name: str) -> Any:
    """submitit's executor for runs with these settings."""
    import submitit

    made = submitit.AutoExecutor(logs, cluster='slurm', slurm_max_num_timeout=_TIMEOUTS)
    made.update_parameters(
        name=name,
        timeout_min=settings.timeout_min,
        nodes=settings.nodes,
        tasks_per_node=settings.tasks_per_node,
        gpus_per_node=settings.gpus_per_node or None,
        cpus_per_task=settings.cpus_per_task,
        mem_gb=settings.mem_gb,
        slurm_partition=settings.partition,
        slurm_account=settings.account,
        slurm_qos=settings.qos,
        slurm_constraint=settings.constraint,
        slurm_signal_delay_s=settings.signal_delay_s,
        slurm_array_parallelism=settings.array_parallelism,
        # Without the first, a job of several tasks hangs when one of them dies. Without the second, a task has one
        # core where srun does not take the number from its job (Slurm 22.05 to 23.02).
        slurm_srun_args=['--kill-on-bad-exit=1', f'--cpus-per-task={settings.cpus_per_task}'],
        # Some clusters requeue only jobs that ask for it.
        slurm_additional_parameters={'requeue': True, **settings.sbatch},
        # Jobs need this code, whatever the current folder.
        slurm_setup=[*settings.setup, f'export PYTHONPATH={shlex.quote(str(ROOT))}${{PYTHONPATH:+:$PYTHONPATH}}'],
    )
    return made


@contextlib.contextmanager
def outside_of_any_job() -> Iterator[None]:
    """Hide the variables of the job that this process may be part of. Those of the cluster stay, and so do the user's
    defaults for sbatch, but for the bindings that Slurm itself sets."""
    from submitit.helpers import clean_env

    def stays(name: str) -> bool:
        return name in _OF_CLUSTER or (name.startswith('SBATCH_') and '_BIND' not in name)

    kept = {name: value for name, value in os.environ.items() if stays(name)}
    with clean_env():
        os.environ.update(kept)
        yield


def _last(text: str) -> str:
    return next((line for line in reversed(text.splitlines()) if line.strip()), 'sbatch failed')
