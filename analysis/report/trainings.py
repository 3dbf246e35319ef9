"""What is there of each run of some plans, for the report's runs table and its section per run."""

import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Tuple

from analysis.checks import read
from analysis.epochs import Epoch, load_epochs
from analysis.plans import Cell, Plan
from analysis.report.configs import Settings, read_config
from analysis.results import RUNS, SPEED, Results, command

#: States of a run, as far as its files tell.
FINISHED, UNFINISHED, FAILED, UNREADABLE, WAITING = 'finished', 'unfinished', 'failed', 'unreadable', 'not started'
#: Where the command that trains a run again puts it: a finished run is not trained again in its own folder.
AGAIN = 'again'
#: What the names of metrics begin with.
READINGS = ('without_nms', 'with_nms')
_TAIL_BYTES = 10_000


@dataclass
class Training:
    """One run.

    Attributes:
        id (str): its name, that of its folder.
        seed (int): its random seed.
        profile (str): its profile.
        command (str): what trains it again, into another folder.
        metric (str): what of it is shown first, such as 'AP', without its reading.
        cells (list): the cells that show it: name of the table, its cell.
        siblings (dict): the runs of the first of these cells by seed, the smallest first.
        state (str): one of the words above.
        failure (str): why it failed.
        result, speed (dict): what result.json and speed.json hold; empty where there is none.
        epochs (list): what it measured after each.
        config (dict): its settings, empty where its config is not kept.
        log (list): the last lines of its log.
    """

    id: str
    seed: int
    profile: str
    command: str
    metric: str
    cells: List[Tuple[Plan, Cell]] = field(default_factory=list)
    siblings: Dict[int, str] = field(default_factory=dict)
    state: str = WAITING
    failure: str = ''
    result: dict = field(default_factory=dict)
    speed: dict = field(default_factory=dict)
    epochs: List[Epoch] = field(default_factory=list)
    config: Settings = field(default_factory=dict)
    log: List[str] = field(default_factory=list)

    @property
    def tables(self) -> List[str]:
        """The tables that show it."""
        return list(dict.fromkeys(plan.name for plan, _ in self.cells))

    @property
    def provenance(self) -> dict:
        """Where its result comes from."""
        return self.result.get('provenance', {})

    @property
    def metrics(self) -> Dict[str, Optional[float]]:
        """Its newest metrics as fractions: the result's, or those of the last epoch."""
        return self.result.get('metrics', {}) or (self.epochs[-1].metrics if self.epochs else {})


def percent(metrics: Dict[str, Optional[float]], reading: str, name: str) -> Optional[float]:
    """A metric in a reading, in percent; None where it is missing."""
    value = metrics.get(f'{reading}/{name}')
    return None if value is None else 100 * value


def load_trainings(
    runs: Path, profile: str, plans: Sequence[Plan], found: Sequence[Results]
) -> Tuple[Dict[str, Training], List[str]]:
    """Every run of the plans by its id, in the plans' order, and a line for each file that is broken.

    Args:
        runs (Path): folder of the runs.
        profile (str): their profile.
        plans (sequence): the plans.
        found (sequence): the results of each.
    """
    trainings: Dict[str, Training] = {}
    warnings: List[str] = []
    for plan, results in zip(plans, found):
        epochs, broken = load_epochs(runs, profile, plan)
        warnings += broken
        for cell in plan.cells:
            for seed, run in cell.runs.items():
                if run not in trainings:
                    again = _command(plan, cell, seed)
                    trainings[run] = Training(run, seed, profile, again, _first_metric(plan, cell))
                training = trainings[run]
                training.cells.append((plan, cell))
                training.siblings = training.siblings or dict(sorted(cell.runs.items()))
                training.result = results.runs.get(run, training.result)
                training.speed = results.speeds.get(run, training.speed)
                training.epochs = epochs.get(run, training.epochs)
    for training in trainings.values():
        _read_folder(Path(runs) / profile / training.id, training, warnings)
    return trainings, list(dict.fromkeys(warnings))


def _read_folder(folder: Path, training: Training, warnings: List[str]) -> None:
    """Add the state, the config and the log."""
    if training.result:
        training.state = FINISHED
    elif (folder / 'result.json').exists():
        training.state = UNREADABLE
    elif (folder / 'failure.json').exists():
        training.state = FAILED
        try:
            training.failure = read(folder / 'failure.json', 1, dict(message=str))['message']
        except ValueError as error:
            warnings.append(f'{folder / "failure.json"}: {error}: left out')
    elif training.epochs:
        training.state = UNFINISHED
    if (folder / 'config.py').exists():
        try:
            training.config = read_config(folder / 'config.py')
        except ValueError as error:
            warnings.append(f'{folder / "config.py"}: {error}: left out')
    training.log = _tail(folder / 'worker.log')


def _tail(path: Path) -> List[str]:
    """The last lines of a log that have something in them."""
    try:
        with open(path, 'rb') as file:
            file.seek(max(file.seek(0, 2) - _TAIL_BYTES, 0))
            text = file.read().decode('utf-8', errors='replace')
    except OSError:
        return []
    return [line.rstrip() for line in text.splitlines() if line.strip()]


def _command(plan: Plan, cell: Cell, seed: int) -> str:
    """What trains a run of a cell again."""
    words = [word for axis, value in cell.at.items() for word in ('--only', f'{axis}={value}')]
    seeds = ['--seeds', str(seed)] if seed else []
    return f'{command(RUNS, plan.profile, plan.name)} {shlex.join([*words, *seeds, "--runs", AGAIN])}'


def _first_metric(plan: Plan, cell: Cell) -> str:
    """'AP' where the table's first metric there is 'without_nms/AP'."""
    keys = [key for keys in cell.keys.values() for key in keys if not key.startswith(SPEED)]
    return keys[0].rpartition('/')[2] if keys else 'AP'
