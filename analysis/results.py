"""Reads what experiments/run.py stores, and knows nothing else of the suite.

Two kinds of file, both JSON with ``"schema": 1``::

    <runs>/<profile>/tables/<name>.json     the plan of a table: its axes, metrics, cells and the paper's numbers
    <runs>/<profile>/<run id>/result.json   what one training measured, as fractions from 0 to 1, and its provenance

A plan that cannot be read is an error. A result that cannot be trusted is left out with a warning: no number is shown.
"""

import json
import math
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple, get_args

RUNS = Path(__file__).resolve().parents[1] / 'runs'
SCHEMA = 1

_WORDS = {
    str: 'text',
    int: 'a whole number',
    dict: 'a mapping',
    list: 'a list',
    Optional[str]: 'text or null',
    Optional[bool]: 'true, false or null',
}
_PLAN = dict(
    schema=int,
    table=str,
    title=str,
    caption=str,
    source=str,
    profile=str,
    overrides=dict,
    rows=list,
    columns=list,
    metrics=dict,
    cells=list,
)
_AXIS = dict(axis=str, label=str, values=list)
_CELL = dict(at=dict, paper=dict, runs=dict)
_RESULT = dict(schema=int, run=str, profile=str, seed=int, metrics=dict, provenance=dict)
_PROVENANCE = dict(commit=Optional[str], dirty=Optional[bool], device=str)


class UserError(Exception):
    """Something the user can put right. The message names the file or argument, and what to do."""


@dataclass(frozen=True)
class Axis:
    """One axis of a table: its name, the label shown for it ('' for none) and the names of its values."""

    name: str
    label: str
    values: Tuple[str, ...]


@dataclass(frozen=True)
class Cell:
    """One cell: its place (axis name -> value), the paper's numbers (metric -> text) and its runs (seed -> run id)."""

    at: Dict[str, str]
    paper: Dict[str, str]
    runs: Dict[int, str]


@dataclass(frozen=True)
class Plan:
    """The plan of a table.

    ``name`` is its file's: the table's name, then ``+key=value`` for each override. ``setting`` is where the paper
    measured, '' where the file has no such key.
    """

    name: str
    table: str
    title: str
    caption: str
    source: str
    setting: str
    profile: str
    overrides: Dict[str, Any]
    rows: Tuple[Axis, ...]
    columns: Tuple[Axis, ...]
    metrics: Dict[str, Tuple[str, ...]]
    cells: Tuple[Cell, ...]

    @property
    def runs(self) -> Dict[str, int]:
        """The distinct runs of the table: run id -> seed."""
        return {run: seed for cell in self.cells for seed, run in cell.runs.items()}


@dataclass(frozen=True)
class Results:
    """The results of a plan that are there (run id -> content of result.json), and a line for each broken one."""

    runs: Dict[str, dict]
    warnings: List[str]


def plan_names(runs: Path, profile: str) -> List[str]:
    """Names of the tables that have a plan, sorted."""
    return sorted(path.stem for path in (Path(runs) / profile / 'tables').glob('*.json'))


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
        return _plan(_read(path, _PLAN), profile, name)
    except ValueError as error:
        raise UserError(f'{path}: {error}: delete it and run {command(runs, profile, name)} again') from error


def load_results(runs: Path, profile: str, plan: Plan) -> Results:
    """Read the results of a plan's runs. A run without a result is left out; a broken one also gives a warning."""
    found, warnings = {}, []
    for run, seed in plan.runs.items():
        path = Path(runs) / profile / run / 'result.json'
        if not path.exists():
            continue
        try:
            found[run] = _result(_read(path, _RESULT), profile, run, seed, plan)
        except ValueError as error:
            warnings.append(f'{path}: {error}: left out; delete it and run the table again')
    return Results(found, warnings)


