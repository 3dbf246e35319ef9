"""Submits runs as job arrays, follows them until they end, and cancels them."""

import shutil
import sys
import time
from pathlib import Path
from typing import Dict, List, Optional

from experiments.launchers.protocol import Capacity, Show
from experiments.launchers.slurm import jobs
from experiments.launchers.slurm.jobs import JobStatus, Records, query
from experiments.launchers.slurm.settings import Settings, read_settings
from experiments.launchers.slurm.submission import Sent, executor, send
from experiments.launchers.slurm.task import Task
from experiments.spec.config import Run
from experiments.spec.paths import data_paths
from experiments.store.errors import UserError
from experiments.store.files import HOME
from experiments.store.runs import DONE, QUEUED, REQUEUED, RUNNING, RunFolder, Status

#: Shortest and longest interval between queries of the queue, in seconds. It grows while nothing changes.
_POLL_S = 1.0, 15.0
#: How long --cancel waits for jobs to end, in seconds. Slurm kills tasks that do not end by themselves after 30.
_CANCEL_S = 40.0
#: Seconds to wait for the result of a completed job, because writes of other nodes may arrive late.
_SETTLE_S = 60.0


#: The default cluster file.
MY_CLUSTER = HOME / 'slurm' / 'my-cluster.yaml'


def open_slurm(cluster: Optional[Path], runs: Path, wait: bool) -> 'SlurmLauncher':
    """The launcher with the settings of a cluster file.

    Raises:
        UserError: the file is not named, missing or wrong.
    """
    if cluster is None and not MY_CLUSTER.exists():
        raise UserError(
            '--launcher slurm needs --cluster FILE: slurm/cpu.yaml and its neighbours are examples; '
            'slurm/my-cluster.yaml is taken by itself'
        )
    return SlurmLauncher(runs, read_settings(cluster or MY_CLUSTER), wait)


