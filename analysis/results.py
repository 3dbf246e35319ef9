"""Reads what experiments/run.py stores, and knows nothing else of the suite.

Three kinds of file, all JSON (``epochs`` and ``matches`` read two more, which tables do not need)::

    <runs>/<profile>/tables/<name>.json     the plan of a table (analysis/plans.py)
    <runs>/<profile>/<run id>/result.json   what one training measured, as fractions from 0 to 1, and its provenance
    <runs>/<profile>/<run id>/speed.json    how fast its detector is, where that was measured: the metrics whose keys
                                            begin with speed/, in ms and images per second, on which device and image

A plan that cannot be read is an error. A result that cannot be trusted is left out with a warning: no number is shown.
"""

import re
import shlex
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple

from analysis.plans import KEYS, Plan, read_plan
from experiments.store.checks import called, has, number_or_null, read, same, short
from experiments.store.errors import UserError
from experiments.store.files import RUNS

PLAN_SCHEMA = 2
RESULT_SCHEMA = 1  # of result.json and speed.json
SPEED = 'speed/'

_RESULT = dict(run=str, profile=str, seed=int, metrics=dict, provenance=dict)
_PROVENANCE = dict(commit=Optional[str], dirty=Optional[bool], device=str)
_SPEED = dict(run=str, device=str, versions=dict, image=list, repeats=int, metrics=dict)
_KINDS = ('table', 'fig')


@dataclass(frozen=True)
class Results:
    """What is there of a plan's runs: by run id the content of result.json and of speed.json, and a line for each file
    that is broken."""

    runs: Dict[str, dict]
    warnings: List[str]
    speeds: Dict[str, dict] = field(default_factory=dict)

    def number(self, run: str, key: str) -> Optional[float]:
        """A metric of a run as stored (a fraction, ms or images per second); None where it is missing."""
        stored = self.speeds if key.startswith(SPEED) else self.runs
        return stored[run]['metrics'][key] if run in stored else None


def plan_names(runs: Path, profile: str) -> List[str]:
    """Names of the tables that have a plan: the paper's tables by number, its figures, then all others."""
    return sorted((path.stem for path in (Path(runs) / profile / 'tables').glob('*.json')), key=_natural)


def no_plans(runs: Path, profile: str) -> UserError:
    """The error where no table has a plan."""
    return UserError(f'no plans in {Path(runs) / profile / "tables"}: run {command(runs, profile, "table3")} first')


def load_plan(runs: Path, profile: str, name: str) -> Plan:
    """Read the plan of a table.

    Raises:
        UserError: there is no such plan, or its file is broken; the message names the file and what to run.
    """
    path = Path(runs) / profile / 'tables' / f'{name}.json'
    known = plan_names(runs, profile)
    if name not in known:
        there = f' (there are {", ".join(known)})' if known else ''
        raise UserError(f'no plan {path}{there}: run {command(runs, profile, name)} first')
    try:
        return read_plan(read(path, PLAN_SCHEMA, KEYS), profile, name)
    except ValueError as error:
        raise UserError(f'{path}: {error}: delete it and run {command(runs, profile, name)} again') from error


def load_results(runs: Path, profile: str, plan: Plan) -> Results:
    """Read the results of a plan's runs. A file that is not there is left out; a broken one also gives a warning."""
    found = Results({}, [])
    for run, seed in plan.runs.items():
        folder, keys = Path(runs) / profile / run, plan.keys(run)
        fractions, speeds = ([key for key in keys if key.startswith(SPEED) == speed] for speed in (False, True))
        result = partial(_result, fractions, run=run, profile=profile, seed=seed)
        _load(folder / 'result.json', result, found.runs, found.warnings)
        if speeds:
            _load(folder / 'speed.json', partial(_speed, speeds, run=run), found.speeds, found.warnings)
    return found


def command(runs: Path, profile: str, name: str) -> str:
    """The command that trains a table and writes its plan into ``runs``."""
    table, *overrides = name.split('+')
    words = ['python', 'experiments/run.py', table, *(word for override in overrides for word in ('--set', override))]
    words += [] if profile == 'desk' else ['--profile', profile]
    words += [] if Path(runs).resolve() == RUNS else ['--runs', str(runs)]
    return shlex.join(words)


def _natural(name: str) -> Tuple[int, int, str]:
    [(kind, number)] = re.findall('^([a-z]*)([0-9]*)', name)
    return _KINDS.index(kind) if kind in _KINDS and number else len(_KINDS), int(number or 0), name


def _load(path: Path, read_content: Callable[[Path], dict], into: Dict[str, dict], warnings: List[str]) -> None:
    if not path.exists():
        return
    try:
        into[path.parent.name] = read_content(path)
    except ValueError as error:
        warnings.append(f'{path}: {error}: left out; delete it and run the table again')


def _result(keys: List[str], path: Path, **expected: Any) -> dict:
    content = read(path, RESULT_SCHEMA, _RESULT)
    same(content, **expected)
    has(content['provenance'], _PROVENANCE, 'provenance')
    for key, value in _metrics(content, keys).items():
        if key in keys and value is not None and not 0 <= value <= 1:
            raise ValueError(f'metric {called(key)} must be a fraction from 0 to 1, not {short(value)}')
    return content


def _speed(keys: List[str], path: Path, **expected: Any) -> dict:
    content = read(path, RESULT_SCHEMA, _SPEED)
    same(content, **expected)
    image = content['image']
    if len(image) != 2 or not all(type(side) is int and side > 0 for side in image):
        raise ValueError(f'image must be a height and a width in pixels, not {short(image)}')
    for key, value in _metrics(content, keys).items():
        if value is not None and value < 0:
            raise ValueError(f'metric {called(key)} must be 0 or more, not {short(value)}')
    return content


def _metrics(content: dict, keys: List[str]) -> Dict[str, Optional[float]]:
    """The metrics of a result, all of them numbers or None, with all ``keys`` among them; else a ValueError."""
    metrics = content['metrics']
    for key in keys:
        if key not in metrics:
            raise ValueError(f'metric {called(key)} is missing')
    return {key: number_or_null(value, f'metric {called(key)}') for key, value in metrics.items()}