def command(runs: Path, profile: str, name: str) -> str:
    """The command that trains a table and writes its plan into ``runs``."""
    table, *overrides = name.split('+')
    words = ['python', 'experiments/run.py', table, *(word for override in overrides for word in ('--set', override))]
    words += [] if profile == 'desk' else ['--profile', profile]
    words += [] if Path(runs).resolve() == RUNS else ['--runs', str(runs)]
    return shlex.join(words)


def _plan(content: dict, profile: str, name: str) -> Plan:
    _same(content, table=name.partition('+')[0], profile=profile)
    rows, columns = (tuple(_axis(axis, side) for axis in content[side]) for side in ('rows', 'columns'))
    if not content['metrics']:
        raise ValueError('metrics is empty')
    metrics = {metric: _texts(keys, f'metrics.{metric}') for metric, keys in content['metrics'].items()}
    cells = tuple(_cell(cell, rows + columns, f'cells[{i}]') for i, cell in enumerate(content['cells']))
    texts = {key: content[key] for key in ('table', 'title', 'caption', 'source', 'profile', 'overrides')}
    setting = str(content.get('setting', ''))
    return Plan(name, **texts, setting=setting, rows=rows, columns=columns, metrics=metrics, cells=cells)


def _axis(content: Any, where: str) -> Axis:
    _check(content, _AXIS, where)
    return Axis(content['axis'], content['label'], _texts(content['values'], f'{where}.values'))


def _cell(content: Any, axes: Tuple[Axis, ...], where: str) -> Cell:
    _check(content, _CELL, where)
    at, paper, runs = (content[key] for key in ('at', 'paper', 'runs'))
    if set(at) != {axis.name for axis in axes} or any(at[axis.name] not in axis.values for axis in axes):
        raise ValueError(f'{where}.at is no place in the table: {_short(at)}')
    if not all(isinstance(text, str) for text in [*paper.values(), *runs.values()]):
        raise ValueError(f'{where}: what paper and runs give must be texts, not {_short([paper, runs])}')
    return Cell(at, paper, {int(seed): run for seed, run in runs.items()})


def _result(content: dict, profile: str, run: str, seed: int, plan: Plan) -> dict:
    _same(content, run=run, profile=profile, seed=seed)
    _check(content['provenance'], _PROVENANCE, 'provenance')
    metrics = content['metrics']
    for key, value in metrics.items():
        number = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < math.inf
        if not number and value is not None:
            raise ValueError(f'metric {key} must be a number or null, not {_short(value)}')
    for key in (key for keys in plan.metrics.values() for key in keys):
        if key not in metrics:
            raise ValueError(f'metric {key} is missing')
        if metrics[key] is not None and not 0 <= metrics[key] <= 1:
            raise ValueError(f'metric {key} must be a fraction from 0 to 1, not {_short(metrics[key])}')
    return content


def _read(path: Path, keys: dict) -> dict:
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except OSError as error:
        raise ValueError(f'cannot be read ({error.strerror})') from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f'is not JSON ({error})') from error
    _check(content, keys, 'the file')
    return _same(content, schema=SCHEMA)


def _check(content: Any, keys: dict, where: str) -> None:
    """Complain unless ``content`` is a mapping that has all ``keys``, each with a value of its kind."""
    if not isinstance(content, dict):
        raise ValueError(f'{where} must be a mapping, not {_short(content)}')
    for key, kind in keys.items():
        if key not in content:
            raise ValueError(f'key {key} is missing in {where}')
        if not isinstance(content[key], get_args(kind) or kind):
            raise ValueError(f'key {key} in {where} must be {_WORDS[kind]}, not {_short(content[key])}')


def _same(content: dict, **expected: Any) -> dict:
    for key, value in expected.items():
        if content[key] != value:
            raise ValueError(f'{key} is {_short(content[key])}, but {value!r} belongs here')
    return content


def _texts(values: Any, where: str) -> Tuple[str, ...]:
    if not isinstance(values, list) or not values or not all(isinstance(value, str) for value in values):
        raise ValueError(f'{where} must be a list of texts, not {_short(values)}')
    return tuple(values)


def _short(value: Any) -> str:
    return f'{value!r:.50}'
