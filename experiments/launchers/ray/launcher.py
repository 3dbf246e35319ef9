"""Trains runs in parallel on a Ray cluster, each as a trial of Tune."""

import argparse
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

from experiments.launchers.local import fit_memory
from experiments.launchers.protocol import Capacity, Show
from experiments.launchers.ray import cluster, trial
from experiments.launchers.ray.cluster import Resources
from experiments.machine import cores, gpus
from experiments.spec.config import Run
from experiments.spec.paths import data_paths
from experiments.store.runs import DONE, FAILED, RUNNING, RunFolder, Status


@dataclass(frozen=True)
class End:
    """How a trial ended: a state of :mod:`experiments.launchers.ray.trial`, the last epoch, and why it failed."""

    state: str
    epoch: int
    message: str = ''


def open_ray(args: argparse.Namespace, runs: Path, need: int = 0) -> 'RayLauncher':
    """The launcher that the command line asks for, for a profile's runs. A run needs ``need`` bytes of memory."""
    return RayLauncher(runs, Resources(args.cpus_per_run or 1, args.gpus_per_run, args.jobs, need), args.ray_address)


class RayLauncher:
    """Trains runs as trials of Ray Tune.

    Args:
        runs (Path): folder of the profile's runs; Tune's own records lie in ``ray`` below it.
        resources (Resources): the resources of each run.
        address (str, optional): a Ray cluster; by default one is started on this machine.
    """

    def __init__(self, runs: Path, resources: Resources, address: Optional[str] = None) -> None:
        self.storage = runs.resolve() / 'ray'
        self.resources = resources
        self.address = address

    @property
    def capacity(self) -> Capacity:
        """The resources of this machine, because a cluster is not asked before runs are placed."""
        devices = len(gpus())
        share = float(devices > 0) if self.resources.gpus is None else self.resources.gpus
        room = devices / share if share else cores() // self.resources.cpus
        jobs, note = fit_memory(self.resources.jobs, max(int(room), 1), self.resources.memory)
        return Capacity(jobs, 1, self.resources.cpus, share > 0, note)

    def start(self) -> None:
        """Connect, before any data are made.

        Raises:
            UserError: Ray is not installed, the cluster does not answer, or it lacks the resources of a run.
        """
        here = cluster.connect(self.address)
        self.resources = cluster.settle(self.resources, here)

    def run(self, runs: List[Run], folders: Dict[str, RunFolder], data: Path, show: Show) -> Dict[str, Status]:
        """Train all runs and return their final states; see :meth:`experiments.launchers.protocol.Launcher.run`.

        A run that loses its process or its node is restarted, on another node if needed, and resumes from its newest
        checkpoint. An experiment whose driver has died is restored.
        """
        for run in runs:
            folders[run.id].clear_failure()
        rounds = _Rounds(self, runs, folders, data, show)
        rounds.follow(restore=True)
        return rounds.states()

    def preview(self, count: int) -> str:
        """Empty, because Tune has no script to show."""
        return ''

    def search(
        self,
        runs: List[Run],
        settings: Dict[str, dict],
        folders: Dict[str, RunFolder],
        data: Path,
        show: Show,
        scheduler: Callable[[], Any],
    ) -> Dict[str, End]:
        """Train runs to their end, or until Tune's scheduler stops them.

        No experiment is restored, because Tune does not keep the state of a scheduler. A new scheduler learns from the
        epochs in the runs' folders.

        Args:
            runs, folders, data, show: see :meth:`run`.
            settings (dict): values that Tune shows for each run.
            scheduler (callable): creates a scheduler.

        Returns:
            dict[str, End]: how each trial ended, by run id. A trial that the scheduler stopped has ``trial.TRAINING``.
        """
        rounds = _Rounds(self, runs, folders, data, show)
        rounds.follow(settings, scheduler)
        return rounds.ends


class _Rounds:
    """Trains runs in one Tune experiment after another, until none is left.

    More than one is needed only if another launcher drops runs that it was training, or if runs are added to those of a
    restored experiment.
    """

    def __init__(self, launcher: RayLauncher, runs: list, folders: dict, data: Path, show: Show) -> None:
        from experiments.launchers.ray.experiment import POLL_S, Experiment

        self.experiment, self.poll_s = Experiment(launcher.storage, launcher.resources), POLL_S
        self.runs, self.folders, self.show = runs, folders, show
        self.tasks = {run.id: _task(run, folders[run.id], data, launcher.resources) for run in runs}
        self.ends: Dict[str, End] = {}

    def follow(
        self,
        settings: Optional[Dict[str, dict]] = None,
        scheduler: Callable[[], Any] = lambda: None,
        restore: bool = False,
    ) -> None:
        """Return when every run has ended. In any case, end all trials, and the cluster if it was started here."""
        with cluster.logged(self.experiment.storage / 'driver.log'):
            try:
                while left := [task for run_id, task in self.tasks.items() if run_id not in self.ends]:
                    self._round(left, settings or {}, scheduler, restore)
                    restore = False
            finally:
                cluster.disconnect()
        self._watch()

    def _round(self, left: list, settings: Dict[str, dict], scheduler: Callable[[], Any], restore: bool) -> None:
        """One experiment over the remaining runs, or a short wait if other launchers train all of them."""
        results = self.experiment.restore(left, settings, self._watch) if restore else None
        restored = results is not None
        if not restored:
            free = [task for task in left if self.folders[task.run_id].status().state != RUNNING]
            if not free:
                self._watch()
                time.sleep(self.poll_s)
                return
            results = self.experiment.fit(free, settings, self._watch, scheduler())
        self._note(results, restored)

    def states(self) -> Dict[str, Status]:
        """The status of every run from its folder, or from its trial if the folder could not record a failure."""
        states = {run.id: self.folders[run.id].status() for run in self.runs}
        for run_id, end in self.ends.items():
            if end.state == trial.FAILED and states[run_id].state not in (DONE, FAILED):
                states[run_id] = replace(states[run_id], state=FAILED, message=end.message)
        return states

    def _watch(self) -> None:
        self.show(self.states())

    def _note(self, results: Any, restored: bool) -> None:
        """Record how trials ended. Runs that another process trains or has dropped have not ended."""
        for result in results:
            run_id = result.config['run']['id']
            end = _end(result, self.folders[run_id], restored)
            if end is not None:
                self.ends[run_id] = end


def _end(result: Any, folder: RunFolder, restored: bool) -> Optional[End]:
    status, metrics = folder.status(), result.metrics or {}
    if status.state == DONE:
        return End(trial.DONE, status.epochs)
    if result.error is not None:
        folder.fail(
            'the process that trained was lost, more often than is tried again '
            f'({" ".join(str(result.error).split())[:200]}); its output is in {folder.log}'
        )
        return End(trial.FAILED, status.epoch)
    if metrics.get('state') == trial.TRAINING:
        return End(trial.TRAINING, metrics['epoch'])
    # A trial that failed before its experiment was restored has not been retried since.
    if metrics.get('state') == trial.FAILED and (status.state == FAILED or not restored):
        return End(trial.FAILED, status.epoch, metrics['message'] or f'its output is in {folder.log}')
    return None


def _task(run: Run, folder: RunFolder, data: Path, resources: Resources) -> trial.RayTask:
    return trial.RayTask(
        path=str(folder.path.resolve()),
        run_id=run.id,
        profile=run.profile,
        paths=data_paths(run.config, data.resolve()),
        threads=resources.cpus,
        gpus=resources.gpus or 0.0,
        epochs=run.config['train_cfg']['max_epochs'],
    )
