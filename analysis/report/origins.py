"""On what the runs were trained: machines, versions and commits, each set of them once for all its runs."""

from collections import Counter
from dataclasses import dataclass
from typing import Any, Dict, Iterable, List, Tuple

from analysis.report.trainings import FINISHED, Training


@dataclass(frozen=True)
class Origin:
    """Runs that come from one commit, machine and set of versions: what it is called, facts of it (name, text), how
    many runs and how many seconds of training."""

    name: str
    facts: Tuple[Tuple[str, str], ...]
    runs: int
    seconds: float


def origins(trainings: Iterable[Training]) -> Tuple[List[Origin], Dict[str, str]]:
    """The origins of finished runs, the most frequent first, and by run id what its origin is called."""
    finished = [training for training in trainings if training.state == FINISHED]
    facts = {training.id: _facts(training.provenance) for training in finished}
    seconds: Dict[Tuple[Tuple[str, str], ...], float] = dict.fromkeys(facts.values(), 0.0)
    for training in finished:
        seconds[facts[training.id]] += wall_seconds(training)
    counts = Counter(facts.values())
    names = {each: f'origin {number}' for number, (each, _) in enumerate(counts.most_common(), 1)}
    found = [Origin(name, each, counts[each], seconds[each]) for each, name in names.items()]
    return found, {run: names[each] for run, each in facts.items()}


def wall_seconds(training: Training) -> float:
    """How long it trained, 0 where that is not known."""
    seconds = training.provenance.get('wall_s')
    return seconds if isinstance(seconds, (int, float)) else 0.0


def duration(seconds: float) -> str:
    """'4 min 4 s', '2 h 5 min'."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f'{hours} h {minutes} min' if hours else f'{minutes} min {rest} s' if minutes else f'{rest} s'


def _facts(source: Dict[str, Any]) -> Tuple[Tuple[str, str], ...]:
    """What a result says of its origin; files of older versions of the suite say less."""
    versions = source.get('versions')
    named = {
        'Device': source['device'],
        'Host': source.get('host'),
        'Processes per run': source.get('processes'),
        'Images per step': source.get('batch'),
        'Commit': (source['commit'] or 'unknown') + ' with local changes' * bool(source['dirty']),
        'Python': source.get('python'),
        'Versions': ', '.join(f'{name} {version}' for name, version in versions.items())
        if isinstance(versions, dict)
        else None,
    }
    return tuple((name, str(text)) for name, text in named.items() if text is not None)