class SlurmLauncher:
    """Places runs on a cluster, one job each.

    Args:
        runs (Path): folder of the profile's runs; records and logs of jobs lie in its subfolder ``slurm``.
        settings (Settings, optional): what a job requests from Slurm; not needed to follow or cancel.
        wait (bool): follow the jobs until they end.
    """

    def __init__(self, runs: Path, settings: Optional[Settings] = None, wait: bool = False) -> None:
        self.settings = settings or Settings()
        self.wait = wait
        self.profile = runs.name
        self.records = Records(runs.resolve() / 'slurm')

    @property
    def capacity(self) -> Capacity:
        """The resources that the settings request."""
        of = self.settings
        return Capacity(of.array_parallelism, of.tasks, of.cpus_per_task, of.gpus_per_node > 0)

    def start(self) -> None:
        """Check, before any data are made, that runs can be submitted from here.

        Raises:
            UserError: submitit or Slurm is not installed, or the runs have a % in their path.
        """
        if '%' in str(self.records.logs):
            raise UserError(
                f'--launcher slurm: Slurm replaces % in paths, here {self.records.logs}: name another --runs'
            )
        try:
            import submitit  # noqa: F401
        except ImportError as error:
            raise UserError("--launcher slurm needs submitit: pip install '.[slurm]'") from error
        if not (shutil.which('sbatch') and shutil.which('srun')):
            raise UserError(
                "--launcher slurm needs Slurm's commands sbatch and srun: run this on a login node of the cluster, or "
                'try slurm/dev-cluster.sh on a machine of your own (on Debian: apt-get install slurm-wlm munge)'
            )

    def preview(self, count: int) -> str:
        """The sbatch script of ``count`` jobs.

        Raises:
            UserError: see :meth:`start`.
        """
        if count == 0:
            return 'nothing to submit'
        self.start()
        slurm = executor(self.settings, self.records.logs, 'o2f-dry-run')._executor
        if count > 1:
            slurm.parameters['map_count'] = count  # as submitit does for an array
        return slurm._make_submission_file_text(slurm._submitit_command_str, 'dry-run')

    def run(
        self, runs: List[Run], folders: Dict[str, RunFolder], data: Path, show: Show
    ) -> Optional[Dict[str, Status]]:
        """Submit the missing runs and print it. With ``wait``, follow all runs until they end.

        Args and returns: see :meth:`experiments.launchers.protocol.Launcher.run`.

        Raises:
            UserError: Slurm rejects the jobs.
        """
        sent = self.submit(runs, folders, data)
        _say(_summary(sent, len(runs)))
        if not self.wait:
            if sent.refused:
                raise UserError(f'{_refusal(sent)}; the same command submits them, and --wait does so by itself')
            _say('the same command with --wait follows them; --status shows their states, and --cancel cancels them')
            return None
        if sent.refused:
            _say(f'{_refusal(sent)}; they are submitted when others have ended')
        refused = {task.run_id for task in sent.refused}
        try:
            return self.follow(runs, folders, data, show, {run.id: run for run in runs if run.id in refused})
        except KeyboardInterrupt:
            _say('the jobs go on without this command; --cancel cancels them')
            raise

    def submit(self, runs: List[Run], folders: Dict[str, RunFolder], data: Path) -> Sent:
        """Submit the runs that are not done, not in training and not in the queue.

        Args:
            runs, folders, data: see :meth:`run`.

        Returns:
            Sent: what Slurm accepted and what it refused.

        Raises:
            UserError: Slurm accepts none of them.
        """
        with self.records.lock():
            self._withdraw()
            placed = query(self.records, {run.id: folders[run.id] for run in runs}, must_know=True)
            missing = [
                run
                for run in runs
                if not placed[run.id].live and placed[run.id].status.state not in (DONE, RUNNING, QUEUED)
            ]
            if not missing:
                return Sent()
            for run in missing:
                folders[run.id].clear_failure()
            tasks = [self._task(run, folders[run.id], data) for run in missing]
            sent = send(tasks, self.settings, self.records, self.profile)
            if not sent.submissions:
                raise UserError(f'Slurm does not take the jobs: {sent.reason}')
            return sent

    def follow(
        self, runs: List[Run], folders: Dict[str, RunFolder], data: Path, show: Show, rest: Dict[str, Run]
    ) -> Dict[str, Status]:
        """Wait until every run is done or has failed, or has no job or process left.

        A failure that only Slurm knows, such as a job out of memory, is then written into the run's folder.

        Args:
            runs, folders, data, show: see :meth:`run`.
            rest (dict): runs that Slurm has refused so far, by id. They are submitted when jobs have ended.

        Raises:
            UserError: Slurm still refuses the rest when no other job is left.
        """
        folders = {run.id: folders[run.id] for run in runs}
        pause, before, most = _POLL_S[0], None, 0
        settled: Dict[str, float] = {}
        while True:
            placed = query(self.records, folders)
            states = {run_id: run.status for run_id, run in placed.items()}
            show(states)
            live = sum(run.live for run in placed.values())
            on = any(_goes_on(run_id, run, settled) for run_id, run in placed.items())
            if rest and (live < most or not on):
                rest = self._submit_rest(rest, folders, data, must=not on)
                most = live
                continue
            if not on:
                break
            most = max(most, live)
            pause = _POLL_S[0] if states != before else min(1.3 * pause, _POLL_S[1])
            before = states
            time.sleep(pause)
        for run_id, run in placed.items():
            if run.judged:
                folders[run_id].fail(run.status.message)
        return states

    def _submit_rest(
        self, rest: Dict[str, Run], folders: Dict[str, RunFolder], data: Path, must: bool
    ) -> Dict[str, Run]:
        """Submit what Slurm accepts now of the refused runs. Returns what is left."""
        try:
            sent = self.submit(list(rest.values()), folders, data)
        except UserError:
            if must:
                raise
            return rest
        _say(_summary(sent, len(rest) - len(sent.refused)))
        return {task.run_id: rest[task.run_id] for task in sent.refused}

    def cancel(self, folders: Dict[str, RunFolder]) -> List[str]:
        """Cancel the jobs of these runs that were submitted for this folder.

        Returns:
            list[str]: ids of the jobs.

        Raises:
            UserError: Slurm does not answer.
        """
        if not self.records.folder.exists():
            return []
        with self.records.lock():
            self._withdraw()
            placed = query(self.records, folders, must_know=True)
            live = {run_id: run.job.id for run_id, run in placed.items() if run.job is not None and run.live}
            if live:
                jobs.cancel(list(live.values()))
                self._await_end({run_id: folders[run_id] for run_id in live})
            for run_id, job in live.items():
                folders[run_id].fail(f'job {job} was cancelled by --cancel')
        return list(live.values())

    def _await_end(self, folders: Dict[str, RunFolder]) -> None:
        """Wait until the jobs of these runs have ended, but not for ever.

        A worker that is just starting would delete the note of why its run has failed.
        """
        deadline = time.monotonic() + _CANCEL_S
        while any(run.job is not None and run.live for run in query(self.records, folders).values()):
            if time.monotonic() > deadline:
                return
            time.sleep(_POLL_S[0] / 2)

    def _task(self, run: Run, folder: RunFolder, data: Path) -> Task:
        return Task(
            path=str(folder.path.resolve()),
            run_id=run.id,
            profile=run.profile,
            paths=data_paths(run.config, data.resolve()),
            threads=self.settings.cpus_per_task,
            timeout_min=self.settings.timeout_min,
            signal_delay_s=self.settings.signal_delay_s,
        )

    def _withdraw(self) -> None:
        """Cancel submissions of a launcher that was killed before it knew the job ids. Some may lack their pickle."""
        for name in self.records.begun():
            jobs.cancel_named(name)
            self.records.forget(name)


def _goes_on(run_id: str, run: JobStatus, settled: Dict[str, float]) -> bool:
    """Whether a run may still progress. ``settled`` has the deadline for the result of each completed job."""
    if run.judged and run.job is not None and run.job.state == 'COMPLETED':
        return time.monotonic() < settled.setdefault(run_id, time.monotonic() + _SETTLE_S)
    return run.status.state in (RUNNING, QUEUED, REQUEUED) or (run.live and run.status.state != DONE)


def _summary(sent: Sent, asked: int) -> str:
    count = sum(len(submission.jobs) for submission in sent.submissions)
    others = asked - count - len(sent.refused)
    if not count:
        return f'nothing to submit: {asked} run(s) are queued or running already'
    named = [f'{submission.array} ({submission.name})' for submission in sent.submissions]
    arrays = f'job {named[0]}' if len(named) == 1 else f'{len(named)} jobs, {", ".join(named)}'
    return f'submitted {count} run(s) as {arrays}' + (
        f'; {others} other(s) are queued or running already' if others else ''
    )


def _refusal(sent: Sent) -> str:
    return f'Slurm does not take {len(sent.refused)} other run(s) now ({sent.reason})'


def _say(text: str) -> None:
    print(f'run.py: {text}', file=sys.stderr, flush=True)
