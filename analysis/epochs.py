"""Reads what runs measured after each epoch, and puts their seeds together.

``<runs>/<profile>/<run id>/metrics.json`` holds, for each finished epoch, metrics as fractions, and in newer runs the
mean ``losses`` and the mean number of ``positives`` per instance, by kind.
"""

import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple

from analysis.plans import Plan
from experiments.store.checks import called, has, number_or_null, read

SCHEMA = 1


@dataclass(frozen=True)
class Epoch:
    """One epoch, ``number`` counted from 1: metrics as fractions, mean losses, and positives per instance; what is not
    defined is None, and what was not stored is missing."""

    number: int
    metrics: Dict[str, Optional[float]]
    losses: Dict[str, Optional[float]]
    positives: Dict[str, Optional[float]]


@dataclass(frozen=True)
class Series:
    """A value after each epoch over the seeds that have it: the epochs, mean, smallest and largest, and how many seeds
    there are at most."""

    epochs: Tuple[int, ...]
    mean: Tuple[float, ...]
    low: Tuple[float, ...]
    high: Tuple[float, ...]
    seeds: int


def load_epochs(runs: Path, profile: str, plan: Plan) -> Tuple[Dict[str, List[Epoch]], List[str]]:
    """The epochs of a plan's runs by run id, and a line for each file that is broken. A run without any is left out."""
    found: Dict[str, List[Epoch]] = {}
    warnings = []
    for run in plan.runs:
        path = Path(runs) / profile / run / 'metrics.json'
        if path.exists():
            try:
                found[run] = _epochs(path)
            except ValueError as error:
                warnings.append(f'{path}: {error}: left out')
    return found, warnings


def over_seeds(
    stored: Dict[str, List[Epoch]], runs: Dict[int, str], value: Callable[[Epoch], Optional[float]]
) -> Series:
    """A value of each epoch over the runs of a cell (seed -> run id)."""
    values: Dict[int, List[float]] = {}
    for run in dict.fromkeys(runs.values()):
        for epoch in stored.get(run, ()):
            number = value(epoch)
            if number is not None:
                values.setdefault(epoch.number, []).append(number)
    epochs = tuple(sorted(values))
    mean, low, high = (tuple(function(values[epoch]) for epoch in epochs) for function in (statistics.fmean, min, max))
    return Series(epochs, mean, low, high, max(map(len, values.values()), default=0))


def _epochs(path: Path) -> List[Epoch]:
    entries = read(path, SCHEMA, dict(epochs=list))['epochs']
    epochs = [_epoch(entry, f'epochs[{i}]') for i, entry in enumerate(entries)]
    if [epoch.number for epoch in epochs] != list(range(1, len(epochs) + 1)):
        raise ValueError('epochs are not numbered from 1 on')
    return epochs


def _epoch(entry: Any, where: str) -> Epoch:
    has(entry, dict(epoch=int, metrics=dict), where)
    parts = {}
    for name in ('metrics', 'losses', 'positives'):
        content = entry.get(name, {})
        if not isinstance(content, dict):
            raise ValueError(f'{name} in {where} must be a mapping')
        parts[name] = {key: number_or_null(value, f'{where}.{name}.{called(key)}') for key, value in content.items()}
    return Epoch(entry['epoch'], **parts)
