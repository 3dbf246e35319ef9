"""The runs of some plans: their results, the machines that trained them, and how their configs differ."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, Iterable, List, Optional, Sequence, Tuple

from analysis.results import Results, command, load_epochs, read_or_warn, training_seconds
from experiments.spec.schema import (
    SPEED,
    Breakdown,
    Cell,
    Epoch,
    Failure,
    Provenance,
    Result,
    Speed,
    StoredPlan,
)
from experiments.store.configs import CONFIG, read_config
from experiments.store.model import read_stored
from experiments.store.runs import BREAKDOWN

Settings = Dict[str, str]  # dotted key -> value as Python writes it

#: Shown as the value of a key that a config lacks.
ABSENT = '(not set)'
_SEED = 'randomness.seed'


def shared(configs: Sequence[Settings]) -> Settings:
    """The most frequent value of each key that most of the configs have."""
    counts: Dict[str, Counter] = {}
    for config in configs:
        for key, value in config.items():
            counts.setdefault(key, Counter())[value] += 1
    return {
        key: values.most_common(1)[0][0] for key, values in counts.items() if 2 * sum(values.values()) > len(configs)
    }


def difference(config: Settings, base: Settings) -> List[Tuple[str, str]]:
    """The keys and values in which a config differs from the shared settings."""
    keys = [key for key in {**base, **config} if config.get(key) != base.get(key)]
    return [(key, config.get(key, ABSENT)) for key in keys]


def representative(configs: Dict[str, Settings]) -> Dict[str, str]:
    """For each run the first run with the same config except the seed. So each config is shown once.

    Args:
        configs (dict): settings by run id. Empty ones are left out.
    """
    first: Dict[frozenset, str] = {}
    return {
        run: first.setdefault(frozenset((key, value) for key, value in config.items() if key != _SEED), run)
        for run, config in configs.items()
        if config
    }


def _flat(value: Any, key: str) -> List[Tuple[str, str]]:
    """Flatten mappings and lists of mappings to dotted keys. Anything else is a value."""
    if isinstance(value, dict) and value:
        parts: Iterable[Tuple[Any, Any]] = value.items()
    elif isinstance(value, (list, tuple)) and any(isinstance(each, dict) for each in value):
        parts = enumerate(value)
    else:
        return [(key, repr(value))]
    return [found for name, part in parts for found in _flat(part, f'{key}.{name}' if key else str(name))]


#: States of a run that its files show.
FINISHED, UNFINISHED, FAILED, UNREADABLE, WAITING = 'finished', 'unfinished', 'failed', 'unreadable', 'not started'
#: Folder for the command that trains a run again, because a finished run is not trained again in its own folder.
AGAIN = 'again'
_TAIL_BYTES = 10_000


@dataclass
class Training:
    """One run.

    Attributes:
        id (str): its id, which is the name of its folder.
        seed (int): its random seed.
        profile (str): its profile.
        command (str): the command that trains it again, into another folder.
        metric (str): its first metric, such as 'AP', without a prefix for NMS.
        cells (list): the cells that show it, as pairs of table name and cell.
        siblings (dict): the runs of the first of these cells by seed, smallest seed first.
        state (str): one of the states above.
        failure (str): why it failed.
        result, speed (optional): the contents of result.json and speed.json.
        epochs (list): the metrics after each epoch.
        breakdown (optional): the content of breakdown.json.
        config (dict): its settings; empty if its config is not stored.
        log (list): the last lines of its log.
    """

    id: str
    seed: int
    profile: str
    command: str
    metric: str
    cells: List[Tuple[StoredPlan, Cell]] = field(default_factory=list)
    siblings: Dict[int, str] = field(default_factory=dict)
    state: str = WAITING
    failure: str = ''
    result: Optional[Result] = None
    speed: Optional[Speed] = None
    epochs: List[Epoch] = field(default_factory=list)
    breakdown: Optional[Breakdown] = None
    config: Settings = field(default_factory=dict)
    log: List[str] = field(default_factory=list)

    @property
    def tables(self) -> List[str]:
        """The tables that show it."""
        return list(dict.fromkeys(plan.name for plan, _ in self.cells))

    @property
    def provenance(self) -> Optional[Provenance]:
        """Where its result comes from."""
        return self.result.provenance if self.result else None

    @property
    def metrics(self) -> Dict[str, Optional[float]]:
        """Its newest metrics as fractions: those of the result, or else of the last epoch."""
        return self.result.metrics if self.result else self.epochs[-1].metrics if self.epochs else {}


def percent(metrics: Dict[str, Optional[float]], reading: str, name: str) -> Optional[float]:
    """A metric without or with NMS, as ``reading`` says, in percent; None if it is missing."""
    value = metrics.get(f'{reading}/{name}')
    return None if value is None else 100 * value


def load_trainings(
    runs: Path, profile: str, plans: Sequence[StoredPlan], found: Sequence[Results]
) -> Tuple[Dict[str, Training], List[str]]:
    """Every run of the plans by its id, in the order of the plans, and a line for each broken file.

    Args:
        runs (Path): folder of the runs.
        profile (str): their profile.
        plans (sequence): the plans.
        found (sequence): the results of each plan.
    """
    trainings: Dict[str, Training] = {}
    warnings: List[str] = []
    for plan, results in zip(plans, found):
        epochs, broken = load_epochs(runs, profile, plan)
        warnings += broken
        for cell in plan.cells:
            for seed, run in cell.runs.items():
                if run not in trainings:
                    again = command(runs, plan.profile, plan.name, plan.overrides, cell.at, [seed], AGAIN)
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
    """Add the state, the breakdown, the config and the log from the run's folder."""
    if training.result:
        training.state = FINISHED
    elif (folder / 'result.json').exists():
        training.state = UNREADABLE
    elif (folder / 'failure.json').exists():
        training.state = FAILED
        try:
            training.failure = read_stored(Failure, folder / 'failure.json').message
        except ValueError as error:
            warnings.append(f'{folder / "failure.json"}: {error}: left out')
    elif training.epochs:
        training.state = UNFINISHED
    if (folder / CONFIG).exists():
        try:
            training.config = dict(_flat(read_config(folder / CONFIG), ''))
        except ValueError as error:
            warnings.append(f'{folder / CONFIG}: {error}: left out')
    if training.result:
        training.breakdown = read_or_warn(Breakdown, folder / BREAKDOWN, warnings)
    training.log = _tail(folder / 'worker.log')


