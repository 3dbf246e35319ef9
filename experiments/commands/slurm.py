"""What ``run.py`` says and does with ``--launcher slurm``, ``--cluster``, ``--wait`` and ``--cancel``."""

import sys
from pathlib import Path
from typing import Callable, Dict, List, Optional

from experiments.launchers.slurm.launcher import SlurmLauncher
from experiments.launchers.slurm.settings import read_settings
from experiments.spec.config import Run
from experiments.store.errors import UserError
from experiments.store.files import HOME
from experiments.store.runs import RunFolder, Status

#: The cluster file where none is named.
MY_CLUSTER = HOME / 'slurm' / 'my-cluster.yaml'


def open_launcher(cluster: Optional[Path], runs: Path) -> SlurmLauncher:
    """The launcher with the settings of a cluster file, for the folder of a profile's runs.

    Raises:
        UserError: the file is not named, missing or wrong.
    """
    if cluster is None and not MY_CLUSTER.exists():
        raise UserError(
            '--launcher slurm needs --cluster FILE: slurm/cpu.yaml and its neighbours are examples; '
            'slurm/my-cluster.yaml is taken by itself'
        )
    return SlurmLauncher(runs, read_settings(cluster or MY_CLUSTER))


def submit(
    launcher: SlurmLauncher,
    runs: List[Run],
    folders: Dict[str, RunFolder],
    data: Path,
    wait: Optional[Callable[[Dict[str, Status]], None]],
) -> Dict[str, Status]:
    """Submit the runs that are missing and say so; with ``wait``, which is told their states, follow all to their end.

    Returns:
        dict[str, Status]: final states by run id; empty when not waited for.

    Raises:
        UserError: Slurm does not take the jobs.
    """
    submission = launcher.submit(runs, folders, data)
    if submission is None:
        _say(f'nothing to submit: {len(runs)} run(s) are queued or running already')
    else:
        others = len(runs) - len(submission.jobs)
        also = f'; {others} other(s) are queued or running already' if others else ''
        _say(f'submitted {len(submission.jobs)} run(s) as job {submission.array} ({submission.name}){also}')
    if wait is None:
        _say('the same command with --wait follows them; --status shows their states, and --cancel cancels them')
        return {}
    try:
        return launcher.follow({run.id: folders[run.id] for run in runs}, wait)
    except KeyboardInterrupt:
        _say('the jobs go on without this command; --cancel cancels them')
        raise


def cancel(runs: Path, folders: Dict[str, RunFolder]) -> int:
    """Cancel the jobs of these runs; 0, as there may be none.

    Raises:
        UserError: Slurm does not answer.
    """
    jobs = SlurmLauncher(runs).cancel(folders)
    _say(f'cancelled {len(jobs)} job(s): {" ".join(jobs)}' if jobs else 'no job of these runs is queued or running')
    return 0


def _say(text: str) -> None:
    print(f'run.py: {text}', file=sys.stderr, flush=True)
