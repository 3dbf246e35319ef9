"""One Tune experiment over some runs: a new one, or one that is restored because its driver has died.

Its folder is ``runs/<profile>/ray/<name>``:

==============  ========================================================================
<run>/          Tune's records of a trial: its results by epoch, also for TensorBoard
tuner.pkl, ...  the state from which Tune restores the experiment
runs.json       its runs, their resources, and whether it has ended
lock            held by the process that drives it
==============  ========================================================================
"""

import secrets
import time
from functools import partial
from pathlib import Path
from typing import Any, Callable, ClassVar, Dict, List, Optional

from ray import tune

from experiments.launchers.ray.cluster import Resources
from experiments.launchers.ray.trial import RayTask, train_run
from experiments.store.files import locked, make_folder, read_json, write_json

SCHEMA = 1
#: How often one run may lose its process or its node.
MAX_LOST = 5
POLL_S = 0.3


class Watch(tune.Callback):
    """Calls ``Watch.call`` a few times a second while Tune works.

    Tune pickles its callbacks, and a restored experiment has its own copy. So the class holds the function to call.
    """

    call: ClassVar[Optional[Callable[[], None]]] = None
    _last = 0.0

    def on_step_end(self, *_: Any, **__: Any) -> None:
        if Watch.call is not None and time.monotonic() - self._last > POLL_S:
            Watch.call()
            self._last = time.monotonic()


class Experiment:
    """One Tune experiment.

    Args:
        storage (Path): folder of the profile's experiments, absolute.
        resources (Resources): the resources of each run.
    """

    def __init__(self, storage: Path, resources: Resources) -> None:
        self.storage = storage
        self.resources = resources

    def fit(
        self, tasks: List[RayTask], settings: Dict[str, dict], watch: Callable[[], None], scheduler: Any = None
    ) -> tune.ResultGrid:
        """Train all runs in a new experiment.

        Args:
            tasks (list[RayTask]): the runs, in the order to start them.
            settings (dict): values that Tune shows for each run besides its id.
            watch (callable): called a few times a second.
            scheduler (TrialScheduler, optional): ends runs early.
        """
        name = f'{time.strftime("%Y-%m-%d_%H-%M-%S")}-{secrets.token_hex(2)}'
        make_folder(self.storage / name)
        with locked(self.storage / name / 'lock', patience_s=0):
            tuner = tune.Tuner(
                self._trainable(tasks),
                param_space=_space(tasks, settings),
                tune_config=tune.TuneConfig(
                    scheduler=scheduler,
                    max_concurrent_trials=self.resources.jobs,
                    reuse_actors=False,
                    trial_name_creator=_trial_name,
                    trial_dirname_creator=_trial_name,
                ),
                run_config=tune.RunConfig(
                    name=name,
                    storage_path=str(self.storage),
                    failure_config=tune.FailureConfig(max_failures=MAX_LOST),
                    callbacks=[Watch()],
                    verbose=0,
                ),
            )
            return self._fit(tuner, self.storage / name, self._record(tasks), watch)

    def restore(
        self, tasks: List[RayTask], settings: Dict[str, dict], watch: Callable[[], None]
    ) -> Optional[tune.ResultGrid]:
        """Resume the newest unfinished experiment whose missing runs are exactly these; None if there is none.

        Args: see :meth:`fit`.
        """
        for path in sorted(self.storage.glob('*/runs.json'), reverse=True):
            record = read_json(path)
            if not self._lacks_just(record, tasks) or not tune.Tuner.can_restore(str(path.parent)):
                continue
            with locked(path.parent / 'lock', patience_s=0) as mine:
                if mine is not None:
                    tuner = tune.Tuner.restore(
                        str(path.parent),
                        self._trainable(tasks),
                        restart_errored=True,
                        param_space=_space(tasks, settings),
                    )
                    return self._fit(tuner, path.parent, record, watch)
        return None

    def _trainable(self, tasks: List[RayTask]) -> Callable:
        of = self.resources
        resources = dict(cpu=of.cpus, gpu=of.gpus, **(dict(memory=of.memory) if of.memory else {}))
        return tune.with_resources(partial(train_run, {task.run_id: task for task in tasks}), resources)

    def _fit(self, tuner: tune.Tuner, folder: Path, record: dict, watch: Callable[[], None]) -> tune.ResultGrid:
        write_json(folder / 'runs.json', record)
        Watch.call = watch
        try:
            results = tuner.fit()
        finally:
            Watch.call = None
        write_json(folder / 'runs.json', dict(record, ended=True))
        return results

    def _record(self, tasks: List[RayTask]) -> dict:
        runs = [task.run_id for task in tasks]
        return dict(schema=SCHEMA, runs=runs, resources=self.resources.to_dict(), ended=False)

    def _lacks_just(self, record: Any, tasks: List[RayTask]) -> bool:
        """Whether the missing runs of an experiment are exactly these."""
        expected = self._record(tasks)
        if not isinstance(record, dict) or {**record, 'runs': None} != {**expected, 'runs': None}:
            return False
        done = {run_id for run_id in record['runs'] if (self.storage.parent / run_id / 'result.json').exists()}
        return set(record['runs']) - done == set(expected['runs'])


def _space(tasks: List[RayTask], settings: Dict[str, dict]) -> dict:
    return dict(run=tune.grid_search([dict(id=task.run_id, **settings.get(task.run_id, {})) for task in tasks]))


def _trial_name(trial: Any) -> str:
    return trial.config['run']['id']