def _tail(path: Path) -> List[str]:
    """The last non-empty lines of a log."""
    try:
        with open(path, 'rb') as file:
            file.seek(max(file.seek(0, 2) - _TAIL_BYTES, 0))
            text = file.read().decode('utf-8', errors='replace')
    except OSError:
        return []
    return [line.rstrip() for line in text.splitlines() if line.strip()]


def _first_metric(plan: StoredPlan, cell: Cell) -> str:
    """The first metric of a cell: 'AP' if its first key is 'without_nms/AP'."""
    keys = [key for keys in cell.keys.values() for key in keys if not key.startswith(SPEED)]
    return keys[0].rpartition('/')[2] if keys else 'AP'


@dataclass(frozen=True)
class Origin:
    """An origin of runs, which is a commit, a machine and a set of versions: its name, facts about it (name, text), the
    number of runs, and the seconds of training."""

    name: str
    facts: Tuple[Tuple[str, str], ...]
    runs: int
    seconds: float


def origins(trainings: Iterable[Training]) -> Tuple[List[Origin], Dict[str, str]]:
    """The origins of finished runs, the most frequent first, and the name of each run's origin by run id."""
    finished = [training for training in trainings if training.state == FINISHED]
    facts = {each.id: _facts(each.provenance) for each in finished if each.provenance}
    seconds: Dict[Tuple[Tuple[str, str], ...], float] = dict.fromkeys(facts.values(), 0.0)
    for training in finished:
        seconds[facts[training.id]] += training_seconds(training.epochs)
    counts = Counter(facts.values())
    names = {each: f'origin {number}' for number, (each, _) in enumerate(counts.most_common(), 1)}
    found = [Origin(name, each, counts[each], seconds[each]) for each, name in names.items()]
    return found, {run: names[each] for run, each in facts.items()}


def duration(seconds: float) -> str:
    """A duration in words: '4 min 4 s', '2 h 5 min'."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f'{hours} h {minutes} min' if hours else f'{minutes} min {rest} s' if minutes else f'{rest} s'


def _facts(source: Provenance) -> Tuple[Tuple[str, str], ...]:
    """The facts about a result's origin. Results of older versions of the suite have fewer."""
    versions = source.versions
    named = {
        'Device': source.device,
        'Host': source.host,
        'Processes per run': source.processes,
        'Images per step': source.batch,
        'Commit': (source.commit or 'unknown') + ' with local changes' * bool(source.dirty),
        'Python': source.python,
        'Versions': ', '.join(f'{name} {version}' for name, version in versions.items())
        if isinstance(versions, dict)
        else None,
    }
    return tuple((name, str(text)) for name, text in named.items() if text is not None)
